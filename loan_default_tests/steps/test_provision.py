"""Open loans are provided for by the version in production; the sums are those of the rows that are stored."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.errors import BadInput
from loan_default.steps.outcomes import read_outcome_files
from loan_default.steps.provision import provide_for
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def with_open(book: Book, folder: Path, ending: str = "2018-01") -> ParquetTable:
    """Return the book's loans, as if those issued since had no outcome yet."""
    late = pl.col(book.contract.time_name) >= pl.lit(ending).str.to_date("%Y-%m")
    path = folder / "loans.parquet"
    loans = book.data.loans.scan().with_columns(pl.when(~late).then(OUTCOME).alias(OUTCOME))
    loans.collect().write_parquet(path)
    return ParquetTable.of(UPath(path), folder)


def provided(book: Book, loans: ParquetTable, folder: Path, **report: Any) -> Any:
    record = {**book.record("cleaning_report"), **report}
    workspace = book.with_storage(folder / "storage").workspace
    return provide_for(loans, record, book.contract, book.policy, book.models, workspace, now=NOW), workspace


def test_the_sums_are_those_of_the_rows(own_book: Book, tmp_path: Path) -> None:
    newest = own_book.data.loans.scan().select(pl.col(own_book.contract.time_name).max()).collect().item()
    loans = with_open(own_book, tmp_path, f"{newest.year}-01")
    report, workspace = provided(own_book, loans, tmp_path)
    rows = pl.read_parquet(str(workspace.layout.table("provision")))
    assert report["loans"] == rows.height > 0
    assert report["total"]["provision"] == pytest.approx(rows["provision"].sum())
    assert report["total"]["balance"] == pytest.approx(rows.filter(pl.col("provision").is_not_null())["balance"].sum())
    assert sum(each["cecl"] for each in report["groups"] if each["field"] == "term") == pytest.approx(
        report["total"]["cecl"]
    )
    base, *_, severe = report["scenarios"]
    assert (base["scenario"], severe["scenario"]) == ("base", "severe")
    assert severe["cecl"] > base["cecl"] > 0


def test_open_loans_stand_as_outcome_files_told(own_book: Book, tmp_path: Path) -> None:
    """Who was told to have ended is left out; days past due make the stage, and balances what is owed."""
    loans = with_open(own_book, tmp_path, "2014-01")
    contract, snapshot = own_book.contract, own_book.record("cleaning_report")["snapshot"]
    _, workspace = provided(own_book, loans, tmp_path)
    before = pl.read_parquet(str(workspace.layout.table("provision")))
    ended, current, late, impaired = before[contract.id_name].head(4)
    lines = [
        "id,loan_status,month,days_past_due,balance",
        f"{ended},Fully Paid,{snapshot},0,0",
        f"{current},Current,{snapshot},0,1000",
        f"{late},Current,{snapshot},30,2000",
        f"{impaired},Current,{snapshot},90,3000",
    ]
    folder = Path(str(workspace.layout.outcomes))
    folder.mkdir(parents=True)
    (folder / "told.csv").write_text("\n".join(lines), encoding="utf-8")
    read_outcome_files(contract, workspace, today=NOW.date())
    report, _ = provided(own_book, loans, tmp_path)
    after = pl.read_parquet(str(workspace.layout.table("provision")))
    assert report["loans"] == after.height == before.height - 1
    restated = after.filter(pl.col(contract.id_name).is_in([ended, current, late, impaired]))
    assert restated["balance"].to_list() == [1000, 2000, 3000]
    assert restated["stage"].to_list() == [1, 2, 3]


def test_what_cannot_be_provided_for_says_why(own_book: Book, tmp_path: Path) -> None:
    ended = own_book.data.loans
    report, _ = provided(own_book, with_open(own_book, tmp_path, "2100-01"), tmp_path)
    assert "problem" not in report or "Every loan of the file has ended" in report["problem"]
    with pytest.raises(BadInput, match="do not say when their file was taken"):
        provided(own_book, ended, tmp_path, snapshot=None)
