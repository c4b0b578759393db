"""Describes which fields say what a loan pays: how much was lent, and at which rate; and why a book has no value.

What its term is belongs in `outcome`; what a loan is worth by all three, in `economics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loan_default.risk.contract.columns import TERM
from loan_default.risk.section import Problem, Section
from loan_default.risk.units import TIME, unit_of

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract

MONTHS_A_YEAR = 12
NEEDED_AMOUNTS = ("principal", "interest")  # of the amounts; others count as none where they are not recorded


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


def value_problem(contract: Contract) -> str | None:
    """Say in one sentence why loans of a book cannot be valued; None where they can."""
    problem = None
    if contract.pricing is None:
        problem = "The contract names no fields of amount and rate (pricing)"
    elif not isinstance(contract.term, int) and term_name(contract) is None:
        problem = "The contract gives no term in months that all loans have, or that is a feature"
    elif contract.outcome.known is None:
        problem = "The contract does not say when an outcome was known (outcome.known)"
    elif lacking := [name for name in NEEDED_AMOUNTS if name not in contract.outcome.amounts.columns]:
        problem = f"The contract names no column of the {' and the '.join(lacking)} paid (outcome.amounts)"
    return problem and f"{problem}, so nothing is said of value."


def term_name(contract: Contract) -> str | None:
    """Return the name of the feature that is the term; None without."""
    return TERM if contract.term is None and TERM in contract.feature_names else None
