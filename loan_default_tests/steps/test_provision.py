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


def provided(book: Book, loans: ParquetTable, folder: Path, **splits: Any) -> Any:
    record = {**book.record("loan_splits"), **splits}
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


def test_what_cannot_be_provided_for_says_why(own_book: Book, tmp_path: Path) -> None:
    ended = own_book.data.loans
    report, _ = provided(own_book, with_open(own_book, tmp_path, "2100-01"), tmp_path)
    assert "problem" not in report or "Every loan of the file has ended" in report["problem"]
    with pytest.raises(BadInput, match="do not say when their file was taken"):
        provided(own_book, ended, tmp_path, snapshot=None)
