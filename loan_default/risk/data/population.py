"""Describes the loans that a model was developed on, field by field: the typical value, all values, and who lacks it.

Measured once, when loans are split, it travels with the windows and with each model version. Filling in typical values
belongs in `model.features`, telling by them why an applicant was declined in `model.reason_codes`, histograms of the
same loans in `monitoring.reference_profile`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.combinations import Pair, measure_combinations

_COLUMNS_AT_ONCE = 8  # in memory: of a million loans 64 MB
_COMBINED_AT_MOST = 100_000  # loans, whose columns are in memory together
_ROW = "row number"


@dataclass(frozen=True)
class Population:
    """Typical values, missing shares and support of loans, by the names of features; empty where none were measured.

    Attributes:
        typical: of the values that are there the middle one (of two the lower): a number in natural units, or a level;
            of a nominal field the most frequent level. None where no loan has a value.
        missing_share: the share of the loans, from 0 to 1, that lack a value.
        support: the lowest and the highest number, or the levels, that any loan has.
        edges: between the parts of numbers' values, by which `apart` counts.
        apart: pairs of features, with the parts that hardly any loan has together (`combinations`).
    """

    typical: Mapping[str, float | str | None] = field(default_factory=dict)
    missing_share: Mapping[str, float] = field(default_factory=dict)
    support: Mapping[str, Sequence[float | str | None]] = field(default_factory=dict)
    edges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    apart: Sequence[Pair] = field(default_factory=list)

    def typical_number(self, feature: LoanField) -> float | None:
        """Return the typical value as a number: a level as its position, the safest 1."""
        value = self.typical.get(feature.name)
        return float(feature.levels.index(value) + 1) if isinstance(value, str) else value

    def limits(self, features: Sequence[LoanField]) -> list[tuple[float, float, frozenset[float]]]:
        """Return of each feature the least and the most that a loan has, and the positions of levels that none has."""
        limits = []
        for feature in features:
            support = [value for value in self.support.get(feature.name, ()) if value is not None]
            if not support:
                limits.append((-math.inf, math.inf, frozenset[float]()))
            elif feature.levels:
                absent = {position for position, level in enumerate(feature.levels, 1) if level not in support}
                limits.append((-math.inf, math.inf, frozenset(map(float, absent))))
            else:
                limits.append((float(support[0]), float(support[-1]), frozenset[float]()))
        return limits

    def rarely_missing(self, share: float) -> frozenset[str]:
        """Name the features that less than this share of the loans lack."""
        return frozenset(name for name, missing in self.missing_share.items() if missing < share)


def measure_population(loans: pl.LazyFrame, contract: Contract) -> Population:
    """Measure loans in natural units (n rows), some columns at a time; all of them lack a column that is absent."""
    present = loans.collect_schema()
    fields = [feature for feature in contract.features if feature.name in present]
    measured: dict[str, dict[str, Any]] = {}
    for start in range(0, len(fields), _COLUMNS_AT_ONCE):
        columns = map(_measures, fields[start : start + _COLUMNS_AT_ONCE])
        measured |= loans.select(columns).collect().row(0, named=True)
    absent: dict[str, Any] = {"typical": None, "missing_share": 1.0, "support": []}
    by_name = {name: measured.get(name, absent) for name in contract.feature_names}
    together = measure_combinations(_drawn(loans.select(feature.name for feature in fields)), contract)
    return Population(
        {name: measures["typical"] for name, measures in by_name.items()},
        {name: measures["missing_share"] for name, measures in by_name.items()},
        {name: measures["support"] for name, measures in by_name.items()},
        *together,
    )


def _drawn(loans: pl.LazyFrame) -> pl.DataFrame:
    """Collect all loans, or every nth of many, without the others in memory."""
    every = max(-(-loans.select(pl.len()).collect(engine="streaming").item() // _COMBINED_AT_MOST), 1)
    drawn = loans.with_row_index(_ROW).filter(pl.col(_ROW) % every == 0)
    return drawn.drop(_ROW).collect(engine="streaming")


def _measures(feature: LoanField) -> pl.Expr:
    column = pl.col(feature.name)
    typical = {"number": _middle, "ordered": _middle_level, "nominal": _most_frequent}[feature.kind](feature)
    share = column.null_count() / pl.len()
    measured = typical.alias("typical"), share.alias("missing_share"), _support(feature).alias("support")
    return pl.struct(measured).alias(feature.name)


def _support(feature: LoanField) -> pl.Expr:
    column = pl.col(feature.name)
    if feature.kind == "number":
        return pl.concat_list(column.min(), column.max())
    return column.cast(pl.String).drop_nulls().unique().sort().implode()


def _middle(feature: LoanField) -> pl.Expr:
    return pl.col(feature.name).quantile(0.5, "lower")


def _middle_level(feature: LoanField) -> pl.Expr:
    levels = pl.Enum(feature.levels)
    position = pl.col(feature.name).cast(levels).to_physical().quantile(0.5, "lower")
    return position.replace_strict(range(len(feature.levels)), feature.levels, return_dtype=pl.String)


def _most_frequent(feature: LoanField) -> pl.Expr:
    column = pl.col(feature.name).cast(pl.Enum(feature.levels))
    return column.drop_nulls().mode().sort().first().cast(pl.String)
