"""Writes what models would have reached that were developed at past months, where there was a back-test."""

from __future__ import annotations

from collections.abc import Iterator

from loan_default.risk.markdown import markdown_table
from loan_default.risk.validation.backtest import COLUMNS, rows_of
from loan_default.risk.validation.model_card.inputs import ModelCardInputs


def backtest(inputs: ModelCardInputs) -> Iterator[str]:
    """Tabulate the back-test of the loans that the version was developed on, by month and by what was learned from."""
    record = inputs.backtest
    if record is None:
        return
    yield (
        f"Models by the recipe {record['recipe']}, with the parameters that a search starts from, developed as of past "
        f"months on what was known then, and tested on the loans of the {record['tested_months']} months after each "
        "that had matured in the end. `matured` learns from matured loans alone, as the training of this version did; "
        "`hazard` and `open` learn from the loans that were open too; `hindsight` knows how all of them ended, which "
        "nobody could have known. Real is the share that defaulted; 12 stands for the first twelve months."
    )
    yield markdown_table(COLUMNS, rows_of(record["points"]))
    if reasons := [f"{each['month']}: {each['reason']}" for each in record["points"] if each["reason"]]:
        yield f"Where figures are absent nothing could be developed. {' '.join(reasons)}"
