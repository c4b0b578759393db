"""Values of a file: numbers, months and texts are read exactly, and what is none is rejected."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loan_default.risk.contract import Contract
from loan_default.risk.data.delimited import ROW
from loan_default.risk.data.field_values import parse_table
from loan_default.risk.data.loan_files import LoanTable
from loan_default.risk.data.rejections import any_broken
from loan_default_tests.risk.data.loan_tables import Clean, as_parquet, with_values


def read_column(values: Sequence[str | None], field: str, contract: Contract) -> list[Any]:
    """Return the values that texts of one field become; "rejected" where the row would be."""
    rows = pl.DataFrame({field: pl.Series(values, dtype=pl.String)}).with_row_index(ROW).lazy()
    table = LoanTable(Path("x.csv"), "x", rows, dict(rows.collect_schema()), None)
    frame, rules = parse_table(table, contract, with_outcome=False)
    broken = any_broken([rule for rule in rules if rule.field == field])
    lines = frame.select(field, broken.alias("broken")).collect()
    return ["rejected" if rejected else value for value, rejected in lines.iter_rows()]


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(10**20), 10**20), min_size=1, max_size=20))
@settings(max_examples=40)
def test_numbers_are_read_exactly_and_kept_within_their_range(contract: Contract, numbers: list[Any]) -> None:
    texts = [f" {number}\t" for number in numbers]
    clipped = [min(max(float(number), 0.0), 100.0) for number in numbers]
    assert read_column(texts, "dti", contract) == clipped
    allowed = [float(number) if 300 <= number <= 850 else "rejected" for number in numbers]
    assert read_column(texts, "fico_range_low", contract) == allowed
    assert read_column([f"{number} months" for number in numbers], "term", contract) == [
        float(number) if 6 <= number <= 120 else "rejected" for number in numbers
    ]


@given(st.lists(st.text("0123456789.+-eE_ ,%$xnaifty½٣", max_size=8), min_size=1, max_size=30))
@example(["", "  ", "nan", " nan ", "nann", "1,000", "$5", "5 %", "0x10", "1_000", "--1", "1e", "ten", "½", "٣"])
@settings(max_examples=30)
def test_a_text_is_a_number_exactly_where_python_says_so(contract: Contract, texts: list[str]) -> None:
    def expected(text: str) -> Any:
        text = text.strip(" \t")
        if text in ("", "nan"):  # of the texts that mean no value, those that can be drawn here
            return None
        try:
            number = float(text)
        except ValueError:
            return "rejected"
        return number if 0 <= number <= 500 and text.isascii() and "_" not in text else "rejected"

    assert read_column(texts, "open_acc", contract) == [expected(text) for text in texts]


@given(st.dates(date(1920, 1, 1), date(2079, 12, 31)))
@settings(max_examples=60)
def test_months_are_read_in_every_spelling(contract: Contract, day: date) -> None:
    texts = [f"{day:%b-%Y}", f" {day:%Y-%m} ", f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}T00:00:00", f"{day} 12:30:00.5"]
    assert read_column(texts, "issue_d", contract) == [day.replace(day=1)] * len(texts)


@given(st.text(max_size=12) | st.from_regex(r"\d{1,4}[-/. ]\d{1,2}([-/. ]\d{1,2})?", fullmatch=True))
@example("2015-13")
@example("2015-02-30")
@example("2015-12zzzz")
@example("Dec-15")
@example("DEC-2015")
@example("Dec-2080")
@example("1919-12")
@example("1919-12-31")
@example("201512")
@settings(max_examples=60)
def test_what_is_no_month_is_rejected(contract: Contract, text: str) -> None:
    read = read_column([text], "earliest_cr_line", contract)[0]
    if not text.strip(" \t"):
        assert read is None
    elif read != "rejected":
        month = text.strip(" \t")
        assert month[:7] == f"{read:%Y-%m}" or month == f"{read:%b-%Y}"
        assert len(month) <= 8 or date.fromisoformat(month[:10]).replace(day=1) == read


@pytest.mark.parametrize("nothing", ["", " ", "NA", "n/a", "NaN", "null"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_texts_that_mean_nothing(few: pl.DataFrame, clean: Clean, tmp_path: Path, nothing: str, form: str) -> None:
    loans = with_values(few, 0, dti=nothing, purpose=nothing, earliest_cr_line=nothing, emp_length=nothing)
    result = clean(loans if form == "csv" else as_parquet(loans, tmp_path / "loans.parquet"))
    assert result.loans.select("dti", "purpose", "credit_history_months", "emp_length").row(0) == (None,) * 4
