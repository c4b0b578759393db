"""Adds up what approved loans were expected to come to, and came to, beside each other.

Loans are those that have ended: of applicants who were declined nobody knows what they would have paid. What one loan
is worth is `valuation`'s, which cut-offs to compare or to propose `value.strategy`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.cash_flows import realised_values
from loan_default.risk.economics.loss import EndedLoans
from loan_default.risk.economics.valuation import PricedLoans, ValueModel
from loan_default.risk.estimates import mean_estimate
from loan_default.risk.policy import MARGIN_DIGITS

Rule = Literal["pd", "npv"]
RULES: tuple[Rule, ...] = get_args(Rule)
Mask = NDArray[np.bool_]
_DECILES = 10


@dataclass(frozen=True)
class ValuedLoans:
    """Loans that have ended (n,), with what was expected of them and what they paid, in the book's money.

    Attributes:
        pds: probability of default.
        amounts: lent.
        expected_loss: principal expected to be lost.
        expected_npv: expected net present value.
        npv_error: standard error of the expectations of loans, common to all of a term.
        years: what is owed on average, added up over the years.
        defaulted: whether they did.
        loss: principal lost.
        npv: net present value realised.
        terms: months.
        issued: number of the month of issue; None without.
    """

    pds: Floats
    amounts: Floats
    expected_loss: Floats
    expected_npv: Floats
    npv_error: Floats
    years: Floats
    defaulted: Mask
    loss: Floats
    npv: Floats
    terms: Floats
    issued: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, value: ValueModel, pds: Floats, ended: EndedLoans) -> ValuedLoans:
        """Return ended loans (n,) with what is expected of them by their PDs, by what was lent, and what they paid."""
        realised = ended.realised
        priced = PricedLoans(realised.lent, realised.rates, realised.terms)
        expected = value.value(pds, priced)
        return cls(
            pds=pds,
            amounts=realised.lent,
            expected_loss=expected.expected_loss,
            expected_npv=expected.npv,
            npv_error=value.errors(priced),
            years=expected.years,
            defaulted=ended.defaulted,
            loss=np.where(ended.defaulted, ended.exposure - realised.recovered, 0.0),
            npv=realised_values(realised, value.costs),
            terms=realised.terms,
            issued=ended.issued,
        )

    @property
    def margins(self) -> Floats:
        """Return the expected net present value of one unit lent: what the rule by value ranks by."""
        return np.round(self.expected_npv / self.amounts, MARGIN_DIGITS)


@dataclass(frozen=True)
class ApprovedLoans:
    """What loans that a rule approves came to; shares are of all loans, returns a year on the capital tied up."""

    loans: int
    share: float
    volume: float
    mean_pd: float | None
    default_rate: float | None
    expected_loss: float
    loss: float
    expected_npv: float
    npv: float
    expected_return: float | None
    realised_return: float | None


def outcome_of(loans: ValuedLoans, approved: Mask, capital_share: float) -> ApprovedLoans:
    """Add up what approved loans were expected to come to, and came to."""
    count, capital = int(approved.sum()), capital_share * float(loans.years[approved].sum())
    expected, realised = (float(values[approved].sum()) for values in (loans.expected_npv, loans.npv))
    return ApprovedLoans(
        loans=count,
        share=count / len(approved),
        volume=float(loans.amounts[approved].sum()),
        mean_pd=float(loans.pds[approved].mean()) if count else None,
        default_rate=float(loans.defaulted[approved].mean()) if count else None,
        expected_loss=float(loans.expected_loss[approved].sum()),
        loss=float(loans.loss[approved].sum()),
        expected_npv=expected,
        npv=realised,
        expected_return=expected / capital if count else None,
        realised_return=realised / capital if count else None,
    )


def approved_by(loans: ValuedLoans, rule: Rule, share: float) -> tuple[float, Mask]:
    """Return the cut-off by which a rule approves about this share of the loans, and which these are.

    By PD those below it are approved, by value those whose net present value of one unit lent is it or more.
    """
    if not share:
        return (0.0 if rule == "pd" else 1.0), np.zeros(len(loans.pds), dtype=np.bool_)
    if rule == "pd":
        cutoff = float(np.quantile(loans.pds, share, method="higher")) if share < 1 else 1.0
        return cutoff, loans.pds < cutoff if share < 1 else np.ones(len(loans.pds), dtype=np.bool_)
    margins = loans.margins
    cutoff = float(np.quantile(margins, 1 - share, method="lower" if share == 1 else "higher"))
    return cutoff, margins >= cutoff


@dataclass(frozen=True)
class RealisedGroup:
    """Loans by what was expected of them: mean values of each loan, and where realised ones lie 19 times of 20.

    The interval, from `low` to `high`, counts the spread of loans and months, and the error that the model's
    development left, where that is known. `is_inside` tells whether what was realised lies in it.
    """

    group: int
    loans: int
    expected: float
    realised: float
    low: float
    high: float
    is_inside: bool


def realised_by_decile(loans: ValuedLoans) -> list[RealisedGroup]:
    """Compare expected and realised net present value by tenths of the expected."""
    order = np.argsort(loans.expected_npv, kind="stable")
    groups = []
    for number, rows in enumerate(np.array_split(order, min(_DECILES, len(order))), 1):
        issued = None if loans.issued is None else loans.issued[rows]
        beyond = mean_estimate(loans.npv[rows] - loans.expected_npv[rows], issued)
        development = sum(
            loans.npv_error[rows][loans.terms[rows] == term].sum() ** 2 for term in np.unique(loans.terms[rows])
        ) ** 0.5 / len(rows)
        half = float(np.hypot((beyond.high - beyond.low) / 2, 1.96 * development))
        expected, realised = (float(values[rows].mean()) for values in (loans.expected_npv, loans.npv))
        low, high = expected - half, expected + half
        groups.append(RealisedGroup(number, len(rows), expected, realised, low, high, low <= realised <= high))
    return groups
