"""Derived fields: the small language in which a contract computes a field from others where a file lacks it.

An expression is read by Python's `ast`, of which a few nodes are allowed, checked against the units of its fields, and
compiled once, to one piece of code (`expressions`). What units are belongs in `units`; which fields are derived, and
that they are no circle, in `contract`.

A number comes in its field's unit, a month as the months since January 1920. Where an argument is missing, the result
is; so it is where it is NaN, as of zero divided by zero. Infinity is outside of every range.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from loan_default.risk.expressions import NUMBER_FUNCTIONS, Expression
from loan_default.risk.units import COUNT, TIME, Unit, converted_by_hand, fits, unit_of

_LONGEST, _DEEPEST = 1_000, 30  # characters; levels of nesting
FUNCTIONS = {  # as people write them
    "months_between": "months_between(first, last)",
    "years_between": "years_between(first, last)",
    "age": "age(date)",
    "payment": "payment(amount, rate, months)",
    "yearly": "yearly(amount a month)",
    "monthly": "monthly(amount a year)",
    "bins": "bins(x, edge, edge, …)",
    **{name: f"{name}(x)" for name in NUMBER_FUNCTIONS},
    "min": "min(x, y, …)",
    "max": "max(x, y, …)",
}
_LANGUAGE = f"numbers, fields, + - * / ( ) and {', '.join(FUNCTIONS)}"
_MONTH, _YEAR = unit_of("months"), unit_of("years")
_RATE = unit_of("percent a year")
_PLAIN, _COUNT = Unit(), unit_of(COUNT)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Operand:
    """Hold what an expression may know of a field: its kind and unit."""

    kind: str
    unit: str | None


def compile_expression(
    text: str, unit: str | None, fields: Mapping[str, Operand], *, time: str | None = None, as_numbers: bool = False
) -> Expression:
    """Check an expression against its fields, and compile it.

    Args:
        text: the expression.
        unit: of the result.
        fields: that there are.
        time: name of the field with the month of issue, which `age` counts to; None where the book has none.
        as_numbers: take the fields' numbers as they are, whatever their units; so did earlier contracts.

    Raises:
        ValueError: it is no expression of the language, names no field, or its units do not fit; says what to write.
    """
    return _Compiler(text, fields, time, as_numbers).compile(unit)


def _parsed(text: str) -> ast.expr:
    """Parse an expression that is neither longer nor deeper than any that a person writes."""
    if len(text) > _LONGEST:
        raise ValueError(f"the expression has {len(text):,} characters; write at most {_LONGEST:,}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reserved = sorted({*re.findall(r"\w+", text)} & {*keyword.kwlist})
        if reserved:
            raise ValueError(f"{reserved[0]} is a word of Python's, and cannot be a field's name here") from error
        raise ValueError(f"{_short(text)} cannot be read; write {_LANGUAGE}") from error
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise ValueError(f"{_short(text)} is nested in more than {_DEEPEST} levels; derive it in several fields")
    return tree


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- checking and compiling -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A part of an expression: its text and code, and its unit; a bare number has none, but its value."""

    text: str
    code: ast.expr
    unit: Unit = _PLAIN
    value: float | None = None


