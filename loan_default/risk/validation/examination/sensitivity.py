"""Measures what moves a version's PDs: one field at a time, also beyond the values it has seen, and many at once.

Leaving fields out belongs in `missingness`. Nothing here says what could come about: fields are moved on their own,
and what is computed from them is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from loan_default.risk.contract.field import LoanField
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.risk.text import shorten_number

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FIELDS, _LEVELS = 8, 12  # moved, of one field
_WORSE_BY = (0.1, 0.25)


@dataclass(frozen=True)
class Response:
    """The same loans under one change: their mean PD, and the shares of them that are approved and declined."""

    mean_pd: float
    approved: float
    declined: float


@dataclass(frozen=True)
class FieldResponse:
    """All loans given one value of a field; `beyond` says that no loan of the sample lies so far out."""

    field: str
    value: str
    beyond: bool
    response: Response


@dataclass(frozen=True)
class Stress:
    """All numbers that have a direction made worse by a share at once, within what the contract allows."""

    worse_by: float
    response: Response


@dataclass(frozen=True)
class Sensitivity:
    """Describe what moves the PDs of a sample of `rows` loans, which as they are give `base`."""

    rows: int
    base: Response
    fields: tuple[FieldResponse, ...]
    stresses: tuple[Stress, ...]


def measure_sensitivity(scorer: Scorer, loans: pl.DataFrame, importance: Mapping[str, float]) -> Sensitivity:
    """Move the fields that a version uses most, one at a time, and then all with a direction at once.

    Args:
        scorer: the version.
        loans: (n rows) with every feature.
        importance: share of each field, by which the first are chosen.
    """
    chosen = sorted(scorer.contract.features, key=lambda field: -importance.get(field.name, 0.0))[:_FIELDS]
    moved = [response for field in chosen if importance.get(field.name) for response in _move(scorer, loans, field)]
    stresses = [Stress(share, _respond(scorer, _worsen(scorer, loans, share))) for share in _WORSE_BY]
    return Sensitivity(loans.height, _respond(scorer, loans), tuple(moved), tuple(stresses))


def _respond(scorer: Scorer, loans: pl.DataFrame) -> Response:
    scores = scorer.score(loans, with_reasons=False)
    approve, _, decline = ((scores["decision"] == decision).mean() for decision in DECISIONS)
    return Response(float(scores["pd"].mean()), float(approve), float(decline))  # type: ignore[arg-type]


def _move(scorer: Scorer, loans: pl.DataFrame, field: LoanField) -> Iterator[FieldResponse]:
    for value, beyond in _values(field, loans[field.name].drop_nulls()):
        moved = loans.with_columns(pl.lit(value, loans.schema[field.name]).alias(field.name))
        yield FieldResponse(
            field.name, value if isinstance(value, str) else shorten_number(value), beyond, _respond(scorer, moved)
        )


def _values(field: LoanField, values: pl.Series) -> Sequence[tuple[float | str, bool]]:
    """Return values to set: quantiles and the ends of what is allowed, or the most frequent levels."""
    if field.levels:
        counts = values.cast(pl.String).value_counts().sort("count", field.name, descending=[True, False])
        frequent = counts[field.name].head(_LEVELS).to_list()
        nominal = [(level, False) for level in field.levels if level in frequent]
        return nominal if field.kind == "nominal" else _ordered(field, values.cast(pl.String))
    if values.is_empty():
        return []
    quantiles = dict.fromkeys(float(np.quantile(values, share, method="nearest")) for share in _QUANTILES)
    inner = [(value, False) for value in quantiles]
    if field.range is None:
        return inner
    least, most = field.range
    low = [(float(least), True)] if least < values.min() else []  # type: ignore[operator]
    high = [(float(most), True)] if most > values.max() else []  # type: ignore[operator]
    return [*low, *inner, *high]


def _ordered(field: LoanField, values: pl.Series) -> list[tuple[float | str, bool]]:
    """Return the levels at the quantiles, and the safest and the riskiest that the contract has."""
    positions = np.sort(values.replace_strict(field.levels, range(len(field.levels)), return_dtype=pl.Int64).to_numpy())
    inner = [int(np.quantile(positions, share, method="nearest")) for share in _QUANTILES] if len(positions) else []
    chosen = sorted({0, *inner, len(field.levels) - 1})
    return [(field.levels[position], position not in positions) for position in chosen]


def within(field: LoanField, moved: pl.Expr, before: pl.Series) -> pl.Expr:
    """Keep moved numbers within what the contract allows, and whole where all of them were: nobody has half a card."""
    values = before.drop_nulls()
    integral = bool((values == values.round()).all())
    return (moved.round() if integral else moved).clip(*(field.range or (None, None)))


def _worsen(scorer: Scorer, loans: pl.DataFrame, share: float) -> pl.DataFrame:
    """Raise numbers with which PD rises, and lower those with which it falls, by a share of each value."""
    steps = {"rising": share, "falling": -share}
    worse = [
        within(field, pl.col(field.name) + steps[field.risk] * pl.col(field.name).abs(), loans[field.name])
        for field in scorer.contract.features
        if field.kind == "number" and field.risk
    ]
    return loans.with_columns(worse)
