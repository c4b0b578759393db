"""Bins the columns of a batch and of its reference for a picture: both sides' shares, over edges that people read.

Whether the difference is drift is judged by `drift`, over bins that are made for it; drawing is the pages'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from loan_default.risk.monitoring.drift import Histogram, Profile

Array = npt.NDArray[Any]

_BINS, _LEVELS = 12, 10  # about so many bars can be read beside each other
_TAIL = 0.01  # of the reference at either end, which goes into an open bin
_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
OTHER = "all other levels"


@dataclass(frozen=True)
class Bin:
    """The shares of both sides that hold a value from `low` to below `high` (None: any), this value, or the level."""

    reference: float
    batch: float
    low: float | None = None
    high: float | None = None
    level: str | None = None


@dataclass(frozen=True)
class FieldDistribution:
    """A column of both sides; shares are of all rows, so that the bins and the missing add up to 1."""

    name: str
    missing_reference: float
    missing_batch: float
    bins: tuple[Bin, ...]


def field_distributions(reference: Profile, batch: Profile) -> Iterator[FieldDistribution]:
    """Yield each column that both profiles have, over the same bins."""
    for name, column in reference.columns.items():
        other = batch.columns[name]
        bins = _numeric_bins(column, other) if name in reference.numeric else _level_bins(column, other)
        yield FieldDistribution(name, column.missing / _rows(column), other.missing / _rows(other), tuple(bins))


def _rows(column: Histogram) -> int:
    return max(column.missing + column.present, 1)


def _numeric_bins(reference: Histogram, batch: Histogram) -> Iterator[Bin]:
    """Yield a bin for each of few values; else bins of one round width, and an open one for either tail."""
    if not (reference.present or batch.present):
        return
    values = np.union1d(reference.values, batch.values)
    if values.size <= _BINS:
        for value in values.tolist():
            yield Bin(_share_of(reference, value), _share_of(batch, value), low=value, high=value)
        return
    edges = round_edges(reference if reference.present else batch)
    bounds = [None, *edges.tolist(), None]
    shares = zip(_shares_between(reference, edges), _shares_between(batch, edges), strict=True)
    for (low, high), (share, other) in zip(pairwise(bounds), shares, strict=True):
        if (low is not None and high is not None) or share or other:
            yield Bin(share, other, low=low, high=high)


def _share_of(column: Histogram, value: float | str) -> float:
    return float(column.counts[column.values == value].sum()) / _rows(column)


def _shares_between(column: Histogram, edges: Array) -> list[float]:
    """Return the shares of the rows below the first edge, from each edge to below the next, and from the last on."""
    stops = np.searchsorted(column.values, edges, "left")
    counts = np.diff(column.cumulative[np.concatenate(([0], stops, [column.values.size]))])
    shares: list[float] = (counts / _rows(column)).tolist()
    return shares


def round_edges(column: Histogram) -> Array:
    """Choose ascending edges at multiples of 1, 2, 2.5 or 5 times a power of ten, between the tails of a column."""
    ranks = column.present * np.array([_TAIL, 1 - _TAIL])
    low, high = column.values[np.searchsorted(column.cumulative[1:], ranks).clip(max=column.values.size - 1)]
    width = (high - low) / _BINS or abs(high) or 1.0
    if (column.values % 1 == 0).all():
        width = max(width, 1.0)  # of counts
    power = 10.0 ** math.floor(math.log10(width))
    step = next(power * factor for factor in _ROUND_STEPS if power * factor >= width * (1 - 1e-9))
    first, last = math.floor(low / step), math.floor(high / step) + 1
    digits = max(2 - math.floor(math.log10(step)), 0)
    return np.array([round(number * step, digits) for number in range(first, last + 1)])


def _level_bins(reference: Histogram, batch: Histogram) -> Iterator[Bin]:
    """Yield the levels that the reference, or else the batch, holds most of; the others together."""
    levels = np.union1d(reference.values, batch.values).tolist()
    bins = [Bin(_share_of(reference, level), _share_of(batch, level), level=level) for level in levels]
    bins.sort(key=lambda level: (-level.reference, -level.batch))
    yield from bins[:_LEVELS]
    if rest := bins[_LEVELS:]:
        yield Bin(sum(level.reference for level in rest), sum(level.batch for level in rest), level=OTHER)
