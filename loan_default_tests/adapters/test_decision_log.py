"""Decisions that are kept: whole, in the order of time, none lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from loan_default.adapters import decision_log
from loan_default.adapters.layout import StorageLayout

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def record(verdict: str, version: int, hours: int = 0) -> dict[str, Any]:
    decided_at = (NOW + timedelta(hours=hours)).isoformat(timespec="seconds")
    return {
        "verdict": verdict,
        "candidate": version,
        "decided_at": decided_at,
        "decided_by": "policy",
        "reasons": ["Good."],
    }


@pytest.mark.parametrize("kind", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_decisions_come_back_oldest_first(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    root = UPath(tmp_path) if kind == "folder" else request.getfixturevalue("bucket") / "prefix"
    layout = StorageLayout(root)
    assert decision_log.read(layout) == []
    records = [
        record("promote", 1),
        record("hold", 2, hours=1),
        record("rollback", 1, hours=9),
        record("promote", 3, 10),
    ]
    for decision in reversed(records):
        decision_log.add(layout, decision)
    assert decision_log.read(layout) == records


def test_two_decisions_of_one_second_are_both_kept(tmp_path: Path) -> None:
    layout = StorageLayout(UPath(tmp_path))
    for version in (1, 2):
        decision_log.add(layout, record("promote", version))
    assert [decision["candidate"] for decision in decision_log.read(layout)] == [1, 2]
