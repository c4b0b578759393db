"""Derived functions: how a contract computes a field from others where a file or an application lacks it.

Each is one function in this module, for all who need it: the contract checks what it takes, cleaning applies it to
columns and online scoring to a row. Which fields it is applied to is the contract's to say (`derived`).

The arguments are floats, numpy arrays or Polars expressions, so a function uses arithmetic and `abs` alone.
A number comes in its field's unit, a month as the months since January 1920. Where an argument is missing, the
result is; so it is where it is NaN, as of zero divided by zero. Infinity is outside of every range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

ArgumentKind = Literal["number", "month"]
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class DerivedFunction:
    """A function and the kinds of the fields that it takes, in order."""

    compute: Callable[..., Any]
    takes: tuple[ArgumentKind, ...]


DERIVED_FUNCTIONS: dict[str, DerivedFunction] = {}


def derived_function(*takes: ArgumentKind) -> Callable[[_Function], _Function]:
    """Register the decorated function under its own name, by which a contract calls it.

    Raises:
        ValueError: another function has this name.
    """

    def register(function: _Function) -> _Function:
        if function.__name__ in DERIVED_FUNCTIONS:
            raise ValueError(f"the derived function {function.__name__} is registered twice")
        DERIVED_FUNCTIONS[function.__name__] = DerivedFunction(function, takes)
        return function

    return register


@derived_function("month", "month")
def months_between(first: Any, last: Any) -> Any:
    """Count the months from the first to the last."""
    return last - first


@derived_function("number", "number")
def percent_of(part: Any, total: Any) -> Any:
    """Express a part as a percentage of the total."""
    return 100 * part / total


@derived_function("number", "number", "number", "number")
def payment_to_income(amount: Any, rate: Any, months: Any, income: Any) -> Any:
    """Express twelve annuity payments as a percentage of a year's income.

    A payment is P·r / (1 - (1 + r)^-n), the standard annuity formula with r = rate / 1200 (`rate` in percent a year).
    """
    monthly = rate / 1200
    return 100 * 12 * amount * monthly / (1 - (1 + monthly) ** -months) / income
