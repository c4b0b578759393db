"""Overrides: another decision of a person, with a reason of the policy, words and a name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loan_default.operations.overrides import override_reasons, read_overrides, record_override
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

ROW: dict[str, Any] = {
    "decision_id": "0192f0a1-b2c3-7d4e-8f5a-6b7c8d9e0000",
    "decision": "decline",
    "pd": 0.4,
    "model_version": 3,
}
ROW |= {"id": "A-1"}
OVERRIDE = {"decision": "approve", "reason": "documents", "words": "Payslips were shown.", "by": "anna"}


def test_an_override_is_kept_with_what_the_version_had_decided(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    first = record_override(settings, ROW, **OVERRIDE)
    other = record_override(settings, {**ROW, "decision_id": ROW["decision_id"].replace("a", "b")}, **OVERRIDE)
    assert (first.decided, first.pd, first.model_version, first.id, first.by) == ("decline", 0.4, 3, "A-1", "anna")
    assert read_overrides(settings) == (first, other)
    assert read_overrides(settings, [first.decision_id]) == (first,)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"decision": "review"}, "The decision must be approve or decline"),
        ({"decision": "decline"}, "The version decided so itself: decline"),
        ({"reason": "mood"}, "The reason must be one of information, documents"),
        ({"words": ""}, "Say in words why, in 2,000 letters at most"),
        ({"words": "x" * 2001}, "Say in words why"),
        ({"by": ""}, "Say who decides so"),
    ],
)
def test_what_is_no_override_is_not_kept(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    settings = Settings(tmp_path)
    with pytest.raises(BadInput, match=sentence):
        record_override(settings, ROW, **{**OVERRIDE, **change})
    assert read_overrides(settings) == ()


def test_reasons_are_the_policys(tmp_path: Path) -> None:
    assert override_reasons(Settings(tmp_path))["other"] == "Another reason, in words"
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump({"overrides": {"reasons": {"guarantor": "A guarantor"}}}), encoding="utf-8")
    assert override_reasons(Settings(tmp_path, policy=policy))["guarantor"] == "A guarantor"
