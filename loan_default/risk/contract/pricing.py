"""Describes which fields say what a loan pays: how much was lent, and at which rate.

What its term is belongs in `outcome`; what a loan is worth by all three, in `economics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loan_default.risk.section import Problem, Section
from loan_default.risk.units import TIME, unit_of

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract

MONTHS_A_YEAR = 12


class Pricing(Section):
    """Names the fields with the amount of a loan and its rate of interest; loans are repaid by level monthly payments.

    Attributes:
        amount: the field of the amount lent, in the money of the book.
        rate: the field of the rate of interest, by the month or the year.
    """

    amount: str
    rate: str


def pricing_problems(contract: Contract) -> Iterator[Problem]:
    """Yield why loans cannot be valued by the fields that the contract names."""
    for key, name in contract.pricing.model_dump().items() if contract.pricing else ():
        field = contract.by_name.get(name)
        if field is None or field.kind != "number" or field.role != "feature":
            what = "is no field" if field is None else f"is of the kind {field.kind} and the role {field.role}"
            problem = f"pricing.{key} names {name}, which {what}; write a number that is a feature"
            yield Problem(problem, ("pricing", key), ("name",))
        elif key == "rate" and (field.unit is None or unit_of(field.unit).powers != ((TIME, -1),)):
            problem = f"pricing.rate names {name}, whose unit {field.unit} is no rate of interest"
            yield Problem(f"{problem}; write one in percent a year, or a month", ("pricing", key), ("name", "unit"))


def yearly_rate(unit: str) -> float:
    """Return by what a rate in this unit is multiplied to be a share a year."""
    return float(unit_of(unit).size * MONTHS_A_YEAR)
