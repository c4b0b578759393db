"""Requests as Triton's own client writes them, to applications, and answers as it reads them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton

from loan_default.risk.model.scorer import Predictions
from loan_default.serving.inference_protocol import InferenceRequest, decode, encode, model_metadata, server_metadata
from loan_default.serving.protocol import Refused
from loan_default_tests.packages import contract, scorer

VALUES: Mapping[str, tuple[str, Sequence[Any]]] = {
    "term": ("FP64", [36.0, math.nan]),
    "grade": ("BYTES", ["B", ""]),
    "pub_rec": ("INT64", [0, 2]),
    "joint": ("BOOL", [True, False]),
}
PREDICTIONS = Predictions(
    [0.1, 0.2], [600, 580], ["approve", "review"], [[], ["Higher than typical: 31 %.", "Näher."]], [[], []]
)


def tensors(*, binary: bool) -> list[Any]:
    inputs = []
    for name, (datatype, values) in VALUES.items():
        tensor = triton.InferInput(name, [2], datatype)
        kinds = {"FP64": np.float64, "BYTES": np.object_, "INT64": np.int64, "BOOL": np.bool_}
        tensor.set_data_from_numpy(np.array(values, dtype=kinds[datatype]), binary_data=binary)
        inputs.append(tensor)
    return inputs


def decoded(inputs: list[Any], **options: Any) -> InferenceRequest:
    body, length = triton.InferenceServerClient.generate_request_body(inputs, **options)
    return decode(body, None if length is None else str(length).encode(), at_most=2)


def rows_of(request: InferenceRequest) -> list[dict[str, Any]]:
    return [dict(zip(request.decoded.names, row, strict=True)) for row in request.decoded.rows]


@pytest.mark.parametrize("binary", [False, True])
def test_a_clients_tensors_are_applications(*, binary: bool) -> None:
    assert rows_of(decoded(tensors(binary=binary))) == [
        {"term": 36.0, "grade": "B", "pub_rec": 0, "joint": True},
        {"term": None, "grade": None, "pub_rec": 2, "joint": False},
    ]


def body_of(**changes: Any) -> dict[str, Any]:
    """Return a request in JSON; a change replaces the tensor of its name, or leaves it out."""
    inputs = {
        "term": {"name": "term", "shape": [2], "datatype": "FP64", "data": [36, None]},
        "grade": {"name": "grade", "shape": [2, 1], "datatype": "BYTES", "data": [["B"], [""]]},
    }
    return {"inputs": [tensor for tensor in {**inputs, **changes}.values() if tensor]}


def read(body: Any, header_length: bytes | None = None) -> InferenceRequest:
    return decode(body if isinstance(body, bytes) else json.dumps(body).encode(), header_length, at_most=2)


def test_json_tensors_may_be_flat_or_nested() -> None:
    assert rows_of(read(body_of())) == [{"term": 36.0, "grade": "B"}, {"term": None, "grade": None}]


def test_reasons_are_computed_where_they_are_requested() -> None:
    output = {key: read({**body_of(), **outputs}).decoded.output for key, outputs in {
        "all": {}, "none": {"outputs": [{"name": "pd"}]}, "some": {"outputs": [{"name": "reasons"}]}
    }.items()}  # fmt: skip
    assert output == {"all": "full", "none": "pd", "some": "full"}


TERM = {"name": "term", "shape": [2], "datatype": "FP64", "data": [36, 60]}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "no request of the Open Inference Protocol: Input data was truncated"),
        ({}, "missing required field `inputs`"),
        ({"inputs": []}, "no inputs"),
        ({**body_of(), "input": 1}, "unknown field `input`"),
        (body_of(term={**TERM, "datatype": "FP32"}), "Input term is FP32, in which 12.74 is another number"),
        (body_of(term={**TERM, "datatype": "TEXT"}), "the datatype 'TEXT'; it must be FP64"),
        (body_of(term={**TERM, "shape": [1]}), "term has 1 value and grade 2"),
        (body_of(term={**TERM, "shape": [2, 2]}), "the shape [2, 2]; it must be [n] or [n, 1]"),
        (body_of(term={**TERM, "shape": [-1]}), "the shape [-1]"),
        (body_of(term={**TERM, "data": [36]}), "Input term has 1 value and the shape [2]; it needs 2"),
        (body_of(term={**TERM, "data": ["36", "60"]}), "Input term is FP64, and its data are not"),
        (body_of(term={**TERM, "datatype": "INT64", "data": [36, 2**63]}), "is INT64, and 9223372036854775808 is none"),
        (body_of(term={**TERM, "datatype": "UINT8", "data": [36, -1]}), "is UINT8, and -1 is none"),
        (body_of(term={**TERM, "data": 36}), "Input term is FP64, and its data are not"),
        (body_of(other={**TERM}), "the input term twice"),
        (json.dumps(body_of(term=TERM)).replace('"shape"', '"name": "x", "shape"').encode(), "the name 'name' twice"),
        ({"inputs": [{**TERM, "shape": [0], "data": []}]}, "There is no application in the request"),
        (body_of(term={"name": "term", "shape": [2], "datatype": "FP64"}), "neither data nor"),
        (body_of(term={**TERM, "parameters": {"binary_data_size": 16}}), "add up to 16 bytes, and 0 follow"),
        ({**body_of(), "outputs": [{"name": "margin"}]}, "'margin' is no output"),
        ({**body_of(), "outputs": [{"name": "pd", "parameters": {"classification": 1}}]}, "`classification`"),
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_refused(body: Any, sentence: str) -> None:
    with pytest.raises(Refused) as raised:
        read(body)
    assert sentence in raised.value.sentence
    assert (raised.value.status, raised.value.sentence[-1]) == (400, ".")


def test_more_tensors_than_a_contract_has_fields_are_refused() -> None:
    inputs = [{**TERM, "name": str(number)} for number in range(1_001)]
    with pytest.raises(Refused, match="1,001 inputs; at most 1,000"):
        decode(json.dumps({"inputs": inputs}).encode(), None, at_most=1_000)


def test_too_many_values_are_refused_by_the_shapes_alone() -> None:
    inputs = [{**TERM, "name": str(number), "data": "nothing"} for number in range(601)]
    with pytest.raises(Refused, match="1,202 values in one request; at most 1,200") as raised:
        read({"inputs": inputs})
    assert raised.value.status == 413


def test_too_many_values_are_refused_before_they_are_read() -> None:
    with pytest.raises(Refused, match="values in one request") as raised:
        read({"inputs": [{**TERM, "data": [1] * 500_000}]})
    assert raised.value.status == 413


def test_too_many_applications_are_refused_by_the_shape_alone() -> None:
    with pytest.raises(Refused, match=r"3,000,000 applications in one request; at most 2") as raised:
        read({"inputs": [{"name": "term", "shape": [3_000_000], "datatype": "FP64", "data": "nothing"}]})
    assert raised.value.status == 413


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("FP64", b"\0" * 15), ("BYTES", b"\5\0\0\0four"), ("BYTES", b"\1\0"), ("BYTES", b"\1\0\0\0\xff\0\0\0\0")],
)
def test_binary_data_of_another_type_are_refused(datatype: str, data: bytes) -> None:
    size = {"binary_data_size": len(data)}
    text = json.dumps({"inputs": [{"name": "x", "shape": [2], "datatype": datatype, "parameters": size}]}).encode()
    with pytest.raises(Refused, match=r"Input x: .* are no binary"):
        read(text + data, str(len(text)).encode())


@pytest.mark.parametrize("length", [b"9999", b"-1", b"ten", b"1" * 5_000])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    with pytest.raises(Refused, match="Inference-Header-Content-Length is"):
        read(body_of(), length)


def test_infinity_is_no_missing_value() -> None:
    tensor = triton.InferInput("term", [1], "FP64")
    tensor.set_data_from_numpy(np.array([np.inf]))
    with pytest.raises(Refused, match="term holds infinity"):
        decoded([tensor])


def result_of(request: InferenceRequest) -> Any:
    answer = encode(PREDICTIONS, request, model_name="m", version="3", reasons_at_most=3)
    return triton.InferenceServerClient.parse_response_body(answer.body, header_length=answer.header_length)


@pytest.mark.parametrize("binary", [False, True])
def test_a_client_reads_each_output(*, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("pd", "score", "decision", "reasons")]
    result = result_of(decoded(tensors(binary=binary), outputs=outputs, request_id="42"))
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("m", "3", "42")
    assert result.as_numpy("pd").tolist() == PREDICTIONS.pds
    assert result.as_numpy("score").tolist() == PREDICTIONS.scores
    texts = {name: result.as_numpy(name).astype(np.bytes_ if binary else np.str_) for name in ("decision", "reasons")}
    decisions, reasons = (np.char.decode(text) if binary else text for text in texts.values())
    assert decisions.tolist() == PREDICTIONS.decisions
    assert reasons.tolist() == [["", "", ""], [*PREDICTIONS.reasons[1], ""]]


def test_a_client_that_requests_no_output_gets_all_as_it_likes_them() -> None:
    request = decoded(tensors(binary=True))
    assert request.outputs == dict.fromkeys(("pd", "score", "decision", "reasons"), True)
    assert result_of(request).as_numpy("pd").tolist() == PREDICTIONS.pds
    assert read(body_of()).outputs == dict.fromkeys(request.outputs, False)


def test_metadata_names_a_tensor_for_each_field() -> None:
    metadata = model_metadata(scorer("xgboost"), name="m", version=3)
    inputs = {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]}
    assert inputs.keys() == {field.name for field in contract().application_fields}
    assert (inputs["term"], inputs["grade"], inputs["issue_d"]) == ("FP64", "BYTES", "BYTES")
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["pd", "score", "decision", "reasons"]
    assert server_metadata("1.2")["version"] == "1.2"
