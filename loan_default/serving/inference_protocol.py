"""The Open Inference Protocol (KServe V2, REST): tensors named by fields to applications, predictions to tensors.

Tensors become rows as a body of MLflow's protocol does, and are read, scored and logged as those; the routes are
`inference_routes`'. Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md; binary
tensors as in Triton's extension of binary tensor data, which its client sends unless it is told not to.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from loan_default.risk.model.scorer import Predictions, Scorer
from loan_default.risk.text import plural
from loan_default.serving.http import JSON_HEADER, RawHeaders
from loan_default.serving.json_body import count_names, measure, refuse_repeated, with_null
from loan_default.serving.protocol import COLUMNS_AT_MOST, BodyLimits, DecodedBody, Output, invalid

PATH = "/v2"  # below which all of its routes are
BINARY = "application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"  # of the JSON before the binary tensors
_MODEL_PATH = re.compile(PATH + r"/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?(?P<end>/ready|/infer)?")
_EXTENSION = "binary_tensor_data"
_WHOLE = {
    f"{sign}{bits}": f"<{kind}{bits // 8}" for sign, kind in (("INT", "i"), ("UINT", "u")) for bits in (8, 16, 32, 64)
}
_NUMPY = {"FP64": "<f8", "BOOL": "?", **_WHOLE}
DATATYPES: Mapping[str, Any] = {"FP64": float, "BOOL": bool, "BYTES": str, **dict.fromkeys(_WHOLE, int)}
_DECODERS: Mapping[str, msgspec.json.Decoder[list[Any]]] = {
    name: msgspec.json.Decoder(list[kind | list[kind | None] | None])  # type: ignore[valid-type]
    for name, kind in DATATYPES.items()
}
_NAMES_OF_TENSOR = 4  # at least, where it has data
_INFINITE = {math.inf, -math.inf}
_LENGTH = struct.Struct("<I")  # before each text of a binary tensor
OUTPUTS = {"pd": "FP64", "score": "INT64", "decision": "BYTES", "reasons": "BYTES"}


class Target(NamedTuple):
    """Names what a path of the protocol is about: its template, the model's name, and the version if any."""

    template: str
    name: str
    version: str | None


def parse_path(path: str) -> Target | None:
    """Parse a path of a model; None where it is none."""
    match = _MODEL_PATH.fullmatch(path)
    if match is None:
        return None
    version = "/versions/{version}" if match["version"] else ""
    return Target(f"{PATH}/models/{{name}}{version}{match['end'] or ''}", match["name"], match["version"])


class _TensorParameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: _TensorParameters = _TensorParameters()
    data: msgspec.Raw = msgspec.Raw()


class _OutputParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    binary_data: bool = False


class _RequestedOutput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _RequestParameters(msgspec.Struct, frozen=True):
    binary_data_output: bool = False


