"""A body to applications, and refusals of one sentence."""

import io
import json
from typing import Any

import msgspec
import orjson
import pandas as pd
import pytest

from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import Predictions
from loan_default.serving.protocol import CSV, JSON, PARQUET, QuickDecoder, Refused, Request, decode, encode

ROWS: list[dict[str, object]] = [{"term": 36.0, "grade": "A"}, {"term": 60.0, "grade": None}]
FORMS = {
    "dataframe_records": ROWS,
    "inputs": ROWS,
    "instances": ROWS,
    "dataframe_split": {"columns": ["term", "grade"], "data": [[36.0, "A"], [60.0, None]]},
}


class Loan(msgspec.Struct, forbid_unknown_fields=True):
    term: float
    grade: str | None = None


QUICK = QuickDecoder(Loan, lambda names: tuple[float, str | None] if names == ("term", "grade") else None)


def rows_of(request: Request) -> list[dict[str, Any]]:
    return [dict(zip(request.names, row, strict=True)) for row in request.rows]


def refusal(body: object, content_type: str = JSON) -> Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as raised:
        decode(raw, content_type, at_most=3)
    sentence = raised.value.sentence
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert orjson.loads(raised.value.body) == {"error_code": raised.value.code, "message": sentence}
    return raised.value


@pytest.mark.parametrize("form", FORMS)
def test_every_json_form_says_the_same(form: str) -> None:
    body = json.dumps({form: FORMS[form]}).encode()
    assert rows_of(decode(body, "application/json; charset=utf-8", at_most=2)) == ROWS
    quick = QUICK.decode(body)
    assert quick is not None
    assert rows_of(quick) == ROWS


def test_vertex_ai_calls_the_params_of_instances_parameters() -> None:
    for form, name in (("instances", "parameters"), ("instances", "params"), ("inputs", "params")):
        body = json.dumps({form: ROWS, name: {"output": "pd"}}).encode()
        quick = QUICK.decode(body)
        assert quick is not None
        assert (quick.output, decode(body, JSON, at_most=2).output) == ("pd", "pd")
    both = {"instances": ROWS, "params": {"output": "pd"}, "parameters": {"output": "label"}}
    for wrong in ({"inputs": ROWS, "parameters": {"output": "pd"}}, both):
        assert QUICK.decode(json.dumps(wrong).encode()) is None
        assert "'parameters' is no part of a request" in refusal(wrong).sentence


def test_columns_may_change_from_request_to_request() -> None:
    other = {"columns": ["grade", "term"], "data": [["A", 36.0], [None, 60.0]]}
    row_forms: dict[tuple[str, ...], object] = {
        ("term", "grade"): tuple[float, str | None],
        ("grade", "term"): tuple[str | None, float],
    }
    quick = QuickDecoder(Loan, lambda columns: row_forms.get(tuple(columns)))
    for split in (FORMS["dataframe_split"], other, FORMS["dataframe_split"], other, other):
        request = quick.decode(json.dumps({"dataframe_split": split}).encode())
        assert request is not None
        assert rows_of(request) == ROWS
    assert quick.decode(json.dumps({"dataframe_split": {**other, "columns": ["grade", "rate"]}}).encode()) is None
    assert quick.decode(json.dumps({"inputs": ROWS}).encode()) is not None


def test_a_field_that_one_row_lacks_is_missing_there() -> None:
    body = json.dumps({"inputs": [{"term": 36.0}, {"grade": "B", "term": 60.0}]}).encode()
    expected = [{"term": 36.0, "grade": None}, {"term": 60.0, "grade": "B"}]
    assert rows_of(decode(body, JSON, at_most=2)) == expected


def test_too_many_and_none_are_refused() -> None:
    assert refusal({"inputs": ROWS * 2}).status == 413
    assert "at least one row" in refusal({"inputs": []}).sentence


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_lists_by_field_keep_their_nulls(form: str) -> None:
    lists = {"term": [36.0, 60.0], "grade": ["A", None], "dti": [None, 12.5]}
    expected = [ROWS[0] | {"dti": None}, ROWS[1] | {"dti": 12.5}]
    assert rows_of(decode(json.dumps({form: lists}).encode(), JSON, at_most=2)) == expected
    assert "term has 2 values and grade 1" in refusal({form: {**lists, "grade": ["A"]}}).sentence
    assert "at least one row" in refusal({form: {}}).sentence


