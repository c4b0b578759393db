"""The report of a cleaning: counts, missing fields and the snapshot."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default.risk.data.synthetic_tables import FOOTER
from loan_default.risk.errors import BadInput
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.loan_tables import Clean, as_csv, with_values


def test_the_report_is_a_record(cleaned: Cleaned) -> None:
    record = json.loads(json.dumps(cleaned.report.to_dict()))
    assert (record["snapshot"], record["first_month"], record["kept"]) == ("2019-03", "2007-06", 4_000)
    assert cleaned.report.warnings() == []
    assert 0.1 < record["default_rate"] < 0.3


def test_the_summary_counts_every_row_and_the_outcomes(cleaned: Cleaned) -> None:
    """Too few loans for windows stopped a training before anything was said of the file."""
    report = cleaned.report
    few = replace(report, rows_read=13, kept=10, rejected=2, lines_not_loans=1, matured=1, default_rate=1.0)
    assert few.summary == (
        "13 rows read: 10 kept, 2 rejected, 1 no loans; 1 loan matured by 2019-03, of which 100.0% defaulted."
    )
    none = replace(few, rows_read=1, matured=0, default_rate=None, snapshot=None)
    assert none.summary == "1 row read: 10 kept, 2 rejected, 1 no loans; 0 loans with an outcome."


def test_optional_columns_may_lack(few: pl.DataFrame, cleaned_few: pl.DataFrame, clean: Clean) -> None:
    result = clean(few.drop("fico_range_low", "purpose", "earliest_cr_line", "addr_state"))
    assert result.report.missing_fields == ("purpose", "fico_range_low", "credit_history_months")
    assert result.loans.schema == cleaned_few.schema
    assert result.report.warnings() == [
        "No row has purpose, fico_range_low, credit_history_months; the models see these as missing."
    ]
    emptied = clean(few.with_columns(fico_range_low=pl.lit(None, dtype=pl.String)))
    assert emptied.report.missing_fields == ("fico_range_low",)


def test_lines_that_are_no_loans_are_counted(
    few: pl.DataFrame, cleaned_few: pl.DataFrame, clean: Clean, tmp_path: Path
) -> None:
    lines = few.write_csv().splitlines()
    policy = "Loans that do not meet the credit policy"
    totals = [line.format(5) for line in FOOTER]
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines[:9], "", policy, *lines[9:], "", "", *totals, ""]), encoding="utf-8")
    result = clean(path)
    assert (result.report.rows_read, result.report.lines_not_loans, result.report.kept) == (46, 6, 40)
    assert_frame_equal(result.loans, cleaned_few)


def test_one_mistyped_date_does_not_move_the_snapshot(few: pl.DataFrame, clean: Clean, loans: pl.DataFrame) -> None:
    assert clean(with_values(few, 0, last_credit_pull_d="Mar-2079")).report.snapshot == date(2019, 3, 1)
    odd = loans.with_columns(
        last_credit_pull_d=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("Mar-2079")).otherwise("last_credit_pull_d")
    )
    assert clean(odd).report.snapshot == date(2019, 3, 1)
    assert clean(odd[:1000]).report.snapshot == date(2079, 3, 1)  # three in a thousand are no slip


def unreadable_from(loans: pl.DataFrame, row: int) -> pl.DataFrame:
    """The loans with months in the snapshot column that no format fits, from a row on."""
    text = pl.col("last_credit_pull_d").str.replace("-20", "/")
    return loans.with_columns(
        last_credit_pull_d=pl.when(pl.int_range(pl.len()) >= row).then(text).otherwise("last_credit_pull_d")
    )


def test_a_snapshot_column_that_cannot_be_read_is_refused(few: pl.DataFrame, clean: Clean) -> None:
    """It counted as absent: the snapshot moved back to the newest issue month, and loans were no longer mature."""
    odd = unreadable_from(few, 37)
    sentence = (
        f"loans0.csv, row 38: last_credit_pull_d '{odd['last_credit_pull_d'][37]}' is no month, the first of 3 such "
        "loans among 40 (7.5%; 5% may be unreadable). Write it as a month, as Dec-15 (%b-%y), Dec-2015 or 2015-12, say "
        "its format under snapshot in the contract, or name the month in which the file was taken."
    )
    with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
        clean(odd)
    report = clean(odd, snapshot=date(2019, 3, 1)).report  # then nothing rests on the column
    assert (report.snapshot, report.unreadable_snapshots[0].loans) == (date(2019, 3, 1), 3)


def test_the_snapshot_of_a_file_that_excel_saved_is_read(few: pl.DataFrame, clean: Clean) -> None:
    resaved = few.with_columns(pl.col("last_credit_pull_d").str.replace("-20", "-"))
    assert clean(resaved).report.snapshot == clean(few).report.snapshot


def test_a_few_unreadable_snapshots_are_told_and_show_no_month(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    odd = unreadable_from(few, 38).with_columns(  # both of an issue month that no other loan shows
        issue_d=pl.when(pl.int_range(pl.len()) >= 38).then(pl.lit("Dec-2025")).otherwise("issue_d")
    )
    more = as_csv(few.with_columns(pl.format("more-{}", "id").alias("id")), tmp_path / "more.csv")
    result = clean(more, odd)
    assert result.report.snapshot == date(2019, 3, 1)
    (unreadable,) = result.report.unreadable_snapshots
    assert (unreadable.loans, unreadable.of_loans, unreadable.row) == (2, 40, 39)
    assert result.report.warnings() == [
        f"loans1.csv, row 39: last_credit_pull_d '{unreadable.value}' is no month, the first of 2 such loans among 40; "
        "these say nothing of the month in which the file was taken."
    ]
    assert json.loads(json.dumps(result.report.to_dict()))["unreadable_snapshots"][0]["value"] == unreadable.value


def test_a_file_without_snapshot_column_takes_the_newest_issue_month(few: pl.DataFrame, clean: Clean) -> None:
    issued = few["issue_d"].str.to_date("%b-%Y").sort()
    twice = issued.filter(issued.is_duplicated()).max()
    assert clean(few.drop("last_credit_pull_d")).report.snapshot == twice
    assert clean(few.with_columns(last_credit_pull_d=pl.lit(None, dtype=pl.String))).report.snapshot == twice
    alone = clean(few[:1].drop("last_credit_pull_d"))
    assert alone.report.snapshot == alone.loans["issue_d"][0]


def test_nothing_that_is_past_lies_in_the_future(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    """A snapshot that a slip moved ahead lets every loan mature."""
    today, row = date(2026, 3, 31), pl.int_range(pl.len())

    def slip(column: str, month: str, *numbers: int) -> pl.Expr:
        return pl.when(row.is_in(numbers)).then(pl.lit(month)).otherwise(column).alias(column)

    odd = few.with_columns(slip("issue_d", "2026-04", 0), slip("last_pymnt_d", "Apr-2026", 1))
    odd = odd.with_columns(slip("last_credit_pull_d", "May-2026", 2, 3))
    result = clean(as_csv(odd, tmp_path / "odd.csv"), today=today)
    sentences = ["issue_d '2026-04' lies in the future, after 2026-03-31"]
    sentences += ["last_payment 'Apr-2026' lies in the future, after 2026-03-31"]
    assert result.rejected["reason"].to_list() == sentences
    (unreadable,) = result.report.unreadable_snapshots
    assert str(unreadable) == (
        "odd.csv, row 3: last_credit_pull_d 'May-2026' lies in the future, after 2026-03-31, the first of 2 such loans "
        "among 40"
    )
    assert result.report.snapshot == date(2019, 3, 1)
    assert clean(odd, today=date(2026, 5, 1)).report.snapshot == date(2026, 5, 1)
    with pytest.raises(BadInput, match=r"^The snapshot month 2026-04 lies in the future, after 2026-03-31; name the"):
        clean(few, snapshot=date(2026, 4, 1), today=today)
