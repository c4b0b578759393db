"""JSON bodies in every form, and refusals of one sentence; what is too much is refused before it is decoded."""

import codecs
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest

from loan_default.serving.json_body import QuickDecoder, decode_json, measure, with_null
from loan_default.serving.protocol import BodyLimits, DecodedBody, Refused

LIMITS = BodyLimits(3)
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


def rows_of(request: DecodedBody) -> list[dict[str, Any]]:
    return [dict(zip(request.names, row, strict=True)) for row in request.rows]


def refusal(body: object, limits: BodyLimits = LIMITS) -> Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as raised:
        decode_json(raw, limits)
    sentence = raised.value.sentence
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert orjson.loads(raised.value.body) == {"error_code": raised.value.code, "message": sentence}
    return raised.value


@pytest.mark.parametrize("form", FORMS)
def test_every_json_form_says_the_same(form: str) -> None:
    body = json.dumps({form: FORMS[form]}).encode()
    assert rows_of(decode_json(body, LIMITS)) == ROWS
    quick = QUICK.decode(body)
    assert quick is not None
    assert rows_of(quick) == ROWS


def test_vertex_ai_calls_the_params_of_instances_parameters() -> None:
    for form, name in (("instances", "parameters"), ("instances", "params"), ("inputs", "params")):
        body = json.dumps({form: ROWS, name: {"output": "pd"}}).encode()
        quick = QUICK.decode(body)
        assert quick is not None
        assert (quick.output, decode_json(body, LIMITS).output) == ("pd", "pd")
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


def test_a_field_that_one_row_lacks_is_unset_there() -> None:
    body = json.dumps({"inputs": [{"term": 36.0}, {"grade": "B", "term": 60.0}]}).encode()
    expected = [{"term": 36.0, "grade": msgspec.UNSET}, {"term": 60.0, "grade": "B"}]
    assert rows_of(decode_json(body, LIMITS)) == expected


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_lists_by_field_keep_their_nulls(form: str) -> None:
    lists = {"term": [36.0, 60.0], "grade": ["A", None], "dti": [None, 12.5]}
    expected = [ROWS[0] | {"dti": None}, ROWS[1] | {"dti": 12.5}]
    assert rows_of(decode_json(json.dumps({form: lists}).encode(), LIMITS)) == expected
    assert "term has 2 values and grade 1" in refusal({form: {**lists, "grade": ["A"]}}).sentence


@pytest.mark.parametrize("output", ["full", "pd", "label"])
def test_the_form_of_the_answer_is_a_parameter(output: str) -> None:
    body = json.dumps({"inputs": ROWS, "params": {"output": output}}).encode()
    assert decode_json(body, LIMITS).output == output
    quick = QUICK.decode(body)
    assert quick is not None
    assert quick.output == output


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "cannot be read as JSON"),
        (b'{"inputs": [{"term": nan}]}', "cannot be read as JSON"),
        (b'{"inputs": [{"term": NaN, "dti": Infinity}]}', "cannot be read as JSON"),
        (b'{"inputs": [{"term": NaN}]', "cannot be read as JSON"),
        (b'{"inputs": [{"term": Infinity}]}', "cannot be read as JSON"),
        (b'{"inputs": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        ([], "exactly one of"),
        ({}, "exactly one of"),
        ({"inputs": ROWS, "instances": ROWS}, "exactly one of"),
        ({"inputs": ROWS, "signature_name": "x"}, "'signature_name' is no part of a request"),
        ({"inputs": ROWS, "params": []}, "params must be an object"),
        ({"inputs": ROWS, "params": {"format": 1}}, "'format' is no parameter"),
        ({"inputs": ROWS, "params": {"output": "html"}}, "'html'"),
        ({"inputs": ROWS, "params": {"output": ["pd"]}}, "must be 'full', 'pd', 'label' or 'offers'"),
        ({"dataframe_records": {"term": 36}}, "must be a list of objects"),
        ({"dataframe_split": []}, "must be an object with columns"),
        ({"dataframe_split": {"columns": [], "data": None}}, "must be an object with columns"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "Row 0: dataframe_split has 1 column; each row"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "names the column a twice"),
        ({"inputs": [[1, 2], [3, 4]]}, "inputs must be a list of objects"),
        ({"inputs": 5}, "inputs must be a list of objects"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "a has 1 value and b 2"),
    ],
)
def test_what_is_no_request_is_the_callers_mistake(body: object, sentence: str) -> None:
    refused = refusal(body)
    assert refused.status == 400
    assert sentence in refused.sentence
    assert QUICK.decode(body if isinstance(body, bytes) else json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        '{"inputs": [{"term": 36, "grade": "A", "term": 60}]}',
        '{"inputs": [{"term": 36, "grade": null, "grade": "A"}]}',
        '{"inputs": [{"term": 36, "grade": "A", "grade": null}]}',
        '{"inputs": [{"term": 36, "grade": null, "grade": null}]}',
        '{"inputs": [{"term": 36}, {"term" :36, "t\\u0065rm": 60}]}',
        '{"inputs": [{"term": 36}], "inputs": [{"term": 36}]}',
        '{"inputs": [{"term": 36}], "params": {"output": "pd", "output": "pd"}}',
        '{"dataframe_split": {"columns": ["term", "grade"], "data": [[36, "a:b"]], "data": [[60, "A"]]}}',
    ],
)
def test_a_name_that_stands_twice_is_refused_whichever_way_a_body_is_read(body: str) -> None:
    with pytest.raises(Refused, match=r"^An object has the name '.*' twice; send it once"):
        QUICK.decode(body.encode())
    assert refusal(body.encode()).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"term": 36, "grade": "a:b"}, {"term": 60, "grade": '":"'}], "params": {"output": "pd"}},
        {"inputs": [{"term": 36, "grade": None}, {"term": 36}], "params": {}},
        {"dataframe_split": {"columns": ["term", "grade"], "data": [[36, "a:b"], [36, ":"]], "index": [0, 1]}},
    ],
)
def test_colons_that_stand_in_texts_are_no_names(body: dict[str, Any]) -> None:
    text = json.dumps(body).encode()
    quick = QUICK.decode(text)
    assert quick is not None
    assert len(quick.rows) == len(decode_json(text, LIMITS).rows) == 2


