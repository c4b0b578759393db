"""Writes what models would have reached that were developed at past months, where there was a back-test."""

from __future__ import annotations

from collections.abc import Iterator

from loan_default.risk.markdown import markdown_table
from loan_default.risk.validation.backtest import COLUMNS, TERM_COLUMNS, levels_of, reasons_of, rows_of, term_rows_of
from loan_default.risk.validation.model_card.inputs import ModelCardInputs


def backtest(inputs: ModelCardInputs) -> Iterator[str]:
    """Tabulate the back-test of the loans that the version was developed on, by month and by what was learned from."""
    record = inputs.backtest
    if record is None:
        return
    yield (
        "Models with the parameters that a search starts from, developed as of past months on what was known then, and "
        f"tested on the loans of the {record['tested_months']} months after each that had matured in the end. "
        "`platform` is what would have been in production: the version that a training as this one made of the loans "
        "that had matured, where the gates of the policy let it pass. The others learn from all that was known: "
        "`matured` from matured loans, `hazard` and `open` from the loans that were open too; `hindsight` knows how "
        "all of them ended, which nobody could have known. The first candidate of each is the one that a training "
        "would choose by the newest loans of its development. Real is the share that defaulted; 12 stands for the "
        "first twelve months."
    )
    yield markdown_table(COLUMNS, rows_of(record["points"]))
    yield " ".join(levels_of(record["points"]))
    if terms := term_rows_of(record["points"]):
        yield "By term, of the first candidate of each; values are of the loans that the cut-offs approve:"
        yield markdown_table(TERM_COLUMNS, terms)
    if reasons := reasons_of(record["points"]):
        yield f"Why figures are absent, or the gates held the version of a month. {' '.join(reasons)}"
