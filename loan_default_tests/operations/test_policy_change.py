"""The change of a policy that a strategy report proposes: comments stay, and nothing is written by itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.cli.policies import adopt
from loan_default.operations import home
from loan_default.operations.policy_change import proposed_change, with_key
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ValuePolicy, load_policy
from loan_default.risk.reviewed_file import CONF
from loan_default.settings import Settings
from loan_default_tests.records import filled

SHIPPED = (CONF / "policy.yaml").read_text(encoding="utf-8")
VALUED = "value: {funding_rate: 0.05}\n"
OWN = f"{SHIPPED}\n{VALUED}"
COSTS = ValuePolicy(funding_rate=0.05).model_dump()
OUTCOME = {"loans": 500, "default_rate": 0.12, "expected_npv": 90_000.0, "npv": 85_000.0}


def proposal(cutoff: float) -> dict[str, Any]:
    intervals = {"approve_below": [cutoff - 0.01, cutoff + 0.01], "npv_at_least": [-0.02, 0.0]}
    return {"approve_below": cutoff, "npv_at_least": -1.0, "outcome": OUTCOME, "intervals": intervals, "bound_by": []}


def home_with(folder: Path, text: str | None, report: dict[str, Any] | None) -> Settings:
    path = folder / "own.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    settings = replace(Settings(home=folder / "home"), policy=None if text is None else path)
    if report is not None:
        target = Path(str(settings.layout.record("strategy_report")))
        target.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": 3, "unit": "dollars", "policy": COSTS, "limits": {}, **report}
        target.write_text(json.dumps(content if "problem" in report else filled("strategy_report", content)), "utf-8")
    return settings


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (OWN, "+  approve_below: 0.21        # PD below this: approve"),
        (
            f"decision: {{approve_below: 0.05, decline_from: 0.3}}  # ours\n{VALUED}",
            "+decision: {approve_below: 0.21, decline_from: 0.3}  # ours",
        ),
        (f"decision:  # ours\n  decline_from: 0.4\n{VALUED}", "+  approve_below: 0.21"),
        (f"# approve_below: 0.05 was too strict\n{VALUED}serving: {{shadow_share: 0.1}}", "+decision:"),
    ],
)
def test_the_cut_off_changes_and_all_else_stays(tmp_path: Path, text: str, line: str) -> None:
    settings = home_with(tmp_path, text, {"proposals": {"pd": proposal(0.21)}})
    change = proposed_change(settings)
    assert line in change.difference
    assert change.path.read_text(encoding="utf-8") == text  # nothing is written by itself
    before = load_policy(change.path)
    change.write()
    after = load_policy(change.path)
    assert after.decision.approve_below == 0.21
    assert after == before.model_copy(update={"decision": before.decision.model_copy(update={"approve_below": 0.21})})
    comments = [part for part in text.splitlines() if part.startswith("#")]
    assert all(part in change.path.read_text(encoding="utf-8") for part in comments)
    assert proposed_change(settings).difference == ""


def test_a_proposal_by_value_changes_what_is_decided_by(tmp_path: Path) -> None:
    proposals = {by: {**proposal(0.21), "npv_at_least": -0.012} for by in ("pd", "npv", "both")}
    settings = home_with(tmp_path, OWN, {"proposals": proposals})
    assert proposed_change(settings).by == "pd"
    change = proposed_change(settings, "npv")
    assert "approve_below: 0.21" not in change.difference
    assert "+  by: npv                    # or npv" in change.difference
    proposed_change(settings, "both").write()
    decision = load_policy(settings.policy).decision
    assert (decision.by, decision.approve_below) == ("both", 0.21)
    assert (decision.approve_npv_from, decision.decline_npv_below) == (-0.012, -0.012)
    assert proposed_change(settings).difference == ""


def test_declines_begin_where_approvals_end_at_the_least(tmp_path: Path) -> None:
    settings = home_with(tmp_path, OWN, {"proposals": {"pd": proposal(0.36)}})
    proposed_change(settings).write()
    decision = load_policy(settings.policy).decision
    assert (decision.approve_below, decision.decline_from) == (0.36, 0.36)


@given(st.floats(0.001, 0.999))
def test_any_cut_off_is_read_as_it_was_written(cutoff: float) -> None:
    value = round(cutoff, 3)
    assert f"approve_below: {value:.10g} " in with_key(SHIPPED, "approve_below", value)


@pytest.mark.parametrize(
    ("text", "report", "sentence"),
    [
        (SHIPPED, None, "No strategy report is there yet"),
        (SHIPPED, {"problem": "The policy has no section value."}, "Version 3 proposes nothing. The policy has no"),
        (OWN, {"proposals": {"pd": None}}, "No cut-offs by PD are proposed. No cut-off keeps"),
        (None, {"proposals": {"pd": proposal(0.2)}}, "The policy is the one that the package ships"),
        (SHIPPED, {"proposals": {"pd": proposal(0.2)}}, r"rests on a section value \(now none\): .* was changed since"),
        ("{value: {funding_rate: 0.05}}", {"proposals": {"pd": proposal(0.2)}}, "cannot be changed line by line"),
    ],
)
def test_what_cannot_be_adopted_says_why(
    tmp_path: Path, text: str | None, report: dict[str, Any] | None, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        proposed_change(home_with(tmp_path, text, report))


def test_what_was_measured_by_other_costs_or_limits_is_not_adopted(tmp_path: Path) -> None:
    report = {"proposals": {"pd": proposal(0.21)}, "limits": {"volume_at_most": 2e6}}
    text = SHIPPED + "\nvalue: {funding_rate: 0.05, limits: {volume_at_most: 2000000}}\n"
    assert proposed_change(home_with(tmp_path, text, report)).difference
    settings = home_with(tmp_path, SHIPPED + "\nvalue: {funding_rate: 0.08}\n", report)
    sentence = (
        "The strategy report of version 3 rests on funding_rate 0.05 (now 0.08), limits.volume_at_most 2,000,000 (now "
        f"none): {settings.policy} was changed since; train again, and adopt what is proposed by that."
    )
    with pytest.raises(BadInput) as refused:
        proposed_change(settings)
    assert str(refused.value) == sentence


def test_the_command_writes_only_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = home_with(tmp_path, OWN, {"proposals": {"pd": proposal(0.21)}})
    monkeypatch.setattr(home, "open_home", lambda: settings)
    adopt()
    text = " ".join(capsys.readouterr().out.split())
    assert "a PD below 21.0% (20.0% to 22.0%) approves 500 loans, of which 12.0% defaulted" in text
    assert "Nothing is written" in text
    assert load_policy(settings.policy).decision.approve_below == 0.15
    adopt(write=True)
    assert "Written: " in capsys.readouterr().out
    assert load_policy(settings.policy).decision.approve_below == 0.21