class _Compiler:
    """Compiles one expression: a method for each function and kind of node."""

    def __init__(self, text: str, fields: Mapping[str, Operand], time: str | None, as_numbers: bool) -> None:
        self._text, self._fields, self._time, self._as_numbers = " ".join(text.split()), fields, time, as_numbers
        self._arguments: dict[str, str] = {}
        self._factors: list[float] = []

    def compile(self, unit: str | None) -> Expression:
        part = self._part(_parsed(self._text))
        if part.value is not None:
            raise ValueError(f"{self._text} names no field")
        code = part.code if self._as_numbers else self._in_unit(part, unit)
        parameters = ast.arguments([], [ast.arg(name) for name in self._arguments.values()], None, [], [], None, [])
        function = ast.fix_missing_locations(ast.Expression(ast.Lambda(parameters, _Quotients().visit(code))))
        return Expression(self._text, tuple(self._arguments), compile(function, "<expression>", "eval"))

    def _part(self, node: ast.expr) -> _Part:
        """Check and compile a part."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(node, partial(float, value))
            case ast.Name(id=name):
                return self._field(name)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._part(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                part = self._part(operand)
                if part.value is None:
                    return _Part(ast.unparse(node), ast.UnaryOp(ast.USub(), part.code), part.unit)
                return self._number(node, partial(operator.neg, part.value))
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as sign, right=right):
                return self._operation(node, self._part(left), sign, self._part(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                return self._call(node, name, arguments)
        raise ValueError(self._refusal(node))

    def _refusal(self, node: ast.expr) -> str:
        """Say why a part does not belong to the language, and what to write."""
        text = _short(ast.unparse(node))
        match node:
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
                return f"there is no function {name}; those that there are: {', '.join(FUNCTIONS)}"
            case ast.BinOp(left=left, op=ast.Pow()):
                base = _short(ast.unparse(left))
                return f"{text} is a power, and there is none here; write {base} * {base}"
            case ast.Compare(left=left):
                return f"{text} is a comparison; write bins({_short(ast.unparse(left))}, edge), 1 from the edge on"
        return f"{text} cannot stand in an expression; write {_LANGUAGE}"

    def _number(self, node: ast.expr, compute: Callable[[], float]) -> _Part:
        """Compute a bare number."""
        try:
            value = compute()
        except ArithmeticError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{_short(ast.unparse(node))} is no finite number")
        return _Part(ast.unparse(node), ast.Constant(value), value=value)

    def _operand(self, name: str) -> Operand:
        if name not in self._fields:
            near = difflib.get_close_matches(name, self._fields, n=1)
            remedy = f"; write {near[0]}" if near else " of this contract; describe it as one, or write another"
            raise ValueError(f"{name} is no field{remedy}")
        return self._fields[name]

    def _field(self, name: str) -> _Part:
        operand = self._operand(name)
        if operand.kind == "month":
            raise ValueError(f"{name} is a month; write it in months_between, years_between or age")
        if operand.kind != "number":
            raise ValueError(f"{name} is {operand.kind}; only numbers and months can stand in an expression")
        if operand.unit is None and not self._as_numbers:
            raise ValueError(f"{name} has no unit; write what it counts in its unit (count, if it is a plain number)")
        unit = _PLAIN if self._as_numbers or operand.unit is None else unit_of(operand.unit)
        return _Part(name, self._argument(name), unit)

    def _argument(self, name: str) -> ast.Name:
        return ast.Name(self._arguments.setdefault(name, f"x{len(self._arguments)}"), ast.Load())

    def _operation(self, node: ast.expr, left: _Part, sign: ast.operator, right: _Part) -> _Part:
        text = ast.unparse(node)
        if left.value is not None and right.value is not None:
            return self._number(node, partial(_OPERATORS[type(sign)], left.value, right.value))
        if isinstance(sign, ast.Add | ast.Sub):
            (first, second), unit = self._alike(left, right)
            return _Part(text, ast.BinOp(first, sign, second), unit)
        if isinstance(sign, ast.Div) and right.value == 0:
            raise ValueError(f"{_short(text)} divides by zero; correct the expression")
        self._factors += [part.value for part in (left, right) if part.value]
        unit = left.unit * right.unit if isinstance(sign, ast.Mult) else left.unit / right.unit
        return _Part(text, ast.BinOp(left.code, sign, right.code), unit)

    def _alike(self, *parts: _Part) -> tuple[list[ast.expr], Unit]:
        """Express parts that are added or compared in the unit of the first; a bare number is in that of the others."""
        first, *others = (part for part in parts if part.value is None)
        for part in others:
            if part.unit.powers != first.unit.powers and not self._as_numbers:
                raise ValueError(
                    f"{first.text} measures {first.unit.measures} and {part.text} {part.unit.measures}, and only like "
                    f"can be added or compared; {self._remedy(first.unit / part.unit)}"
                )
        sizes = [first.unit.size if part.value is not None else part.unit.size for part in parts]
        codes = [_scaled(part.code, size / first.unit.size) for part, size in zip(parts, sizes, strict=True)]
        return codes, first.unit

    # --- functions

    def _call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> _Part:
        call = FUNCTIONS[name]
        most = math.inf if "…" in call else call.count(",") + 1
        if not min(most, 2 if most == math.inf else most) <= len(arguments) <= most:
            raise ValueError(f"{ast.unparse(node)} has {len(arguments)} arguments; write {call}")
        if name in ("months_between", "years_between", "age"):
            code, unit = self._duration(name, arguments)
            return _Part(ast.unparse(node), code, unit)
        parts = [self._part(argument) for argument in arguments]
        if all(part.value is not None for part in parts):
            raise ValueError(f"{ast.unparse(node)} names no field; write its value")
        if name in NUMBER_FUNCTIONS:
            (part,) = parts
            keeps_unit = NUMBER_FUNCTIONS[name].keeps_unit
            return _Part(ast.unparse(node), _called(name, [part.code]), part.unit if keeps_unit else _PLAIN)
        compile_call: Callable[..., tuple[ast.expr, Unit]] = getattr(self, f"_{name}")
        code, unit = compile_call(*parts)
        return _Part(ast.unparse(node), code, unit)

    def _duration(self, name: str, arguments: list[ast.expr]) -> tuple[ast.expr, Unit]:
        """Subtract the first of two months from the last, and count months or years."""
        if name == "age":
            if self._time is None:
                raise ValueError("age counts to the date of issue, and the book has none; write years_between")
            arguments = [*arguments, ast.Name(self._time)]
        for argument in arguments:
            if not isinstance(argument, ast.Name) or self._operand(argument.id).kind != "month":
                raise ValueError(f"{name} takes months, and {ast.unparse(argument)} is none; write {FUNCTIONS[name]}")
        first, last = (self._argument(argument.id) for argument in arguments if isinstance(argument, ast.Name))
        unit = _MONTH if name == "months_between" else _YEAR
        return _scaled(ast.BinOp(last, ast.Sub(), first), 1 / unit.size), unit

    def _payment(self, amount: _Part, rate: _Part, months: _Part) -> tuple[ast.expr, Unit]:
        if not self._as_numbers:
            rate = self._measured(rate, _RATE, "a rate a year or a month as the second")
            months = self._measured(months, _MONTH, "months or years as the third")
        arguments = [amount.code, _scaled(rate.code, rate.unit.size), _scaled(months.code, months.unit.size)]
        return _called("payment", arguments), amount.unit if self._as_numbers else amount.unit / _MONTH

    def _measured(self, part: _Part, unit: Unit, what: str) -> _Part:
        """Return an argument that measures what `unit` does; a bare number is in this unit."""
        if part.value is not None:
            return _Part(part.text, part.code, unit)
        if part.unit.powers != unit.powers:
            example = "percent a year" if unit is _RATE else "months"
            raise ValueError(
                f"payment takes {what}, and {part.text} measures {part.unit.measures}; write unit: {example} where "
                "that is what it is"
            )
        return part

    def _yearly(self, amount: _Part) -> tuple[ast.expr, Unit]:
        return self._together("yearly", amount, _YEAR)

    def _monthly(self, amount: _Part) -> tuple[ast.expr, Unit]:
        return self._together("monthly", amount, _MONTH)

    def _together(self, name: str, amount: _Part, duration: Unit) -> tuple[ast.expr, Unit]:
        """Add up what comes in a duration, in base units."""
        if amount.unit.power(TIME) != -1 and not self._as_numbers:
            raise ValueError(
                f"{name} takes what comes by the month or the year, and {amount.text} measures {amount.unit.measures}; "
                f"write unit: {amount.unit.measures} a month (or a year) where that is what it is, or leave {name} out"
            )
        unit = amount.unit * duration
        return _scaled(amount.code, unit.size), Unit(unit.powers)

    def _bins(self, value: _Part, *edges: _Part) -> tuple[ast.expr, Unit]:
        """Count the edges that are not above the value."""
        numbers = [edge.value for edge in edges if edge.value is not None]
        if value.value is not None or len(numbers) < len(edges) or numbers != sorted({*numbers}):
            raise ValueError(f"bins of {value.text} takes numbers that rise as its edges; write {FUNCTIONS['bins']}")
        return _called("bins", [value.code, ast.Tuple([edge.code for edge in edges], ast.Load())]), _COUNT

    def _min(self, *parts: _Part) -> tuple[ast.expr, Unit]:
        return self._chosen("smaller", parts)

    def _max(self, *parts: _Part) -> tuple[ast.expr, Unit]:
        return self._chosen("larger", parts)

    def _chosen(self, function: str, parts: tuple[_Part, ...]) -> tuple[ast.expr, Unit]:
        (code, *others), unit = self._alike(*parts)
        for other in others:
            code = _called(function, [code, other])
        return code, unit

    # --- the unit of the result

    def _in_unit(self, part: _Part, unit: str | None) -> ast.expr:
        """Express the whole in the unit of its field."""
        if unit is None:
            raise ValueError(f"its unit is not said; write unit: {part.unit.measures}, or one that measures the same")
        target = unit_of(unit)
        units = [*self._units().values()]
        problems = [
            f"the units convert by themselves; leave {factor:g} out of {self._text}"
            for factor in converted_by_hand(self._factors, [*units, target])
        ]
        if not fits(part.unit, target, units):
            problems.append(
                f"{part.text} measures {part.unit.measures}, and the unit {unit} measures {target.measures}; "
                f"{self._remedy(part.unit / target)}"
            )
        if problems:
            raise ValueError("; and ".join(problems))
        return _scaled(part.code, part.unit.size / target.size)

    def _units(self) -> dict[str, Unit]:
        """Return the units of the fields that are numbers."""
        operands = {name: self._fields[name].unit for name in self._arguments if self._fields[name].kind == "number"}
        return {name: unit_of(unit) for name, unit in operands.items() if unit is not None}

    def _remedy(self, ratio: Unit) -> str:
        """Say what to write where units differ by a ratio."""
        by_time = [name for name, unit in self._units().items() if unit.power(TIME) < 0]
        if by_time and ratio.powers in (((TIME, 1),), ((TIME, -1),)):
            name = by_time[0]
            return f"write yearly({name}) for what comes in a year, or monthly({name}), in place of {name}"
        units = ", ".join(f"{name} {self._fields[name].unit}" for name in self._units())
        return f"correct the expression, or the units ({units})"


class _Quotients(ast.NodeTransformer):
    """Leaves it to `expressions` to divide: not each library does so to the last bit."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Replace a quotient, and those in it."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            return _called("quotient", [node.left, node.right])
        return node


def _called(function: str, arguments: list[ast.expr]) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), arguments, [])


def _scaled(code: ast.expr, ratio: Fraction) -> ast.expr:
    """Multiply by a ratio, as a person would who writes `100 * part / total`."""
    if ratio == 1:
        return code
    match code:
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as sign, right=right):
            return ast.BinOp(_scaled(left, ratio), sign, right)
        case ast.Call(func=ast.Name(id="payment"), args=[amount, *others]):
            return _called("payment", [_scaled(amount, ratio), *others])
    if ratio.numerator != 1:
        code = ast.BinOp(ast.Constant(float(ratio.numerator)), ast.Mult(), code)
    if ratio.denominator != 1:
        code = ast.BinOp(code, ast.Div(), ast.Constant(float(ratio.denominator)))
    return code
