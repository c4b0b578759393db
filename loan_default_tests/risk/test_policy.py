"""What `policy.yaml` may say."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from loan_default.risk.errors import BadInput
from loan_default.risk.policy import GovernancePolicy, load_policy
from loan_default.risk.reviewed_file import CONF
from loan_default_tests.risk.small_books import TIMELESS, make_contract


def write_policy(folder: Path, key: str, value: Any) -> Path:
    """Write the shipped policy with one value changed, or with one more key."""
    policy = yaml.safe_load((CONF / "policy.yaml").read_text(encoding="utf-8"))
    section, _, name = key.partition(".")
    policy.setdefault(section, {})[name] = value
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    return path


def test_the_shipped_policy_loads_and_a_changed_one_is_read(tmp_path: Path) -> None:
    shipped = load_policy()
    assert load_policy(CONF / "policy.yaml") == shipped
    stricter = load_policy(write_policy(tmp_path, "promotion.auc_at_least", 0.65))
    assert stricter.promotion.auc_at_least == 0.65
    assert stricter.drift == shipped.drift


def test_nothing_is_said_of_governance_that_the_file_does_not_say(tmp_path: Path) -> None:
    assert load_policy().governance == GovernancePolicy()
    assert set(GovernancePolicy().model_dump(exclude={"monitoring", "law"}).values()) == {None}
    named = load_policy(write_policy(tmp_path, "governance.review_due", date(2027, 6, 30)))
    assert named.governance.review_due == date(2027, 6, 30)


@pytest.mark.parametrize(
    ("key", "value", "sentence_part"),
    [
        ("promotion.auc_at_leest", 0.6, "there is no such key; write auc_at_least"),
        ("surprise.x", 1, "there is no such key; those here are decision, promotion, "),
        ("promotion.auc_at_least", 0.4, "0.4 is not allowed; write a number of at least 0.5"),
        ("promotion.auc_at_least", "high", "high is a text, and it has to be a number"),
        ("promotion.require_out_of_time", "perhaps", "has to be true or false"),
        ("promotion.least_test_rows", 0, "at least 1"),
        ("decision.decline_from", 30, "less than 1"),
        ("decision.approve_below", 0, "more than 0"),
        ("decision.approve_below", 0.5, "approve_below (0.5) is above decline_from (0.3)"),
        ("decision.by", "price", "price is none of pd, npv, both"),
        ("decision.by", "npv", "The policy has no section value, so nothing is said of value; write pd"),
        ("decision.decline_npv_below", 0.1, "decline_npv_below (0.1) is above approve_npv_from (0.0)"),
        ("decision.reasons_at_most", 0, "at least 1"),
        ("decision.approve_below", "15 %", "has to be a number; write 0.15."),
        ("decision.approve_below", "0,15", "has to be a number; write 0.15."),
        ("decision.approve_below", "1,500", "has to be a number; write a number."),
        ("overrides.reasons", {"": "A mistake"}, 'the reason "" has no code; write both'),
        ("promotion.approval_rate", [0.9, 0.1], "approval_rate [0.9, 0.1] is no band; write two shares of 0 to 1"),
        ("promotion.approval_rate", [2, 98], "approval_rate [2, 98] is no band; write two shares of 0 to 1"),
        ("promotion.auc_at_least", 0.8, "is not below suspect_leak_above_auc (0.8), so no version could pass"),
        ("drift.drifted_share_limit", 1.5, "at most 1"),
        ("retraining.cooldown_hours", None, "YAML reads null as nothing, and it has to be a number"),
        ("governance.review_due", "next spring", "has to be a day; write it as 2027-06-30"),
        ("governance.monitoring", {"weather": "The desk"}, "weather is none of drift, performance, failure"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_that_names_its_place(
    tmp_path: Path, key: str, value: Any, sentence_part: str
) -> None:
    path = write_policy(tmp_path, key, value)
    with pytest.raises(BadInput) as refused:
        load_policy(path)
    sentence = str(refused.value)
    assert re.match(rf"{path}, line \d+: {key.split('.')[0]}", sentence)
    assert sentence_part in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_policy_that_says_what_differs_leaves_the_rest_as_shipped(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("promotion: {suspect_leak_above_auc: 0.99}\n", encoding="utf-8")
    shipped, other = load_policy(), load_policy(path)
    assert other.promotion == shipped.promotion.model_copy(update={"suspect_leak_above_auc": 0.99})
    assert (other.decision, other.drift) == (shipped.decision, shipped.drift)
    path.write_text("promotion: {suspect_leak_above_auc: 9}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="line 1: promotion"):
        load_policy(path)


def test_a_policy_that_names_scenarios_has_no_others(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("provision: {scenarios: {calm: {weight: 3}, storm: {hazard: 2}}}\n", encoding="utf-8")
    provision, shipped = load_policy(path).provision, load_policy().provision
    assert provision.weights == {"calm": 0.75, "storm": 0.25}
    assert provision.stage_3_months == shipped.stage_3_months


@pytest.mark.parametrize(
    ("text", "sentence_part"),
    [("decision: [", "line 2: this is no YAML"), ("", "line 1: the file holds nothing"), ("[a]", "line 1: ")],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, text: str, sentence_part: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=re.escape(sentence_part)):
        load_policy(path)
    with pytest.raises(BadInput, match="does not exist"):
        load_policy(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (
            "id",
            "the number of the loan and no field of few levels, by which loans are judged; write fields with levels",
        ),
        ("issue_d", "the month of issue and no field of few levels"),
        (
            "dti",
            "a number and no field of few levels, by which loans are judged; write fields with levels, as term, home",
        ),
        ("pub_rec", "a number and no field of few levels"),
        ("zip_code", "a text and no field of few levels"),
        ("earliest_cr_line", "read for derived fields alone and not kept; delete it"),
    ],
)
def test_loans_are_judged_by_fields_of_few_levels(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(BadInput, match=rf"line \d+: promotion.segments: {name} is {what}"):
        load_policy(write_policy(tmp_path, "promotion.segments", ["term", "grade", name]))


def test_loans_may_be_judged_by_a_number_that_counts_to_few(tmp_path: Path) -> None:
    keys = {"kind": "number", "role": "feature", "unit": "count", "description": "Delays."}
    path = write_policy(tmp_path, "promotion.segments", ["delays"])
    few = make_contract({**keys, "name": "delays", "range": [0, 9]}, time="none", outcomes="final")
    assert load_policy(path, few).promotion.segments == ("delays",)
    many = make_contract({**keys, "name": "delays", "range": [0, 99]}, time="none", outcomes="final")
    with pytest.raises(BadInput, match="delays is a number and no field of few levels"):
        load_policy(path, many)


def test_no_gate_judges_by_what_is_protected(tmp_path: Path) -> None:
    (protected, *_) = TIMELESS.with_role("protected")
    sentence = f"promotion.segments: {protected.name} is protected, and so for reports on fairness alone; delete it"
    with pytest.raises(BadInput, match=sentence):
        load_policy(write_policy(tmp_path, "promotion.segments", [protected.name]), TIMELESS)


def test_approvals_of_groups_are_limited_only_where_the_book_has_groups(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("value: {funding_rate: 0.05, limits: {group_ratio_at_least: 0.8}}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"line 1: value.limits: the contract lendingclub has no protected field"):
        load_policy(path)
    value = load_policy(path, TIMELESS).value
    assert value is not None
    assert value.limits.group_ratio_at_least == 0.8


def test_learning_from_open_loans_needs_a_policy_that_does_not_ask_for_a_test_out_of_time(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("label: open\n", encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        load_policy(path)
    assert str(refused.value).endswith(
        "label: open learns from loans that are younger than those that test, which "
        "promotion.require_out_of_time: true forbids; write false there, or label: matured."
    )
    path.write_text("label: open\npromotion: {require_out_of_time: false}\n", encoding="utf-8")
    assert load_policy(path).label == "open"
