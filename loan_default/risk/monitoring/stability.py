"""Measures the population stability index (PSI) of counts over bins, and how much of it is chance.

Few rows differ from any population: of 14 values over ten bins, PSI is about 1.9 where nothing has moved. Which bins
belong to a column, and when it has drifted, is `drift`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# As many draws as make the fourth highest what chance exceeds in 1 of 100.
_DRAWS, _RANK = 399, 4
_MOST_CELLS = 2_000_000  # counts in memory at a time
_MOST_ROWS = 10**9 - 1  # that numpy draws from


@dataclass(frozen=True)
class Stability:
    """A PSI, and what it is where both sides are of one population.

    Attributes:
        raw: the PSI of the counts.
        expected: its mean by chance.
        by_chance: what chance alone exceeds in 1 of 100.
    """

    raw: float
    expected: float
    by_chance: float

    @property
    def psi(self) -> float:
        """Take from the PSI what chance makes of it; not below 0."""
        return max(self.raw - self.expected, 0.0)


def population_stability_index(reference: Array, batch: Array) -> float | None:
    """Measure the PSI of two arrays of counts over the same bins; None where either side is empty.

    The sum over bins of (r - b) ln(r / b), r and b being shares: Siddiqi, Credit Risk Scorecards (2006), and
    Yurdakul, Statistical Properties of Population Stability Index (2018). An empty bin gets a small share by
    Evidently's rule: 0.0001, or a millionth of the smallest share where that is no more than 0.0001.
    """
    if not reference.sum() or not batch.sum():
        return None
    return float(_indices(reference, batch))


def measure_stability(reference: Array, batch: Array, seed: int) -> Stability | None:
    """Measure the PSI of two arrays of counts over the same bins, and hold it against chance; None as above.

    Chance deals the rows of both sides anew: as many as the batch holds are drawn, without putting back, from all
    rows together, and the others are the reference (a permutation test: Good, Permutation, Parametric and Bootstrap
    Tests of Hypotheses, 2005). Equal counts and seeds give equal answers.
    """
    raw = population_stability_index(reference, batch)
    if raw is None:
        return None
    chance = np.concatenate([_indices(*sides) for sides in _deals(reference, batch, seed)])
    return Stability(raw, float(chance.mean()), float(np.sort(chance)[-_RANK]))


def _deals(reference: Array, batch: Array, seed: int) -> Iterator[tuple[Array, Array]]:
    """Deal the rows of both sides anew, in blocks of shape (draws, bins)."""
    divisor = (int(reference.sum()) + int(batch.sum())) // _MOST_ROWS + 1  # a part of so many rows varies as little
    pool, rows = reference // divisor + batch // divisor, int((batch // divisor).sum())
    generator = np.random.default_rng(seed)
    block = max(_MOST_CELLS // pool.size, 1)
    for start in range(0, _DRAWS, block):
        draws = min(block, _DRAWS - start)
        dealt = generator.multivariate_hypergeometric(pool, rows, size=draws, method="marginals")
        yield pool - dealt, dealt


def _indices(reference: Array, batch: Array) -> Array:
    """Measure the PSI along the last axis of counts, of which no row is empty."""
    r, b = _filled_shares(reference), _filled_shares(batch)
    indices: Array = np.sum((r - b) * np.log(r / b), axis=-1)
    return indices


def _filled_shares(counts: Array) -> Array:
    shares = counts / counts.sum(axis=-1, keepdims=True)
    least = np.where(shares > 0, shares, 1.0).min(axis=-1, keepdims=True)
    return np.where(shares > 0, shares, np.where(least <= 0.0001, least / 10**6, 0.0001))
