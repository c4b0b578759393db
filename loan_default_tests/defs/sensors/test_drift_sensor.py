"""Drift and a version that degrades: when a retraining or another scoring is requested."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.defs.run_tags import DATA_TAG, REASON_TAG, VERSION_TAG
from loan_default.defs.sensors import drift_sensor
from loan_default.risk.monitoring.retraining import Retraining
from loan_default.risk.policy import load_policy
from loan_default_tests.defs.sensors.harness import (
    CURSORS,
    Clock,
    Harness,
    RunStatus,
    broken_cursors,
    skip_message,
)

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_JUMPS = [timedelta(hours=-1), timedelta(days=-7), timedelta(days=365), timedelta(days=-365)]


def test_a_drifted_batch_leads_to_one_retraining_for_each_version_and_data(harness: Harness) -> None:
    assert skip_message(harness.drift()) == "No batch has drifted."
    harness.write_verdict("calm", 1, "stable")
    harness.write_verdict("shifted", 1)
    (request,) = harness.drift().run_requests or []
    assert request.job_name == "retraining_job"
    assert request.tags[VERSION_TAG] == "1"
    assert request.tags[REASON_TAG] == "Batch shifted drifted against version 1."
    (again,) = harness.drift().run_requests or []
    assert again.run_key == request.run_key, "a doubled tick asks for the same run"
    tags = {VERSION_TAG: "1", DATA_TAG: request.tags[DATA_TAG]}
    harness.add_run("retraining_job", RunStatus.STARTED, tags)
    assert "is under way since" in skip_message(harness.drift())


def test_without_loans_nothing_is_trained(harness: Harness) -> None:
    harness.write_verdict("shifted", 1)
    assert skip_message(harness.drift("")) == "LOAN_DEFAULT_DATA names no loan file, so there is nothing to train on."


def test_a_policy_that_allows_none_now_is_said(harness: Harness) -> None:
    harness.write_verdict("shifted", 1)
    harness.add_run("retraining_job", RunStatus.FAILURE)
    assert "after a cool-down of 24 hours" in skip_message(harness.drift())


def test_once_another_version_is_in_production_what_drifted_is_scored_again(harness: Harness) -> None:
    harness.write_verdict("shifted", 1)
    harness.model_registry.version = 2
    result = harness.drift()
    (request,) = result.run_requests or []
    assert (request.job_name, request.partition_key) == ("batch_prediction_job", "shifted")
    harness.write_verdict("shifted", 2, "stable")
    assert skip_message(harness.drift()) == "No batch has drifted."


@pytest.mark.slow
def test_of_many_that_drifted_a_few_are_scored_again_in_a_tick(harness: Harness) -> None:
    for number in range(100):
        harness.write_verdict(f"shifted-{number}", 1)
    harness.model_registry.version = 2
    batches: list[str] = []
    while requests := harness.drift().run_requests:
        assert len(requests) <= 3
        for request in requests:
            batches.append(str(request.partition_key))
            harness.add_run("batch_prediction_job", RunStatus.STARTED, {"dagster/run_key": str(request.run_key)})
    assert sorted(batches) == sorted(f"shifted-{number}" for number in range(100))


def test_after_a_rollback_and_back_it_is_scored_again_each_time(harness: Harness) -> None:
    keys: list[str | None] = []
    for scored_by, production in ((1, 2), (2, 1), (1, 2)):
        harness.write_verdict("shifted", scored_by, changed_at=1_000 + len(keys))
        harness.model_registry.version = production
        (request,) = harness.drift().run_requests or []
        (again,) = harness.drift().run_requests or []
        assert again.run_key == request.run_key, "a key is used once: the batch is not scored at each tick"
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_new_loan_files_have_another_signature(harness: Harness, tmp_path: Path) -> None:
    harness.write_verdict("shifted", 1)
    loans = tmp_path / "loans.csv"
    loans.write_text("1")
    (before,) = harness.drift(str(loans)).run_requests or []
    loans.write_text("12")
    (after,) = harness.drift(str(loans)).run_requests or []
    assert before.run_key != after.run_key


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", "5", '["", {"shifted.json": ["x", 1]}]', "[5, {}]"])
def test_a_lost_cursor_loses_no_drift(harness: Harness, cursor: str | None) -> None:
    harness.write_verdict("shifted", 1)
    harness.write("drift_report", "shifted.evidently.json", text="{}")
    harness.cursors["drift_sensor"] = cursor
    assert len(harness.drift().run_requests or []) == 1


def test_a_report_that_cannot_be_read_keeps_no_other_from_being_judged(harness: Harness) -> None:
    harness.write("drift_report", "damaged.json", text="{")
    harness.write("performance_report.json", text="{}")
    for _ in range(2):  # it is looked at each time
        assert re.fullmatch(
            r"No batch has drifted\. The record \S+damaged\.json is no JSON .*, or restore it from a backup\. "
            r"The record \S+performance_report\.json lacks measured_at; .*",
            skip_message(harness.drift()),
        )
    harness.write_verdict("shifted", 1)
    assert [request.job_name for request in harness.drift().run_requests or []] == ["retraining_job"]


def test_a_version_that_has_degraded_is_retrained_as_one_whose_batch_drifted(harness: Harness) -> None:
    harness.write_performance("degraded", version=2)
    assert skip_message(harness.drift()) == "No batch has drifted against version 1, in production."
    harness.write_performance("healthy")
    assert skip_message(harness.drift()) == "No batch has drifted."
    harness.write_performance("fallen")  # as earlier releases recorded it
    (request,) = harness.drift().run_requests or []
    assert request.job_name == "retraining_job"
    assert request.tags[REASON_TAG] == "Version 1 has degraded: AUC 0.5 is too low."
    harness.add_run("retraining_job", RunStatus.SUCCESS, request.tags)
    assert "would make the same model" in skip_message(harness.drift())


@CURSORS
@given(data=st.data())
def test_a_broken_cursor_retrains_nothing_twice(harness: Harness, data: st.DataObject) -> None:
    harness.write_verdict("calm", 1, "stable")
    harness.write_verdict("shifted", 1)
    harness.cursors.clear()
    (first,) = harness.drift().run_requests or []
    harness.cursors["drift_sensor"] = data.draw(broken_cursors(str(harness.cursors["drift_sensor"])))
    for _ in range(2):
        (request,) = harness.drift().run_requests or []
        assert request.run_key == first.run_key


@pytest.mark.parametrize("jump", _JUMPS)
def test_setting_the_clock_leads_to_no_retraining_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """Each look finds new loans, so that only the rules for time stand against another."""
    harness.write_verdict("shifted", 1)
    clock, requests = Clock(_NOW), list[datetime]()
    past = lambda instance, names: [Retraining(str(time), time, "succeeded", 1, "other") for time in requests]  # noqa: E731
    monkeypatch.setattr(drift_sensor, "retrainings", past)

    def requests_within(hours: int, *, every: int = 1) -> int:
        before = len(requests)
        for _ in range(0, hours, every):
            clock.time += timedelta(hours=every)
            requests.extend([clock.time] * len(harness.drift(clock=clock).run_requests or []))
        return len(requests) - before

    assert requests_within(30) == 2
    clock.time += jump
    rules = load_policy().retraining
    if jump < timedelta():
        assert requests_within(int(rules.cooldown_hours) - 6) == 0
    else:
        assert requests_within(1) == 1
        clock.time -= jump
        assert requests_within(20 * 24, every=6) == 0, "what lies ahead counts until its time has come"
