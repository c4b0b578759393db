"""The scoring server and the version in production: when the server is seen to."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from loan_default.defs.run_tags import REASON_TAG, VERSION_TAG
from loan_default.defs.sensors.production_sensor import end_of_pause
from loan_default_tests.defs.sensors.harness import (
    Harness,
    RunStatus,
    health_of,
    serving_runs,
    skip_message,
)

_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_server_that_does_not_run_or_answers_by_another_version_is_seen_to(harness: Harness) -> None:
    for answer, reason in ((None, "no server answered"), (health_of(1), "by version 1; version 2 is in production")):
        harness.model_registry.version, harness.server.answer = 2, answer
        result = harness.serving()
        assert isinstance(result, dg.SensorResult)
        (request,) = result.run_requests or []
        assert request.tags[VERSION_TAG] == "2"
        assert reason in request.tags[REASON_TAG]


def test_a_server_that_answers_by_the_version_in_production_is_left_alone_once_it_was_seen_to(harness: Harness) -> None:
    harness.server.answer = health_of(1)
    assert isinstance(harness.serving(), dg.SensorResult), "nobody has looked yet"
    harness.add_run("serving_job", RunStatus.SUCCESS, {VERSION_TAG: "1"})
    assert skip_message(harness.serving()) == "The server answers by version 1."


@pytest.mark.parametrize(
    ("version", "supervised", "runs", "message"),
    [
        (None, False, [], "No version is in production."),
        (1, True, [], "the service that runs it has to start it"),
        (1, False, [RunStatus.STARTED], "serving_job is under way."),
        (1, False, [RunStatus.FAILURE], "The last tries to serve failed; the next is at"),
    ],
)
def test_why_nothing_is_asked_of_the_server(
    harness: Harness, version: int | None, supervised: bool, runs: list[RunStatus], message: str
) -> None:
    harness.model_registry.version, harness.server.supervised = version, supervised
    for status in runs:
        harness.add_run("serving_job", status)
    assert message in skip_message(harness.serving())


def test_the_pause_after_failures_doubles_and_ends() -> None:
    now = datetime.now(UTC)
    failed, succeeded = RunStatus.FAILURE, RunStatus.SUCCESS
    pauses = [end_of_pause(serving_runs(*[failed] * count, succeeded, created_at=now), now) for count in range(12)]
    assert pauses[0] is None
    seconds = [(pause - now).total_seconds() for pause in pauses[1:] if pause]
    assert seconds == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]


def test_a_server_is_not_kept_down_by_a_failure_that_lies_ahead() -> None:
    ahead = serving_runs(RunStatus.FAILURE, created_at=_NOW + timedelta(days=365))
    assert end_of_pause(ahead, _NOW) is None
