"""Reads of loans what their value needs: amount, rate and term of applications, and what ended loans paid.

Which columns these are is the contract's to say, and why a book has no value. What is computed of them
is `cash_flows`', `loss`' and `valuation`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import AMOUNT, MONTHS_PAID, OUTCOME
from loan_default.risk.contract.pricing import NEEDED_AMOUNTS, term_name, value_problem, yearly_rate
from loan_default.risk.economics.cash_flows import RealisedLoans
from loan_default.risk.economics.loss import EndedLoans
from loan_default.risk.economics.valuation import PricedLoans
from loan_default.risk.loan_order import period_numbers


@dataclass(frozen=True)
class LoanTerms:
    """Names the fields of amount, rate and term, and their positions among the features.

    `per_year` makes the rate a share a year; `months` is the term of all loans where no field has it.
    """

    names: tuple[str, str, str | None]
    positions: tuple[int, int, int | None]
    per_year: float
    months: float = np.nan

    @classmethod
    def of(cls, contract: Contract) -> LoanTerms:
        """Read where a contract has them.

        Raises:
            ValueError: its loans cannot be valued.
        """
        problem = value_problem(contract)
        if contract.pricing is None or problem:
            raise ValueError(problem)
        names = (contract.pricing.amount, contract.pricing.rate, term_name(contract))
        amount, rate, term = (contract.feature_names.index(name) if name else None for name in names)
        months = float(contract.term) if isinstance(contract.term, int) else np.nan
        return cls(names, (amount or 0, rate or 0, term), yearly_rate(str(contract.by_name[names[1]].unit)), months)

    def read(self, values: Floats) -> PricedLoans:
        """Read them of applications (n, features), in natural units."""
        amount, rate, term = self.positions
        terms = np.full(len(values), self.months) if term is None else values[:, term]
        return PricedLoans(values[:, amount], values[:, rate] * self.per_year, terms)

    def typical(self, values: Mapping[str, float | str | None]) -> tuple[float, float]:
        """Return rate and term by the typical values of loans; NaN where these are not known."""
        _, rate, term = (values.get(name) if name else self.months for name in self.names)
        return (
            np.nan if rate is None else float(rate) * self.per_year,
            np.nan if term is None else float(term),
        )

    def unknown(self, values: Sequence[float] | Floats, terms: Collection[int]) -> list[int]:
        """Return the positions of what keeps one application from having a value, by the terms that have one."""
        amount, rate, term = self.positions
        absent = [position for position in (amount, rate) if not values[position] > -1]
        return absent if term is None or values[term] in terms else [*absent, term]

    def read_one(self, values: Sequence[float] | Floats) -> tuple[float, float, float]:
        """Read amount, rate and term of one application."""
        amount, rate, term = self.positions
        months = self.months if term is None else float(values[term])
        return float(values[amount]), float(values[rate]) * self.per_year, months


def columns_of_value(contract: Contract) -> list[str]:
    """Return the columns of cleaned loans from which `read_ended` reads."""
    order = [contract.order_name] if contract.order_name else []
    amounts = [AMOUNT + name for name in contract.outcome.amounts.columns]
    named = [name for name in LoanTerms.of(contract).names if name]
    return [*dict.fromkeys([*named, *order, OUTCOME, MONTHS_PAID, *amounts])]


def read_ended(loans: pl.DataFrame, contract: Contract) -> tuple[EndedLoans, NDArray[np.bool_]]:
    """Read what ended loans paid, and which rows (n,) say it: outcome, amount, rate, term, last payment and amounts.

    Fees, what was recovered and what that cost count as none where the book has no column of them or a loan no value.

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
        terms=column(term_name) if term_name else np.full(loans.height, fields.months),
        months=column(MONTHS_PAID),
        paid=principal + interest + paid("fees"),
        recovered=paid("recovered") - paid("cost"),
    )
    complete = np.isfinite([*vars(realised).values(), principal, column(OUTCOME)]).all(axis=0)
    complete &= (realised.lent > 0) & (realised.terms >= 1)
    ended = EndedLoans(realised, column(OUTCOME) == 1, principal, period_numbers(loans, contract))
    return ended.take(complete), complete