def test_a_name_twice_within_lists_without_end_is_refused() -> None:
    body = b'{"inputs": ' + b"[" * 1_000 + b'{"a": 1, "a": 2}' + b"]" * 1_000 + b"}"
    assert refusal(body).status == 400


def test_a_number_that_is_missing_may_be_nan() -> None:
    body = b'{"dataframe_split": {"columns": ["id", "dti"], "data": [["NaN, \\" NaN", NaN], ["b", 1.5]]}}'
    assert decode_json(body, LIMITS).rows == [['NaN, " NaN', None], ["b", 1.5]]


def test_a_text_that_does_not_end_is_read_once() -> None:
    body = b'[NaN, "' + 100_000 * b'\\"'  # from each quotation mark to the end it would take minutes
    assert with_null(body) == body.replace(b"NaN", b"null")


MANY = BodyLimits(10_000)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [' + b",".join(b'{"k%d": 1}' % number for number in range(9_000)) + b"]}",
        b'{"inputs": [' + b"{}," * 2_000_000 + b"{}]}",
        b'{"inputs": [' + b"[]," * 2_000_000 + b"[]]}",
        b'{"inputs": [' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"]}",
        b'{"dataframe_split": {"columns": [' + b'"a",' * 1_500_000 + b'"a"], "data": []}}',
        b'{"inputs": {"a": [' + b"1," * 3_000_000 + b"1]}}",
    ],
    ids=["distinct keys", "objects", "lists", "nested", "columns", "values"],
)
def test_much_in_few_bytes_is_refused_before_it_fills_the_memory(body: bytes) -> None:
    quick = QuickDecoder(Loan, lambda names: None)
    tracemalloc.start()
    try:
        assert refusal(body, MANY).status in (400, 413)
        with suppress(Refused):
            measure(body, MANY)
            assert quick.decode(body) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body) + 20_000_000


def test_values_are_counted_apart_from_lists() -> None:
    with pytest.raises(Refused, match=r"^200,000 values in one request; at most 1,100 are taken\."):
        measure(b'{"inputs": [[' + b"1," * 200_000 + b"1]]}", BodyLimits(1))


def test_signs_within_texts_are_not_counted() -> None:
    text = '{"' + "[,{\\" * 30_000
    assert decode_json(json.dumps({"inputs": [{"term": 36.0, "id": text}]}).encode(), LIMITS).rows == [[36.0, text]]


def test_columns_without_end_are_not_remembered() -> None:
    quick = QuickDecoder(Loan, lambda names: tuple[tuple(Any for _ in names)])  # type: ignore[misc]
    for columns in ([f"c{number}" for number in range(1_001)], ["c" * 20_001]):
        body = json.dumps({"dataframe_split": {"columns": columns, "data": []}}).encode()
        assert quick.decode(body) is None


def test_a_mark_of_the_byte_order_is_no_part_of_a_body() -> None:
    body = b'{"inputs": [{"term": 36}]}'
    assert decode_json(codecs.BOM_UTF8 + body, LIMITS) == decode_json(body, LIMITS)
