"""One application at a time, from plain values to the matrix, without a frame: the scoring server's quick path.

It only knows what is plainly right. Whatever else comes, it gives up, and `cleaning.clean_applications` decides and
says why: what is allowed stands in one place. Tests hold the two to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from loan_default.risk.cleaning import DERIVATIONS, MONTH_TEXTS
from loan_default.risk.contract import Contract, LoanField

if TYPE_CHECKING:
    import pandas as pd

Value = float | str | None

# Months as whole numbers: their difference is what `cleaning` computes of two dates.
_MONTH_NUMBERS = {text: at // 2 for at, text in enumerate(MONTH_TEXTS)}
_SCALAR = {**DERIVATIONS, "months_between": lambda first, last: float(last - first)}


class QuickReader:
    """Reads applications that are plainly right, by one contract."""

    def __init__(self, contract: Contract) -> None:
        fields = contract.fields
        place = {field.name: at for at, field in enumerate(fields)}
        self._blank: list[Value] = [None] * len(fields)
        self._readers = {field.name: (place[field.name], *_reader(field)) for field in fields}
        self._derived: list[tuple[int, Callable[..., float], tuple[int, ...]]] = [
            (place[field.name], _SCALAR[field.derived.function], tuple(place[of] for of in field.derived.of))
            for field in fields
            if field.derived
        ]
        # place, whether it is needed, least, most, what happens outside; as plain tuples: this runs for each request
        self._checks = [
            (
                place[field.name],
                not field.nullable and field.role != "time",
                *(field.range or (-math.inf, math.inf)),
                field.outside,
            )
            for field in fields
            if field.kind == "number" or (not field.nullable and field.role != "time")
        ]
        self._features = tuple(place[field.name] for field in contract.features)
        self._encoders = [_encoder(field) for field in contract.features]

    def read(self, application: Mapping[str, Any]) -> list[Value] | None:
        """Natural values of the contract's features, in its order; None where a closer look is needed."""
        values = self._blank.copy()
        for name, given in application.items():
            reader = self._readers.get(name)
            if reader is None:
                return None
            if given is None:
                continue
            at, kind, words = reader
            value: Value
            if kind is float:
                value = given if type(given) is float or type(given) is int else None
            elif words is None:
                value = str(given) if type(given) is str or type(given) is int else None
            else:
                value = words.get(given) if type(given) is str else None
            if value is None:
                return None
            values[at] = value
        return self._checked(values)

    def _checked(self, values: list[Any]) -> list[Value] | None:
        for at, function, of in self._derived:
            sources = [values[source] for source in of]
            if values[at] is None and None not in sources:
                try:
                    values[at] = function(*sources)
                except (ArithmeticError, ValueError):
                    return None
        for at, needed, low, high, outside in self._checks:
            value = values[at]
            if value is None:
                if needed:
                    return None
            elif type(value) is not str and not low <= value <= high:
                if outside == "reject" or value != value:
                    return None
                values[at] = min(max(value, low), high) if outside == "clip" else None
        return [values[at] for at in self._features]

    def encode(self, values: Sequence[Value]) -> list[float]:
        """Values of the features → their row of the matrix, as `FeatureSpace.matrix` has it."""
        row: list[float] = []
        for value, (codes, missing) in zip(values, self._encoders, strict=True):
            if codes is None:
                row.append(math.nan if value is None else value)  # type: ignore[arg-type]
            else:
                row.extend(missing if value is None else codes[value])
        return row


def _reader(field: LoanField) -> tuple[type, dict[str, Any] | None]:
    """The type that JSON gives, and what its texts stand for (None: any text)."""
    if field.kind == "number":
        return float, None
    if field.kind == "month":
        return str, _MONTH_NUMBERS
    if field.levels:
        return str, {level: level for level in field.levels} | {k: v for k, v in field.words.items() if v is not None}
    return str, None


def _encoder(field: LoanField) -> tuple[dict[Any, tuple[float, ...]] | None, tuple[float, ...]]:
    """For each level its columns of the matrix, and those of a missing level; a number has none."""
    if field.kind == "number":
        return None, ()
    if field.kind == "ordered":
        return {level: (at + 1.0,) for at, level in enumerate(field.levels)}, (math.nan,)
    size = len(field.levels)
    return (
        {level: tuple(float(at == other) for other in range(size)) for at, level in enumerate(field.levels)},
        (math.nan,) * size,
    )


def from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    """The frame with every missing value as null, numbers as floats, all else as text."""
    return pl.DataFrame([_to_series(str(name), frame[name]) for name in frame.columns])


def _to_series(name: str, column: pd.Series) -> pl.Series:
    from pandas import isna
    from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_scalar

    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return pl.Series(name, column.to_numpy("float64"), nan_to_null=True)
    # In `inputs` and `instances`, MLflow 3.17 turns a null text into the text "None".
    texts = [None if is_scalar(value) and (isna(value) or value == "None") else str(value) for value in column]
    return pl.Series(name, texts, dtype=pl.String)
