"""Changes tables of loans and writes them to files, for the tests of reading them."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning_report import CleaningReport


class CleaningResult(NamedTuple):
    report: CleaningReport
    loans: pl.DataFrame
    rejected: pl.DataFrame


Clean = Callable[..., CleaningResult]


def as_csv(source: Path | pl.DataFrame, path: Path) -> Path:
    """Write a frame; a path is a file already."""
    if isinstance(source, Path):
        return source
    source.write_csv(path)
    return path


def as_parquet(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


def extent(column: pl.Series) -> tuple[Any, Any]:
    """Return the least and the greatest value."""
    return column.min(), column.max()


def with_values(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """Return the frame with other values in one row."""
    in_row = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(in_row).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items()
    )


def small_book(*, fields: Mapping[str, Any] | None = None, **keys: Any) -> Contract:
    """Describe a book with a field of each kind; `fields` change some of them, `keys` the rest."""
    described: dict[str, dict[str, Any]] = {
        "id": {"kind": "text", "role": "id"},
        "issued": {"kind": "month", "role": "time", "required": True},
        "term": {"kind": "number", "role": "feature", "unit": "months", "range": [1, 600]},
        "amount": {"kind": "number", "role": "feature", "unit": "dollars", "range": [-1e12, 1e12]},
        "rate": {"kind": "number", "role": "feature", "unit": "percent a year", "range": [-1e12, 1e12]},
        "sort": {"kind": "nominal", "role": "feature", "levels": ["1", "2", "A"]},
        "owner": {"kind": "nominal", "role": "feature", "levels": ["True", "False", "NONE"]},
        "note": {"kind": "text", "role": "segment"},
    }
    book = {
        "name": "small",
        "title": "A small book",
        "known_afterwards": [],
        "outcome": {"column": "status", "defaulted": ["1"], "repaid": ["0"]},
        "snapshot": {"column": "taken"},
        "expect": {"rejected_share_at_most": 1, "default_rate_between": [0, 1]},
        "fields": [
            {"name": name, "description": name, **field, **(fields or {}).get(name, {})}
            for name, field in described.items()
        ],
    }
    return Contract.model_validate(book | keys)


def month(column: str) -> pl.Expr:
    """Read the month of a text as Dec-2015."""
    return pl.col(column).str.to_date("%b-%Y")


def months(column: str) -> pl.Expr:
    """Count the months since the year 0 of a text as Dec-2015."""
    return month(column).dt.year() * 12 + month(column).dt.month()


def months_later(month: date, months: int) -> date:
    """The first day of the month so many months after."""
    count = 12 * month.year + month.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)
