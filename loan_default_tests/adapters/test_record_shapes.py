"""A record that cannot be read is one sentence, which names the file, what is wrong with it and what to do."""

import json
from typing import Any

import pytest
from upath import UPath

from loan_default.adapters.layout import RecordKind
from loan_default.adapters.record_shapes import SHAPES, parse_record
from loan_default.risk.errors import DamagedRecord
from loan_default_tests.records import filled

_VERSION = filled("performance_report", {"versions": [{}]})["versions"][0]
AGAIN = "run loan-default performance, which writes it again, or restore it from a backup."


@pytest.mark.parametrize("kind", SHAPES)
def test_what_has_every_key_is_returned_as_it_stands(kind: RecordKind) -> None:
    windows: dict[str, Any] = {"windows": [{}] * 3} if kind == "loan_splits" else {}
    record = {**filled(kind, windows), "of a later release": [1]}
    assert parse_record(json.dumps(record).encode(), UPath("a.json"), kind) == record


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"measured_at": ...}, "lacks measured_at"),
        ({"measured_at": "noon"}, 'says "noon" as measured_at, which has to be a time (ISO 8601)'),
        ({"versions": 3}, "says 3 as versions, which has to be a list"),
        ({"groups": [7]}, "says 7 as groups[0], which has to be an object"),
        ({"findings": [{"rule": "auc", "passed": "yes", "sentence": "s"}]},
         'says "yes" as findings[0].passed, which has to be true or false'),
        ({"versions": [{**_VERSION, "expected": {"auc": 0.7}}]}, "lacks versions[0].expected.default_rate"),
        ({"estimates": None}, "says null as estimates, which has to be a text"),
        ({"estimates": [1] * 99}, "says [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  … as estimates"),
    ],
)  # fmt: skip
def test_a_key_that_is_missing_or_of_another_type_is_named(change: dict[str, Any], sentence: str) -> None:
    record = {key: value for key, value in (filled("performance_report", {}) | change).items() if value is not ...}
    with pytest.raises(DamagedRecord) as error:
        parse_record(json.dumps(record).encode(), UPath("a/performance_report.json"), "performance_report")
    assert str(error.value).startswith(f"The record a/performance_report.json {sentence}")
    assert str(error.value).endswith(AGAIN)
    assert error.value.name == "performance_report"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b" \n", "is empty"),
        (b'{"a": 1, "b', "is no JSON (Unterminated string"),
        (b"\xff\xfe", "is no JSON ("),
        (b"[" * 100_000, "is no JSON (maximum recursion depth"),
        (b"\xc3\x28", "is no JSON ('utf-8' codec"),
        (b"[]", "holds no object"),
    ],
)
def test_a_file_that_is_empty_cut_or_no_record_says_so(content: bytes, sentence: str) -> None:
    with pytest.raises(DamagedRecord) as error:
        parse_record(content, UPath("model_evaluation.json"), "model_evaluation")
    assert str(error.value).startswith(f"The record model_evaluation.json {sentence}")
    assert "run loan-default run --data FILE" in str(error.value)


def test_what_nothing_writes_again_is_restored() -> None:
    with pytest.raises(DamagedRecord, match=r"lacks words; restore it from a backup\.$"):
        record = {key: value for key, value in filled("overrides", {}).items() if key != "words"}
        parse_record(json.dumps(record).encode(), UPath("overrides/a.json"), "overrides")


def test_what_could_not_be_computed_is_read_as_the_reason() -> None:
    record = {"version": 1, "problem": "The policy has no section value."}
    assert parse_record(json.dumps(record).encode(), UPath("strategy_report.json"), "strategy_report") == record
