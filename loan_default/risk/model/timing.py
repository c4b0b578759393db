"""Says of applications when they would default: PD of the first year, PD by year on book, expected life.

A `Hazard` of the same development travels with a version and tells how its PD falls into the months on book; the PD
itself stays the version's. Fitting hazards is `hazard`'s, giving them to a version `timed_version`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.economics.loan_terms import ApplicationTerm
from loan_default.risk.model.calibration import PD_DIGITS
from loan_default.risk.model.hazard import PERIOD_MONTHS, Hazard

YEAR_PERIODS = 12 // PERIOD_MONTHS
CURVE = "pd_curve"
TIMED = {
    "pd_12m": pl.Float64(),
    CURVE: pl.List(pl.Float64),
    "pd_hazard": pl.Float64(),
    "expected_life": pl.Float64(),
}  # by versions that have hazards
_SCALE, _LIFE_SCALE = 10.0**PD_DIGITS, 1_000.0  # of what is rounded
_LEAST = 1e-12  # lifetime PD that is divided by


class ApplicationTiming(NamedTuple):
    """When one application would default; None where its term is missing.

    Attributes:
        pd_12m: PD of the first twelve months.
        pd_curve: PD by the end of each year on book, the last of which is the PD.
        pd_hazard: PD over the life of the loan by the hazards alone.
        expected_life: months until it ends either way.
    """

    pd_12m: float | None
    pd_curve: list[float] | None
    pd_hazard: float | None
    expected_life: float | None


UNTIMED = ApplicationTiming(None, None, None, None)


@dataclass(frozen=True)
class Timing:
    """Holds the same of loans of one term (n,), and curves (n, years)."""

    pd_12m: Floats
    pd_curve: Floats
    pd_hazard: Floats
    expected_life: Floats

    @classmethod
    def of(cls, hazard: Hazard, margins: Floats, pds: Floats, term: float) -> Timing:
        """Divide PDs (n,) among the years on book as the hazards' incidence of default has it."""
        incidence = hazard.of_term(margins, term)
        years, lifetime = incidence.defaulted[:, YEAR_PERIODS:-1:YEAR_PERIODS], incidence.lifetime
        curve = np.empty((len(pds), years.shape[1] + 1))
        shares = years / np.maximum(lifetime, _LEAST)[:, None]
        curve[:, :-1] = np.rint(pds[:, None] * shares * _SCALE) / _SCALE
        curve[:, -1] = pds
        life = np.rint(incidence.expected_life * _LIFE_SCALE) / _LIFE_SCALE
        return cls(curve[:, 0], curve, np.rint(lifetime * _SCALE) / _SCALE, life)


def timing_problem(contract: Contract) -> str | None:
    """Say in one sentence why it is not known of a book when loans default; None where it is."""
    problem = None
    if not contract.has_time:
        problem = "The book has no date of issue"
    elif contract.outcomes_are_final:
        problem = "The outcomes of the book are final, without a month"
    elif contract.outcome.known is None:
        problem = "The contract does not say when an outcome was known (outcome.known)"
    elif ApplicationTerm.of(contract) is None:
        problem = "The contract gives no term that all loans have, or that is a feature"
    return problem and f"{problem}, so nothing is said of when loans default."


def time_applications(hazard: Hazard, margins: Floats, pds: Floats, terms: Floats) -> pl.DataFrame:
    """Return the columns `TIMED` of applications (n,) by the hazards' margins and the version's PDs."""
    years = 0
    by_term = []
    for term in np.unique(terms[terms > 0]):
        rows = np.flatnonzero(terms == term)
        timing = Timing.of(hazard, margins[rows], pds[rows], float(term))
        by_term.append((rows, timing))
        years = max(years, timing.pd_curve.shape[1])
    numbers = {each.name: np.full(len(pds), np.nan) for each in fields(Timing) if each.name != CURVE}
    curves = np.full((len(pds), max(years, 1)), np.nan)
    for rows, timing in by_term:
        curves[rows, : timing.pd_curve.shape[1]] = timing.pd_curve
        for name, column in numbers.items():
            column[rows] = getattr(timing, name)
    curve = pl.from_numpy(curves).select(pl.concat_list(pl.all().fill_nan(None)).list.drop_nulls()).to_series()
    frame = pl.DataFrame(numbers, nan_to_null=True).with_columns(curve.alias(CURVE))
    return frame.select(pl.when(pl.col("pd_12m").is_not_null()).then(name).alias(name) for name in TIMED)


def time_application(hazard: Hazard, margins: Floats, pd: float, term: float) -> ApplicationTiming:
    """Return the same of one application (margins (m,)), to the bit as `time_applications` does of many."""
    if not term > 0:
        return UNTIMED
    defaulted, running = hazard.of_loan(margins, term)
    lifetime = defaulted[-1]
    divisor = max(lifetime, _LEAST)
    curve = [round(pd * (at_end / divisor) * _SCALE) / _SCALE for at_end in defaulted[YEAR_PERIODS:-1:YEAR_PERIODS]]
    curve.append(pd)
    life = (sum(running) - (running[0] + running[-1]) / 2) * PERIOD_MONTHS
    rounded = round(lifetime * _SCALE) / _SCALE, round(life * _LIFE_SCALE) / _LIFE_SCALE
    return ApplicationTiming(curve[0], curve, *rounded)
