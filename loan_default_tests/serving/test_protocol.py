"""A body to applications, and refusals of one sentence."""

import io
import json

import orjson
import pandas as pd
import pytest

from loan_default.risk.scoring import Answer
from loan_default.serving.protocol import CSV, JSON, PARQUET, Refused, decode, encode

ROWS = [{"term": 36.0, "grade": "A"}, {"term": 60.0, "grade": None}]
FORMS = {
    "dataframe_records": ROWS,
    "inputs": ROWS,
    "instances": ROWS,
    "dataframe_split": {"columns": ["term", "grade"], "data": [[36.0, "A"], [60.0, None]]},
}


def refusal(body: object, content_type: str = JSON) -> Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as raised:
        decode(raw, content_type)
    sentence = raised.value.sentence
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert orjson.loads(raised.value.body) == {"error_code": raised.value.code, "message": sentence}
    return raised.value


@pytest.mark.parametrize("form", FORMS)
def test_every_json_form_says_the_same(form: str) -> None:
    assert decode(json.dumps({form: FORMS[form]}).encode(), "application/json; charset=utf-8").applications == ROWS


def test_columns_and_files_are_decoded_by_mlflow() -> None:
    assert decode(b'{"inputs": {"term": [36.0, 60.0], "grade": ["A", null]}}', JSON).applications == ROWS
    assert decode(b"term,grade\n36,A\n60,\n", CSV).applications == ROWS
    parquet = io.BytesIO()
    pd.DataFrame(ROWS).to_parquet(parquet)
    assert decode(parquet.getvalue(), PARQUET).applications == ROWS


@pytest.mark.parametrize("output", ["full", "pd", "label"])
def test_the_form_of_the_answer_is_a_parameter(output: str) -> None:
    body = json.dumps({"inputs": ROWS, "params": {"output": output}}).encode()
    assert decode(body, JSON).output == output


@pytest.mark.parametrize(
    ("body", "said"),
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
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "Row 0: dataframe_split has 1 columns"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "names the column a twice"),
        ({"inputs": [[1, 2], [3, 4]]}, "no field names"),
        ({"inputs": 5}, "cannot be read as a table"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "cannot be read as a table"),
    ],
)
def test_what_is_no_request_is_the_callers_mistake(body: object, said: str) -> None:
    refused = refusal(body)
    assert refused.status == 400
    assert said in refused.sentence


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=latin-1", "application/xml"])
def test_other_types_are_not_spoken(kind: str) -> None:
    assert refusal({"inputs": ROWS}, kind).status == 415


@pytest.mark.parametrize(("kind", "body"), [(CSV, b"\xff\xff"), (CSV, b""), (PARQUET, b"PAR1nothing")])
def test_a_file_that_is_none_is_refused(kind: str, body: bytes) -> None:
    assert refusal(body, kind).status == 400


def test_answers_in_three_forms() -> None:
    answers = [Answer(0.1, 560, "approve", []), Answer(0.5, 480, "decline", ["High."])]
    assert orjson.loads(encode(answers, "pd")) == {"predictions": [0.1, 0.5]}
    assert orjson.loads(encode(answers, "label")) == {"predictions": [0, 1]}
    full = {"pd": 0.5, "score": 480, "decision": "decline", "reasons": ["High."]}
    assert orjson.loads(encode(answers, "full"))["predictions"][1] == full
