"""Rows that are not usable: each is set aside with its field, value and reason."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default_tests.risk.data.loan_tables import Clean, with_values

BAD: dict[str, list[tuple[str | None, str, str]]] = {
    "issue_d": [("Dec-20155", "issue_d: impossible date", "is no month"), (None, "issue_d: missing", "a month")],
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
    "loan_status": [
        ("Sold", "loan_status: unknown status", "is no status that the contract lists"),
        ("fully paid", "loan_status: unknown status", "is no status"),
        (None, "loan_status: missing", "every loan needs a status"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("field", "case"), [(field, case) for field, cases in BAD.items() for case in cases])
def test_a_bad_row_is_set_aside_with_its_reason(
    few: pl.DataFrame, clean: Clean, field: str, case: tuple[Any, ...]
) -> None:
    value, problem, why = case
    result = clean(with_values(few, 5, **{field: value}))
    (row,) = result.rejected.rows(named=True)
    assert (row["file"], row["row"], row["id"]) == ("loans0.csv", 6, few["id"][5])
    assert (row["field"], row["problem"]) == (field, problem)
    assert (row["value"] is None) == (value is None)
    assert row["reason"].startswith(f"{field} is missing" if value is None else f"{field} '{row['value']}' is ")
    assert why in row["reason"]
    assert result.report.problems == {problem: 1}
    assert result.report.rejected_share == 1 / 40
    assert result.report.warnings() == [f"1 rows were rejected: {problem} (1)."]


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


def test_a_line_that_breaks_off_is_rejected_not_passed_over(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    lines = few.write_csv().splitlines()
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines, lines[3][:12]]), encoding="utf-8")
    result = clean(path)
    assert (result.report.kept, result.report.rejected, result.report.lines_not_loans) == (40, 1, 0)


def test_of_loans_with_one_id_the_first_stays(few: pl.DataFrame, clean: Clean) -> None:
    again = with_values(few[10:], 0, loan_amnt="12345")
    result = clean(few[:12], again)
    assert (result.report.kept, result.report.rejected, result.report.problems) == (40, 2, {"id: duplicate": 2})
    assert_frame_equal(result.loans, clean(few).loans)
    assert result.rejected["id"].to_list() == few["id"][10:12].to_list()
    assert result.rejected["reason"][0] == f"id '{few['id'][10]}' stands in the data before"


def test_a_duplicate_of_a_rejected_loan_is_kept(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(with_values(few, 0, grade="H"), few[:1])
    assert (result.report.kept, result.report.problems) == (40, {"grade: unknown level": 1})
