"""Measures what the loans of a file lack, field by field and by the year of issue.

Reading files and rejecting rows belong in `data.cleaning`, whether fields moved belongs in `monitoring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from loan_default.risk.contract import Contract, LoanField

_ROWS = ":rows"


@dataclass(frozen=True)
class FieldQuality:
    """Shares, from 0 to 1, of the loans that lack a field: of all, and by the year of issue.

    `zero_share` is that of the loans that have a value of exactly 0; None where the field is no number.
    """

    field: str
    missing_share: float
    zero_share: float | None
    missing_by_year: Mapping[str, float]


def measure_quality(loans: pl.LazyFrame, contract: Contract) -> tuple[FieldQuality, ...]:
    """Measure every feature of cleaned loans (n rows), whatever their outcome, in the contract's order."""
    present = loans.collect_schema()
    fields = [field for field in contract.features if field.name in present]
    year = pl.col(contract.time_name).dt.year().cast(pl.String).alias("year")
    counts = loans.group_by(year).agg(pl.len().alias(_ROWS), *_counts(fields)).sort("year").collect(engine="streaming")
    return tuple(_quality(field, counts) for field in fields)


def _counts(fields: list[LoanField]) -> list[pl.Expr]:
    missing = [pl.col(field.name).null_count().alias(f"missing {field.name}") for field in fields]
    zeros = [(pl.col(field.name) == 0).sum().alias(f"zero {field.name}") for field in fields if field.kind == "number"]
    return [*missing, *zeros]


def _quality(field: LoanField, counts: pl.DataFrame) -> FieldQuality:
    rows, missing = counts[_ROWS], counts[f"missing {field.name}"]
    total = max(int(rows.sum()), 1)
    by_year = dict(zip(counts["year"].to_list(), (missing / rows).to_list(), strict=True))
    zeros = int(counts[f"zero {field.name}"].sum()) / total if field.kind == "number" else None
    return FieldQuality(field.name, int(missing.sum()) / total, zeros, by_year)
