"""Reads of loans what their value needs: amount, rate and term of applications, and what ended loans paid.

Which columns these are is the contract's to say, and why a book has no value. What is computed of them
is `cash_flows`', `loss`' and `valuation`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import AMOUNT, EXPOSURE, MONTHS_PAID, OUTCOME, TERM
from loan_default.risk.contract.outcome import Horizon, ProductTerm
from loan_default.risk.contract.pricing import NEEDED_AMOUNTS, term_name, value_problem, yearly_rate
from loan_default.risk.economics.cash_flows import RealisedLoans
from loan_default.risk.economics.loss import EndedLoans
from loan_default.risk.economics.valuation import PricedLoans
from loan_default.risk.loan_order import period_numbers
from loan_default.risk.month_texts import month_number


@dataclass(frozen=True)
class ApplicationTerm:
    """Tells where the term of an application is: the same months for all, or the position of a feature.

    `by_level` are the months of each level of that feature, where it names the product.
    """

    months: float = np.nan
    position: int | None = None
    by_level: tuple[float, ...] = ()

    @classmethod
    def of(cls, contract: Contract) -> ApplicationTerm | None:
        """Read it of a contract; None where an application does not say its term."""
        term = contract.term
        if isinstance(term, Horizon):
            return cls(float(term.horizon))
        if isinstance(term, int):
            return cls(float(term))
        name = term.by if isinstance(term, ProductTerm) else TERM
        if name not in contract.feature_names:
            return None
        levels = contract.by_name[name].levels if isinstance(term, ProductTerm) else ()
        by_level = tuple(float(term.months.get(level, np.nan)) for level in levels) if term else ()
        return cls(position=contract.feature_names.index(name), by_level=by_level)

    def read(self, values: Floats) -> Floats:
        """Read the terms of applications (n, features), in months; NaN where one is missing."""
        if self.position is None:
            return np.full(len(values), self.months)
        column = values[:, self.position]
        if not self.by_level:
            return column
        return np.array([np.nan, *self.by_level])[np.nan_to_num(column).astype(np.int64)]

    def read_one(self, values: Sequence[float] | Floats) -> float:
        """Read the term of one application."""
        if self.position is None:
            return self.months
        value = float(values[self.position])
        return self.by_level[int(value) - 1] if self.by_level and value > 0 else value


@dataclass(frozen=True)
class LoanTerms:
    """Tells where amount, rate and term of an application are: positions among the features, and their names.

    `per_year` makes the rate a share a year.
    """

    names: tuple[str, str, str | None]
    amount: int
    rate: int
    term: ApplicationTerm
    per_year: float

    @classmethod
    def of(cls, contract: Contract) -> LoanTerms:
        """Read where a contract has them.

        Raises:
            ValueError: its loans cannot be valued.
        """
        problem, term = value_problem(contract), ApplicationTerm.of(contract)
        if contract.pricing is None or problem or term is None:
            raise ValueError(problem)
        names = (contract.pricing.amount, contract.pricing.rate, term_name(contract))
        amount, rate = map(contract.feature_names.index, names[:2])
        return cls(names, amount, rate, term, yearly_rate(str(contract.by_name[names[1]].unit)))

    def read(self, values: Floats) -> PricedLoans:
        """Read them of applications (n, features), in natural units."""
        return PricedLoans(values[:, self.amount], values[:, self.rate] * self.per_year, self.term.read(values))

    def typical(self, values: Mapping[str, float | str | None]) -> tuple[float, float]:
        """Return rate and term by the typical values of loans; NaN where these are not known."""
        _, rate, term = (values.get(name) if name else self.term.months for name in self.names)
        return (
            np.nan if rate is None else float(rate) * self.per_year,
            np.nan if term is None else float(term),
        )

    def unknown(self, values: Sequence[float] | Floats, terms: Collection[int]) -> list[int]:
        """Return the positions of what keeps one application from having a value, by the terms that have one."""
        absent = [position for position in (self.amount, self.rate) if not values[position] > -1]
        term = self.term.position
        return absent if term is None or values[term] in terms else [*absent, term]

    def read_one(self, values: Sequence[float] | Floats) -> tuple[float, float, float]:
        """Read amount, rate and term of one application."""
        return float(values[self.amount]), float(values[self.rate]) * self.per_year, self.term.read_one(values)


def columns_of_value(contract: Contract) -> list[str]:
    """Return the columns of cleaned loans from which `read_ended` reads."""
    order = [contract.order_name] if contract.order_name else []
    amounts = [AMOUNT + name for name in contract.outcome.amounts.columns]
    named = [name for name in LoanTerms.of(contract).names if name]
    return [*dict.fromkeys([*named, *order, OUTCOME, MONTHS_PAID, *amounts])]


def read_ended(loans: pl.DataFrame, contract: Contract) -> tuple[EndedLoans, NDArray[np.bool_]]:
    """Read what ended loans paid, and which rows (n,) say it: outcome, amount, rate, term, last payment and amounts.

    Fees, what was recovered and what that cost count as none where the book has no column of them or a loan no value.
    Owed at default is what outcome files told, or else what was lent less the principal that was paid.

    Raises:
        ValueError: loans of the book cannot be valued.
    """
    fields = LoanTerms.of(contract)
    amount_name, rate_name, term_name = fields.names

    def column(name: str) -> Floats:
        return loans[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    def paid(name: str) -> Floats:
        return np.nan_to_num(column(AMOUNT + name)) if AMOUNT + name in loans.columns else np.zeros(loans.height)

    principal, interest = (column(AMOUNT + name) for name in NEEDED_AMOUNTS)
    realised = RealisedLoans(
        lent=column(f"{AMOUNT}funded" if f"{AMOUNT}funded" in loans.columns else amount_name),
        rates=column(rate_name) * fields.per_year,
        terms=column(term_name) if term_name else np.full(loans.height, fields.term.months),
        months=column(MONTHS_PAID),
        paid=principal + interest + paid("fees"),
        recovered=paid("recovered") - paid("cost"),
    )
    complete = np.isfinite([*vars(realised).values(), principal, column(OUTCOME)]).all(axis=0)
    complete &= (realised.lent > 0) & (realised.terms >= 1)
    if EXPOSURE in loans.columns:
        owed = column(EXPOSURE)
        principal = np.where(np.isnan(owed), principal, realised.lent - owed)
    ended = EndedLoans(realised, column(OUTCOME) == 1, principal, period_numbers(loans, contract))
    return ended.take(complete), complete


def are_settled(loans: pl.DataFrame, contract: Contract, month: date, recovery_months: int) -> NDArray[np.bool_]:
    """Tell of which loans (n,) so many months have passed by a month since the last payment, or since the issue."""
    elapsed = month_number(pl.lit(month)) - month_number(pl.col(contract.time_name))
    paid = pl.col(MONTHS_PAID).fill_null(0)
    return loans.select(elapsed - paid >= recovery_months).to_series().to_numpy()
