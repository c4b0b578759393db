"""Applications that a system sends, from plain values or texts to checked numbers and the matrix, without a frame.

This is the scoring server's quick path, for one application and for many. It only knows what is plainly right.
Whatever else comes, it gives up, and `applications.clean_applications` decides and says why (`check`): what is allowed
stands in one place. Tests hold the two to the same answers.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.applications import (
    clean_applications,
    refuse_incomplete,
    refuse_unknown,
    required_fields,
)
from loan_default.risk.data.parsing import Vocabulary, numeric_words, text_of, words_for_nothing
from loan_default.risk.errors import BadInput
from loan_default.risk.expressions import Expression
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.month_texts import MONTH_TEXTS

_NUMBERS = {float, int, type(None)}  # of JSON; a boolean is none
_NESTED = {dict, list}
_NAN = math.nan  # looked up for each value that is missing
_ANY = (-math.inf, math.inf)  # the range of a field without one
_Limit = tuple[int, float, float, str]  # index of a field, its range, and what happens outside
SEQUENCES = 100  # callers send few sequences of columns; one that sends ever new ones must not fill the memory
NAMES_CHARACTERS = 20_000  # of a sequence of columns that is remembered
LONGEST_ID = 1_000  # characters; each is logged
EXACT = 2**53  # whole numbers below are floats without loss
# Months as numbers: those that `parsing.month_number` gives of dates.
_MONTHS: dict[Any, int | None] = {None: None, **{text: number // 2 for number, text in enumerate(MONTH_TEXTS)}}
_WHOLE = re.compile(r"0|-?[1-9]\d{0,14}")
_WHOLE_NUMBER, _NUMBER_WITH_POINT = re.compile(r"-?[0-9]+"), re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class Applications(msgspec.Struct, frozen=True):
    """Checked applications, in the order sent.

    `ids` (n): as text, None where one came without. `values` (n, features of the contract): numbers in natural
    units, levels as their position, the safest 1, NaN where a value is missing; a list in a list where n is 1 and
    no array was required. `terms` (n): the same of the field that tells when a loan matures, where it is no feature.
    """

    ids: Sequence[str | None]
    values: list[list[float]] | Floats
    terms: Sequence[float] | Floats | None = None

    def take(self, indices: Sequence[int]) -> Applications:
        """Return the applications of these indices."""
        terms = None if self.terms is None else [self.terms[index] for index in indices]
        return Applications([self.ids[index] for index in indices], np.asarray(self.values)[[*indices]], terms)


class QuickReader:
    """Reads applications that are plainly right, by the contract of a feature space, and encodes them for it.

    `form` is the type of one application for msgspec: it refuses what is of a wrong type, required and absent,
    unknown, or outside a range that rejects. What a type cannot say is done here.
    """

    def __init__(self, space: FeatureSpace, *, ignore_unknown: bool = False) -> None:
        """Read by a space's contract; fields that it does not know are refused, or ignored."""
        contract, self._space, self._ignore_unknown = space.contract, space, ignore_unknown
        others = [field for field in contract.application_fields if field.role not in ("feature", "id")]
        fields = [*contract.features, *others]
        index_of = {field.name: index for index, field in enumerate(fields)}
        self._size, self._id_name = len(contract.features), contract.id_name
        self._terms = [index_of[field.name] for field in contract.logged_fields[self._size :]]
        self._nothing = words_for_nothing(contract.files.nothing)
        self._numbers = {field.name for field in fields if field.kind == "number"}
        self._plain_number = _NUMBER_WITH_POINT if contract.files.decimal == "." else _WHOLE_NUMBER
        self._types = _types_of(contract, fields)
        self.form: type[msgspec.Struct] = msgspec.defstruct(
            "Application", self._types, kw_only=True, gc=False, forbid_unknown_fields=not ignore_unknown
        )
        self._names = self.form.__struct_fields__
        self._table_form = lru_cache(SEQUENCES)(self._make_table_form)
        self._meanings = {
            index_of[field.name]: _meaning_of(field, self._nothing)
            for field in fields
            if field.kind != "number" or numeric_words(field.words)
        }
        limits = {
            field.name: (index_of[field.name], *(field.range or _ANY), field.outside)
            for field in fields
            if field.derived or (field.range and field.outside != "reject")
        }
        self._limited: list[_Limit] = [limit for name, limit in limits.items() if name not in contract.expressions]
        self._derived: list[tuple[Expression, Callable[..., Any], list[int], bool, _Limit]] = [
            (
                expression,
                expression.floats,
                [index_of[source] for source in expression.of],
                contract.by_name[name].nullable,
                limits[name],
            )
            for name, expression in contract.expressions.items()
        ]
        self._fillings = {index: filling for index, filling in enumerate(space.fillings) if filling is not None}
        self._absence = [(space.field_of[column], column) for column in space.absence]
        self._pack = struct.Struct(f"{len(space.columns)}f").pack
        self._used = space.used if space.without_opinion else None
        self._nominal = [
            (index, _indicators(len(field.levels)))
            for index, field in enumerate(space.features)
            if field.kind == "nominal"
        ]

    def row_form(self, names: Sequence[str]) -> Any:
        """Return `form` for tuples of values in the order of the names; None where no application can be of these."""
        types = {name: kind for name, kind, *_ in self._types}
        required = {name for name, _, *default in self._types if not default}
        if len({*names}) < len(names) or not required <= {*names}:
            return None
        if not self._ignore_unknown and not types.keys() >= {*names}:
            return None
        return tuple[tuple(types.get(name, Any) for name in names)]  # type: ignore[misc]

    def read_texts(self, names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> Applications | None:
        """Read the values of a table of texts, at least one row; None where `check` has to decide."""
        are_numbers = [name in self._numbers for name in names]
        try:
            values = [[*map(self._text_value, are_numbers, row)] for row in rows]
        except ValueError:
            return None
        return self.read_values(names, values)

    def read_values(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Applications | None:
        """Read plain values whose types nobody has seen to, at least one row; None where `check` has to decide."""
        if sum(map(len, names)) > NAMES_CHARACTERS or (form := self._table_form(tuple(names))) is None:
            return None
        try:
            return self.read(names, msgspec.convert({"rows": rows}, form).rows)  # type: ignore[attr-defined]
        except msgspec.ValidationError:
            return None

    def _make_table_form(self, names: tuple[str, ...]) -> type[msgspec.Struct] | None:
        """Return the type of a table of `row_form`: msgspec reads a struct's types once, those of a list each time."""
        if (row_form := self.row_form(names)) is None:
            return None
        form = msgspec.defstruct("Table", [("rows", list[row_form])])  # type: ignore[valid-type]
        # Reads its types: where two threads begin that at once, the process ends by a fault of its memory.
        msgspec.convert({"rows": []}, form)
        return form

    def _text_value(self, is_number: bool, text: str | None) -> float | str | None:
        """Return the value of a text; ValueError where a number is written in any way that needs to be looked at."""
        if not is_number or text is None:
            return text
        if text in self._nothing or not self._plain_number.fullmatch(text):
            raise ValueError(text)
        return float(text)

    def read(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Applications | None:
        """Read values of `form` or one of `row_form`, at least one row; None where `check` has to decide."""
        try:
            return self._single(names, rows[0]) if len(rows) == 1 else self._many(names, rows)
        except (KeyError, TypeError, ValueError, ArithmeticError):  # no month, out of range, not to be computed
            return None

    def _single(self, names: Sequence[str], row: Sequence[Any]) -> Applications:
        """Read one application; plain Python, as numpy takes 1 µs for each of about 30 operations."""
        if names is not self._names and names != self._names:
            row = [*map(dict(zip(names, row, strict=True)).get, self._names)]
        *values, given_id = row
        for index, meaning in self._meanings.items():
            values[index] = meaning[values[index]]
        for index, low, high, outside in self._limited:
            value = values[index]
            if value is not None and not low <= value <= high:
                values[index] = _limited(value, low, high, outside)
        for expression, floats, of, nullable, (index, low, high, outside) in self._derived:
            value = values[index]
            if value is None:
                sources = [values[source] for source in of]
                if None not in sources:
                    try:
                        value = floats(*sources)
                    except (ArithmeticError, ValueError):  # where arrays have infinity or NaN
                        value = expression.of_row(*sources)
                if value is None or value != value:
                    if nullable:
                        continue
                    raise ValueError("a value is missing")
                values[index] = value
            if not low <= value <= high:
                values[index] = _limited(value, low, high, outside)
        natural = [_NAN if value is None else value for value in values]
        terms = [natural[index] for index in self._terms] or None
        return Applications([_id(given_id, self._nothing)], [natural[: self._size]], terms)

    def _many(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Applications:
        """Read many applications, by column."""
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        ids = columns.get(self._id_name)
        values = np.full((len(self._names) - 1, len(rows)), np.nan)
        for index, name in enumerate(self._names[:-1]):
            if (column := columns.get(name)) is not None:
                meaning = self._meanings.get(index)
                values[index] = _floats(itemgetter(*column)(meaning) if meaning else column)
        for index, low, high, outside in self._limited:
            _limit_column(values[index], low, high, outside)
        with np.errstate(all="ignore"):  # what cannot be computed is NaN, and so missing; infinity is out of range
            for expression, _, of, nullable, (index, low, high, outside) in self._derived:
                missing = np.isnan(values[index])
                rows_of = slice(None) if missing.all() else missing  # most send none: no copies of the columns then
                values[index, rows_of] = expression.arrays(*(values[source, rows_of] for source in of))
                if not nullable and np.isnan(values[index]).any():
                    raise ValueError("a value is missing")
                _limit_column(values[index], low, high, outside)
        loan_ids = [_id(value, self._nothing) for value in ids] if ids else [None] * len(rows)
        terms = values[self._terms[0]] if self._terms else None
        return Applications(loan_ids, values[: self._size].T, terms)

    def matrix(self, values: list[list[float]] | Floats) -> Matrix:
        """Encode `Applications.values` as the matrix, as `FeatureSpace.matrix` has it."""
        if isinstance(values, np.ndarray):
            return self._space.encode(values)
        (application,) = values
        sent = application
        if math.isnan(sum(map(application.__getitem__, self._fillings))):  # one of them is: a third of asking each
            application = application.copy()
            for index, filling in self._fillings.items():
                if math.isnan(application[index]):
                    application[index] = filling
        if self._used:
            application = [application[index] for index in self._used]
        row: list[float] = []
        done = 0
        for index, indicators in self._nominal:
            row += application[done:index]
            row += indicators.get(application[index]) or indicators[math.nan]
            done = index + 1
        row += application[done:]
        for index, column in self._absence:
            row.insert(column, float(math.isnan(sent[index])))
        return np.ndarray((1, len(row)), np.float32, self._pack(*row))  # in a fifth of the time of np.array


def _types_of(contract: Contract, fields: Sequence[LoanField]) -> list[tuple[str, Any] | tuple[str, Any, None]]:
    """Return name, type and, where it may be left out, default of each field and of the id."""
    needed, optional = {field.name for field in required_fields(contract)}, contract.left_out_by_applicants
    exact_float = Annotated[float, msgspec.Meta(gt=-EXACT, lt=EXACT)]
    exact_int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # others read a float beyond
    short_text = Annotated[str, msgspec.Meta(max_length=LONGEST_ID)]
    return [
        *(_field_type(field, is_needed=field.name in needed, is_optional=field.name in optional) for field in fields),
        (contract.id_name, short_text | exact_int | exact_float | None, None),
    ]


def _field_type(field: LoanField, *, is_needed: bool, is_optional: bool) -> tuple[str, Any] | tuple[str, Any, None]:
    """Return name, type and, where it may be left out, default of a field."""
    kind: Any = str
    if field.kind == "number":
        rejects = field.range if field.outside == "reject" else None
        kind = Annotated[float, msgspec.Meta(ge=rejects[0], le=rejects[1])] if rejects else float
    elif field.levels:
        words = _ranks(field)
        kind = Literal[tuple(word for word in words if type(word) in (str, int))]
        kind = kind | bool if any(type(word) is bool for word in words) else kind
    has_value = not field.nullable and not is_optional and not field.derived
    kind = kind if has_value else kind | None
    return (field.name, kind) if has_value or is_needed else (field.name, kind, None)


class _AnyText(frozenset[str]):
    """Meaning of free text: each text is 1, as only that there is one counts. The members say that there is none."""

    def __getitem__(self, text: str | None) -> int | None:
        if text is not None and text.strip().lower() in self:
            raise KeyError(text)
        return None if text is None else 1


class _PlainNumbers(frozenset[float]):
    """Meaning of numbers: themselves. The members, which the contract gives another, are left to `check`."""

    def __getitem__(self, number: float | None) -> float | None:
        if number in self:
            raise KeyError(number)
        return number


class _Meaning(Protocol):
    """Values of JSON with their meanings as numbers."""

    def __getitem__(self, value: Any, /) -> float | None:
        """Return the number that a value means; KeyError where `check` has to decide."""
        ...


def _meaning_of(field: LoanField, nothing: Collection[str]) -> _Meaning:
    """Return what translates the values of a field to numbers."""
    if field.kind == "month":
        return _MONTHS
    if field.kind == "text":
        return _AnyText(nothing)
    return (
        _PlainNumbers(numeric_words(field.words).values()) if field.kind == "number" else {None: None, **_ranks(field)}
    )


def _ranks(field: LoanField) -> dict[Any, float]:
    """Map each level, and each word for one, to the level's position; numbers and booleans as JSON has them as well."""
    rank = {level: float(position) for position, level in enumerate(field.levels, 1)}  # packed in half the time of int
    rank |= {word: rank[str(level)] for word, level in field.words.items() if level is not None}
    vocabulary = Vocabulary.of(rank)
    integers = {int(word): position for word, position in vocabulary.meanings.items() if _WHOLE.fullmatch(word)}
    truths = {"true": True, "false": False} if vocabulary.booleans and not {0, 1} & integers.keys() else {}
    booleans = {truths[word]: position for word, position in vocabulary.meanings.items() if word in truths}
    return {**integers, **booleans, **rank}


def _indicators(levels: int) -> dict[float, tuple[float, ...]]:
    """Return the columns of the matrix for each position of a nominal field, and for none."""
    columns: dict[float, tuple[float, ...]] = {
        rank: tuple(float(rank == other) for other in range(1, levels + 1)) for rank in range(1, levels + 1)
    }
    return {math.nan: (math.nan,) * levels, **columns}


def _limited(value: float, low: float, high: float, outside: str) -> float | None:
    """Return what a value out of range counts as."""
    if outside == "reject":
        raise ValueError("a value is out of range")
    return min(max(value, low), high) if outside == "clip" else None


def _limit_column(values: Floats, low: float, high: float, outside: str) -> None:
    """Change the values (n,) that are out of range to what they count as."""
    beyond = (values < low) | (values > high)
    if beyond.any():
        if outside == "reject":
            raise ValueError("a value is out of range")
        values[beyond] = np.clip(values[beyond], low, high) if outside == "clip" else np.nan


def _floats(column: Sequence[float | None]) -> Floats:
    """Pack values (n,), NaN for None, in less time than `np.array`, which looks at each type."""
    form = f"{len(column)}d"
    try:
        buffer = struct.pack(form, *column)
    except struct.error:  # there is a None
        buffer = struct.pack(form, *[_NAN if value is None else value for value in column])
    return np.frombuffer(buffer)


def _id(value: Any, nothing: Collection[str]) -> str | None:
    """Return the loan's id as the text that a file would have of it; None where it is a word for nothing."""
    if value is None:
        return None
    text = value.strip() if type(value) is str else text_of(value)
    return text if text and text.lower() not in nothing else None


def check(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    contract: Contract,
    *,
    ignore_unknown: bool = False,
) -> Applications:
    """Read the same rows as `clean_applications` does, which says what is wrong with one.

    Args:
        names: of the values in each row, each once.
        rows: an application each; `msgspec.UNSET` for a field that it alone lacks.
        contract: what a loan is.
        ignore_unknown: read past fields that the contract does not know, instead of refusing them.

    Raises:
        BadInput: names row, field, value and what is allowed.
    """
    columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*rows, strict=True), strict=True))
    unknown = columns.keys() - {field.name for field in contract.application_fields}
    if ignore_unknown:
        columns = {name: column for name, column in columns.items() if name not in unknown}
    elif unknown:
        refuse_unknown(next(name for name in names if name in unknown), contract)
    columns = _without_gaps(columns, len(rows), contract)
    refuse_incomplete(0, columns, contract)
    for name, column in columns.items():
        _refuse_no_value(name, column, contract)
    frame = pl.DataFrame([_column(name, column, contract.files.decimal) for name, column in columns.items()])
    read = clean_applications(frame, contract)
    values = read.select(_as_number(field) for field in contract.features).to_numpy()
    further = [_as_number(field) for field in contract.logged_fields[len(contract.features) :]]
    terms = read.select(further).to_series().fill_null(math.nan).to_numpy() if further else None
    nothing = words_for_nothing(contract.files.nothing)
    ids = columns.get(contract.id_name) or [None] * len(rows)
    return Applications([_id(value, nothing) for value in ids], values, terms)


def _without_gaps(columns: Mapping[str, Sequence[Any]], rows: int, contract: Contract) -> dict[str, Sequence[Any]]:
    """Have None stand where a row lacks a field, unless the contract requires it of each application."""
    gaps = {name for name, column in columns.items() if msgspec.UNSET in column}
    if not gaps:
        return dict(columns)
    for row in range(rows):
        present = [name for name, column in columns.items() if column[row] is not msgspec.UNSET]
        refuse_incomplete(row, present, contract)
    return {
        name: [None if value is msgspec.UNSET else value for value in column] if name in gaps else column
        for name, column in columns.items()
    }


def _refuse_no_value(name: str, column: Sequence[Any], contract: Contract) -> None:
    """Refuse what is no single value, long ids, and those that lost their last figures, as JSON's readers make them."""
    types = {*map(type, column)}
    if types & _NESTED:
        row, value = next((row, value) for row, value in enumerate(column) if type(value) in _NESTED)
        field = contract.by_name[name]
        kind = "number" if field.kind == "number" else "single value"
        raise BadInput(f"Row {row}: {name} '{str(value)[:60]}' is no {kind}; it must be {field.allowed}.")
    if name == contract.id_name:
        for row, value in enumerate(column):
            if isinstance(value, float) and not abs(value) < EXACT:
                sentence = f"Row {row}: {name} {value} has lost its last figures as a number; send it as text."
                raise BadInput(sentence)
            if isinstance(value, str) and len(value) > LONGEST_ID:
                sentence = f"Row {row}: {name} has {len(value):,} characters; send at most {LONGEST_ID:,}."
                raise BadInput(sentence)


def _as_number(field: LoanField) -> pl.Expr:
    column = pl.col(field.name)
    return column if field.kind == "number" else column.to_physical().cast(pl.Float64) + 1


def _column(name: str, values: Sequence[Any], decimal: str) -> pl.Series:
    """Make a column: numbers as floats; all else, and numbers beside it, as text, as the book's files have it."""
    if _NUMBERS.issuperset(map(type, values)):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    return pl.Series(name, [_text(value, decimal) for value in values], dtype=pl.String)


def _text(value: Any, decimal: str) -> str | None:
    if type(value) is float:
        return str(value).replace(".", decimal)
    return None if value is None else str(value)
