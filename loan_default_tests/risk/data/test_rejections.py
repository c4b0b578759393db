"""Rows that are not usable: each is set aside with its field, value and reason."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default.risk.data import cleaning
from loan_default_tests.risk.data.loan_tables import Clean, as_csv, with_values

BAD: dict[str, list[tuple[str | None, str, str]]] = {
    "issue_d": [
        ("Dec-20155", "issue_d: impossible date", "is no month"),
        ("Jan-15", "issue_d: impossible date", "is no month"),
        ("Jan-2099", "issue_d: impossible date", "lies in the future, after December 2079"),
        ("2099-01-31", "issue_d: impossible date", "lies in the future, after December 2079"),
        ("Dec-1899", "issue_d: impossible date", "lies before January 1920"),
        (None, "issue_d: missing", "a month"),
    ],
    "loan_amnt": [("99", "loan_amnt: out of range", "is outside of 100 to 1,000,000 dollars")],
    "term": [
        ("1e11", "term: out of range", "is outside of 6 to 120 months"),
        ("2000000000", "term: out of range", "is outside of 6 to 120 months"),
        ("inf", "term: out of range", "is outside of 6 to 120 months"),
        ("-36 months", "term: out of range", "is outside of 6 to 120 months"),
        ("3.6109179126442243", "term: out of range", "is outside of 6 to 120 months"),
    ],
    "annual_inc": [("0", "annual_inc: out of range", "100 to 100,000,000 dollars"), (None, "annual_inc: missing", "")],
    "grade": [("H", "grade: unknown level", "is not one of A, B, C, D, E, F, G"), ("a", "grade: unknown level", "")],
    "emp_length": [("ages", "emp_length: unreadable number", "must be 0 to 60 years")],
    "revol_bal": [
        ("1.234,56", "revol_bal: unreadable number", "under files (decimal, thousands, currency)"),
        ("12,345", "revol_bal: unreadable number", "under files (decimal, thousands, currency)"),
        ("R$ 5", "revol_bal: unreadable number", "under files (decimal, thousands, currency)"),
        ("5 EUR", "revol_bal: unreadable number", "under files (decimal, thousands, currency)"),
        ("2015-01-01", "revol_bal: unreadable number", "is no number; it must be"),
        ("5 dollars", "revol_bal: unreadable number", "if the letters are its unit, say them as strip of this"),
        ("2 yrs 3 mos", "revol_bal: unreadable number", "parts; say what each counts, as parts: {yrs: 12, mon: 1}"),
    ],
    "loan_status": [
        ("Sold", "loan_status: unknown status", "is no status that the contract lists: Charged Off, "),
        ("fully paid", "loan_status: unknown status", "is no status"),
        (None, "loan_status: missing", "every loan needs a status"),
    ],
}  # fmt: skip


def test_a_bad_row_is_set_aside_with_its_reason(few: pl.DataFrame, clean: Clean) -> None:
    cases = [(field, *case) for field, cases in BAD.items() for case in cases]
    loans = few
    for number, (field, value, *_) in enumerate(cases, 5):
        loans = with_values(loans, number, **{field: value})
    result = clean(loans)
    for number, ((field, value, problem, why), row) in enumerate(
        zip(cases, result.rejected.rows(named=True), strict=True), 5
    ):
        assert (row["file"], row["row"], row["id"]) == ("loans0.csv", number + 1, few["id"][number])
        assert (row["field"], row["problem"]) == (field, problem)
        assert (row["value"] is None) == (value is None)
        assert row["reason"].startswith(f"{field} is missing" if value is None else f"{field} '{row['value']}' ")
        assert why in row["reason"]
    assert result.report.problems == Counter(problem for _, _, problem, _ in cases)
    assert result.report.rejected_share == len(cases) / 40


def test_the_report_warns_of_rows_that_were_rejected(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 5, grade="H"))
    assert result.report.warnings() == ["1 row was rejected: grade: unknown level (1)."]


def test_a_value_of_any_length_is_repeated_in_one_line(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 5, grade="H\n" + "x" * 300))
    (row,) = result.rejected.rows(named=True)
    assert row["reason"] == f"grade 'H {'x' * 198}…' is not one of A, B, C, D, E, F, G"
    assert len(row["value"]) == 302


def test_a_credit_line_after_the_loan_is_rejected(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 0, issue_d="Jan-2010", earliest_cr_line="Mar-2010"))
    assert result.rejected["reason"].to_list() == ["credit_history_months '-2' is outside of 0 to 1,200 months"]


def test_a_missing_dti_is_no_reason_to_reject(few: pl.DataFrame, clean: Clean) -> None:
    assert clean(with_values(few, 0, dti=None)).loans["dti"][0] is None


def test_of_several_problems_the_first_is_told_and_all_are_counted_by_kind(few: pl.DataFrame, clean: Clean) -> None:
    odd = with_values(with_values(with_values(few, 0, grade="H", loan_amnt="1"), 1, loan_amnt="2"), 2, loan_amnt="3")
    result = clean(odd)
    assert result.rejected["problem"].to_list() == ["grade: unknown level"] + ["loan_amnt: out of range"] * 2
    assert list(result.report.problems.items()) == [("loan_amnt: out of range", 2), ("grade: unknown level", 1)]


@pytest.mark.parametrize(
    "text", ["31/12/2012", "1.2.12", "2012.12.31", "201212", "20121231", "Dec-12", "31-12-2012 09:00"]
)
def test_a_date_of_another_form_is_told_where_to_say_its_format(few: pl.DataFrame, clean: Clean, text: str) -> None:
    result = clean(with_values(few, 5, issue_d=text))
    assert result.rejected["reason"].item() == (
        f"issue_d '{text}' is no month, as the contract says no format; write format: \"%d/%m/%Y\", or that of the "
        "file, there, or the value as a month, as Dec-2015 or 2015-12"
    )


def test_what_excel_made_of_a_month_is_told_with_a_remedy(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 5, issue_d="14-Jan"))
    assert result.rejected["reason"].item() == (
        "issue_d '14-Jan' is no month; it must be a month, as Dec-2015 or 2015-12; Excel makes this of Jan-14: export "
        "the file again, and do not save it with Excel"
    )
    assert result.report.first_rejection == f"loans0.csv, row 6: {result.rejected['reason'].item()}."
    time = clean(with_values(few, 5, issue_d="40:48.0")).rejected["reason"].item()
    assert time.endswith("; Excel shows a date with its time so: export the file again, and do not save it with Excel")


LONGER = (
    "; a value that holds the sign between values has to stand between quotation marks; where all rows are so, as each "
    "ends in that sign or begins with its number, the header lacks a name"
)
SHORTER = (
    "; it was cut off, or a value with a line break stands between no quotation marks; where all rows are so, the "
    "header has a name too many"
)
FAULTY: dict[str, tuple[Callable[[str], str], dict[str, int], list[tuple[Any, ...]]]] = {
    "thousands": (
        lambda line: line.replace(",", ",1,", 1),
        {"row: longer than the header": 1},
        [(6, None, "row", None, "row has 152 fields where the header has 151" + LONGER)],
    ),
    "too short": (
        lambda line: line.rsplit(",", 3)[0],
        {"row: shorter than the header": 1},
        [(6, None, "row", None, "row has 148 fields where the header has 151" + SHORTER)],
    ),
    "opened quote": (
        lambda line: line.replace(",", ',"', 1),
        {"member_id: stray quotation mark": 1},
        [(6, None, "member_id", ..., ...)],
    ),
    "quote within": (lambda line: line.replace(",", '5" pipe,', 1), {}, []),
}


@pytest.mark.parametrize("long_bytes", [0, 1 << 26], ids=["long", "short"])
@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.slow
def test_a_row_that_is_none_of_the_table_is_rejected_alone(
    few: pl.DataFrame,
    cleaned_few: pl.DataFrame,
    clean: Clean,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    long_bytes: int,
) -> None:
    """Of a long file the lines are counted while it is read, and it is read again where it is not plain."""
    monkeypatch.setattr(cleaning, "_LONG_BYTES", long_bytes)
    change, problems, rejected = FAULTY[name]
    lines = few.write_csv().splitlines()
    lines[6] = change(lines[6])
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    result = clean(path, as_csv(with_values(few, 0, id="other")[:1], tmp_path / "other.csv"))
    assert (result.report.rows_read, result.report.problems) == (41, problems)
    rows = result.rejected.select("row", "id", "field", "value", "reason").rows()
    for row, expected in zip(rows, rejected, strict=True):
        assert all(value == right for value, right in zip(row, expected, strict=True) if right is not ...)
    others = cleaned_few.filter(pl.col("id") != few["id"][5])
    assert_frame_equal(result.loans.filter(pl.col("id").is_in(others["id"].implode())), others)


def test_a_line_that_breaks_off_is_rejected_not_passed_over(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    lines = few.write_csv().splitlines()
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines, lines[3][:12]]), encoding="utf-8")
    result = clean(path)
    assert (result.report.kept, result.report.rejected, result.report.lines_not_loans) == (40, 1, 0)


def test_of_loans_with_one_id_the_first_stays(few: pl.DataFrame, cleaned_few: pl.DataFrame, clean: Clean) -> None:
    again = with_values(few[10:], 0, loan_amnt="12345")
    result = clean(few[:12], again)
    assert (result.report.kept, result.report.rejected, result.report.problems) == (40, 2, {"id: duplicate": 2})
    assert_frame_equal(result.loans, cleaned_few)
    assert result.rejected["id"].to_list() == few["id"][10:12].to_list()
    assert result.rejected.select("file", "row").rows() == [("loans1.csv", 1), ("loans1.csv", 2)]
    assert result.rejected["reason"][1] == f"id '{few['id'][11]}' stands before, in loans0.csv, row 12"


def test_a_duplicate_of_a_rejected_loan_is_kept(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 0, grade="H"), few[:1])
    assert (result.report.kept, result.report.problems) == (40, {"grade: unknown level": 1})


@pytest.mark.parametrize("text", ["1e400", "-1E+999", "9" * 400])
def test_a_number_that_no_float_holds_is_quoted_as_it_stands(text: str, few: pl.DataFrame, clean: Clean) -> None:
    (reason,) = clean(with_values(few, 3, loan_amnt=text)).rejected["reason"]
    quoted = text if len(text) < 200 else text[:200] + "…"
    assert reason == f"loan_amnt '{quoted}' is outside of 100 to 1,000,000 dollars"


@pytest.mark.parametrize(("text", "spelt"), [("\ufeffA", "\\ufeffA"), ("A\u200b", "A\\u200b"), ("A\x00", "A\\x00")])
def test_a_sign_that_nobody_sees_is_spelt_out(text: str, spelt: str, few: pl.DataFrame, clean: Clean) -> None:
    """The sentence read "grade 'A' is not one of A, B, C"."""
    (reason,) = clean(with_values(few, 3, grade=text)).rejected["reason"]
    assert reason.startswith(f"grade '{spelt}' is not one of A, B, C")
