"""What the sensors ask for, tick by tick, on a real instance and real files; and a random life of an inbox."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loan_default.adapters import decision_log
from loan_default.adapters.alerts import Channels
from loan_default.adapters.run_lock import hold
from loan_default.adapters.scoring_server import Health
from loan_default.adapters.tracking import ModelVersion, TrackingError
from loan_default.defs import sensors
from loan_default.defs.lost_runs import RunLockResource
from loan_default.defs.resources import ClockResource, StorageResource
from loan_default.defs.sensors import DATA_TAG, REASON_TAG, VERSION_TAG
from loan_default.risk.monitoring.retraining import Retraining
from loan_default.risk.policy import load_policy
from loan_default_tests.homes import definitions_of

RunStatus = dg.DagsterRunStatus
_SENSORS = (
    *("new_batch_sensor", "drift_sensor", "performance_sensor"),
    *("production_sensor", "lost_run_sensor", "alert_sensor"),
)


@dataclass
class ModelRegistryResource:
    """Which version is in production."""

    version: int | None = 1
    error: Exception | None = None

    @property
    def tracking(self) -> "ModelRegistryResource":
        return self

    def version_of(self, alias: str) -> ModelVersion | None:
        if self.error:
            raise self.error
        return None if self.version is None else ModelVersion("m", self.version, "run", datetime.now(UTC))


@dataclass
class Process:
    """A scoring server, or none."""

    health_: Health | None = None
    supervised: bool = False
    url: str = "http://127.0.0.1:1"

    @property
    def server(self) -> "Process":
        return self

    def health(self) -> Health | None:
        return self.health_


@dataclass
class Desk:
    """An instance, files, and what the sensors are given."""

    instance: dg.DagsterInstance
    storage: StorageResource
    model_registry: ModelRegistryResource = field(default_factory=ModelRegistryResource)
    process: Process = field(default_factory=Process)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def file(self, *parts: str, text: str, at: int = 1_000) -> Path:
        path = Path(self.storage.root, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (at, at))
        return path

    def tick(self, name: str, **given: Any) -> dg.SensorResult | dg.SkipReason:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name)) as context:
            result = getattr(sensors, name)(context, **given)
        if isinstance(result, dg.SensorResult) and result.cursor is not None:
            self.cursors[name] = result.cursor
        return result

    def batches(self) -> list[str]:
        """One look at the inbox: the partitions that are to be scored."""
        result = self.tick("new_batches", storage=self.storage, model_registry=self.model_registry)
        assert isinstance(result, dg.SensorResult), result.skip_message
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions("batch", list(request.partition_keys))
        return [str(request.partition_key) for request in result.run_requests or []]

    def drift(self, data: str | None = None) -> dg.SensorResult:
        if data is None:
            data = str(self.file("loans.csv", text="1"))
        book = SimpleNamespace(data=data, policy=load_policy())
        result = self.tick(
            "drift", storage=self.storage, model_registry=self.model_registry, loan_book=book, clock=ClockResource()
        )
        assert isinstance(result, dg.SensorResult)
        return result

    def verdict(self, batch: str, version: int, verdict: str = "drifted", at: int = 1_000) -> None:
        record = {"batch": batch, "model_version": version, "verdict": verdict}
        self.file("drift_report", f"{batch}.json", text=json.dumps(record), at=at)

    def performance(self, now: datetime) -> list[str]:
        """One look at the outcome files: the keys of what is asked for."""
        clock = SimpleNamespace(now=lambda: now)
        result = self.tick("performance", storage=self.storage, clock=clock)
        return [str(request.run_key) for request in getattr(result, "run_requests", None) or []]

    def report(self, verdict: str, version: int = 1, **more: Any) -> None:
        """A performance report, as it was just written."""
        record = {"verdict": verdict, "model_version": version, "reasons": ["AUC 0.5 is too low."], "unreadable": []}
        record |= {"measured_at": datetime.now(UTC).isoformat(), **more}
        self.file("performance_report.json", text=json.dumps(record), at=int(datetime.now(UTC).timestamp()))

    def scored(self, batch: str, file: Path, *, reported_only: bool = False) -> None:
        """As a run leaves it; or one that died when it had read the batch."""
        fingerprint = sensors.inbox.fingerprint_of(file)
        self.file("application_report", f"{batch}.json", text=json.dumps({"fingerprint": fingerprint}))
        if not reported_only:
            path = self.file("predictions", f"{batch}.parquet", text="")
            pl.DataFrame({"model_version": [1], "input_fingerprint": [fingerprint]}).write_parquet(path)

    def serving(self) -> dg.SensorResult | dg.SkipReason:
        return self.tick(
            "production", model_registry=self.model_registry, scoring_server=self.process, clock=ClockResource()
        )

    def ran(self, job: str, status: RunStatus, **tags: str) -> dg.DagsterRun:
        run = dg.DagsterRun(job_name=job, status=status, tags=tags)
        self.instance.add_run(run)
        return run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with dg.instance_for_test() as instance:
        storage = StorageResource(root=str(tmp_path / "storage"), scratch=str(tmp_path / "staging"))
        yield Desk(instance, storage)


def said(result: dg.SensorResult | dg.SkipReason) -> str:
    reason = result.skip_reason if isinstance(result, dg.SensorResult) else result
    return str(getattr(reason, "skip_message", reason))


def health(version: int | None) -> Health:
    return Health("ready" if version else "not ready", "m", "production", version, 7, 1, None)


# --- batches


def test_a_whole_file_is_scored_once(desk: Desk) -> None:
    desk.file("applications", "2018-10.csv", text="1")
    assert [desk.batches() for _ in range(4)] == [[], ["2018-10"], [], []]
    assert desk.instance.get_dynamic_partitions("batch") == ["2018-10"]


def test_another_content_under_the_name_is_scored_and_the_same_is_not(desk: Desk) -> None:
    desk.file("applications", "a.csv", text="1")
    assert [desk.batches(), desk.batches()] == [[], ["a"]]
    desk.file("applications", "a.csv", text="1", at=2_000)
    assert [desk.batches() for _ in range(3)] == [[], [], []]
    desk.file("applications", "a.csv", text="2", at=3_000)
    assert [desk.batches() for _ in range(3)] == [[], ["a"], []]
    desk.file("applications", "a.csv", text="1", at=4_000)
    assert [desk.batches() for _ in range(3)] == [[], ["a"], []]


def test_what_was_scored_before_runs_and_cursor_were_lost_is_not_scored_again(desk: Desk) -> None:
    desk.scored("a", desk.file("applications", "a.csv", text="1"))
    assert [desk.batches() for _ in range(3)] == [[], [], []]


def test_what_was_read_and_not_scored_is_scored_though_an_earlier_content_was(desk: Desk) -> None:
    desk.scored("a", desk.file("applications", "a.csv", text="1"))
    desk.scored("a", desk.file("applications", "a.csv", text="2"), reported_only=True)
    assert [desk.batches() for _ in range(3)] == [[], ["a"], []]


def test_what_is_settled_takes_8_letters_in_the_memory_that_each_tick_keeps(desk: Desk) -> None:
    for at in range(50):
        desk.scored(f"2018-{at}", desk.file("applications", f"2018-{at}.csv", text=f"{at}"))
        desk.verdict(f"2018-{at}", 1, "stable")
    assert [desk.batches() for _ in range(3)] == [[]] * 3
    assert said(desk.drift()) == "No batch has drifted."
    assert max(len(str(desk.cursors[name])) for name in ("new_batches", "drift")) < 50 * 8 + 100
    desk.file("applications", "2018-7.csv", text="other", at=2_000)
    assert [desk.batches() for _ in range(3)] == [[], ["2018-7"], []]


def test_batches_wait_for_a_version_in_production(desk: Desk) -> None:
    desk.model_registry.version = None
    desk.file("applications", "a.csv", text="1")
    desk.batches()
    result = desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry)
    assert said(result) == "a will be scored once a version is in production."
    desk.model_registry.version = 1
    assert desk.batches() == ["a"]


def test_what_cannot_be_asked_is_said_and_asked_again(desk: Desk) -> None:
    desk.file("applications", "a.csv", text="1")
    desk.batches()
    desk.model_registry.error = TrackingError("The registry cannot be reached.")
    assert (
        said(desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry))
        == "The registry cannot be reached."
    )
    desk.model_registry.error = None
    assert desk.batches() == ["a"]


def test_what_is_refused_is_shown(desk: Desk) -> None:
    desk.file("applications", "a b.csv", text="1")
    desk.file("applications", "a.csv", text="1")
    result = desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry)
    assert "a.csv may still be written." in said(result)
    assert "a b.csv: a batch's name may hold" in said(result)


def test_five_hundred_files_are_asked_for_in_their_order_and_a_few_in_a_tick(desk: Desk) -> None:
    for number in range(500):
        desk.file("applications", f"batch-{999 - number}.csv", text=f"{number}", at=number)
    desk.batches()
    asked: list[str] = []
    while batches := desk.batches():
        assert len(batches) <= 3
        asked += batches
    assert asked == [f"batch-{999 - number}" for number in range(500)]
    assert desk.instance.get_dynamic_partitions("batch") == asked


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_random_life_of_an_inbox(seed: int) -> None:
    """Files come, change, are touched; cursors are lost, ticks doubled, runs slow: each content is scored once."""
    rng = Random(seed)
    with TemporaryDirectory() as folder, dg.instance_for_test() as instance:
        desk = Desk(instance, StorageResource(root=folder, scratch=folder))
        content: dict[str, str] = {}
        keys: set[str] = set()
        queue: list[str] = []
        scored: list[tuple[str, str]] = []

        def score() -> None:
            batch = queue.pop(0)
            path = Path(folder, "applications", f"{batch}.csv")
            scored.append((batch, path.read_text()))
            desk.scored(batch, path)

        def tick(at: int) -> None:
            result = desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry)
            assert isinstance(result, dg.SensorResult)
            for request in result.run_requests or []:
                if request.run_key not in keys:  # as Dagster does
                    keys.add(str(request.run_key))
                    queue.append(str(request.partition_key))

        for at in range(60):
            batch = rng.choice("abc")
            if (step := rng.random()) < 0.25:
                if batch not in queue:  # a run reads the file as it is when it starts
                    content[batch] = f"{batch}{at}"
                    desk.file("applications", f"{batch}.csv", text=content[batch], at=at)
            elif step < 0.35 and batch in content:
                desk.file("applications", f"{batch}.csv", text=content[batch], at=at)
            elif step < 0.4 and not queue:
                desk.cursors.clear()
            elif step < 0.85:
                before = dict(desk.cursors)
                tick(at)
                if rng.random() < 0.1:  # the daemon dies before it keeps the cursor
                    desk.cursors = before
                    tick(at)
            elif queue:
                score()
        for at in range(3):
            tick(at)
        while queue:
            score()
        assert dict(scored) == content, "nothing is lost"
        assert len(scored) == len(set(scored)), "no content is scored twice"


# --- drift


def test_a_drifted_batch_leads_to_one_retraining_for_each_version_and_data(desk: Desk) -> None:
    assert said(desk.drift()) == "No batch has drifted."
    desk.verdict("calm", 1, "stable")
    desk.verdict("shifted", 1)
    (request,) = desk.drift().run_requests or []
    assert request.job_name == "retraining_job"
    assert request.tags[VERSION_TAG] == "1"
    assert request.tags[REASON_TAG] == "Batch shifted drifted against version 1."
    (again,) = desk.drift().run_requests or []
    assert again.run_key == request.run_key, "a doubled tick asks for the same run"
    tags = {VERSION_TAG: "1", DATA_TAG: request.tags[DATA_TAG]}
    desk.ran("retraining_job", RunStatus.STARTED, **tags)
    assert "is under way since" in said(desk.drift())


def test_without_loans_nothing_is_trained(desk: Desk) -> None:
    desk.verdict("shifted", 1)
    assert said(desk.drift("")) == "LOAN_DEFAULT_DATA names no loan file, so there is nothing to train on."


def test_a_policy_that_allows_none_now_is_said(desk: Desk) -> None:
    desk.verdict("shifted", 1)
    desk.ran("retraining_job", RunStatus.FAILURE)
    assert "after a cool-down of 24 hours" in said(desk.drift())


def test_once_another_version_is_in_production_what_drifted_is_scored_again(desk: Desk) -> None:
    desk.verdict("shifted", 1)
    desk.model_registry.version = 2
    result = desk.drift()
    (request,) = result.run_requests or []
    assert (request.job_name, request.partition_key) == ("batch_prediction_job", "shifted")
    desk.verdict("shifted", 2, "stable")
    assert said(desk.drift()) == "No batch has drifted."


def test_of_many_that_drifted_a_few_are_scored_again_in_a_tick(desk: Desk) -> None:
    for number in range(100):
        desk.verdict(f"shifted-{number}", 1)
    desk.model_registry.version = 2
    asked: list[str] = []
    while requests := desk.drift().run_requests:
        assert len(requests) <= 3
        for request in requests:
            asked.append(str(request.partition_key))
            desk.ran("batch_prediction_job", RunStatus.STARTED, **{"dagster/run_key": str(request.run_key)})
    assert sorted(asked) == sorted(f"shifted-{number}" for number in range(100))


def test_after_a_rollback_and_back_it_is_scored_again_each_time(desk: Desk) -> None:
    keys = []
    for scored_by, production in ((1, 2), (2, 1), (1, 2)):
        desk.verdict("shifted", scored_by, at=1_000 + len(keys))
        desk.model_registry.version = production
        (request,) = desk.drift().run_requests or []
        (again,) = desk.drift().run_requests or []
        assert again.run_key == request.run_key, "a key is used once: the batch is not scored at each tick"
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_new_loan_files_have_another_signature(desk: Desk, tmp_path: Path) -> None:
    desk.verdict("shifted", 1)
    loans = tmp_path / "loans.csv"
    loans.write_text("1")
    keys = [desk.drift(str(loans)).run_requests[0].run_key]  # type: ignore[index]
    loans.write_text("12")
    keys.append(desk.drift(str(loans)).run_requests[0].run_key)  # type: ignore[index]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", "5", '["", {"shifted.json": ["x", 1]}]', "[5, {}]"])
def test_a_lost_cursor_loses_no_drift(desk: Desk, cursor: str | None) -> None:
    desk.verdict("shifted", 1)
    desk.file("drift_report", "shifted.evidently.json", text="{}")
    desk.cursors["drift"] = cursor
    assert len(desk.drift().run_requests or []) == 1


# --- outcomes

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_outcome_files_are_measured_once_whole_and_again_each_day(desk: Desk) -> None:
    assert desk.performance(NOON) == []
    desk.file("outcomes", "2019-03.csv", text="1")
    assert desk.performance(NOON) == [], "it may still be written"
    (asked,) = desk.performance(NOON)
    assert desk.performance(NOON) == []
    desk.cursors.clear()
    assert [desk.performance(NOON) for _ in range(2)] == [[], [asked]], "the same key: Dagster drops it"
    assert desk.performance(NOON + timedelta(days=1)) != [asked]
    desk.file("outcomes", "2019-04.csv", text="2")
    assert desk.performance(NOON) == []
    assert desk.performance(NOON) != [asked]


def test_what_was_predicted_is_measured_without_outcomes_too(desk: Desk) -> None:
    desk.file("prediction_history", "a.version-1.parquet", text="")
    desk.performance(NOON)
    assert len(desk.performance(NOON)) == 1


def test_a_version_that_has_degraded_is_retrained_as_one_whose_batch_drifted(desk: Desk) -> None:
    desk.report("degraded", version=2)
    assert said(desk.drift()) == "No batch has drifted against version 1, in production."
    desk.report("healthy")
    assert said(desk.drift()) == "No batch has drifted."
    desk.report("fallen")  # as earlier releases recorded it
    (request,) = desk.drift().run_requests or []
    assert request.job_name == "retraining_job"
    assert request.tags[REASON_TAG] == "Version 1 has degraded: AUC 0.5 is too low."
    desk.ran("retraining_job", RunStatus.SUCCESS, **request.tags)
    assert "would make the same model" in said(desk.drift())


def test_people_are_told_of_a_fall_and_of_outcome_files_that_cannot_be_read(desk: Desk) -> None:
    desk.report("degraded", unreadable=["2019-03.csv"])
    told = said(
        desk.tick(
            "alerts", storage=desk.storage, notifications=NotificationsResource(Channels()), clock=ClockResource()
        )
    )
    assert "Version 1 has degraded: AUC 0.5 is too low." in told
    assert "Outcome file 2019-03.csv cannot be read; the asset loan_outcomes says why." in told


# --- the server


def test_a_server_that_does_not_run_or_answers_by_another_version_is_seen_to(desk: Desk) -> None:
    for found, why in ((None, "no server answered"), (health(1), "by version 1; version 2 is in production")):
        desk.model_registry.version, desk.process.health_ = 2, found
        result = desk.serving()
        assert isinstance(result, dg.SensorResult)
        (request,) = result.run_requests or []
        assert request.tags[VERSION_TAG] == "2"
        assert why in request.tags[REASON_TAG]


def test_a_server_that_answers_by_the_version_in_production_is_left_alone_once_it_was_seen_to(desk: Desk) -> None:
    desk.process.health_ = health(1)
    assert isinstance(desk.serving(), dg.SensorResult), "nobody has looked yet"
    desk.ran("serving_job", RunStatus.SUCCESS, **{VERSION_TAG: "1"})
    assert said(desk.serving()) == "The server answers by version 1."


@pytest.mark.parametrize(
    ("version", "supervised", "runs", "told"),
    [
        (None, False, [], "No version is in production."),
        (1, True, [], "the service that runs it has to start it"),
        (1, False, [RunStatus.STARTED], "serving_job is under way."),
        (1, False, [RunStatus.FAILURE], "The last tries to serve failed; the next is at"),
    ],
)
def test_why_nothing_is_asked_of_the_server(
    desk: Desk, version: int | None, supervised: bool, runs: list[RunStatus], told: str
) -> None:
    desk.model_registry.version, desk.process.supervised = version, supervised
    for status in runs:
        desk.ran("serving_job", status)
    assert told in said(desk.serving())


def runs(*statuses: RunStatus, at: datetime) -> list[Any]:
    return [SimpleNamespace(dagster_run=SimpleNamespace(status=s), create_timestamp=at) for s in statuses]


def test_the_pause_after_failures_doubles_and_ends() -> None:
    now = datetime.now(UTC)
    failed, well = RunStatus.FAILURE, RunStatus.SUCCESS
    pauses = [sensors._free_again(runs(*[failed] * count, well, at=now), now) for count in range(12)]
    assert pauses[0] is None
    seconds = [(pause - now).total_seconds() for pause in pauses[1:] if pause]
    assert seconds == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]


# --- people


@dataclass
class NotificationsResource:
    channels: Channels


def test_people_are_told_once_of_all_that_happened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    working = [False]

    def send(channels: Channels, subject: str, lines: list[str]) -> tuple[int, list[str]]:
        sent.append(lines)
        return (1, []) if working[0] else (0, ["Slack did not take the message."])

    monkeypatch.setattr(sensors, "send", send)
    notifications = NotificationsResource(Channels(slack="http://127.0.0.1/secret"))

    def tick() -> str:
        return said(desk.tick("alerts", storage=desk.storage, notifications=notifications, clock=ClockResource()))

    assert tick() == "Nothing happened that people are told of."
    desk.ran("batch_prediction_job", RunStatus.FAILURE, **{"dagster/partition": "2018-10"})
    desk.ran("retraining_job", RunStatus.STARTED, **{REASON_TAG: "Batch a drifted against version 1."})
    desk.ran("serving_job", RunStatus.SUCCESS, **{REASON_TAG: "no server answered"})
    record = {"batch": "a", "model_version": 1, "verdict": "drifted", "reasons": ["score: PSI 1.3 is above 0.25"]}
    Path(desk.file("drift_report", "a.json", text=json.dumps(record))).touch()
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")  # and written now
    decided = {"verdict": "hold", "candidate": 2, "decided_at": at, "decided_by": "policy", "reasons": ["AUC is low."]}
    decision_log.add(desk.storage.layout, decided)
    assert tick() == "Slack did not take the message. It is sent again."
    working[0] = True
    assert tick().startswith("People were told: ")
    lines = sent[-1]
    assert sent[0] == lines, "nothing is lost while Slack is dead"
    assert len(lines) == 5
    for part in ("batch_prediction_job of batch 2018-10 failed (run ", "A retraining began: Batch a drifted", "server"):
        assert any(part in line for line in lines), part
    assert "hold version 2, by policy: AUC is low." in lines
    assert "Batch a drifted against version 1: score: PSI 1.3 is above 0.25." in lines
    assert tick() == "Nothing happened that people are told of."


def test_without_a_channel_the_tick_says_what_nobody_is_told(desk: Desk) -> None:
    desk.tick("alerts", storage=desk.storage, notifications=NotificationsResource(Channels()), clock=ClockResource())
    desk.ran("training_job", RunStatus.FAILURE)
    told = said(
        desk.tick(
            "alerts", storage=desk.storage, notifications=NotificationsResource(Channels()), clock=ClockResource()
        )
    )
    assert told.startswith("Nobody is told, as neither SLACK_WEBHOOK_URL nor ALERT_EMAILS is set: training_job failed")


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
    assert sensors._told_before(cursor, now) == (now - timedelta(seconds=seconds), [])


# --- what goes wrong around them


@dataclass
class Time:
    """A clock that is set."""

    at: datetime

    def now(self) -> datetime:
        return self.at


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def broken(draw: st.DrawFn, own: str) -> str:
    """No JSON, JSON of another shape, what is left of an own cursor, or an own one in which other things stand."""
    kind = draw(st.sampled_from(["text", "json", "cut", "deep", "other", "other", "other", "other"]))
    if kind == "text":
        return draw(st.text())
    if kind == "cut":
        return own[: draw(st.integers(0, len(own) - 1))]
    if kind == "deep":
        return "[" * 100_000
    if kind == "json":
        return json.dumps(draw(_JSON))
    cursor = json.loads(own)
    path = draw(st.sampled_from(sorted(cursor) if isinstance(cursor, dict) else range(len(cursor))))
    inside = cursor[path]
    if isinstance(inside, dict) and inside and draw(st.booleans()):
        inside[draw(st.sampled_from(sorted(inside)))] = draw(_JSON.filter(lambda value: not isinstance(value, str)))
    else:
        cursor[path] = draw(_JSON)
    if isinstance(cursor, dict) and draw(st.booleans()):
        cursor["version"] = draw(_JSON)
    return json.dumps(cursor)


_BROKEN = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_BROKEN
@given(data=st.data())
def test_a_broken_cursor_scores_nothing_twice(desk: Desk, data: st.DataObject) -> None:
    desk.scored("done", desk.file("applications", "done.csv", text="1"))
    desk.file("applications", "asked.csv", text="2")
    desk.file("applications", "no batch.csv", text="3")
    desk.cursors.clear()
    ticks = [desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry) for _ in range(2)]
    keys = {request.run_key for result in ticks for request in result.run_requests or []}  # type: ignore[union-attr]
    desk.cursors["new_batches"] = data.draw(broken(str(desk.cursors["new_batches"])))
    for _ in range(3):
        result = desk.tick("new_batches", storage=desk.storage, model_registry=desk.model_registry)
        assert isinstance(result, dg.SensorResult)
        assert {request.run_key for request in result.run_requests or []} <= keys
    assert len(keys) == 1


@_BROKEN
@given(data=st.data())
def test_a_broken_cursor_retrains_nothing_twice(desk: Desk, data: st.DataObject) -> None:
    desk.verdict("calm", 1, "stable")
    desk.verdict("shifted", 1)
    desk.cursors.clear()
    (wanted,) = desk.drift().run_requests or []
    desk.cursors["drift"] = data.draw(broken(str(desk.cursors["drift"])))
    for _ in range(2):
        (request,) = desk.drift().run_requests or []
        assert request.run_key == wanted.run_key


@_BROKEN
@given(data=st.data())
def test_a_broken_cursor_tells_of_an_event_once_more_at_most(desk: Desk, data: st.DataObject) -> None:
    if not desk.instance.get_runs():
        desk.ran("training_job", RunStatus.FAILURE)
    given = {"storage": desk.storage, "notifications": NotificationsResource(Channels()), "clock": ClockResource()}
    desk.cursors.clear()
    desk.tick("alerts", **given)
    desk.cursors["alerts"] = data.draw(broken(str(desk.cursors["alerts"])))
    desk.tick("alerts", **given)
    assert said(desk.tick("alerts", **given)) == "Nothing happened that people are told of."


_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_JUMPS = [timedelta(hours=-1), timedelta(days=-7), timedelta(days=365), timedelta(days=-365)]


def test_people_are_told_once_however_the_clock_is_set(desk: Desk) -> None:
    time = Time(_NOW)
    given = {"storage": desk.storage, "notifications": NotificationsResource(Channels()), "clock": time}

    def tells(seconds: float) -> int:
        time.at += timedelta(seconds=seconds)
        told = said(desk.tick("alerts", **given))
        return 0 if told == "Nothing happened that people are told of." else told.count(", by policy:")

    def decides(version: int) -> None:
        at = time.at.isoformat(timespec="seconds")
        told = {"verdict": "hold", "candidate": version, "decided_at": at, "decided_by": "policy", "reasons": ["Low."]}
        decision_log.add(desk.storage.layout, told)
        (record,) = Path(desk.storage.layout.decisions).glob(f"*-version-{version}.json")
        os.utime(record, (time.at.timestamp(), time.at.timestamp()))

    tells(30)
    for number, jump in enumerate(_JUMPS):
        time.at += timedelta(seconds=10)
        decides(2 * number)
        assert tells(20) == 1
        assert tells(600) == 0
        time.at += jump
        if jump < timedelta():
            decides(2 * number + 1)  # before anybody has looked again
            assert tells(20) == 1, jump
        assert [tells(30) for _ in range(20)] == [0] * 20, jump


@pytest.mark.parametrize("jump", _JUMPS)
def test_setting_the_clock_leads_to_no_retraining_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """Each look finds new loans, so that only the rules for time stand against another."""
    desk.verdict("shifted", 1)
    time, asked = Time(_NOW), []
    past = lambda instance: [Retraining(str(at), at, "succeeded", 1, "other") for at in asked]  # noqa: E731
    monkeypatch.setattr(sensors, "_retrainings", past)
    book = SimpleNamespace(data=str(desk.file("loans.csv", text="1")), policy=load_policy())

    def hours(count: int) -> int:
        before = len(asked)
        for _ in range(count):
            time.at += timedelta(hours=1)
            result = desk.tick(
                "drift", storage=desk.storage, model_registry=desk.model_registry, loan_book=book, clock=time
            )
            asked.extend([time.at] * len(result.run_requests or []))  # type: ignore[union-attr]
        return len(asked) - before

    assert hours(30) == 2
    time.at += jump
    rules = load_policy().retraining
    if jump < timedelta():
        assert hours(int(rules.cooldown_hours) - 6) == 0
    else:
        assert hours(1) == 1
        time.at -= jump
        assert hours(20 * 24) == 0, "what lies ahead counts until its time has come"


def test_a_server_is_not_kept_down_by_a_failure_that_lies_ahead() -> None:
    ahead = runs(RunStatus.FAILURE, at=_NOW + timedelta(days=365))
    assert sensors._free_again(ahead, _NOW) is None


@pytest.mark.integration
def test_runs_that_died_are_ended_and_those_that_live_are_not(desk: Desk, tmp_path: Path) -> None:
    run_lock = RunLockResource(folder=str(tmp_path / "runs"), scratch="", models="", storage="")
    died, lives, unknown = (desk.ran("training_job", RunStatus.STARTED) for _ in range(3))
    stopped = desk.ran("tuning_job", RunStatus.CANCELING)
    ended = desk.ran("training_job", RunStatus.SUCCESS)
    settled: list[str] = []
    tracking = SimpleNamespace(
        running=lambda tag: {"m1": died.run_id, "m2": lives.run_id, "m3": "of another platform", "m4": stopped.run_id},
        end_run=lambda run_id, status: settled.append(f"{run_id} {status}"),
    )
    holder = "import sys, time; from pathlib import Path; from loan_default.adapters import run_lock\n"
    holder += "for run in sys.argv[2:]: run_lock.hold(Path(sys.argv[1]), run)\n"
    holder += "print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, run_lock.folder]
    with subprocess.Popen([*command, died.run_id, stopped.run_id], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for run in (lives, ended):
            hold(Path(run_lock.folder), run.run_id)
        assert said(desk.tick("lost_runs", model_registry=SimpleNamespace(tracking=tracking), run_lock=run_lock)) == (
            "Every run that is under way lives."
        )
        process.kill()
        process.wait()
        told = said(desk.tick("lost_runs", model_registry=SimpleNamespace(tracking=tracking), run_lock=run_lock))
    assert set(told.rstrip(".").split(". ")) == {
        f"training_job had died (run {died.run_id})",
        f"tuning_job had died (run {stopped.run_id})",
    }
    found = {run.run_id: run.status for run in desk.instance.get_runs()}
    assert found == {
        died.run_id: RunStatus.FAILURE,
        stopped.run_id: RunStatus.CANCELED,
        lives.run_id: RunStatus.STARTED,
        unknown.run_id: RunStatus.STARTED,
        ended.run_id: RunStatus.SUCCESS,
    }
    assert settled == ["m1 FAILED", "m4 FAILED"]
    assert [path.name for path in Path(run_lock.folder).iterdir()] == [lives.run_id]


@pytest.mark.parametrize("running", [True, False])
def test_every_sensor_runs_or_waits_by_the_setting(tmp_path: Path, running: bool) -> None:
    from loan_default.settings import Settings

    made = definitions_of(Settings(home=tmp_path, sensors=running))
    found = {sensor.name: sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in made.sensors or []}
    assert found == dict.fromkeys(_SENSORS, running)
    assert all(sensor.description for sensor in made.sensors or [])
