"""JSON bodies to applications, by MLflow's four forms; nothing is made of a body before it was measured.

`QuickDecoder` knows the forms that loan systems send, straight into applications of a type; `decode_json` takes all of
them and says what is wrong. What an application may hold is `risk`'s to say.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, get_args

import msgspec
import numpy as np
import orjson
from msgspec.structs import astuple

from loan_default.risk.model.online_features import NAMES_CHARACTERS, SEQUENCES
from loan_default.risk.text import plural
from loan_default.serving.protocol import (
    COLUMNS_AT_MOST,
    FORMS,
    PARAMS,
    REASON_CHARACTERS,
    SPLIT,
    BodyLimits,
    DecodedBody,
    Output,
    invalid,
    repeated,
    too_large,
)

_SMALL = 300_000  # bytes; what they hold is never much


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    output: Output | msgspec.UnsetType = msgspec.UNSET


class _Columns(msgspec.Struct, kw_only=True):
    columns: list[str]
    index: msgspec.Raw = msgspec.Raw()  # which pandas writes, and nobody needs

    @property
    def has_index(self) -> bool:
        return bool(bytes(self.index))


class _Peek(msgspec.Struct):
    dataframe_split: _Columns


class QuickDecoder:
    """A decoder of the JSON forms that loan systems send, straight into applications of a type that msgspec knows.

    Rows of a `dataframe_split` are decoded in one pass as long as callers send the columns that they sent last.
    """

    def __init__(self, form: type[msgspec.Struct], row_form: Callable[[Sequence[str]], Any]) -> None:
        """Decode objects of `form`, and lists as the type of tuples that `row_form` gives for their columns' names."""
        self._form, self._row_form = form, row_form
        self._for_columns = lru_cache(SEQUENCES)(self._make)
        self._latest = self._make(())

    def decode(self, body: bytes) -> DecodedBody | None:
        """Decode a body that `measure` let pass; None where `decode_json` has to look, and to say what is wrong.

        Raises:
            Refused: an object has a name twice.
        """
        names, decoder = self._latest
        table = self._by(decoder, names, body)
        if table is None and (peeked := _decoded(_PEEK, body)) is not None:
            columns = peeked.dataframe_split.columns
            if len(columns) > COLUMNS_AT_MOST or sum(map(len, columns)) > NAMES_CHARACTERS:
                return None
            self._latest = names, decoder = self._for_columns(tuple(columns))
            table = self._by(decoder, names, body)
        return table

    def _by(self, decoder: msgspec.json.Decoder[Any], names: tuple[str, ...], body: bytes) -> DecodedBody | None:
        if (decoded := _decoded(decoder, body)) is None:
            return None
        *forms, params, parameters = astuple(decoded)
        forms_sent = [applications for applications in forms if applications is not msgspec.UNSET]
        if len(forms_sent) != 1 or (parameters and (params or decoded.instances is msgspec.UNSET)):
            return None
        params = params or parameters
        applications, names_with_values = forms_sent[0], 1
        output: Output = "full"
        if params and params.output is not msgspec.UNSET:
            output, names_with_values = params.output, 3
        if type(applications) is list:
            table = DecodedBody(self._form.__struct_fields__, [*map(astuple, applications)], output)
            names_with_values += sum([len(row) - row.count(None) for row in table.rows])
        elif tuple(applications.columns) == names:
            table = DecodedBody(names, applications.data, output)
            names_with_values += 2 + applications.has_index
        else:
            return None
        if body.count(b":") > names_with_values:  # else there are no others, as each stands before a colon
            refuse_repeated(body, count_names(_loaded(body)))
        return table

    def _make(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], msgspec.json.Decoder[Any]]:
        """Return the names, and what decodes a body with lists of them; any body with objects too."""
        forms: dict[str, Any] = {name: list[self._form] for name in FORMS if name != SPLIT}  # type: ignore[name-defined]
        if (row := self._row_form(names)) is not None:
            forms[SPLIT] = msgspec.defstruct("Split", [("data", list[row])], bases=(_Columns,))  # type: ignore[valid-type]
        fields = [(name, kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in forms.items()]
        params = [(name, _Params | None, None) for name in PARAMS]
        body = msgspec.defstruct("Body", [*fields, *params], forbid_unknown_fields=True)
        return names, msgspec.json.Decoder(body)


_PEEK = msgspec.json.Decoder(_Peek)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def measure(body: bytes, limits: BodyLimits) -> None:
    """Count what a body would become, by its signs, before anything is made of it.

    Raises:
        Refused: 413 for more values, lists and objects than so many applications have.
    """
    if len(body) <= _SMALL or _is_within(body, limits):
        return
    signs = _outside_of_texts(body)
    limits.check_values(signs.count(b","))
    if not _is_within(signs, limits):
        raise too_large(f"More than {limits.lists:,} lists and objects in one request; send plain values of fields.")


def _is_within(body: bytes, limits: BodyLimits) -> bool:
    return body.count(b",") <= limits.values and body.count(b"{") + body.count(b"[") <= limits.lists


def _outside_of_texts(body: bytes) -> bytes:
    """Return what stands outside of texts, which may hold any sign, in a few times the memory of the body."""
    letters = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    within = np.logical_xor.accumulate(letters == ord('"'))
    return letters[~within].tobytes()


def count_names(request: Any) -> int:
    """Count the names in the objects of a decoded body; of a name that stood twice in one the last alone is left."""
    count, objects = 0, [request] if type(request) is dict else []
    while objects:
        count += sum(map(len, objects))
        values = chain.from_iterable(content.values() for content in objects)
        lists = (value if type(value) is list else (value,) for value in values)
        objects = [item for items in lists for item in items if type(item) is dict]
    return count


def refuse_repeated(body: bytes, names: int) -> None:
    """Refuse JSON in which an object has a name twice: readers differ in which of them counts (RFC 8259, section 4).

    Behind each name stands a colon, so there is none where `count_names` has found as many `names` as there are colons.

    Raises:
        Refused: 400, names it.
    """
    if body.count(b":") > names and _outside_of_texts(body).count(b":") > names:
        try:
            json.loads(body, object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)
        except RecursionError:
            raise invalid("The body has lists or objects within each other without end; send plain values.") from None


def _refuse_repeated(members: Sequence[tuple[str, Any]]) -> None:
    if (name := repeated(name for name, _ in members)) is not None:
        raise invalid(f"An object has the name {name!r} twice; send it once, as JSON does not say which counts.")


def decode_json(body: bytes, limits: BodyLimits) -> DecodedBody:
    """Decode a body of any of the forms.

    Raises:
        Refused: 400 for what is no JSON, or none of the forms; 413 for more than the limits allow.
    """
    measure(body, limits)
    request = _loaded(body.removeprefix(codecs.BOM_UTF8))  # which editors put before a file
    refuse_repeated(body, count_names(request))
    vertex = type(request) is dict and "instances" in request and "params" not in request
    params = request.pop(PARAMS[vertex], None) if type(request) is dict else None
    if type(request) is not dict or len(request) != 1 or (form := next(iter(request))) not in FORMS:
        raise invalid(_misformed(request))
    output = _output(params)
    content = request[form]
    if form == SPLIT:
        return _split(content, output)
    if type(content) is list and {dict}.issuperset(map(type, content)):
        return _records(content, output, limits)
    if type(content) is dict and {list}.issuperset(map(type, content.values())) and form != "dataframe_records":
        return _lists(content, output)
    raise invalid(f"{form} must be a list of objects, one for each application.")


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body:
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(with_null(body))
        raise invalid(f"The body cannot be read as JSON: {str(error)[:REASON_CHARACTERS].rstrip('.')}.") from None


def with_null(body: bytes) -> bytes:
    """Return JSON as Python's and pandas' writers have it, NaN for a missing number, with null instead."""
    return _TEXT_OR_NAN.sub(lambda match: b"null" if match[0] == b"NaN" else match[0], body)


# A text that does not end reaches to the end: what follows is not tried again from each of its signs.
_TEXT_OR_NAN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|NaN', re.DOTALL)


def _misformed(request: Any) -> str:
    forms = [name for name in FORMS if name in request] if isinstance(request, dict) else []
    if len(forms) != 1:
        return f"The body must be a JSON object with exactly one of {', '.join(FORMS)}."
    unknown = min(request.keys() - set(forms))
    return f"{unknown!r} is no part of a request; beside {forms[0]} only params may stand."


def _output(params: Any) -> Output:
    if params is None:
        return "full"
    if not isinstance(params, dict):
        raise invalid('params must be an object such as {"output": "pd"}.')
    if unknown := sorted(params.keys() - {"output"}):
        raise invalid(f"{unknown[0]!r} is no parameter; output is the only one.")
    output = params.get("output", "full")
    if output not in get_args(Output):
        raise invalid(f"The parameter output is {output!r}; it must be 'full', 'pd', 'label' or 'offers'.")
    return output  # type: ignore[no-any-return]


def _records(records: Sequence[dict[str, Any]], output: Output, limits: BodyLimits) -> DecodedBody:
    """Turn objects into rows; where their fields differ, a row has `UNSET` for a field that it lacks."""
    names = tuple(records[0]) if records else ()
    if all(tuple(row) == names for row in records):
        return DecodedBody(names, [[*row.values()] for row in records], output)
    distinct: dict[str, None] = {}
    for row in records:
        distinct |= dict.fromkeys(row)
        if len(distinct) > COLUMNS_AT_MOST:
            raise invalid(f"The applications have more than {COLUMNS_AT_MOST:,} fields; send the same of each.")
        limits.check_values(len(distinct) * len(records))
    names = tuple(distinct)
    return DecodedBody(names, [[row.get(name, msgspec.UNSET) for name in names] for row in records], output)


def _lists(columns: Mapping[str, Sequence[Any]], output: Output) -> DecodedBody:
    """Turn lists by field into rows."""
    rows = len(next(iter(columns.values()), ()))
    if other := next((name for name, values in columns.items() if len(values) != rows), None):
        first = next(iter(columns))
        raise invalid(
            f"{first} has {plural(rows, 'value')} and {other} {len(columns[other]):,}; "
            "each field needs one for each application."
        )
    return DecodedBody(tuple(columns), [*zip(*columns.values(), strict=True)], output)


def _split(split: Any, output: Output) -> DecodedBody:
    columns = split.get("columns") if isinstance(split, dict) else None
    rows = split.get("data") if isinstance(split, dict) else None
    if not (isinstance(columns, list) and isinstance(rows, list) and all(type(name) is str for name in columns)):
        raise invalid("dataframe_split must be an object with columns, a list of names, and data, a list of rows.")
    if (twice := repeated(columns)) is not None:
        raise invalid(f"dataframe_split names the column {twice} twice.")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            count = plural(len(columns), "column")
            raise invalid(f"Row {index}: dataframe_split has {count}; each row must be a list of as many.")
    return DecodedBody(tuple(columns), rows, output)
