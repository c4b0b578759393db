"""Records of which a test says only what it is about; all else that a record of the kind has is filled in."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from loan_default.adapters.layout import RecordKind
from loan_default.adapters.record_shapes import SHAPES

TIME = "2026-03-01T00:00:00+00:00"  # which is also a text


def filled(kind: RecordKind, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the keys that it lacks: zero, false, empty, or nothing where that may be."""
    content: dict[str, Any] = _fill(SHAPES[kind], record)
    return content


def _fill(shape: Any, value: Any) -> Any:
    """Fill in what a value lacks of a shape."""
    if isinstance(shape, type) and issubclass(shape, BaseModel) and isinstance(value, Mapping):
        missing = {name: field for name, field in shape.model_fields.items() if name not in value}
        own = {
            name: _fill(shape.model_fields[name].annotation, each) if name in shape.model_fields else each
            for name, each in value.items()
        }
        return {**own, **{name: _empty(field.annotation) for name, field in missing.items() if field.is_required()}}
    if get_origin(shape) is list and isinstance(value, list | tuple):
        return [_fill(get_args(shape)[0], each) for each in value]
    if get_origin(shape) is Mapping and isinstance(value, Mapping):
        return {key: _fill(get_args(shape)[1], each) for key, each in value.items()}
    if get_origin(shape) in (Union, types.UnionType):
        return value if value is None else _fill(get_args(shape)[0], value)
    return value


def _empty(shape: Any) -> Any:
    if get_origin(shape) in (Union, types.UnionType):
        return None
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return _fill(shape, {})
    return {list: [], Mapping: {}}.get(get_origin(shape), {int: 0, float: 0.0, bool: False, str: TIME}.get(shape))
