"""Computes what a loan with level monthly payments pays, month by month, and what that is worth today.

All sums are per unit of the amount lent and all rates are shares a year, a twelfth of which counts each month. When
loans end, and what is lost then, is `loss`'s; what an application is worth, `valuation`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.pricing import MONTHS_A_YEAR

_PART = 20_000  # rates at once: 10 MB for each month table of 60 months


def instalments(rates: Floats, months: int) -> Floats:
    """Return the level payment a month (n,) that repays a loan of one unit: i / (1 - (1 + i)^-months)."""
    monthly = np.asarray(rates, dtype=np.float64) / MONTHS_A_YEAR
    with np.errstate(divide="ignore", invalid="ignore"):
        payment = monthly / -np.expm1(-months * np.log1p(monthly))
    return np.where(monthly == 0, 1 / months, payment)


def balances(rates: Floats, months: int) -> Floats:
    """Return what of one unit is owed (n, months + 1) after each number of payments, from none to all of them.

    ((1 + i)^months - (1 + i)^paid) / ((1 + i)^months - 1), the closed form of the annuity's schedule.
    """
    monthly = np.asarray(rates, dtype=np.float64)[:, None] / MONTHS_A_YEAR
    paid = np.arange(months + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.log1p(monthly)
        owed = np.expm1((paid - months) * growth) / np.expm1(-months * growth)
    return np.where(monthly == 0, 1 - paid / months, owed)


@dataclass(frozen=True)
class Costs:
    """Costs of a loan to its lender: rates are shares a year; `origination` is a share of the amount.

    `recovery_months` pass from the last payment of a defaulted loan until what is recovered comes.
    """

    funding: float
    servicing: float = 0.0
    origination: float = 0.0
    recovery_months: int = 0

    def discounts(self, months: int) -> Floats:
        """Return the worth today (months + 1,) of one unit after each number of months."""
        result: Floats = (1 + self.funding / MONTHS_A_YEAR) ** -np.arange(months + 1, dtype=np.float64)
        return result


@dataclass(frozen=True)
class Endings:
    """When loans of a term end, and what is lost then, each an array (months,).

    Attributes:
        defaulted: shares of the defaulted loans by the payments that they made before, from 0.
        repaid: shares of the repaid loans by the month of their last payment, from 1.
        loss: loss given default by the payments made before, as a share of what was owed then.
        exposure: what was owed then, as a share of what the schedule says.
    """

    defaulted: Floats
    repaid: Floats
    loss: Floats
    exposure: float = 1.0

    @property
    def months(self) -> int:
        """Return the term."""
        return len(self.repaid)


@dataclass(frozen=True)
class UnitValues:
    """Values of one unit lent (each (n,)) if it is repaid, and if it defaults.

    Attributes:
        repaid: net present value of a loan that is repaid, early or at its term.
        defaulted: the same of a loan that defaults.
        exposure: what is owed at default.
        loss: what is lost of it.
        years_repaid: what is owed, added up over the years of a loan that is repaid.
        years_defaulted: the same of a loan that defaults, until its last payment.
    """

    repaid: Floats
    defaulted: Floats
    exposure: Floats
    loss: Floats
    years_repaid: Floats
    years_defaulted: Floats

    def take(self, rows: Any) -> UnitValues:
        """Return the values of some rows, in their order."""
        return UnitValues(*(getattr(self, each.name)[rows] for each in fields(self)))


def unit_values(rates: Floats, endings: Endings, costs: Costs) -> UnitValues:
    """Value one unit lent at each rate (n,), over all months in which loans of the term end; in bounded memory."""
    parts = [_values_of_part(rates[start : start + _PART], endings, costs) for start in range(0, len(rates), _PART)]
    return UnitValues(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(UnitValues)))


def _values_of_part(rates: Floats, endings: Endings, costs: Costs) -> UnitValues:
    months = endings.months
    owed, payment = balances(rates, months), instalments(rates, months)
    worth = costs.discounts(months + costs.recovery_months)
    annuity = np.concatenate([[0.0], np.cumsum(worth[1 : months + 1])])  # of so many payments of one unit
    # By the number of payments made (0 to months): what they are worth, and what was owed over the years until then.
    paid = payment[:, None] * annuity - _service(rates, months, costs)
    years = np.cumsum(np.concatenate([np.zeros((len(rates), 1)), owed[:, :-1]], axis=1), axis=1) / MONTHS_A_YEAR
    lent = 1 + costs.origination
    settled = paid[:, 1:] + owed[:, 1:] * worth[1 : months + 1]
    exposed = owed[:, :-1]  # after 0 to months - 1 payments
    # What the loan owed beyond its schedule was not paid before; with the loss it is taken off the schedule's balance.
    recovered = exposed * (1 - endings.exposure * endings.loss)
    recovered *= worth[costs.recovery_months : costs.recovery_months + months]
    return UnitValues(
        repaid=settled @ endings.repaid - lent,
        defaulted=(paid[:, :-1] + recovered) @ endings.defaulted - lent,
        exposure=endings.exposure * (exposed @ endings.defaulted),
        loss=endings.exposure * (exposed @ (endings.loss * endings.defaulted)),
        years_repaid=years[:, 1:] @ endings.repaid,
        years_defaulted=years[:, :-1] @ endings.defaulted,
    )


@dataclass(frozen=True)
class RealisedLoans:
    """Sums that loans paid, each an array (n,) in the book's currency.

    Attributes:
        lent: amount paid out.
        rates: agreed, shares a year.
        terms: months.
        months: from the grant to the last payment; 0 where none was made.
        paid: principal, interest and fees.
        recovered: after the default, less what collecting it cost.
    """

    lent: Floats
    rates: Floats
    terms: Floats
    months: Floats
    paid: Floats
    recovered: Floats


def closing_months(loans: RealisedLoans) -> Floats:
    """Return the month of the last payment (n,): 1 at least where anything was paid."""
    return np.where(loans.paid > 0, np.maximum(loans.months, 1), np.maximum(loans.months, 0))


def scheduled_balances(loans: RealisedLoans) -> Floats:
    """Return what the schedule says is owed after the months that passed until the last payment (n,)."""
    owed = np.zeros(len(loans.lent))
    for term, rows in _parts(loans.terms):
        paid = np.clip(loans.months[rows], 0, term - 1).astype(np.int64)
        owed[rows] = loans.lent[rows] * balances(loans.rates[rows], term)[np.arange(len(rows)), paid]
    return owed


def realised_values(loans: RealisedLoans, costs: Costs) -> Floats:
    """Return what loans were worth on the day of their grant (n,), by what they paid and when they paid last.

    Totals do not say what was paid in between: the level payment is taken for each month, or less where the total does
    not reach for that, and the rest for the last. What was recovered counts `recovery_months` after it.
    """
    monthly, last = costs.funding / MONTHS_A_YEAR, closing_months(loans)
    before = np.maximum(last - 1, 0)
    payment, service = np.zeros(len(last)), np.zeros(len(last))
    for term, rows in _parts(loans.terms):
        payment[rows] = loans.lent[rows] * instalments(loans.rates[rows], term)
        cost = _service(loans.rates[rows], term, costs)
        service[rows] = loans.lent[rows] * cost[np.arange(len(rows)), np.clip(last[rows], 0, term).astype(np.int64)]
    level = np.minimum(payment, loans.paid / np.maximum(last, 1))
    annuity = before if monthly == 0 else -np.expm1(-before * np.log1p(monthly)) / monthly
    received = level * annuity + (loans.paid - level * before) * (1 + monthly) ** -last
    received += loans.recovered * (1 + monthly) ** -(last + costs.recovery_months)
    result: Floats = received - service - loans.lent * (1 + costs.origination)
    return result


def _parts(terms: Floats) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each term with its rows, so many at once as tables by month can hold."""
    for term in np.unique(terms):
        rows = np.flatnonzero(terms == term)
        yield from ((int(term), rows[start : start + _PART]) for start in range(0, len(rows), _PART))


def _service(rates: Floats, months: int, costs: Costs) -> Floats:
    """Return what servicing one unit costs today (n, months + 1), by the number of payments made."""
    owed = balances(rates, months)[:, :-1] * costs.discounts(months)[1:]
    service = np.cumsum(owed, axis=1) * (costs.servicing / MONTHS_A_YEAR)
    return np.concatenate([np.zeros((len(rates), 1)), service], axis=1)
