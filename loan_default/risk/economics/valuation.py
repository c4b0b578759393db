"""Values applications by their PD: expected loss, expected net present value, and the capital that they tie up.

A `ValueModel` travels with the model version whose PDs it takes: it was estimated on the same loans, by the costs that
the policy named then. What a loan pays is `cash_flows`'s, when loans end `loss`'s, what cut-offs earn `strategy`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.cash_flows import Costs, Endings, UnitValues, realised_values, unit_values
from loan_default.risk.economics.loss import EndedLoans, estimate_endings
from loan_default.risk.estimates import Estimate, mean_estimate
from loan_default.risk.policy import MARGIN_DIGITS, ValuePolicy

_DIGITS = 10  # of values of one unit, so that a loan has the same alone and among others
_REMEMBERED = 10_000  # pairs of rate and term
_FEW = 20  # loans whose values of one unit are looked up
_UNIT_FIELDS = tuple(UnitValues.__dataclass_fields__)


class PricedLoans(NamedTuple):
    """What loans pay: amounts in the book's money, rates as shares a year, terms in months, each (n,)."""

    amounts: Floats
    rates: Floats
    terms: Floats


@dataclass(frozen=True)
class LoanValues:
    """Values of loans (n,) in the book's money, NaN where amount, rate or term is missing or none was learned from.

    Attributes:
        expected_loss: principal that is lost on average, after what is recovered.
        npv: expected net present value on the day of the grant, after all costs.
        margins: the same of one unit lent, of `MARGIN_DIGITS` decimals: what decisions by value compare.
        years: what is owed on average, added up over the years of the loan.
    """

    expected_loss: Floats
    npv: Floats
    margins: Floats
    years: Floats


