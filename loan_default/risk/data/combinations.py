"""Finds values of two fields that hardly any loan had together, though each of them is common by itself.

If two fields had nothing to do with each other, so many loans would have both values; where none has, whoever applies
with both is unlike those of whom it is known how they paid. One field's own limits belong in `population`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField

LEAST_EXPECTED = 20.0  # loans that would have both values: by chance none has them once in 5e8 such pairs
_PARTS = 10  # of the values of a number, with as many loans in each
Pair = Sequence[Any]  # two names of fields, and pairs of parts, as JSON holds them


def measure_combinations(loans: pl.DataFrame, contract: Contract) -> tuple[dict[str, list[float]], list[Pair]]:
    """Measure loans in natural units (n rows).

    Returns:
        The edges between the parts of each number's values; and pairs of fields, those in which most loans would be
        expected first, with the pairs of parts that no loan has. Parts count from 1, a level's is its position.
    """
    fields = [field for field in contract.features if field.name in loans.columns]
    numbers = {field.name: _values(loans, field) for field in fields}
    edges = {field.name: _edges(numbers[field.name]) for field in fields if not field.levels}
    parts = {name: _parts(values, edges.get(name)) for name, values in numbers.items()}
    apart: list[tuple[float, Pair]] = []
    for first, second in combinations(parts, 2):
        expected, cells = _apart(parts[first], parts[second])
        if cells:
            apart.append((expected, [first, second, cells]))
    apart.sort(key=lambda each: -each[0])
    pairs = [pair for _, pair in apart]
    involved = {name for first, second, _ in pairs for name in (first, second)}
    return {name: edges[name] for name in edges if name in involved}, pairs


def _values(loans: pl.DataFrame, field: LoanField) -> Floats:
    """Return the values of a field (n,), a level as its position from 1; NaN where it is missing."""
    column = loans[field.name]
    if field.levels:
        column = column.cast(pl.String).cast(pl.Enum(field.levels)).to_physical() + 1
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _edges(values: Floats) -> list[float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return []
    edges: list[float] = np.unique(np.quantile(values, np.linspace(0, 1, _PARTS + 1)[1:-1])).tolist()
    return edges


def _parts(values: Floats, edges: Sequence[float] | None) -> NDArray[np.int64]:
    """Return the part of each value (n,), 0 where it is missing."""
    parts = np.nan_to_num(values) if edges is None else np.searchsorted(edges, values, side="right") + 1
    return np.where(np.isnan(values), 0, parts).astype(np.int64)


def _apart(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, list[list[int]]]:
    """Return the parts that no loan has together, and the largest number of loans that would be expected there."""
    if not len(first):
        return 0.0, []
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width).reshape(-1, width)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(first)
    expected[0], expected[:, 0] = 0, 0  # who lacks a value is `population`'s
    cells = (counts == 0) & (expected >= LEAST_EXPECTED)
    return float(expected[cells].max(initial=0)), np.argwhere(cells).tolist()


@dataclass(frozen=True)
class UnlikePairs:
    """Tells which applications have values that hardly any loan had together; positions are among the features.

    Attributes:
        edges: of each feature that counts, between the parts of its values; None where these are levels.
        pairs: of features, with the parts that no loan had together.
    """

    edges: Mapping[int, Sequence[float] | None]
    pairs: Sequence[tuple[int, int, frozenset[tuple[int, int]]]]

    @classmethod
    def of(
        cls,
        features: Sequence[LoanField],
        used: Sequence[int],
        edges: Mapping[str, Sequence[float]],
        apart: Sequence[Pair],
    ) -> UnlikePairs:
        """Read what `measure_combinations` gave, as far as it is of the features that are used."""
        position = {features[index].name: index for index in used}
        pairs = [
            (position[first], position[second], frozenset((a, b) for a, b in cells))
            for first, second, cells in apart
            if first in position and second in position
        ]
        involved = {index for first, second, _ in pairs for index in (first, second)}
        return cls({index: edges.get(features[index].name) for index in sorted(involved)}, pairs)

    def first(self, values: Sequence[float] | Floats) -> tuple[int, int] | None:
        """Return the first pair of features by which one application is unlike all loans; None where it is not."""
        parts = {index: self._part(float(values[index]), edges) for index, edges in self.edges.items()}
        return next((pair[:2] for pair in self.pairs if (parts[pair[0]], parts[pair[1]]) in pair[2]), None)

    def any(self, values: Floats) -> NDArray[np.bool_]:
        """Tell which applications (n, features) are, as `first` does of one."""
        parts = {index: _parts(values[:, index], edges) for index, edges in self.edges.items()}
        unlike = np.zeros(len(values), dtype=np.bool_)
        for first, second, cells in self.pairs:
            for a, b in cells:
                unlike |= (parts[first] == a) & (parts[second] == b)
        return unlike

    @staticmethod
    def _part(value: float, edges: Sequence[float] | None) -> int:
        if value != value:
            return 0
        return int(value) if edges is None else bisect_right(edges, value) + 1
