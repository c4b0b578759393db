import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.model.decision_rule import APPROVE, DECLINE, REVIEW, decide_all, decide_one
from loan_default.risk.policy import DecisionPolicy, load_policy

SHIPPED = load_policy().decision


def deciding(**changes: Any) -> DecisionPolicy:
    return DecisionPolicy(**{**SHIPPED.model_dump(), "decline_npv_below": -0.02, **changes})


@pytest.mark.parametrize(
    ("by", "pd", "margin", "decision"),
    [
        ("pd", 0.14, -0.5, APPROVE),
        ("pd", 0.15, 0.5, REVIEW),
        ("pd", 0.30, 0.5, DECLINE),
        ("npv", 0.99, 0.0, APPROVE),
        ("npv", 0.01, -0.001, REVIEW),
        ("npv", 0.01, -0.02, REVIEW),
        ("npv", 0.01, -0.021, DECLINE),
        ("npv", 0.01, math.nan, REVIEW),
        ("both", 0.14, 0.0, APPROVE),
        ("both", 0.14, -0.03, DECLINE),
        ("both", 0.20, 0.1, REVIEW),
        ("both", 0.30, math.nan, DECLINE),
        ("both", 0.14, math.nan, REVIEW),
    ],
)
def test_the_stricter_rule_counts(by: str, pd: float, margin: float, decision: int) -> None:
    policy = deciding(by=by)
    assert decide_one(policy, pd, margin) == decision
    assert decide_all(policy, np.array([pd]), np.array([margin])).tolist() == [decision]


@given(
    st.sampled_from(["pd", "npv", "both"]),
    st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 1) | st.just(math.nan)), min_size=1),
)
def test_an_application_is_decided_on_alone_as_among_others(by: str, rows: list[tuple[float, float]]) -> None:
    policy = deciding(by=by)
    pds, margins = (np.array(column) for column in zip(*rows, strict=True))
    assert decide_all(policy, pds, margins).tolist() == [decide_one(policy, *row) for row in rows]


def test_without_any_value_a_person_decides() -> None:
    assert decide_all(deciding(by="npv"), np.array([0.01, 0.5]), None).tolist() == [REVIEW, REVIEW]
    assert decide_all(deciding(by="pd"), np.array([0.01, 0.5]), None).tolist() == [APPROVE, DECLINE]
