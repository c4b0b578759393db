"""Measures whether the test window holds what is sold now: the levels of segments among the newest loans of a file.

An outcome takes years, so a product may be sold for long before any of its loans tests a model. What follows from it
belongs in `promotion`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning_report import newest_month
from loan_default.risk.evaluation import Coverage, LevelCoverage
from loan_default.risk.loan_order import cohort_level, issue_order
from loan_default.risk.policy import SEGMENT_LEVELS, PromotionPolicy

_RECENT_MONTHS, _RECENT_SHARE = 12, 0.1


def segment_fields(contract: Contract, policy: PromotionPolicy) -> list[str]:
    """Name the policy's segments, the contract's, and the lender's opinions that have levels, as its grade."""
    others = [field.name for field in contract.fields if field.role == "segment" or (field.opinion and field.levels)]
    return list(dict.fromkeys([*policy.segments, *others]))


def measure_coverage(
    loans: pl.LazyFrame, test: pl.DataFrame, contract: Contract, policy: PromotionPolicy
) -> Coverage | None:
    """Count the levels of segments among the newest loans, whatever their outcome, and in test.

    The newest are those of the last 12 issue months; without a date those of the newest cohorts that hold a tenth of
    the loans, or all where there are no cohorts.

    Args:
        loans: all cleaned loans.
        test: those of the test window (n rows).
        contract: what a loan is.
        policy: names segments.

    Returns:
        Of each of `segment_fields` the most frequent levels, not more than can be read, and the names of those of which
        no loan has a value; None where there is no loan.
    """
    fields = segment_fields(contract, policy)
    names, newest = _with_values(loans, fields), _newest(loans, contract)
    if newest is None:
        return None
    recent, span = newest
    levels = []
    for name in names:
        named = as_level(name, contract).alias("level")
        sold = recent.group_by(named).len().sort("len", "level", descending=[True, False]).collect()
        tested = dict(test.group_by(named).len().iter_rows())
        rows = int(sold["len"].sum())
        levels += [
            LevelCoverage(name, level, count / rows, tested.get(level, 0))
            for level, count in sold.head(SEGMENT_LEVELS).iter_rows()
        ]
    empty = tuple(name for name in fields if name not in names)
    return replace(span, levels=tuple(levels), empty=empty)


def _with_values(loans: pl.LazyFrame, fields: list[str]) -> list[str]:
    """Name those of the fields that some loan has a value of."""
    columns = loans.collect_schema().names()
    present = [name for name in fields if name in columns]
    counts = loans.select(pl.col(present).count()).collect().row(0, named=True) if present else {}
    return [name for name in present if counts[name]]


def _newest(loans: pl.LazyFrame, contract: Contract) -> tuple[pl.LazyFrame, Coverage] | None:
    """Return the newest loans, and which these are."""
    if contract.order_name is None:
        return loans, Coverage(None, None, ())
    order = issue_order(contract)
    counts = loans.group_by(order.alias("month")).agg(pl.len().alias("rows")).collect()
    if not contract.has_time:
        cohorts = counts.drop_nulls("month").sort("month", descending=True)
        older = cohorts["rows"].cum_sum() - cohorts["rows"] < _RECENT_SHARE * int(cohorts["rows"].sum())
        positions = cohorts.filter(older)["month"]
        if positions.is_empty():
            return None
        ends = positions[-1], positions[0]
        levels = tuple(dict.fromkeys(cohort_level(end, contract) for end in ends))
        return loans.filter(order.is_between(*ends)), Coverage(None, None, (), cohorts=levels)
    last = newest_month(counts)
    if last is None:
        return None
    first = _months_before(last, _RECENT_MONTHS - 1)
    return loans.filter(order.is_between(first, last)), Coverage(f"{first:%Y-%m}", f"{last:%Y-%m}", ())


def as_level(name: str, contract: Contract) -> pl.Expr:
    """Write the values of a field as the names of segments: whole numbers (begun months count), and `missing`."""
    column = pl.col(name)
    number = name not in contract.by_name or contract.by_name[name].kind == "number"  # else a term by product
    return (column.ceil().cast(pl.Int64) if number else column).cast(pl.String).fill_null("missing")


def _months_before(month: date, months: int) -> date:
    count = 12 * month.year + month.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)
