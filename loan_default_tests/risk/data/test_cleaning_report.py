"""The report of a cleaning: counts, missing fields and the snapshot."""

import json
from datetime import date
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from loan_default.risk.data.synthetic_tables import FOOTER
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.loan_tables import Clean, with_values


def test_the_report_is_a_record(cleaned: Cleaned) -> None:
    record = json.loads(json.dumps(cleaned.report.to_dict()))
    assert (record["snapshot"], record["first_month"], record["kept"]) == ("2019-03", "2007-06", 4_000)
    assert cleaned.report.warnings() == []
    assert 0.1 < record["default_rate"] < 0.3


def test_optional_columns_may_lack(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(few.drop("fico_range_low", "purpose", "earliest_cr_line", "addr_state"))
    assert result.report.missing_fields == ("purpose", "fico_range_low", "credit_history_months")
    assert result.loans.schema == clean(few).loans.schema
    assert result.report.warnings() == [
        "The file lacks purpose, fico_range_low, credit_history_months; the models see these as missing."
    ]
    emptied = clean(few.with_columns(fico_range_low=pl.lit(None, dtype=pl.String)))
    assert emptied.report.missing_fields == ("fico_range_low",)


def test_lines_that_are_no_loans_are_counted(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    lines = few.write_csv().splitlines()
    policy = "Loans that do not meet the credit policy"
    totals = [line.format(5) for line in FOOTER]
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines[:9], "", policy, *lines[9:], "", "", *totals, ""]), encoding="utf-8")
    result = clean(path)
    assert (result.report.rows_read, result.report.lines_not_loans, result.report.kept) == (46, 6, 40)
    assert_frame_equal(result.loans, clean(few).loans)


def test_one_mistyped_date_does_not_move_the_snapshot(few: pl.DataFrame, clean: Clean, loans: pl.DataFrame) -> None:
    assert clean(with_values(few, 0, last_credit_pull_d="Mar-2079")).report.snapshot == date(2019, 3, 1)
    odd = loans.with_columns(
        last_credit_pull_d=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("Mar-2079")).otherwise("last_credit_pull_d")
    )
    assert clean(odd).report.snapshot == date(2019, 3, 1)
    assert clean(odd[:1000]).report.snapshot == date(2079, 3, 1)  # three in a thousand are no slip


def test_a_file_without_snapshot_column_takes_the_newest_issue_month(few: pl.DataFrame, clean: Clean) -> None:
    issued = few["issue_d"].str.to_date("%b-%Y").sort()
    twice = issued.filter(issued.is_duplicated()).max()
    assert clean(few.drop("last_credit_pull_d")).report.snapshot == twice
    assert clean(few.with_columns(last_credit_pull_d=pl.lit(None, dtype=pl.String))).report.snapshot == twice
    alone = clean(few[:1].drop("last_credit_pull_d"))
    assert alone.report.snapshot == alone.loans["issue_d"][0]
