"""What a body may decode to, and answers in three forms."""

import math

import orjson
import pytest

from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import ApplicationValue, Predictions
from loan_default.risk.model.timing import UNTIMED, ApplicationTiming
from loan_default.serving.protocol import BodyLimits, Refused, encode, invalid, repeated

CODE: ReasonCode = {"group": "debt", "field": "dti", "side": "high", "share": 0.25}


def test_answers_in_three_forms() -> None:
    predictions = Predictions([0.1, 0.5], [560, 480], ["approve", "decline"], [[], ["High."]], [[], [CODE]])
    assert orjson.loads(encode(predictions, "pd")) == {"predictions": [0.1, 0.5]}
    assert orjson.loads(encode(predictions, "label")) == {"predictions": [0, 1]}
    full = {"pd": 0.5, "score": 480, "decision": "decline", "reasons": ["High."], "reason_codes": [CODE]}
    assert orjson.loads(encode(predictions, "full"))["predictions"][1] == full


def test_a_value_stands_beside_the_answer_and_is_null_where_it_is_not_known() -> None:
    worth = [ApplicationValue(40.5, 120.25), ApplicationValue(math.nan, math.nan)]
    predictions = Predictions([0.1, 0.5], [560, 480], ["approve"] * 2, [[]] * 2, [[]] * 2, worth)
    first, second = orjson.loads(encode(predictions, "full", ["a", "b"]))["predictions"]
    assert (first["expected_loss"], first["npv"], first["decision_id"]) == (40.5, 120.25, "a")
    assert (second["expected_loss"], second["npv"]) == (None, None)


def test_when_a_loan_defaults_stands_beside_the_answer_and_is_null_where_it_is_not_known() -> None:
    timings = [ApplicationTiming(0.02, [0.02, 0.1], 0.11, 30.5), UNTIMED]
    predictions = Predictions([0.1, 0.5], [560, 480], ["approve"] * 2, [[]] * 2, [[]] * 2, timings=timings)
    first, second = orjson.loads(encode(predictions, "full"))["predictions"]
    names = ("pd_12m", "pd_curve", "pd_hazard", "expected_life")
    assert tuple(first[name] for name in names) == timings[0]
    assert tuple(second[name] for name in names) == (None,) * 4


def test_too_many_and_none_are_refused() -> None:
    limits = BodyLimits(3)
    for rows, status, sentence in ((0, 400, "at least one row"), (4, 413, "4 applications in one request; at most 3")):
        with pytest.raises(Refused, match=sentence) as raised:
            limits.check_rows(rows)
        assert raised.value.status == status
    with pytest.raises(Refused, match="1,301 values in one request; at most 1,300 are taken"):
        limits.check_values(1_301)
    limits.check_rows(3)
    limits.check_values(1_300)


def test_a_refusal_is_a_sentence_whatever_was_sent() -> None:
    sentence = invalid(f"{'x' * 100_000} is no field; the fields are term and dti.").sentence
    assert len(sentence) < 2_000
    assert sentence.startswith("xxx")
    assert sentence.endswith("xxx is no field; the fields are term and dti.")
    assert invalid("x" * 1_500).sentence == "x" * 1_500


def test_the_first_name_that_stands_twice() -> None:
    assert repeated(["a", "b", "c", "c", "b"]) == "c"
    assert repeated(["a", "b"]) is None
