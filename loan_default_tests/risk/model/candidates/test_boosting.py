"""The parameters of boosting: what is refused, and when two searches are the same."""

from typing import Any

import pytest
from pydantic import ValidationError

from loan_default.risk.model.candidates.boosting import BoostingParameters, Span

CONTENT: dict[str, Any] = {
    "start": {"max_depth": 4, "learning_rate": 0.02},
    "search": {"max_depth": {"low": 3, "high": 5}, "learning_rate": {"low": 0.01, "high": 0.1, "log": True}},
    "rounds_at_most": 100,
    "stop_after_rounds": 10,
}


def test_a_span_of_two_whole_numbers_tries_whole_numbers() -> None:
    assert Span(low=3, high=5).is_whole
    assert not Span(low=3, high=5.5).is_whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"search": {"max_depth": {"low": 5, "high": 5}}}, r"low \(5\) must be below high \(5\)"),
        ({"search": {"max_depth": {"low": 0, "high": 9, "log": True}}}, r"low \(0\) must be above 0 on a log scale"),
        ({"search": {"gamma": {"low": 0.0, "high": 1.0}}}, "gamma is searched but has no start"),
        ({"start": {"max_depth": 9, "learning_rate": 0.02}}, "max_depth starts at 9, outside of 3 to 5"),
        ({"start": {"max_depth": 3.5, "learning_rate": 0.02}}, "max_depth starts at 3.5, but only whole numbers"),
        ({"search": {"max_depth": {"low": 3, "high": 5, "step": 1}}}, "Extra inputs are not permitted"),
        ({"full_size": {"min_child_weight": 100}}, "full_size names min_child_weight, which has no start"),
        ({"rounds_at_most": 0}, "greater than or equal to 1"),
        ({"least_gain_errors": -1}, "greater than or equal to 0"),
    ],
)
def test_a_section_that_contradicts_itself_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        BoostingParameters(**{**CONTENT, **change})


def test_the_fingerprint_changes_with_what_tuning_may_try_and_with_nothing_else() -> None:
    before = BoostingParameters(**CONTENT)
    assert BoostingParameters(**dict(reversed(CONTENT.items()))).fingerprint == before.fingerprint
    for change in ({"enabled": False}, {"least_gain_errors": 0.5}):
        assert BoostingParameters(**CONTENT, **change).fingerprint == before.fingerprint
    changes: list[dict[str, Any]] = [
        {"rounds_at_most": 101},
        {"start": {"max_depth": 3, "learning_rate": 0.02}},
        {"search": {}},
    ]
    prints = {BoostingParameters(**{**CONTENT, **change}).fingerprint for change in changes}
    assert len(prints | {before.fingerprint}) == len(changes) + 1
    assert len(before.fingerprint) == 8


def test_what_counts_loans_shrinks_with_few_of_them() -> None:
    start = {**CONTENT["start"], "min_child_weight": 20.0}
    span = {"low": 1.0, "high": 80.0, "log": True}
    parameters = BoostingParameters(
        **{**CONTENT, "start": start, "search": {**CONTENT["search"], "min_child_weight": span}},
        full_size={"min_child_weight": 10_000},
    )
    few = parameters.for_loans(2_500)
    assert few.start == {**start, "min_child_weight": 5.0}
    assert few.search["min_child_weight"] == Span(low=0.25, high=20.0, log=True)
    assert few.search["max_depth"] == parameters.search["max_depth"]
    assert few.for_loans(2_500) == few, "it shrinks once"
    assert parameters.for_loans(10_000).start == parameters.start
    assert parameters.for_loans(10_000).search == parameters.search


def test_a_value_on_a_bound_is_named_unless_there_is_nothing_beyond() -> None:
    search = {
        "max_depth": {"low": 2, "high": 8},
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "subsample": {"low": 0.4, "high": 1.0},
    }
    parameters = BoostingParameters(
        **{**CONTENT, "start": {"max_depth": 4, "learning_rate": 0.02, "subsample": 0.6}, "search": search}
    )
    assert parameters.bounds_met({"max_depth": 7, "learning_rate": 0.05, "subsample": 0.999}) == ()
    assert parameters.bounds_met({"max_depth": 8, "learning_rate": 0.0101, "subsample": 0.4}) == (
        "max_depth 8 is the most that may be tried",
        "learning_rate 0.0101 is the least that may be tried",
        "subsample 0.4 is the least that may be tried",
    )
