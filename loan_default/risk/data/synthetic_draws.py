"""Draws levels, counts and parts for synthetic loans, and computes what several of their columns need.

A loan book is a dict of float arrays of shape (rows,): NaN is an empty field, a text is the number of its level in
`LEVELS`, a month counts from January 1900. Which columns are drawn belongs in `synthetic_applications` and
`synthetic_outcomes`.
"""

from __future__ import annotations

from datetime import date
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from loan_default.risk.arrays import Floats

Columns = dict[str, Floats]


def annuity(principal: Floats, rate_percent: Floats, months: Floats) -> Floats:
    """Return the constant monthly payment that repays `principal`: P r / (1 - (1 + r)^-n), r the monthly rate."""
    monthly = rate_percent / 1200
    return principal * monthly / (1 - (1 + monthly) ** -months)


def term_months(columns: Columns) -> Floats:
    """Count the months of each loan's term."""
    return 36 + 24 * columns["term"]


def usual_dti(columns: Columns) -> Floats:
    """Return debt to income without what is absurd: the usual 18% where it is empty, at most 45%."""
    return np.nan_to_num(columns["dti"], nan=18.0).clip(0, 45)


def months_since_1900(month: date) -> int:
    """Count the months since January 1900."""
    return (month.year - 1900) * 12 + month.month - 1


def pick_levels(rng: np.random.Generator, rows: int, shares: npt.ArrayLike) -> Floats:
    """Draw level numbers in proportion to `shares`."""
    bounds = np.cumsum(shares)
    return np.searchsorted(bounds / bounds[-1], rng.random(rows), side="right").astype(float)


def rank_levels(latent: Floats, shares: npt.ArrayLike) -> Floats:
    """Cut a standard normal variable into ordered levels that hold `shares` of the stable population."""
    bounds = np.cumsum(shares)
    cuts = [NormalDist().inv_cdf(bound) for bound in bounds[:-1] / bounds[-1]]
    return np.searchsorted(cuts, latent).astype(float)


def by_level(values: npt.ArrayLike, levels: Floats) -> Floats:
    """Look up the value of each loan's level."""
    return np.take(np.asarray(values, dtype=np.float64), levels.astype(int))


def draw_counts(rng: np.random.Generator, mean: Floats) -> Floats:
    """Draw counts (Poisson) of these means."""
    return rng.poisson(mean).astype(float)


def draw_part(rng: np.random.Generator, totals: npt.NDArray[np.generic], share: float) -> Floats:
    """Draw how many of each total belong to a part that holds `share` of all."""
    return rng.binomial(totals.astype(int), share).astype(float)


def only_where(values: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """Leave the field empty for all other loans."""
    return np.where(mask, values, np.nan)
