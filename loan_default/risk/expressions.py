"""Computes compiled expressions: of floats, of numpy arrays and of Polars columns, by one piece of code.

All three are the same to the bit on one machine: an applicant is the same in a batch and over REST. The language, and
its compiling, belong in `derivations`. Where an argument is missing the result is; so it is where it is NaN, as of zero
divided by zero. Infinity is outside of every range. Tested in `risk/test_derivations.py`.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class NumberFunction:
    """A function of one number: how it is computed of a float, and what Polars calls it.

    Attributes:
        of_float: computes it; may raise ValueError where it is not defined.
        polars: the method of a series and of a column.
        of_array: computes it of an array (n,), where numpy does so to the bit; by default each value by `of_float`.
        keeps_unit: whether the result has the unit of the number; else it is a plain number.
    """

    of_float: Callable[[float], float]
    polars: str
    of_array: Callable[[Any], Any] | None = None
    keeps_unit: bool = False


# By the name that a contract writes. A further one is a line here, and its name in docs/recipes.md.
NUMBER_FUNCTIONS: Mapping[str, NumberFunction] = {
    "log": NumberFunction(math.log, "log"),
    "log1p": NumberFunction(math.log1p, "log1p"),
    "sqrt": NumberFunction(math.sqrt, "sqrt", np.sqrt),
    "abs": NumberFunction(abs, "abs", np.abs, keeps_unit=True),
}


@dataclass(frozen=True)
class Expression:
    """A compiled expression; `floats`, `arrays` and `columns` compute it of the fields `of`, in this order.

    `floats` may raise ArithmeticError or ValueError where the arrays have infinity or NaN; see `of_row`.
    """

    text: str
    of: tuple[str, ...]
    code: Any = field(repr=False)

    @cached_property
    def floats(self) -> Callable[..., Any]:
        """Compute of one float for each field."""
        return self._function(_FLOATS)

    @cached_property
    def arrays(self) -> Callable[..., Any]:
        """Compute of an array (n,) for each field, NaN where a value is missing."""
        return self._function(_arrays())

    @cached_property
    def columns(self) -> Callable[..., pl.Expr]:
        """Compute of a Polars expression for each field, null where a value is missing."""
        return self._function(_columns())

    def of_row(self, *values: float) -> float:
        """Compute of one float for each field; infinity and NaN as arrays have them."""
        try:
            return float(self.floats(*values))
        except (ArithmeticError, ValueError, TypeError):  # of a complex number
            with np.errstate(all="ignore"):
                return float(self.arrays(*(np.array([value]) for value in values))[0])

    def _function(self, functions: Mapping[str, Any]) -> Callable[..., Any]:
        function: Callable[..., Any] = eval(self.code, {"__builtins__": {}, **functions})
        return function


def in_order(expressions: Mapping[str, Expression]) -> dict[str, Expression]:
    """Return expressions by the field that each computes, after those of the fields that it takes.

    Raises:
        ValueError: they are a circle.
    """
    sorter = TopologicalSorter({name: expression.of for name, expression in expressions.items()})
    try:
        return {name: expressions[name] for name in sorter.static_order() if name in expressions}
    except CycleError as error:
        *circle, _ = error.args[1]
        names, itself = " and ".join(circle), "themselves" if len(circle) > 1 else "itself"
        raise ValueError(
            f"field {circle[0]}: {names} would be derived from {itself}; read one from the file"
        ) from error


def _annuity(amount: Any, rate: Any, half: Any, quotient: Callable[[Any, Any], Any]) -> Any:
    """Return the monthly payment of a loan: P·r / (1 - (1 + r)^-n), the standard annuity formula.

    It is written by half = tanh(n · log(1 + r) / 2), as 1 - (1 + r)^-n = 2 · half / (1 + half): the difference of two
    numbers next to 1 would lose the figures of a small rate or of few months, and differently in each library.
    """
    return quotient(amount * rate * (1 + half), 2 * half)


def _payment(
    choose: Callable[[Any, Any, Any], Any],
    quotient: Callable[[Any, Any], Any],
    tanh: Callable[[Any], Any],
    log1p: Callable[[Any], Any],
) -> Callable[[Any, Any, Any], Any]:
    """Return the annuity, and equal parts of the amount where there is no interest."""

    def payment(amount: Any, rate: Any, months: Any) -> Any:
        half = tanh(months * log1p(rate) / 2)
        return choose(half == 0, quotient(amount, months), _annuity(amount, rate, half, quotient))

    return payment


def _payment_of_floats(amount: float, rate: float, months: float) -> float:
    """Return the annuity; without interest a division by zero, and so left to the arrays."""
    return float(_annuity(amount, rate, math.tanh(months * math.log1p(rate) / 2), operator.truediv))


def _larger(left: float, right: float) -> float:
    return left if left >= right or left != left else right


def _smaller(left: float, right: float) -> float:
    return left if left <= right or left != left else right


def _bins_of_floats(value: float, edges: tuple[float, ...]) -> float:
    return bisect_right(edges, value) if value == value else math.nan


def _bins_of_arrays(values: Any, edges: tuple[float, ...]) -> Any:
    return np.where(np.isnan(values), np.nan, np.searchsorted(edges, values, side="right"))


_FLOATS: Mapping[str, Any] = {
    **{name: function.of_float for name, function in NUMBER_FUNCTIONS.items()},
    "bins": _bins_of_floats,
    "larger": _larger,
    "payment": _payment_of_floats,
    "quotient": operator.truediv,
    "smaller": _smaller,
}


@cache
def _arrays() -> Mapping[str, Any]:
    """Ask the system's library for what is not exact, as Polars does; numpy has its own.

    Value by value 1,000 rows of a request take a third of the time that Polars takes to begin. It computes what `math`
    refuses.
    """
    import polars as pl

    def of_arrays(function: NumberFunction) -> Callable[[Any], Any]:
        def compute(values: Any) -> Any:
            array = np.atleast_1d(values)
            with suppress(ArithmeticError, ValueError):
                return np.fromiter(map(function.of_float, array.tolist()), np.float64, len(array))
            return getattr(pl.Series(array, dtype=pl.Float64), function.polars)().to_numpy()

        return function.of_array or compute

    functions = {name: of_arrays(function) for name, function in NUMBER_FUNCTIONS.items()}
    tanh = of_arrays(NumberFunction(math.tanh, "tanh"))
    return {
        **functions,
        "bins": _bins_of_arrays,
        "larger": np.maximum,
        "payment": _payment(np.where, operator.truediv, tanh, functions["log1p"]),
        "quotient": operator.truediv,
        "smaller": np.minimum,
    }


@cache
def _columns() -> Mapping[str, Any]:
    import polars as pl

    def choose(condition: pl.Expr, value: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
        return pl.when(condition).then(value).otherwise(otherwise)

    def column(value: pl.Expr | float) -> pl.Expr:
        return value if isinstance(value, pl.Expr) else pl.lit(value)

    def extreme(of: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[Any, Any], pl.Expr]:
        """Let neither null nor NaN lose against a number, as Polars would."""

        def larger_or_smaller(*values: pl.Expr | float) -> pl.Expr:
            left, right = map(column, values)
            return pl.when(left.is_not_nan() & right.is_not_nan()).then(of(left, right))

        return larger_or_smaller

    def quotient(value: Any, divisor: Any) -> Any:
        """Divide by a column of its own, as Polars multiplies by the reciprocal of what is one number for all rows.

        It is made of what the value is read from, not of the value: Polars would compute that in both places. What is
        added is -0.0, which leaves each divisor as it is: 0.0 would make 0.0 of -0.0, and turn the quotient's sign.
        """
        if isinstance(value, pl.Expr):
            sources = dict.fromkeys(value.meta.root_names())
            divisor = pl.any_horizontal(pl.col(*sources).is_null()).cast(pl.Float64) * -0.0 + divisor
        return value / divisor

    def bins(value: pl.Expr, edges: tuple[float, ...]) -> pl.Expr:
        return pl.when(value.is_not_nan()).then(pl.sum_horizontal(value >= edge for edge in edges).cast(pl.Float64))

    return {
        **{name: getattr(pl.Expr, function.polars) for name, function in NUMBER_FUNCTIONS.items()},
        "bins": bins,
        "larger": extreme(pl.max_horizontal),
        "payment": _payment(choose, quotient, pl.Expr.tanh, lambda rate: column(rate).log1p()),
        "quotient": quotient,
        "smaller": extreme(pl.min_horizontal),
    }