def test_a_file_is_read_as_it_is_written() -> None:
    body = b"id,term,grade\n007,36,A\n12345678901234567890,60,\n"
    texts = [{"id": "007", "term": "36", "grade": "A"}, {"id": "12345678901234567890", "term": "60", "grade": None}]
    assert rows_of(decode(body, CSV, at_most=2)) == texts
    parquet = io.BytesIO()
    ids = pd.array([2**60 + 1, None], dtype="Int64")
    pd.DataFrame(ROWS, index=[4, 9]).assign(id=ids).to_parquet(parquet)
    assert rows_of(decode(parquet.getvalue(), PARQUET, at_most=2)) == [
        row | {"id": number} for row, number in zip(ROWS, [2**60 + 1, None], strict=True)
    ]


@pytest.mark.parametrize("output", ["full", "pd", "label"])
def test_the_form_of_the_answer_is_a_parameter(output: str) -> None:
    body = json.dumps({"inputs": ROWS, "params": {"output": output}}).encode()
    assert decode(body, JSON, at_most=2).output == output
    quick = QUICK.decode(body)
    assert quick is not None
    assert quick.output == output


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b'{"inputs": [{"term": NaN}]}', "not valid JSON"),
        (b'{"inputs": [{"term": Infinity}]}', "not valid JSON"),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ([], "exactly one of"),
        ({}, "exactly one of"),
        ({"inputs": ROWS, "instances": ROWS}, "exactly one of"),
        ({"inputs": ROWS, "signature_name": "x"}, "'signature_name' is no part of a request"),
        ({"inputs": ROWS, "params": []}, "params must be an object"),
        ({"inputs": ROWS, "params": {"format": 1}}, "'format' is no parameter"),
        ({"inputs": ROWS, "params": {"output": "html"}}, "'html'"),
        ({"inputs": ROWS, "params": {"output": ["pd"]}}, "must be 'full', 'pd' or 'label'"),
        ({"dataframe_records": {"term": 36}}, "must be a list of objects"),
        ({"dataframe_split": []}, "must be an object with columns"),
        ({"dataframe_split": {"columns": [], "data": None}}, "must be an object with columns"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "Row 0: dataframe_split has 1 columns"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "names the column a twice"),
        ({"inputs": [[1, 2], [3, 4]]}, "no field names"),
        ({"inputs": 5}, "cannot be read as a table"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "a has 1 values and b 2"),
    ],
)
def test_what_is_no_request_is_the_callers_mistake(body: object, sentence: str) -> None:
    refused = refusal(body)
    assert refused.status == 400
    assert sentence in refused.sentence
    assert QUICK.decode(body if isinstance(body, bytes) else json.dumps(body).encode()) is None


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=latin-1", "application/xml"])
def test_other_types_are_not_spoken(kind: str) -> None:
    assert refusal({"inputs": ROWS}, kind).status == 415


@pytest.mark.parametrize(
    ("kind", "body"), [(CSV, b"\xff\xff"), (CSV, b""), (CSV, b"term,grade\n36,A,\n"), (PARQUET, b"PAR1nothing")]
)
def test_a_file_that_is_none_is_refused(kind: str, body: bytes) -> None:
    assert refusal(body, kind).status == 400


CODE: ReasonCode = {"group": "debt", "field": "dti", "side": "high", "share": 0.25}


def test_answers_in_three_forms() -> None:
    predictions = Predictions([0.1, 0.5], [560, 480], ["approve", "decline"], [[], ["High."]], [[], [CODE]])
    assert orjson.loads(encode(predictions, "pd")) == {"predictions": [0.1, 0.5]}
    assert orjson.loads(encode(predictions, "label")) == {"predictions": [0, 1]}
    full = {"pd": 0.5, "score": 480, "decision": "decline", "reasons": ["High."], "reason_codes": [CODE]}
    assert orjson.loads(encode(predictions, "full"))["predictions"][1] == full
