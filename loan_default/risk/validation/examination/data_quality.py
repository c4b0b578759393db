"""Measures what the loans of a file lack, field by field and by the year of issue, or the cohort.

Reading files and rejecting rows belong in `data.cleaning`, whether fields moved belongs in `monitoring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.evaluation import LEAST_ROWS
from loan_default.risk.loan_order import cohort_level, issue_order

_ROWS = ":rows"
_COHORTS_AT_MOST = 60


@dataclass(frozen=True)
class FieldQuality:
    """Shares, from 0 to 1, of the loans that lack a field: of all, and by the year of issue, or the cohort.

    `missing_by_year` is empty where loans have neither, or too many cohorts to read, and leaves out years of fewer than
    `LEAST_ROWS` loans, of which one loan would be a large share. `zero_share` is that of the loans
    that have a value of exactly 0; None where the field is no number.
    """

    field: str
    missing_share: float
    zero_share: float | None
    missing_by_year: Mapping[str, float]


def measure_quality(loans: pl.LazyFrame, contract: Contract) -> tuple[FieldQuality, ...]:
    """Measure every feature of cleaned loans (n rows), whatever their outcome, in the contract's order."""
    present = loans.collect_schema()
    fields = [field for field in contract.features if field.name in present]
    year = _year(contract)
    counts = loans.group_by(year).agg(pl.len().alias(_ROWS), *_counts(fields)).sort("year").collect(engine="streaming")
    return tuple(_quality(field, _named(counts, contract)) for field in fields)


def _year(contract: Contract) -> pl.Expr:
    if contract.order_name is None:
        return pl.lit(None, dtype=pl.String).alias("year")
    order = issue_order(contract)
    return (order.dt.year().cast(pl.String) if contract.has_time else order).alias("year")


def _named(counts: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Name cohorts by their levels; loans without a year or cohort, or of too many, count among all only."""
    if contract.has_time:
        return counts
    names = [None if position is None else cohort_level(position, contract) for position in counts["year"]]
    years = pl.Series("year", names, dtype=pl.String)
    return counts.with_columns(years if len(years) <= _COHORTS_AT_MOST else years.set(years.is_not_null(), None))


def _counts(fields: list[LoanField]) -> list[pl.Expr]:
    missing = [pl.col(field.name).null_count().alias(f"missing {field.name}") for field in fields]
    zeros = [(pl.col(field.name) == 0).sum().alias(f"zero {field.name}") for field in fields if field.kind == "number"]
    return [*missing, *zeros]


def _quality(field: LoanField, counts: pl.DataFrame) -> FieldQuality:
    rows, missing = counts[_ROWS], counts[f"missing {field.name}"]
    total = max(int(rows.sum()), 1)
    by_year = {
        year: int(lacking) / int(loans)
        for year, lacking, loans in zip(counts["year"], missing, rows, strict=True)
        if year is not None and loans >= LEAST_ROWS
    }
    zeros = int(counts[f"zero {field.name}"].sum()) / total if field.kind == "number" else None
    return FieldQuality(field.name, int(missing.sum()) / total, zeros, by_year)
