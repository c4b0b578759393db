"""Decisions by policy, by hand and back: what is refused, and that each is kept in the history."""

from pathlib import Path

import pytest

from loan_default.adapters import decision_log
from loan_default.adapters.tracking import PRODUCTION
from loan_default.homes import prepare_process
from loan_default.operations.promotion import open_models, promote, promote_by_hand, roll_back
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.homes import own_environment


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    with own_environment():
        settings = Settings(home=tmp_path)
        prepare_process(settings)
        return settings


def test_there_is_nothing_to_decide_on(empty: Settings) -> None:
    with pytest.raises(BadInput, match="There is no trained model"):
        promote(empty)


@pytest.mark.parametrize(("version", "reason"), [(None, "Why."), (2, "")])
def test_against_the_policy_a_version_and_a_reason_are_needed(
    empty: Settings, version: int | None, reason: str
) -> None:
    with pytest.raises(BadInput, match="give --version N and --reason TEXT"):
        promote_by_hand(empty, version, reason)


@pytest.mark.integration
def test_the_policy_decides_on_the_newest_version_only(home: Settings) -> None:
    with pytest.raises(BadInput, match=r"newest version, 1, .*version 7 is promoted with --force"):
        promote(home, 7)


@pytest.mark.integration
def test_decisions_by_hand_move_the_alias_and_are_kept(home: Settings) -> None:
    with pytest.raises(BadInput, match="Version 1 is in production already"):
        promote_by_hand(home, None, "Again.")
    with pytest.raises(BadInput, match="nothing to go back to"):
        roll_back(home, "Back.")
    tracking = open_models(home).tracking
    first = tracking.get(1)
    second = tracking.register(first.run_id, f"models:/{first.name}/{first.version}", {})
    record = promote_by_hand(home, second.version, "The board asked for it.")
    assert (record["verdict"], record["candidate"], record["champion"]) == ("promote", second.version, 1)
    assert record["decided_by"].endswith(", by hand")
    assert tracking.version_of(PRODUCTION) == tracking.get(second.version)
    roll_back(home, "It declines too many.")
    assert tracking.version_of(PRODUCTION) == tracking.get(1)
    decisions = [(record["verdict"], record["candidate"]) for record in decision_log.read(home.layout)]
    assert decisions == [("promote", 1), ("promote", second.version), ("rollback", 1)]