class _Inference(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: _RequestParameters = _RequestParameters()
    outputs: list[_RequestedOutput] = []


_DECODER = msgspec.json.Decoder(_Inference)


class InferenceRequest(NamedTuple):
    """A request to infer: its id, its applications, and its outputs, each with whether it is binary."""

    request_id: str | None
    decoded: DecodedBody
    outputs: Mapping[str, bool]


def decode(body: bytes, header_length: bytes | None, *, at_most: int) -> InferenceRequest:
    """Decode a request to infer.

    Args:
        body: JSON, followed by the binary tensors where there are any.
        header_length: the header that says how long the JSON is; None where all of the body is JSON.
        at_most: so many applications are taken; it is seen to before a tensor's data are decoded.

    Raises:
        Refused: names the tensor and what is allowed.
    """
    length = _json_length(body, header_length)
    limits = BodyLimits(at_most)
    request = _loaded(body[:length], limits)
    rows = _rows(request.inputs, limits)
    binary = _split_binary(request.inputs, memoryview(body)[length:])
    columns = [_values(tensor, rows, data) for tensor, data in zip(request.inputs, binary, strict=True)]
    outputs = _requested(request)
    names = tuple(tensor.name for tensor in request.inputs)
    output: Output = "full" if "reasons" in outputs else "pd"  # reasons take most of the time
    request_id = None if request.id is msgspec.UNSET else request.id
    return InferenceRequest(request_id, DecodedBody(names, [*zip(*columns, strict=True)], output), outputs)


def _loaded(text: bytes, limits: BodyLimits) -> _Inference:
    measure(text, limits)
    if b"NaN" in text:  # as Triton's client writes it
        text = with_null(text)
    try:
        request = _DECODER.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise invalid(f"The body is no request of the Open Inference Protocol: {str(error).rstrip('.')}.") from None
    if text.count(b":") > 1 + _NAMES_OF_TENSOR * len(request.inputs):
        refuse_repeated(text, count_names(orjson.loads(text)))
    return request


def _json_length(body: bytes, header_length: bytes | None) -> int:
    if header_length is None:
        return len(body)
    if not header_length.isdigit() or len(header_length) > 10 or int(header_length) > len(body):
        sentence = f"Inference-Header-Content-Length is {header_length.decode('latin-1')[:60]!r}"
        raise invalid(f"{sentence}; it must be the length of the JSON, at most that of the body ({len(body)}).")
    return int(header_length)


def _rows(tensors: Sequence[_Tensor], limits: BodyLimits) -> int:
    """Return how many applications the tensors hold, by their shapes alone."""
    if not tensors:
        raise invalid("The request has no inputs; send a tensor for each field of the applications.")
    if len(tensors) > COLUMNS_AT_MOST:
        sentence = (
            f"The request has {len(tensors):,} inputs; at most {COLUMNS_AT_MOST:,} are taken, one for each field."
        )
        raise invalid(sentence)
    first = tensors[0]
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise invalid(f"The request has the input {tensor.name} twice.")
        names.add(tensor.name)
        if tensor.datatype not in DATATYPES:
            raise invalid(_unknown_type(tensor))
        if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)) or tensor.shape[0] < 0:
            raise invalid(f"Input {tensor.name} has the shape {tensor.shape}; it must be [n] or [n, 1].")
        if tensor.shape[0] != first.shape[0]:
            counts = f"{first.name} has {plural(first.shape[0], 'value')} and {tensor.name} {tensor.shape[0]:,}"
            raise invalid(f"{counts}; each input needs one for each application.")
    limits.check_rows(first.shape[0])
    limits.check_values(first.shape[0] * len(tensors))
    return first.shape[0]


def _unknown_type(tensor: _Tensor) -> str:
    allowed = "FP64, INT64 (or another whole number), BOOL or BYTES"
    if tensor.datatype in ("FP16", "BF16", "FP32"):
        return f"Input {tensor.name} is {tensor.datatype}, in which 12.74 is another number; send {allowed}."
    return f"Input {tensor.name} has the datatype {tensor.datatype!r}; it must be {allowed}."


def _split_binary(tensors: Sequence[_Tensor], data: memoryview) -> Iterator[memoryview | None]:
    """Yield the binary data of each tensor, None where its data are in the JSON."""
    sizes = [tensor.parameters.binary_data_size for tensor in tensors]
    total = sum(size for size in sizes if size is not None)
    if any(size is not None and size < 0 for size in sizes) or total != len(data):
        raise invalid(f"The inputs' binary_data_size add up to {total} bytes, and {len(data)} follow the JSON.")
    start = 0
    for size in sizes:
        yield None if size is None else data[start : start + size]
        start += size or 0


def _values(tensor: _Tensor, rows: int, data: memoryview | None) -> Sequence[Any]:
    """Return a value for each application; None for NaN and an empty text, which a tensor has for a missing value."""
    values = _from_json(tensor) if data is None else _from_binary(tensor, data)
    if len(values) != rows:
        count = plural(len(values), "value")
        raise invalid(f"Input {tensor.name} has {count} and the shape {tensor.shape}; it needs {rows:,}.")
    if tensor.datatype == "BYTES":
        return [value or None for value in values]
    if tensor.datatype in _WHOLE:
        _check_whole(tensor, values)
    if tensor.datatype != "FP64":
        return values
    if not _INFINITE.isdisjoint(values):
        raise invalid(f"Input {tensor.name} holds infinity; send a number, or NaN where the value is missing.")
    return [None if value != value else value for value in values]


def _check_whole(tensor: _Tensor, values: Sequence[int | None]) -> None:
    limits = np.iinfo(_WHOLE[tensor.datatype])
    for value in values:
        if value is not None and not limits.min <= value <= limits.max:
            raise invalid(f"Input {tensor.name} is {tensor.datatype}, and {str(value)[:60]} is none.")


def _from_json(tensor: _Tensor) -> Sequence[Any]:
    raw = bytes(tensor.data)
    if not raw:
        raise invalid(f"Input {tensor.name} has neither data nor parameters.binary_data_size.")
    try:
        values = _DECODERS[tensor.datatype].decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise invalid(f"Input {tensor.name} is {tensor.datatype}, and its data are not: {error}.") from None
    nested = [value for value in values if isinstance(value, list)]
    if nested and len(nested) < len(values):
        raise invalid(f"Input {tensor.name} has values beside lists of values; send either.")
    return [*chain.from_iterable(nested)] if nested else values