@dataclass(frozen=True)
class ValueModel:
    """Values loans of the terms that it was estimated on.

    Attributes:
        policy: costs and capital that the values rest on.
        endings: when loans of each term end, and what is lost then.
        corrections: of the net present value of one unit lent, by term: what loans of development earned beyond what
            they would have been expected to, with its error.
    """

    policy: ValuePolicy
    endings: Mapping[int, Endings]
    corrections: Mapping[int, Estimate]

    @cached_property
    def costs(self) -> Costs:
        """Return the costs of the policy."""
        return costs_of(self.policy)

    @cached_property
    def _remembered(self) -> dict[tuple[float, float], tuple[float, ...]]:
        return {}

    def value(self, pds: Floats, loans: PricedLoans) -> LoanValues:
        """Value loans by their PDs (n,)."""
        units = self.units(loans)
        margins = pds * units.defaulted + (1 - pds) * units.repaid + self.shifts(loans.terms)
        return LoanValues(
            expected_loss=loans.amounts * (pds * units.loss),
            npv=loans.amounts * margins,
            margins=np.where(np.isnan(loans.amounts), np.nan, np.round(margins, MARGIN_DIGITS)),
            years=loans.amounts * (pds * units.years_defaulted + (1 - pds) * units.years_repaid),
        )

    def value_application(self, pd: float, amount: float, rate: float, term: float) -> tuple[float, float, float]:
        """Return expected loss, net present value and that of one unit, to the bit as `value` does those of many."""
        repaid, defaulted, _, loss, _, _, shift = self._unit(rate, term)
        margin = pd * defaulted + (1 - pd) * repaid + shift
        compared = math.nan if math.isnan(amount) else float(np.round(margin, MARGIN_DIGITS))
        return amount * (pd * loss), amount * margin, compared

    def shifts(self, terms: Floats) -> Floats:
        """Return the correction of the value of one unit lent (n,) by the term of each loan."""
        return self._by_term(terms, {term: self._shift(term) for term in self.endings})

    def _unit(self, rate: float, term: float) -> tuple[float, ...]:
        """Return the fields of `UnitValues` at a rate and a term, and the correction of the term."""
        return self._remembered.get((rate, term)) or self._remember(rate, term)

    def _remember(self, rate: float, term: float) -> tuple[float, ...]:
        """Value one unit at a rate and a term, and remember it: few rates are asked for again and again."""
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        unit = (math.nan,) * (len(_UNIT_FIELDS) + 1)
        if rate > -1 and term in self.endings:
            units = unit_values(np.array([rate]), self.endings[int(term)], self.costs)
            values = np.round([getattr(units, name)[0] for name in _UNIT_FIELDS], _DIGITS).tolist()
            unit = (*values, self._shift(int(term)))
        self._remembered[rate, term] = unit
        return unit

    def units(self, loans: PricedLoans) -> UnitValues:
        """Value one unit lent (n,) at the rate and the term of each loan."""
        if 0 < len(loans.terms) <= _FEW:
            pairs = zip(loans.rates.tolist(), loans.terms.tolist(), strict=True)
            return UnitValues(*np.array([self._unit(*pair)[:-1] for pair in pairs]).T)
        columns = np.full((len(_UNIT_FIELDS), len(loans.terms)), np.nan)
        for term, endings in self.endings.items():
            rows = np.flatnonzero((loans.terms == term) & (loans.rates > -1))
            rates, position = np.unique(loans.rates[rows], return_inverse=True)
            if len(rates):
                units = unit_values(rates, endings, self.costs).take(position)
                columns[:, rows] = [getattr(units, name) for name in _UNIT_FIELDS]
        return UnitValues(*np.round(columns, _DIGITS))

    def errors(self, loans: PricedLoans) -> Floats:
        """Return the standard error of the net present values (n,) that development leaves, alike for all of a term.

        0 of a term without a correction, where it is not known.
        """
        known = {term: max(each.error, each.month_error or 0.0) for term, each in self.corrections.items()}
        by_term = dict.fromkeys(self.endings, 0.0) | known
        return loans.amounts * self._by_term(loans.terms, by_term)

    def _by_term(self, terms: Floats, values: Mapping[int, float]) -> Floats:
        result = np.full(len(terms), np.nan)
        for term, value in values.items():
            result[terms == term] = value
        return result

    def _shift(self, term: int) -> float:
        """Return the correction of a term, less what chance explains of it (James and Stein, positive part)."""
        each = self.corrections.get(term)
        if each is None or each.value == 0:
            return 0.0
        error = max(each.error, each.month_error or 0.0)
        return float(each.value * max(0.0, 1 - (error / each.value) ** 2))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "policy": self.policy.model_dump(),
            "endings": {
                term: {name: np.asarray(value).tolist() for name, value in asdict(each).items()}
                for term, each in self.endings.items()
            },
            "corrections": {term: asdict(each) for term, each in self.corrections.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ValueModel:
        """Read what `to_dict` returned."""
        endings = {
            int(term): Endings(
                np.array(each["defaulted"]), np.array(each["repaid"]), np.array(each["loss"]), each["exposure"]
            )
            for term, each in data["endings"].items()
        }
        corrections = {int(term): Estimate(**each) for term, each in data["corrections"].items()}
        return cls(ValuePolicy(**data["policy"]), endings, corrections)


def costs_of(policy: ValuePolicy) -> Costs:
    """Return the costs that the policy names."""
    return Costs(policy.funding_rate, policy.servicing_cost, policy.origination_cost, policy.recovery_months)


def fit_value(loans: EndedLoans, pds: Floats, policy: ValuePolicy) -> ValueModel:
    """Estimate a value model on the loans of a development, with the PDs (n,) of the version that it is for.

    A correction is the mean of what each unit lent earned beyond what was expected, as errors grow with the amount.

    Raises:
        ValueError: too few loans defaulted, or none was repaid.
    """
    realised = loans.realised
    model = ValueModel(policy, estimate_endings(loans), {})
    expected = model.value(pds, PricedLoans(realised.lent, realised.rates, realised.terms)).npv
    beyond = (realised_values(realised, model.costs) - expected) / realised.lent
    corrections = {}
    for term in model.endings:
        rows = realised.terms == term
        if rows.sum() > 1:
            corrections[term] = mean_estimate(beyond[rows], None if loans.issued is None else loans.issued[rows])
    return ValueModel(policy, model.endings, corrections)
