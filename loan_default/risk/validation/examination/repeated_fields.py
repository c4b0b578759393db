"""Finds fields that say nearly the same: rank correlations of numbers and ordered fields, and the sets they make.

How much a model uses a field belongs in `plots`; which fields are told as one reason is the contract's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.model.features import FeatureSpace

CORRELATED_FROM = 0.8
_LEAST_LOANS = 100  # that have both fields


@dataclass(frozen=True)
class CorrelatedPair:
    """Two fields and the correlation of their ranks (Spearman's), from -1 to 1, over the loans that have both."""

    field: str
    other: str
    correlation: float
    loans: int


def correlated_pairs(loans: pl.DataFrame, space: FeatureSpace) -> tuple[CorrelatedPair, ...]:
    """Return the pairs of fields whose ranks correlate by `CORRELATED_FROM` or more, either way, the strongest first.

    Nominal fields have no ranks and are left out. Ranks are those among all loans (n rows) that have the field.
    """
    chosen = [index for index, field in enumerate(space.contract.features) if field.kind != "nominal"]
    names = [space.contract.feature_names[index] for index in chosen]
    ranks = _ranks(space.values(loans)[:, chosen])
    correlations, counts = _correlate(ranks)
    pairs = [
        CorrelatedPair(names[i], names[j], float(correlations[i, j]), int(counts[i, j]))
        for i, j in zip(*np.triu_indices(len(names), 1), strict=True)
        if counts[i, j] >= _LEAST_LOANS and abs(correlations[i, j]) >= CORRELATED_FROM
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.correlation)))


def repeated_sets(pairs: Iterable[CorrelatedPair]) -> tuple[tuple[str, ...], ...]:
    """Join pairs that share a field into sets, the largest first."""
    sets: list[set[str]] = []
    for pair in pairs:
        joined = {pair.field, pair.other}.union(*(names for names in sets if names & {pair.field, pair.other}))
        sets = [names for names in sets if not names & joined] + [joined]
    return tuple(sorted((tuple(sorted(names)) for names in sets), key=lambda names: (-len(names), names)))


def _ranks(values: Floats) -> Floats:
    """Rank each column (n, fields), equal values alike; NaN stays."""
    frame = pl.DataFrame(values).select(pl.all().fill_nan(None).rank("average").fill_null(float("nan")))
    return frame.to_numpy()


def _correlate(ranks: Floats) -> tuple[Floats, Floats]:
    """Return the correlations (fields, fields) over the loans that have both, NaN where one is constant; and counts."""
    present = ~np.isnan(ranks)
    centred = np.where(present, ranks - np.nanmean(np.where(present.any(axis=0), ranks, 0.0), axis=0), 0.0)
    here = present.astype(np.float64)
    counts = here.T @ here
    with np.errstate(divide="ignore", invalid="ignore"):
        sums, squares = centred.T @ here, (centred**2).T @ here  # [i, j]: of i where j is present
        covariances = centred.T @ centred - sums * sums.T / counts
        variances = np.maximum(squares - sums**2 / counts, 0.0)
        correlations = covariances / np.sqrt(variances * variances.T)
    return correlations, counts
