"""Estimates from loans that have ended when loans of a term end, and what is lost then: exposure and loss at default.

A term with few loans leans on all others, by the part of the term that had passed. On LendingClub's loans of 2011 a
two-part model of the loss (is anything recovered, and how much) explained 2% of its variance and missed the sum lost
by 0.5% instead of 0.7%: not worth a second model. What a loan pays by month is `cash_flows`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.cash_flows import Endings, RealisedLoans, closing_months, scheduled_balances
from loan_default.risk.estimates import mean_estimate
from loan_default.risk.metrics import Interval

LEAST_DEFAULTS = 30  # on which endings are estimated, of all terms together
LEAST_VINTAGE = 10  # defaults of a vintage whose losses are shown
_WEIGHT = 100  # loans for which all terms together count beside those of one
_SPANS = 6  # of a term by which the loss is told apart


@dataclass(frozen=True)
class EndedLoans:
    """Loans that have ended (n,): what they paid, which defaulted, and what of the principal was repaid before.

    `issued` numbers the months of issue; None in a book without a date. `settled` tells whether what is recovered has
    come, as far as it ever does; None where it has of all.
    """

    realised: RealisedLoans
    defaulted: NDArray[np.bool_]
    principal: Floats
    issued: NDArray[np.int64] | None = None
    settled: NDArray[np.bool_] | None = None

    @property
    def exposure(self) -> Floats:
        """Return what was owed of the principal after the last payment (n,)."""
        return self.realised.lent - self.principal

    def take(self, rows: NDArray[np.bool_]) -> EndedLoans:
        """Return some of the loans."""
        chosen = RealisedLoans(*(getattr(self.realised, each.name)[rows] for each in fields(RealisedLoans)))
        issued = None if self.issued is None else self.issued[rows]
        settled = None if self.settled is None else self.settled[rows]
        return EndedLoans(chosen, self.defaulted[rows], self.principal[rows], issued, settled)


@dataclass(frozen=True)
class LossEstimate:
    """Figures of what defaults of a term cost: their number, and two shares with 95% intervals.

    Attributes:
        term: months.
        defaults: loans that defaulted.
        loss: lost of what was owed at default (LGD), after what was recovered.
        exposure: owed at default of what was lent (EAD).
    """

    term: int
    defaults: int
    loss: Interval
    exposure: Interval


@dataclass(frozen=True)
class VintageLoss:
    """What defaults of a vintage cost beside what was expected of them, given when they stopped paying.

    Attributes:
        vintage: as it is called.
        defaults: loans that defaulted.
        loss: lost of what was owed at default (LGD), with its 95% interval.
        expected_loss: the same as estimated on the loans of development.
        exposure: owed at default of what was lent (EAD), with its interval.
        expected_exposure: the same as estimated.
    """

    vintage: str
    defaults: int
    loss: Interval
    expected_loss: float
    exposure: Interval
    expected_exposure: float


def estimate_endings(loans: EndedLoans) -> dict[int, Endings]:
    """Estimate for each term when its loans end and what is lost then.

    Raises:
        ValueError: fewer than `LEAST_DEFAULTS` defaulted, or none was repaid.
    """
    count = int(loans.defaulted.sum())
    if count < LEAST_DEFAULTS or count == len(loans.defaulted):
        raise ValueError(f"{count} of {len(loans.defaulted)} loans defaulted")
    bad, good = loans.take(loans.defaulted), loans.take(~loans.defaulted)
    terms = [int(term) for term in np.unique(loans.realised.terms)]
    repaid_after = closing_months(good.realised) - 1
    defaulted = {term: _timing(bad.realised.months, bad.realised.terms, term) for term in terms}
    repaid = {term: _timing(repaid_after, good.realised.terms, term) for term in terms}
    losses, exposures = _losses(bad, terms), _exposures(bad, terms)
    return {term: Endings(defaulted[term], repaid[term], losses[term], exposures[term]) for term in terms}


def _timing(months: Floats, terms: Floats, term: int) -> Floats:
    """Return the shares (term,) of loans that end after each number of months, from 0."""
    passed = np.rint(months / np.maximum(terms - 1, 1) * (term - 1))  # the last month of a term stays its last
    of_all, own = (
        np.bincount(np.clip(values, 0, term - 1).astype(np.int64), minlength=term)
        for values in (passed, months[terms == term])
    )
    return _shrink(own.astype(np.float64), float(own.sum()), of_all / max(of_all.sum(), 1), _WEIGHT)


def _losses(bad: EndedLoans, terms: list[int]) -> dict[int, Floats]:
    """Return of each term the loss given default (term,) by the months that passed before: the same within a span.

    By defaults whose recoveries have come where these are enough, as what is still to come would count as lost.
    """
    if bad.settled is not None and bad.settled.sum() >= LEAST_DEFAULTS:
        bad = bad.take(bad.settled)
    lost, owed = bad.exposure - bad.realised.recovered, bad.exposure
    span = np.clip(bad.realised.months * _SPANS // bad.realised.terms, 0, _SPANS - 1).astype(np.int64)
    weight = _WEIGHT * owed.mean()

    def sums(values: Floats, rows: NDArray[np.bool_]) -> Floats:
        return np.bincount(span[rows], weights=values[rows], minlength=_SPANS).astype(np.float64)

    everyone = np.ones(len(lost), dtype=np.bool_)
    of_all = _shrink(sums(lost, everyone), sums(owed, everyone), np.full(_SPANS, lost.sum() / owed.sum()), weight)
    losses = {}
    for term in terms:
        own = bad.realised.terms == term
        by_span = _shrink(sums(lost, own), sums(owed, own), of_all, weight)
        losses[term] = by_span[np.arange(term) * _SPANS // term]
    return losses


def _exposures(bad: EndedLoans, terms: list[int]) -> dict[int, float]:
    """Return of each term what was owed at default as a share of what the schedule says."""
    scheduled = scheduled_balances(bad.realised)
    ratio, weight = bad.exposure.sum() / scheduled.sum(), _WEIGHT * scheduled.mean()
    own = {term: bad.realised.terms == term for term in terms}
    return {
        term: float(_shrink(bad.exposure[rows].sum(), scheduled[rows].sum(), ratio, weight))
        for term, rows in own.items()
    }


def _shrink(numerator: Floats, denominator: Floats | float, towards: Floats, weight: float) -> Floats:
    """Return a ratio that leans on another, as if its denominator held `weight` more of it."""
    return (numerator + weight * towards) / (denominator + weight)


def measure_losses(loans: EndedLoans) -> list[LossEstimate]:
    """Measure what defaults of each term cost, with intervals by loan, or by month of issue where these are wider."""
    estimates = []
    for term in np.unique(loans.realised.terms[loans.defaulted]):
        bad = loans.take(loans.defaulted & (loans.realised.terms == term))
        loss = _ratio(bad.exposure - bad.realised.recovered, bad.exposure, bad.issued)
        exposure = _ratio(bad.exposure, bad.realised.lent, bad.issued)
        estimates.append(LossEstimate(int(term), len(bad.defaulted), loss, exposure))
    return estimates


def losses_by_vintage(loans: EndedLoans, vintages: Sequence[str], endings: Mapping[int, Endings]) -> list[VintageLoss]:
    """Compare what defaults cost with what was expected, by vintage of `LEAST_VINTAGE` defaults or more.

    Args:
        loans: (n,) that have ended, of terms that have endings.
        vintages: (n,) of the loans.
        endings: by term, estimated on other loans.
    """
    bad, labels = loans.take(loans.defaulted), np.asarray(vintages)[loans.defaulted]
    realised, expected = bad.realised, np.empty(len(labels))
    scheduled = scheduled_balances(realised)
    for term, ending in endings.items():
        rows = realised.terms == term
        expected[rows] = ending.loss[np.clip(realised.months[rows], 0, term - 1).astype(np.int64)]
        scheduled[rows] *= ending.exposure
    lost, owed = bad.exposure - realised.recovered, bad.exposure
    estimates = []
    for label in np.unique(labels):
        rows = labels == label
        if rows.sum() < LEAST_VINTAGE:
            continue
        issued = None if bad.issued is None else bad.issued[rows]
        estimates.append(
            VintageLoss(
                vintage=str(label),
                defaults=int(rows.sum()),
                loss=_ratio(lost[rows], owed[rows], issued),
                expected_loss=float((expected[rows] * owed[rows]).sum() / owed[rows].sum()),
                exposure=_ratio(owed[rows], realised.lent[rows], issued),
                expected_exposure=float(scheduled[rows].sum() / realised.lent[rows].sum()),
            )
        )
    return estimates


def _ratio(numerator: Floats, denominator: Floats, months: NDArray[np.int64] | None) -> Interval:
    """Estimate a ratio of sums; its error is that of the mean residual (the delta method)."""
    ratio, mean = float(numerator.sum() / denominator.sum()), float(denominator.mean())
    if len(numerator) == 1:
        return Interval(ratio, float("-inf"), float("inf"))
    residual = mean_estimate(numerator - ratio * denominator, months)
    return Interval(ratio, ratio + residual.low / mean, ratio + residual.high / mean)
