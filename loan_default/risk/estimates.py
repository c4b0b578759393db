"""Estimates of how far PDs lie from outcomes, with errors by loan and by issue month, and tests of known size on them.

Calibration in the large and slope are D. R. Cox, Two Further Applications of a Model for Binary Regression, Biometrika
45, 1958. What a policy makes of them belongs in `validation` and `monitoring`; metrics belong in `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loan_default.risk.arrays import Floats

POWER = 0.95  # chance with which an error of the size that a finding names would have been seen
CONFIDENCE = 0.95
_LEAST_MONTHS = 10  # of issue, before they say how much months differ
CERTAIN = 1e-9  # PDs this close to 0 or 1 count as this far from them
_STEPS = 50
_CLOSE = 1e-9
_LONGEST_STEP = 2.0

Months = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value with its standard errors: if loans are independent, and if loans of one issue month err together.

    `month_error` has `freedom` degrees of freedom, months less one; it is None where there are too few months. Every
    test, interval and reach takes the larger error of the two, each by its own distribution (normal, Student's t).
    """

    value: float
    error: float
    month_error: float | None = None
    freedom: int = 0

    def _widths(self, *probabilities: float) -> float:
        """Return the sum of these quantiles, by the distribution in which it lies further out."""
        from scipy.special import ndtri, stdtrit

        by_loans = sum(float(ndtri(p)) for p in probabilities) * self.error
        if self.month_error is None:
            return by_loans
        return max(by_loans, sum(float(stdtrit(self.freedom, p)) for p in probabilities) * self.month_error)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the ends of the interval that holds the truth with this chance."""
        half = self._widths((1 + confidence) / 2)
        return self.value - half, self.value + half

    @property
    def low(self) -> float:
        """Return the lower end of the 95% interval."""
        return self.interval(CONFIDENCE)[0]

    @property
    def high(self) -> float:
        """Return the upper end of the 95% interval."""
        return self.interval(CONFIDENCE)[1]

    @property
    def z(self) -> float:
        """Divide the value by the larger standard error."""
        return self.value / max(self.error, self.month_error or 0.0)

    def p_value(self, truth: float = 0.0) -> float:
        """Return the chance (two-sided) of a value as far from the truth as this one."""
        from scipy.special import ndtr, stdtr

        distance = abs(self.value - truth)
        tail = float(ndtr(-distance / self.error))
        if self.month_error:
            tail = max(tail, float(stdtr(self.freedom, -distance / self.month_error)))
        return 2 * tail

    def p_below(self, limit: float) -> float:
        """Return the chance (one-sided) of a value so low if the truth is the limit or above."""
        return self.p_value(limit) / 2 if self.value < limit else 1.0

    def reach(self, tolerance: float, size: float) -> float:
        """Return how far off the truth must be to be seen 19 times of 20.

        Seen is a value further off than the tolerance, by more than a two-sided test of this size puts down to chance.
        """
        return max(tolerance + self._widths(POWER), self._widths(1 - size / 2, POWER))


@dataclass(frozen=True)
class Recalibration:
    """The logistic recalibration of PDs: what would have to be done to their log-odds to fit the outcomes.

    `intercept` is what to add to all log-odds (calibration in the large, at slope 1): above zero PDs are too low.
    `slope` is what to multiply them by: below one they are too far apart. It is None where all PDs are (nearly) equal.
    """

    intercept: Estimate
    slope: Estimate | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recalibration:
        """Read what `dataclasses.asdict` returned."""
        slope = data["slope"]
        return cls(Estimate(**data["intercept"]), slope and Estimate(**slope))


def recalibrate(outcomes: ArrayLike, pds: ArrayLike, months: ArrayLike | None = None) -> Recalibration:
    """Estimate calibration in the large and slope of PDs.

    Args:
        outcomes: (n,) 1 where the loan defaulted, else 0.
        pds: (n,) probabilities of default, not fitted on these loans.
        months: (n,) number of each loan's issue month; None where loans have none.
    """
    return _recalibrate(_Loans.of(outcomes, pds, months), _LEAST_MONTHS)


def calibration_in_the_large(outcomes: ArrayLike, pds: ArrayLike, months: ArrayLike | None = None) -> Estimate:
    """Estimate what to add to the log-odds of the PDs; the arguments are those of `recalibrate`.

    Firth's correction (Bias Reduction of Maximum Likelihood Estimates, 1993) keeps it finite without defaults. The
    error rests on the geometric mean of the information at the PDs and at the estimate, which stays close to the
    likelihood ratio where defaults are few.
    """
    return _intercept(_Loans.of(outcomes, pds, months), _LEAST_MONTHS)


def recalibrate_forward(outcomes: ArrayLike, margins: ArrayLike, fit: Any, months: ArrayLike | None) -> Recalibration:
    """Calibrate margins on the earlier half of the loans, and estimate how that calibration fits the later half.

    The errors hold those of the fit too. Halves are whole months; loans of one month alone are divided alternately.

    Args:
        outcomes: (n,) 1 where the loan defaulted, else 0.
        margins: (n,) what a model says of loans that it has not seen, in log-odds of any scale.
        fit: makes a calibration of margins and outcomes; its `pds` turns margins into PDs.
        months: (n,) number of each loan's issue month; None where loans have none.
    """
    truth, raw = np.asarray(outcomes, np.float64), np.asarray(margins, np.float64)
    early = _earlier_half(len(truth), months)
    calibration = fit(raw[early], truth[early])
    least = -(-_LEAST_MONTHS // 2)
    sides = [
        _recalibrate(_Loans.of(truth[half], calibration.pds(raw[half]), _of(months, half)), least)
        for half in (early, ~early)
    ]
    (fitted, judged) = sides
    slope = judged.slope and fitted.slope and _with_error_of(judged.slope, fitted.slope)
    return Recalibration(_with_error_of(judged.intercept, fitted.intercept), slope)


def mean_estimate(values: ArrayLike, months: ArrayLike | None = None) -> Estimate:
    """Estimate the mean of values (n,), one for each loan."""
    each = np.asarray(values, np.float64)
    mean, count = float(each.mean()), len(each)
    codes = _codes(months)
    error = float(each.std(ddof=1)) / count**0.5 if count > 1 else float("inf")
    groups = 0 if codes is None else int(codes.max()) + 1
    if codes is None or groups < _LEAST_MONTHS:
        return Estimate(mean, error)
    sums = np.bincount(codes, each - mean)
    return Estimate(mean, error, float(np.sqrt(groups / (groups - 1) * np.sum(sums**2))) / count, groups - 1)


# --- how it is computed ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loans:
    """Outcomes and log-odds of PDs (n,), and the number of each loan's month, from 0, where there are months."""

    outcomes: Floats
    log_odds: Floats
    months: Months | None

    @classmethod
    def of(cls, outcomes: ArrayLike, pds: ArrayLike, months: ArrayLike | None) -> _Loans:
        clipped = np.clip(np.asarray(pds, np.float64), CERTAIN, 1 - CERTAIN)
        return cls(np.asarray(outcomes, np.float64), np.log(clipped / (1 - clipped)), _codes(months))

    def spread(self, scores: Floats, least_months: int) -> tuple[Floats, int] | None:
        """Sum scores (n, k) by month: their covariance (k, k), and its degrees of freedom; None if months are few."""
        groups = 0 if self.months is None else int(self.months.max()) + 1
        if self.months is None or groups < least_months:
            return None
        sums = np.column_stack([np.bincount(self.months, column) for column in scores.T])
        return groups / (groups - 1) * sums.T @ sums, groups - 1