def _from_binary(tensor: _Tensor, data: memoryview) -> Sequence[Any]:
    try:
        if tensor.datatype == "BYTES":
            return [*_texts(data)]
        return np.frombuffer(data, _NUMPY[tensor.datatype]).tolist()  # type: ignore[no-any-return]
    except (ValueError, struct.error):
        sentence = f"Input {tensor.name}: its data of {plural(len(data), 'byte')} are no binary {tensor.datatype}."
        raise invalid(sentence) from None


def _texts(data: memoryview) -> Iterator[str]:
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size + length
        if position > len(data):
            raise ValueError("a text is longer than the data")
        yield str(data[position - length : position], "utf-8")


def _requested(request: _Inference) -> dict[str, bool]:
    """Return the outputs of the answer, each with whether it is binary: all in JSON, unless the request says other."""
    if not request.outputs:
        return dict.fromkeys(OUTPUTS, request.parameters.binary_data_output)
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise invalid(f"{output.name!r} is no output; the outputs are {', '.join(OUTPUTS)}.")
    everywhere = request.parameters.binary_data_output
    return {output.name: output.parameters.binary_data or everywhere for output in request.outputs}


class InferenceAnswer(NamedTuple):
    """The body of an answer, and the length of its JSON where binary tensors follow."""

    body: bytes
    header_length: int | None

    @property
    def headers(self) -> RawHeaders:
        """Return the headers of its type and length."""
        if self.header_length is None:
            return (JSON_HEADER,)
        return (b"content-type", BINARY.encode()), (HEADER_LENGTH, b"%d" % self.header_length)


def encode(
    predictions: Predictions, request: InferenceRequest, *, model_name: str, version: str, reasons_at_most: int
) -> InferenceAnswer:
    """Encode predictions for n applications: pd, score, decision (n,), reasons (n, most of them) filled up with ""."""
    width = max([reasons_at_most, *map(len, predictions.reasons)])
    values: dict[str, Callable[[], Sequence[Any]]] = {
        "pd": lambda: predictions.pds,
        "score": lambda: predictions.scores,
        "decision": lambda: predictions.decisions,
        "reasons": lambda: [text for row in predictions.reasons for text in (*row, *[""] * (width - len(row)))],
    }
    outputs, binary = [], []
    for name, is_binary in request.outputs.items():
        shape = [len(predictions.pds), *([width] if name == "reasons" else [])]
        tensor = {"name": name, "datatype": OUTPUTS[name], "shape": shape}
        if is_binary:
            data = _as_binary(OUTPUTS[name], values[name]())
            binary.append(data)
            outputs.append({**tensor, "parameters": {"binary_data_size": len(data)}})
        else:
            outputs.append({**tensor, "data": values[name]()})
    answer = {"model_name": model_name, "model_version": version, "outputs": outputs}
    if request.request_id is not None:
        answer["id"] = request.request_id
    text = orjson.dumps(answer)
    return InferenceAnswer(b"".join((text, *binary)), len(text) if binary else None)


def _as_binary(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(text)) + text for text in map(str.encode, values))
    return np.asarray(values, _NUMPY[datatype]).tobytes()


def encode_error(sentence: str) -> bytes:
    """Encode a refusal as the protocol has it."""
    return orjson.dumps({"error": sentence})


def server_metadata(version: str) -> dict[str, Any]:
    """Describe the server of this version of the platform."""
    return {"name": "loan-default", "version": version, "extensions": [_EXTENSION]}


def model_metadata(scorer: Scorer, *, name: str, version: int) -> dict[str, Any]:
    """Describe the tensors of a version: one for each field of an application, and the outputs."""
    shapes, platform = {"reasons": [-1, scorer.policy.reasons_at_most]}, f"loan-default_{scorer.kind}"
    inputs = [
        {"name": field.name, "datatype": "FP64" if field.kind == "number" else "BYTES", "shape": [-1]}
        for field in scorer.contract.application_fields
    ]
    outputs = [
        {"name": output, "datatype": datatype, "shape": shapes.get(output, [-1])}
        for output, datatype in OUTPUTS.items()
    ]
    return {"name": name, "versions": [str(version)], "platform": platform, "inputs": inputs, "outputs": outputs}
