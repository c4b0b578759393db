"""What people are told, once, whatever becomes of the cursor, the channels and the clock."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.adapters import decision_log
from loan_default.adapters.alerts import Channels
from loan_default.defs.run_tags import REASON_TAG
from loan_default.defs.sensors import alert_sensor
from loan_default.defs.sensors.alert_sensor import read_cursor
from loan_default_tests.defs.sensors.harness import (
    CURSORS,
    Clock,
    Harness,
    RunStatus,
    broken_cursors,
)
from loan_default_tests.records import filled

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_JUMPS = [timedelta(hours=-1), timedelta(days=-7), timedelta(days=365), timedelta(days=-365)]


def test_people_are_told_once_of_all_that_happened(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    working = [False]

    def send(channels: Channels, subject: str, lines: list[str]) -> tuple[int, list[str]]:
        sent.append(lines)
        return (1, []) if working[0] else (0, ["Slack did not take the message."])

    monkeypatch.setattr(alert_sensor, "send", send)

    def tick() -> str:
        return harness.alerts(Channels(slack="http://127.0.0.1/secret"))

    assert tick() == "Nothing happened that people are told of."
    harness.add_run("batch_prediction_job", RunStatus.FAILURE, {"dagster/partition": "2018-10"})
    harness.add_run("retraining_job", RunStatus.STARTED, {REASON_TAG: "Batch a drifted against version 1."})
    harness.add_run("serving_job", RunStatus.SUCCESS, {REASON_TAG: "no server answered"})
    record = {"batch": "a", "model_version": 1, "verdict": "drifted", "reasons": ["score: PSI 1.3 is above 0.25"]}
    Path(harness.write("drift_report", "a.json", text=json.dumps(filled("drift_report", record)))).touch()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    decision_log.add(harness.storage.layout, _hold(2, an_hour_ago, "AUC is low."))  # and it is written now
    assert tick() == "Slack did not take the message. It is sent again."
    working[0] = True
    assert tick().startswith("People were told: ")
    lines = sent[-1]
    assert sent[0] == lines, "nothing is lost while Slack is dead"
    assert len(lines) == 5
    for part in ("batch_prediction_job of batch 2018-10 failed (run ", "A retraining began: Batch a drifted", "server"):
        assert any(part in line for line in lines), part
    assert "Decision: hold version 2, by policy: AUC is low." in lines
    assert "Batch a drifted against version 1: score: PSI 1.3 is above 0.25." in lines
    assert tick() == "Nothing happened that people are told of."


def test_without_a_channel_the_tick_says_what_nobody_is_told(harness: Harness) -> None:
    harness.alerts()
    harness.add_run("training_job", RunStatus.FAILURE)
    message = harness.alerts()
    assert message.startswith(
        "Nobody is told, as neither SLACK_WEBHOOK_URL nor ALERT_EMAILS is set: training_job failed"
    )


@pytest.mark.parametrize(
    ("cursor", "seconds"),
    [
        *[(None, 300), ("odd", 300), ("[]", 300), ("5", 300)],
        ('["2026-02-28T23:59:00+00:00", []]', 75),
        ('["2020-01-01T00:00:00+00:00", []]', 86_400),
        ('["2999-01-01T00:00:00+00:00", []]', 300),
        ('["0001-01-01T00:00:00+00:00", []]', 300),
        ('["2026-02-28T23:59:00", []]', 75),
    ],
)
def test_people_are_told_of_a_day_at_most(cursor: str | None, seconds: float) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert read_cursor(cursor, now) == (now - timedelta(seconds=seconds), [])


def test_people_are_told_of_a_fall_and_of_outcome_files_that_cannot_be_read(harness: Harness) -> None:
    harness.write_performance("degraded", unreadable=["2019-03.csv"])
    message = harness.alerts()
    assert "Version 1 has degraded: AUC 0.5 is too low." in message
    assert "Outcome file 2019-03.csv cannot be read; the asset loan_outcomes says why." in message


def test_people_are_told_once_of_a_record_that_cannot_be_read_and_of_all_else(harness: Harness) -> None:
    harness.write_performance("degraded")
    harness.write("drift_report", "a.json", text="{", changed_at=int(datetime.now(UTC).timestamp()))
    message = harness.alerts()
    assert "Version 1 has degraded" in message
    assert re.search(r"The record \S+a\.json is no JSON .*; run loan-default drift a, which writes it again", message)
    assert harness.alerts() == "Nothing happened that people are told of."


@CURSORS
@given(data=st.data())
@pytest.mark.slow
def test_a_broken_cursor_tells_of_an_event_once_more_at_most(harness: Harness, data: st.DataObject) -> None:
    if not harness.instance.get_runs():
        harness.add_run("training_job", RunStatus.FAILURE)
    harness.cursors.clear()
    harness.alerts()
    harness.cursors["alert_sensor"] = data.draw(broken_cursors(str(harness.cursors["alert_sensor"])))
    harness.alerts()
    assert harness.alerts() == "Nothing happened that people are told of."


def _hold(version: int, decided_at: datetime, reason: str) -> dict[str, Any]:
    time = decided_at.isoformat(timespec="seconds")
    return {"verdict": "hold", "candidate": version, "decided_at": time, "decided_by": "policy", "reasons": [reason]}


def test_people_are_told_once_however_the_clock_is_set(harness: Harness) -> None:
    clock = Clock(_NOW)

    def decisions_after(seconds: float) -> int:
        """How many decisions the next tick tells of."""
        clock.time += timedelta(seconds=seconds)
        message = harness.alerts(clock=clock)
        return 0 if message == "Nothing happened that people are told of." else message.count(", by policy:")

    def decide(version: int) -> None:
        decision_log.add(harness.storage.layout, _hold(version, clock.time, "Low."))
        (record,) = Path(str(harness.storage.layout.decisions)).glob(f"*-version-{version}.json")
        os.utime(record, (clock.time.timestamp(), clock.time.timestamp()))

    decisions_after(30)
    for number, jump in enumerate(_JUMPS):
        clock.time += timedelta(seconds=10)
        decide(2 * number)
        assert decisions_after(20) == 1
        assert decisions_after(600) == 0
        clock.time += jump
        if jump < timedelta():
            decide(2 * number + 1)  # before anybody has looked again
            assert decisions_after(20) == 1, jump
        assert [decisions_after(30) for _ in range(20)] == [0] * 20, jump