def _codes(months: ArrayLike | None) -> Months | None:
    return None if months is None else np.unique(np.asarray(months), return_inverse=True)[1].astype(np.int64)


def _of(months: ArrayLike | None, chosen: NDArray[np.bool_]) -> ArrayLike | None:
    return None if months is None else np.asarray(months)[chosen]


def _sigmoid(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-log_odds))


def _recalibrate(loans: _Loans, least_months: int) -> Recalibration:
    return Recalibration(_intercept(loans, least_months), _slope(loans, least_months))


def _intercept(loans: _Loans, least_months: int) -> Estimate:
    value = 0.0
    for _ in range(_STEPS):
        pds = _sigmoid(loans.log_odds + value)
        weights = pds * (1 - pds)
        information = float(weights.sum())
        score = float((loans.outcomes - pds).sum() + weights @ (1 - 2 * pds) / (2 * information))
        step = float(np.clip(score / information, -_LONGEST_STEP, _LONGEST_STEP))
        value += step
        if abs(step) < _CLOSE:
            break
    as_they_are = _sigmoid(loans.log_odds)
    error = (information * float((as_they_are * (1 - as_they_are)).sum())) ** -0.25
    spread = loans.spread((loans.outcomes - pds)[:, None], least_months)
    if spread is None:
        return Estimate(value, error)
    return Estimate(value, error, error * float(np.sqrt(spread[0][0, 0] / information)), spread[1])


def _slope(loans: _Loans, least_months: int) -> Estimate | None:
    centred = loans.log_odds - loans.log_odds.mean()
    if np.ptp(centred) < _CLOSE or not 0 < loans.outcomes.sum() < len(centred):
        return None
    design = np.column_stack([np.ones_like(centred), centred])
    weights = np.array([loans.log_odds.mean(), 1.0])
    for _ in range(_STEPS):
        pds = _sigmoid(design @ weights)
        information = design.T @ (design * (pds * (1 - pds))[:, None])
        if np.linalg.cond(information) > 1 / _CLOSE:  # outcomes that the PDs tell apart without a fault
            return None
        step = np.clip(np.linalg.solve(information, design.T @ (loans.outcomes - pds)), -_LONGEST_STEP, _LONGEST_STEP)
        weights = weights + step
        if np.abs(step).max() < _CLOSE:
            break
    covariance = np.linalg.inv(information)
    value, error = float(weights[1]), float(np.sqrt(covariance[1, 1]))
    spread = loans.spread(design * (loans.outcomes - pds)[:, None], least_months)
    if spread is None:
        return Estimate(value, error)
    return Estimate(value, error, float(np.sqrt((covariance @ spread[0] @ covariance)[1, 1])), spread[1])


def _earlier_half(count: int, months: ArrayLike | None) -> NDArray[np.bool_]:
    codes = _codes(months)
    if codes is None or codes.max() == 0:
        return np.asarray(np.arange(count) % 2 == 0)
    so_far = np.cumsum(np.bincount(codes))[:-1]  # the last month is always judged
    return codes <= int(np.abs(so_far - count / 2).argmin())


def _with_error_of(judged: Estimate, fitted: Estimate) -> Estimate:
    """Add the error of what was fitted to that of what is judged by it."""
    if judged.month_error is None or fitted.month_error is None:
        return Estimate(judged.value, hypot(judged.error, fitted.error))
    return Estimate(
        judged.value,
        hypot(judged.error, fitted.error),
        hypot(judged.month_error, fitted.month_error),
        judged.freedom + fitted.freedom,
    )
