"""The forms of a request to score, written from applications: Schemathesis imports it, and sends what it generated so.

A document of the tests' own (`as_applications`) says of each form that it is a list of applications, which a schema can
say; what no schema says is made here: rows of as many values as there are columns, tables, tensors of one shape.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from loan_default.serving.inference_protocol import BINARY
from loan_default.serving.protocol import CSV, FORMS, JSON, PARQUET, SPLIT

Loans = Sequence[Mapping[str, Any]]
TENSORS = "tensors"  # a request to infer, of applications
_APPLICATIONS = {"type": "array", "items": {"$ref": "#/components/schemas/Application"}, "minItems": 1, "maxItems": 4}


def as_applications(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of the two ways to score, in which each form is a list of applications.

    The months are few, as a time between two that is out of its range is refused, which no schema can say.
    """
    fields = document["components"]["schemas"]["Application"]["properties"]
    fields |= {"earliest_cr_line": {"enum": ["1983-05", "Aug-2001"]}, "issue_d": {"enum": ["2018-10", "Nov-2018"]}}
    paths = {path: document["paths"][path] for path in ("/invocations", "/v2/models/{name}/infer")}
    for path in paths.values():
        del path["post"]["parameters"]  # a key that was sent before is refused with another body
    score, infer = (path["post"]["requestBody"]["content"] for path in paths.values())
    for body in document["components"]["schemas"]["ScoringRequest"]["oneOf"]:
        body["properties"] |= {form: _APPLICATIONS for form in FORMS if form in body["properties"]}
    tensors = {"type": "object", "properties": {TENSORS: _APPLICATIONS}, "required": [TENSORS]}
    score |= {CSV: {"schema": _APPLICATIONS}, PARQUET: {"schema": _APPLICATIONS}}
    infer |= {JSON: {"schema": tensors}, BINARY: {"schema": _APPLICATIONS}}
    score[JSON].pop("examples")
    return {**document, "paths": paths}


def columns_of(loans: Loans) -> dict[str, list[Any]]:
    """Return the values of each field that a loan has; None where another lacks it."""
    return {name: [loan.get(name) for loan in loans] for name in dict.fromkeys(name for loan in loans for name in loan)}


def split_of(loans: Loans) -> dict[str, Any]:
    """Write applications as pandas does by `orient="split"`."""
    columns = columns_of(loans)
    return {"columns": [*columns], "data": [[*row] for row in zip(*columns.values(), strict=True)]}


def csv_of(loans: Loans) -> bytes:
    """Write applications as a table of texts."""
    columns = {name: [_text(value) for value in values] for name, values in columns_of(loans).items()}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_csv(quote_style="non_numeric").encode()


def parquet_of(loans: Loans) -> bytes:
    """Write applications as a file: columns of numbers, and of texts where there is any."""
    buffer = io.BytesIO()
    pl.DataFrame([_series(*column) for column in columns_of(loans).items()]).write_parquet(buffer)
    return buffer.getvalue()


def tensors_of(loans: Loans, *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Write applications as tensors, and the bytes that follow where they are binary."""
    tensors, data = [], b""
    for name, values in columns_of(loans).items():
        series = _series(name, values)
        datatype = "FP64" if series.dtype == pl.Float64 else "BYTES"
        tensor: dict[str, Any] = {"name": name, "shape": [len(loans)], "datatype": datatype}
        if not binary:
            tensors.append({**tensor, "data": series.to_list()})
            continue
        if datatype == "FP64":
            content = series.fill_null(float("nan")).to_numpy().tobytes()
        else:
            texts = [(text or "").encode() for text in series.to_list()]
            content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        tensors.append({**tensor, "parameters": {"binary_data_size": len(content)}})
        data += content
    return {"inputs": tensors}, data


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    if {*map(type, values)} <= {int, float, type(None)}:
        return pl.Series(name, values, pl.Float64, strict=False)
    return pl.Series(name, [_text(value) for value in values], pl.String)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _as_json(body: Any) -> Any:
    """Return a generated body as it is sent: what is a list of applications, in the form that it names."""
    if TENSORS in body:
        return tensors_of(body[TENSORS], binary=False)[0]
    return {**body, SPLIT: split_of(body[SPLIT])} if SPLIT in body else body


def register() -> None:
    """Tell Schemathesis how each form is written."""
    from schemathesis.transport.requests import REQUESTS_TRANSPORT  # the public way sends no headers

    @REQUESTS_TRANSPORT.serializer(JSON)
    def write_json(context: object, body: Any) -> dict[str, Any]:
        return {"data": json.dumps(_as_json(body)).encode()}

    @REQUESTS_TRANSPORT.serializer(CSV)
    def write_csv(context: object, body: Any) -> dict[str, Any]:
        return {"data": csv_of(body)}

    @REQUESTS_TRANSPORT.serializer(PARQUET)
    def write_parquet(context: object, body: Any) -> dict[str, Any]:
        return {"data": parquet_of(body)}

    @REQUESTS_TRANSPORT.serializer(BINARY)
    def write_binary(context: object, body: Any) -> dict[str, Any]:
        request, data = tensors_of(body, binary=True)
        text = json.dumps(request).encode()
        return {"data": text + data, "headers": {"Inference-Header-Content-Length": str(len(text))}}
