"""Tells what lowers the value of an application against the typical loan of development, field by field.

The value of one unit lent hangs on three things: the PD, the rate and the term. What each of them takes away is its
Shapley value (L. Shapley, A Value for n-Person Games, 1953), from the typical loan with the model's mean log-odds;
that of the PD is divided among the fields as these add to the log-odds. So the parts of all fields add up to what the
application is worth less than the typical loan. Which of them an applicant is told is `reason_codes`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.valuation import PricedLoans, ValueModel
from loan_default.risk.estimates import CERTAIN

_EQUAL = 1e-6  # log-odds between which the slope is the curve's own
_WEIGHTS = (1 / 3, 1 / 6, 1 / 3)  # by how many of the two other players came before


@dataclass(frozen=True)
class LostValue:
    """What lowers the value of one unit lent (each (n,)): the rate, the term, and each unit of log-odds by the PD."""

    rate: Floats
    term: Floats
    per_log_odds: Floats


def lost_value(
    value: ValueModel, pds: Floats, added: Floats, loans: PricedLoans, typical: tuple[float, float]
) -> LostValue:
    """Compare applications (n,) with the typical loan.

    Args:
        value: of the version.
        pds: of the applications.
        added: what all fields together add to the log-odds of the PD.
        loans: what the applications would pay.
        typical: rate and term of the typical loan; NaN, or a term that has no value, stands for the application's own.
    """
    rate, term = typical
    typical_rates = np.full(len(pds), rate) if rate == rate else loans.rates
    typical_terms = np.full(len(pds), term) if term in value.endings else loans.terms
    before = _typical_pds(pds, added)
    both = before, pds
    rates, terms = (typical_rates, loans.rates), (typical_terms, loans.terms)
    worth = {pair: _parts(value, rates[pair[0]], terms[pair[1]]) for pair in product((0, 1), repeat=2)}

    def margin(pd: int, rate: int, term: int) -> Floats:
        defaulted, repaid, shift = worth[rate, term]
        return both[pd] * defaulted + (1 - both[pd]) * repaid + shift

    return LostValue(
        rate=_shapley(lambda own, pd, term: margin(pd, own, term)),
        term=_shapley(lambda own, pd, rate: margin(pd, rate, own)),
        per_log_odds=_slopes(before, pds, added)
        * np.sum([_WEIGHTS[sum(own)] * (repaid - defaulted) for own, (defaulted, repaid, _) in worth.items()], axis=0),
    )


def _parts(value: ValueModel, rates: Floats, terms: Floats) -> tuple[Floats, Floats, Floats]:
    units = value.units(PricedLoans(np.ones(len(rates)), rates, terms))
    return units.defaulted, units.repaid, value.shifts(terms)


def _shapley(margin: Callable[[int, int, int], Floats]) -> Floats:
    """Return what one of three players takes away, from values by whether it, and the two others, are the own ones."""
    parts = [
        _WEIGHTS[first + second] * (margin(0, first, second) - margin(1, first, second))
        for first, second in product((0, 1), repeat=2)
    ]
    lost: Floats = np.sum(parts, axis=0)
    return lost


def _typical_pds(pds: Floats, added: Floats) -> Floats:
    """Return the PDs (n,) without what the fields add to the log-odds."""
    certain = np.clip(pds, CERTAIN, 1 - CERTAIN)
    odds = certain / (1 - certain) * np.exp(-added)
    result: Floats = odds / (1 + odds)
    return result


def _slopes(before: Floats, pds: Floats, added: Floats) -> Floats:
    """Return by how much the PD rises with each unit of log-odds, on average between the typical loan's and the own."""
    close = np.abs(added) < _EQUAL
    return np.where(close, pds * (1 - pds), (pds - before) / np.where(close, 1.0, added))
