from typing import Any

import pytest

from loan_default.operations.applied_rule import AppliedRule
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.policy import load_policy
from loan_default.web.rendering import environment

CONTRACT = load_contract()
CUT_OFFS = {**load_policy().decision.model_dump(), "approve_npv_from": 0.01}


def applied(by: str, pd: float, npv: float | None, decision: str = "review") -> AppliedRule:
    answer = {"decision": decision, "pd": pd, "npv": npv}
    return AppliedRule.of(answer, {**CUT_OFFS, "by": by}, {"loan_amnt": 10_000}, CONTRACT)


@pytest.mark.parametrize(
    ("rule", "passes", "lacks_only"),
    [
        (applied("pd", 0.14, -900.0), (True, True), True),
        (applied("pd", 0.16, None), (False, True), False),
        (applied("npv", 0.9, 100.0), (True, True), True),
        (applied("npv", 0.1, 99.0), (True, False), False),
        (applied("npv", 0.1, None), (True, False), False),
        (applied("both", 0.14, 100.0, "approve"), (True, True), False),
    ],
)
def test_it_says_which_rule_an_application_passes(
    rule: AppliedRule, passes: tuple[bool, bool], lacks_only: bool
) -> None:
    assert (rule.pd_passes, rule.value_passes) == passes
    assert rule.lacks_only == lacks_only


def test_a_row_of_an_earlier_release_was_decided_by_the_pd() -> None:
    row: dict[str, Any] = {"decision": "decline", "pd": 0.4, "approve_below": 0.15, "decline_from": 0.3}
    rule = AppliedRule.of(row, row, row, CONTRACT)
    assert (rule.by, rule.margin, rule.value_passes) == ("pd", None, True)


@pytest.mark.parametrize(
    ("rule", "sentences", "absent"),
    [
        (applied("both", 0.14, 50.0), ["<strong>0.50%</strong> of", "its value would not"], "alone"),
        (applied("both", 0.2, 200.0), ["Its value would be approved; its PD would not."], "alone"),
        (applied("npv", 0.4, None), ["Its value is not known."], "zone"),
        (applied("npv", 0.4, 200.0), ["Its value alone would be approved"], "zone"),
        (applied("both", 0.1, 200.0), ["By PD and value it would be approved"], "would not"),
    ],
)
def test_pages_say_it(rule: AppliedRule, sentences: list[str], absent: str) -> None:
    template = '{% from "parts.html" import rule_note, rule_scale %}{{ rule_scale(rule) }}{{ rule_note(rule) }}'
    text = environment().from_string(template).render(rule=rule)
    assert all(sentence in text for sentence in sentences)
    assert absent not in text
