"""Half a year in a few seconds: every sensor on a real instance and real files, and a world that gives them trouble.

Time is simulated and jumps from event to event, with ticks around each. Dagster's part is played as its daemon plays
it: a run key is used once, the queue and its limits are those of `dagster.yaml`, a run that was killed is started again
where its job says so, and one that outlives its limit is failed. What sensors must do is told here a second time, by
what the world knows and not by what the sensors keep; it is held against them at each tick.

What cannot hold, and is let pass:
- A run scores the file as it lies there when it starts; what was asked for before may then be scored by two runs.
- A lost cursor together with a file that is touched before its run has ended leads to a second run.
- A lost cursor loses news that are older than five minutes, and repeats younger ones. A doubled tick repeats news.
- News that could be told to nobody for a day are lost.
- A run that was killed as often as its job may be started again is given up, and people were told.
- Of two names that differ by case the first is the batch; the other file is refused, and never scored.
"""

from __future__ import annotations

import heapq
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import signature
from itertools import count, pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg
import polars as pl
import pytest
import yaml
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._utils.tags import TagConcurrencyLimitsCounter
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from loan_default.adapters.scoring_server import Health
from loan_default.adapters.tracking import ModelVersion, Tracking, TrackingError
from loan_default.defs.book import BookNames
from loan_default.defs.jobs import build_jobs
from loan_default.defs.resources import StorageResource
from loan_default.defs.run_tags import REASON_TAG
from loan_default.defs.sensors import alert_sensor, build
from loan_default.homes import dagster_yaml
from loan_default.risk.data.loan_files import fingerprint
from loan_default.risk.policy import RetrainingPolicy
from loan_default.settings import Settings
from loan_default_tests.queues import ORIGIN
from loan_default_tests.records import filled

# A sensor of its own job is added here; its job's end may be played by a method `_<job>` of the world.
SENSORS = {
    **{"new_batch_sensor": "batch_prediction_job", "drift_sensor": "", "performance_sensor": "performance_job"},
    **{"production_sensor": "serving_job", "alert_sensor": ""},
}
TROUBLES = (
    *("killed runs", "lost runs", "failed runs", "broken files", "a dead server", "a daemon that is down"),
    *("lost cursors", "doubled ticks", "a dead registry", "a dead Slack", "people"),
)
START, HALF_YEAR, SAMPLE, QUIET_DAYS = datetime(2026, 1, 1, tzinfo=UTC), 180, 30, 9  # days
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86_400))
FEW = 3  # runs that are asked for in one tick
GARBAGE = (None, "", "{", "[]", "5", '{"states": 1}', '[{"b1.json": 1}, {}]', '["yesterday", []]')

HOME = yaml.safe_load(dagster_yaml(Settings(Path())))
JOBS: dict[str, dict[str, str]] = {job.name: dict(job.tags or {}) for job in build_jobs(Tracking("", ""), BookNames())}
SECONDS = {"batch_prediction_job": (20, 600), "retraining_job": (1200, 10_000), "serving_job": (5, 90)}
Event, QUEUED = dg.DagsterEventType, dg.DagsterRunStatus.QUEUED


@dataclass
class Run:
    """A run as the world knows it; `why` names what it was asked for."""

    run: dg.DagsterRun
    why: tuple[Any, ...]
    asked_at: datetime
    status: str = "queued"
    read: str = ""
    lost: bool = False

    def __repr__(self) -> str:
        return f"{self.run.job_name} {self.why} asked for at {self.asked_at:%m-%d %H:%M:%S} {self.status} {self.read}"

    @property
    def job(self) -> str:
        return self.run.job_name

    @property
    def batch(self) -> str:
        return self.run.tags["dagster/partition"]


@dataclass(frozen=True)
class News:
    """What people are to be told of: a line that begins and holds this."""

    moment: datetime
    begins: str
    holds: str


class World:
    """What happens around the sensors, and what they must do about it."""

    def __init__(
        self, root: Path, instance: dg.DagsterInstance, seed: int, troubles: Collection[str], days: int
    ) -> None:
        self.root, self.instance, self.rng, self.troubles, self.days = root, instance, Random(seed), troubles, days
        self.now, self.calm, self.numbers = START, False, count(2)
        self.heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self.round_at, self.rounds_wanted = START, 0
        self.down: Counter[str] = Counter()  # the daemon, the registry, Slack, the server's machine
        self.cursors: dict[str, str | None] = {}
        self.rules = {"drift_sensor": self.due_drift, "production_sensor": self.due_production}
        assert self.rules.keys() < SENSORS.keys()
        self.lost: dict[str, list[datetime]] = defaultdict(list)
        self.lost["alert_sensor"].append(START)  # the first look has no cursor
        self.keys: set[tuple[str, str]] = set()
        self.runs: list[Run] = []
        # the model
        hours, most = self.rng.choice(((24, 2), (24, 2), (0.5, 4), (72, 1)))
        self.policy = RetrainingPolicy(cooldown_hours=hours, most_per_week=most)
        self.version, self.population, self.loans = 1, 0, 0
        self.trained_on = {1: 0}
        self.server: int | None = None
        self.supervised = self.rng.random() < 0.2  # something else starts the server
        # batches
        self.changes: Counter[str] = Counter()
        self.requests: dict[tuple[str, int], list[datetime]] = defaultdict(list)
        self.scored: Counter[tuple[str, int]] = Counter()
        self.predicted: dict[str, str] = {}
        self.verdicts: dict[str, tuple[int, int, bool]] = {}  # number, version, drifted
        self.abandoned: set[tuple[Any, ...]] = set()
        # outcomes
        self.outcomes = self.measured = 0
        self.fell = self.reported = 0  # the version that fell, and that of which the last report says so
        # people
        self.news: list[News] = []
        self.lines_before: set[str] = set()
        self.heard: list[str] = []
        self.resources = {
            "storage": StorageResource(root=str(root), scratch=str(root)),
            "model_registry": SimpleNamespace(tracking=self),
            "loan_book": SimpleNamespace(data=str(root / "loans.csv"), policy=SimpleNamespace(retraining=self.policy)),
            "scoring_server": SimpleNamespace(server=self, supervised=self.supervised, url="http://127.0.0.1:1"),
            "notifications": SimpleNamespace(channels=True),
            "clock": SimpleNamespace(now=lambda: self.now),
        }

    # --- what the sensors are given

    def version_of(self, alias: str) -> ModelVersion:
        if self.down["registry"]:
            raise TrackingError("The registry cannot be reached.")
        return ModelVersion("m", self.version, "run", self.now)

    def health(self) -> Health | None:
        return Health("ready", "m", "production", self.server, 7, 1, None) if self.server else None

    def send(self, channels: Any, subject: str, lines: Sequence[str]) -> tuple[int, list[str]]:
        if self.down["Slack"]:
            return 0, ["Slack did not take the message."]
        self.heard += lines
        return 1, []

    # --- time

    def after(self, pause: timedelta, event: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (self.now + pause, next(self.numbers), event))

    def between(self, low: timedelta, high: timedelta) -> timedelta:
        return low + (high - low) * self.rng.random()

    def trouble(self, name: str, share: float) -> bool:
        return self.rng.random() < share and name in self.troubles and not self.calm

    def live(self) -> None:
        self.plan()
        self.version_is_served()
        self.soon()
        end = START + self.days * DAY
        while self.now < max(end + QUIET_DAYS * DAY, self.last_asked() + 3 * DAY) or self.under_way() or self.news:
            assert self.now < end + 30 * DAY, f"never ends: {self.under_way()}, {self.news}"
            moment, _, event = heapq.heappop(self.heap)
            self.now = max(self.now, moment)
            if not self.calm and self.now > end:
                self.calm = True
                self.down.clear()
            event()
            if event != self.round:
                self.soon()

    def last_asked(self) -> datetime:
        """Return when a run was last asked for, apart from what is asked for each day."""
        return max((run.asked_at for run in self.runs if run.job != "performance_job"), default=START)

    def soon(self) -> None:
        """Let some rounds of ticks follow what has happened."""
        self.rounds_wanted = max(self.rounds_wanted, self.rng.choice((1, 1, 2, 3)))
        if self.round_at > self.now + 15 * SECOND or self.round_at <= self.now:
            self.next_round(self.between(SECOND, 10 * SECOND))

    def next_round(self, pause: timedelta) -> None:
        self.round_at = self.now + pause
        self.after(pause, self.round)

    def round(self) -> None:
        """Do what the daemon does within some seconds; sensors tick each at its own time."""
        if self.now < self.round_at:
            return  # an earlier one was asked for
        if not self.down["daemon"]:
            before = len(self.runs)
            for name in self.rng.sample([*SENSORS], len(SENSORS)):
                self.launch()
                if self.calm or self.rng.random() < 0.6:
                    self.tick(name)
                    self.now += self.between(0 * SECOND, 2 * SECOND)
            if len(self.runs) > before:
                self.rounds_wanted = 2
        self.rounds_wanted -= 1
        if self.rounds_wanted > 0:
            self.next_round(self.between(9 * SECOND, 30 * SECOND))
        elif self.server != self.version and not self.down["daemon"]:
            self.next_round(self.between(MINUTE, 20 * MINUTE))
        else:
            self.next_round(self.between(HOUR, 24 * HOUR))

    # --- what happens

    def plan(self) -> None:
        """Draw half a year of events at random times."""
        self.file("loans.csv", text="0")
        events: list[tuple[Callable[[], None], int]] = [
            *((self.one_comes, 30), (self.burst_comes, 2), (self.changes_later, 6), (self.is_touched, 6)),
            *((self.in_other_case, 3), (self.loans_come, 8), (self.drifts, 4), (self.version_is_served, 4)),
            *((self.outcomes_come, 10), (self.version_falls, 3)),
        ]
        if "a dead server" in self.troubles:
            events += [(self.server_dies, 8)]
        if "a daemon that is down" in self.troubles:
            events += [(lambda: self.falls("daemon", 60), 6)]
        if "lost runs" in self.troubles:
            events += [(self.machine_stops, 4)]
        if "a dead registry" in self.troubles:
            events += [(lambda: self.falls("registry", 12), 6)]
        if "a dead Slack" in self.troubles:
            events += [(lambda: self.falls("Slack", 40), 6)]
        if "people" in self.troubles:
            events += [(self.person_decides, 8), (self.person_retrains, 3)]
        for event, times in events:
            for _ in range(-(-times * self.days // HALF_YEAR)):
                self.after(self.days * DAY * self.rng.random(), event)

    def falls(self, what: str, hours: float) -> None:
        self.down[what] += 1

        def returns() -> None:
            self.down[what] -= bool(self.down[what])

        self.after(HOUR * (hours * self.rng.random() ** 2), returns)

    def machine_stops(self) -> None:
        """Stop the machine: nobody is left who knows that its runs have died."""
        self.falls("daemon", 12)
        self.server_dies()
        for run in self.runs:
            run.lost |= run.status == "started"

    def server_dies(self) -> None:
        self.server = None
        if self.supervised:
            self.after(self.between(SECOND, HOUR), self.version_is_served)
        elif self.rng.random() < 0.5:
            self.falls("server", 6)

    def version_is_served(self) -> None:
        """Let the server take the version by itself, without anybody having seen it answer."""
        if self.server or self.supervised:
            self.server = self.version

    def drifts(self) -> None:
        self.population += 1

    def outcomes_come(self) -> None:
        self.outcomes += 1
        self.file("outcomes", f"{self.outcomes % 4}.csv", text=str(self.outcomes))

    def version_falls(self) -> None:
        self.fell = self.version
        self.outcomes_come()

    def loans_come(self) -> None:
        self.loans += 1
        self.file("loans.csv", text=str(self.loans))

    def person_decides(self) -> None:
        version = self.rng.choice([*self.trained_on])
        self.decide("rollback" if version < self.version else "promote", version, "a person")
        self.version = version
        if self.rng.random() < 0.5:
            self.after(self.between(SECOND, MINUTE), self.version_is_served)

    def person_retrains(self) -> None:
        self.ask("retraining_job", {}, ("person",))

    def one_comes(self) -> None:
        self.comes(f"b{next(self.numbers)}")

    def burst_comes(self) -> None:
        for _ in range(self.rng.randint(5, 15)):
            self.after(self.between(0 * SECOND, self.rng.choice([SECOND, 60 * SECOND])), self.one_comes)

    def comes(self, batch: str) -> None:
        """Drop a batch at once, or in pieces that a run may read; what is unreadable stays so."""
        text = f"{next(self.numbers)} {self.population} {'broken' if self.trouble('broken files', 0.1) else 'well'}"
        pieces = self.rng.choice([1, 1, 1, 1, 2, 4])
        pause = self.between(2 * SECOND, 60 * SECOND)
        for piece in range(pieces):
            content = text + "." * piece
            self.after(pause * piece, partial(self.write, batch, content))
        if self.rng.random() < 0.3:  # before its run has ended
            self.after(pause * pieces + self.between(SECOND, 4 * MINUTE), lambda: self.is_touched(batch))

    def inbox(self) -> list[Path]:
        return sorted((self.root / "applications").glob("*.csv"))

    def changes_later(self) -> None:
        if self.inbox():
            self.comes(self.rng.choice(self.inbox()[-20:]).stem)

    def is_touched(self, batch: str = "") -> None:
        if self.inbox():
            batch = batch or self.rng.choice(self.inbox()).stem
            self.write(batch, (self.root / "applications" / f"{batch}.csv").read_text())

    def in_other_case(self) -> None:
        if self.inbox():
            batch = self.rng.choice(self.inbox()).stem
            self.write(batch.swapcase(), f"{next(self.numbers)} {self.population} well")

    def write(self, batch: str, text: str) -> None:
        path = self.root / "applications" / f"{batch}.csv"
        self.changes[batch] += not path.exists() or path.read_text() != text
        self.file("applications", f"{batch}.csv", text=text)

    def file(self, *parts: str, text: str) -> Path:
        path = self.root.joinpath(*parts)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (self.now.timestamp(), self.now.timestamp()))
        return path

    # --- runs

    def ask(self, job: str, tags: dict[str, str], why: tuple[Any, ...], parent: Run | None = None) -> None:
        tags = {**JOBS[job], **tags}
        parent_id = parent.run.run_id if parent else None
        root_id = (parent.run.root_run_id or parent_id) if parent else None
        if parent_id and root_id:
            tags |= {"dagster/parent_run_id": parent_id, "dagster/root_run_id": root_id}
        origin = ORIGIN.get_job_origin(job)
        run = dg.DagsterRun(
            job_name=job,
            status=QUEUED,
            tags=tags,
            remote_job_origin=origin,
            parent_run_id=parent_id,
            root_run_id=root_id,
        )
        self.instance.add_run(run)
        self.runs.append(Run(run, why, self.now))
        begins = {"retraining_job": "A retraining began", "serving_job": "The scoring server is started or reloaded"}
        if REASON_TAG in tags and job in begins:
            self.news.append(News(self.now, begins[job], run.run_id))

    def under_way(self) -> list[Run]:
        return [run for run in self.runs if run.status in ("queued", "started")]

    def of(self, job: str) -> list[Run]:
        return [run for run in self.runs if run.job == job]

    def launch(self) -> None:
        """Start runs as Dagster's queue does: by priority, the oldest first, past those that a limit holds back."""
        limits = HOME["concurrency"]["runs"]
        waiting = sorted(self.under_way(), key=lambda run: -int(run.run.tags.get("dagster/priority", "0")))
        started = [run for run in waiting if run.status == "started"]
        counter = TagConcurrencyLimitsCounter(limits["tag_concurrency_limits"], [run.run for run in started])
        free = limits["max_concurrent_runs"] - len(started)
        for run in waiting:
            if run.status == "queued" and free > 0 and not counter.is_blocked(run.run):
                counter.update_counters_with_launched_item(run.run)
                free -= 1
                self.start(run)

    def start(self, run: Run) -> None:
        run.status = "started"
        self.record(run, Event.RUN_START)
        if run.job == "batch_prediction_job":
            path = self.root / "applications" / f"{run.batch}.csv"
            run.read = path.read_text()
            report = filled("application_report", {"fingerprint": fingerprint([path])})
            self.file("application_report", f"{run.batch}.json", text=json.dumps(report))
        if run.job == "performance_job":
            run.read = str(self.outcomes)
        takes = self.between(*(SECOND * seconds for seconds in SECONDS.get(run.job, (5, 100))))
        population = self.population
        if self.trouble("killed runs", 0.06):
            self.after(takes * self.rng.random(), lambda: self.end(run, "killed"))
        elif self.trouble("failed runs", 0.15 if run.job == "retraining_job" else 0.02):
            self.after(takes * self.rng.random(), lambda: self.end(run, "failed"))
        else:
            self.after(takes, lambda: self.end(run, "well", population))
        limit = run.run.tags.get("dagster/max_runtime") or HOME["run_monitoring"].get("max_runtime_seconds")
        if limit:
            self.after(SECOND * float(limit), lambda: self.outlives(run))

    def outlives(self, run: Run) -> None:
        if run.status == "started":
            run.lost = False
            self.end(run, "killed")

    def end(self, run: Run, how: str, *details: Any) -> None:
        if run.lost or run.status != "started":
            return
        if how == "killed" and self.down["daemon"]:  # found once the daemon is back
            self.after(10 * MINUTE, lambda: self.end(run, how))
            return
        if how == "well" and (play := getattr(self, f"_{run.job}", None)):
            how = play(run, *details)
        run.status = "succeeded" if how == "well" else "failed"
        if how == "well":
            self.record(run, Event.RUN_SUCCESS)
            return
        moment = self.now - self.between(0 * SECOND, 12 * SECOND)  # a busy database keeps it a little later
        self.record(run, Event.RUN_FAILURE, moment)
        self.news.append(News(moment, f"{run.job}", f"failed (run {run.run.run_id})"))
        reason = None if how == "killed" else RunFailureReason.STEP_FAILURE
        failed = self.instance.get_run_by_id(run.run.run_id)
        if auto_reexecution_should_retry_run(self.instance, failed, reason):  # type: ignore[arg-type]
            assert how == "killed", "what a person has to mend is not tried again"
            self.ask(run.job, {k: v for k, v in run.run.tags.items() if not k.endswith("_run_id")}, run.why, run)
            return
        tries = sum(other.run.root_run_id == run.run.root_run_id for other in self.runs if run.run.root_run_id)
        assert how != "killed" or run.job != "batch_prediction_job" or tries == 2, "a killed run is started again twice"
        self.abandoned.add(run.why)

    def record(self, run: Run, event: dg.DagsterEventType, moment: datetime | None = None) -> None:
        dagster_event = dg.DagsterEvent(event_type_value=event.value, job_name=run.job)
        self.instance.run_storage.handle_run_event(run.run.run_id, dagster_event, moment or self.now)

    def _batch_prediction_job(self, run: Run, *_: Any) -> str:
        population, how = run.read.rstrip(".").split(" ")[1:]
        if how == "broken":
            return "failed"
        self.predicted[run.batch] = run.read
        report = json.loads((self.root / "application_report" / f"{run.batch}.json").read_text())
        content = fingerprint([self.file("read", "it.csv", text=run.read)])
        predictions = self.file("predictions", f"{run.batch}.parquet", text="")
        pl.DataFrame({"model_version": [1], "input_fingerprint": [content]}).write_parquet(predictions)
        if report["fingerprint"] != content:
            return "failed"  # another run has read another file under this name
        number, drifted = next(self.numbers), int(population) != self.trained_on[self.version]
        verdict = "drifted" if drifted else "stable"
        record = {"batch": run.batch, "model_version": self.version, "verdict": verdict, "reasons": [f"{number} times"]}
        self.file("drift_report", f"{run.batch}.json", text=json.dumps(filled("drift_report", record)))
        self.verdicts[run.batch] = (number, self.version, drifted)
        self.news = [
            news for news in self.news if news.begins != f"Batch {run.batch} drifted"
        ]  # a later verdict is told
        if drifted:
            self.news.append(News(self.now, f"Batch {run.batch} drifted", f" {number} times"))
        if run.why[0] == "new_batch_sensor" and run.why[1:] == (run.batch, self.changes[run.batch]):
            self.scored[run.batch, self.changes[run.batch]] += 1
        return "well"

    def _performance_job(self, run: Run, *_: Any) -> str:
        number, self.measured = next(self.numbers), int(run.read)
        self.reported = self.fell if self.fell == self.version else 0
        verdict = "degraded" if self.reported else "healthy"
        record = {"verdict": verdict, "model_version": self.version, "unreadable": []}
        report = filled("performance_report", {**record, "reasons": [f"{number} times."]})
        self.file("performance_report.json", text=json.dumps(report))
        self.news = [news for news in self.news if "has degraded" not in news.begins]  # a later report is told
        if self.reported:
            self.news.append(News(self.now, f"Version {self.version} has degraded", f" {number} times"))
        return "well"

    def _serving_job(self, run: Run, *_: Any) -> str:
        if self.down["server"] or (self.server is None and self.supervised):
            return "failed"
        self.server = self.version
        return "well"

    def _retraining_job(self, run: Run, population: int) -> str:
        version = max(self.trained_on) + 1
        self.trained_on[version] = population
        promoted = self.rng.random() < 0.6
        self.decide("promote" if promoted else "hold", version, f"policy, run {run.run.run_id}")
        if promoted:
            self.version = version
        return "killed" if self.trouble("killed runs", 0.1) else "well"

    def decide(self, verdict: str, version: int, by: str) -> None:
        """Keep a decision, some seconds after it was made."""
        moment, number = self.now - self.between(0 * SECOND, 20 * SECOND), next(self.numbers)
        record = {"verdict": verdict, "candidate": version, "decided_at": moment.isoformat(timespec="seconds")}
        record |= {"decided_by": by, "reasons": [f"For {number} reasons."]}
        name = f"{moment:%Y%m%dT%H%M%S}-{verdict}-version-{version}.json"
        self.file("history", name, text=json.dumps(record))
        self.news.append(News(self.now, f"Decision: {verdict} version {version}", f"For {number} reasons."))

    # --- ticks

    def tick(self, name: str) -> None:
        """Evaluate a sensor as the daemon does, at times twice; then see that it did what it had to, and no more."""
        if self.trouble("lost cursors", 0.01):
            self.cursors[name] = self.rng.choice(GARBAGE)
            self.lost[name].append(self.now)
        due = self.rules[name]() if name in self.rules else {}
        before = len(self.runs)
        results = [self.look(name)]
        twice = self.trouble("doubled ticks", 0.03)
        if twice:  # the daemon dies before it keeps the cursor
            if self.rng.random() < 0.5:
                self.apply(name, results.pop())
            results.append(self.look(name))
        for result in results:
            self.apply(name, result)
        if isinstance(result, dg.SensorResult) and result.cursor is not None:
            self.cursors[name] = result.cursor
        jobs = {job: {run.why for run in self.runs[before:] if run.job == job} for job in due}
        for job, reasons in due.items():
            most = (1 + twice) * FEW  # the second look may go on where the first ended
            correct = jobs[job] <= reasons and min(len(reasons), FEW) <= len(jobs[job]) <= most
            assert correct, f"{name} at {self.now}: {jobs[job]} was asked for, {reasons} is due"
        assert not due or len(self.runs) - before == sum(map(len, jobs.values())), "nothing is asked for twice"
        if name == "alert_sensor":
            self.hear(looked=isinstance(result, dg.SensorResult), may_repeat=twice)

    def look(self, name: str) -> dg.SensorResult | dg.SkipReason:
        sensor = build.SENSORS[name].evaluate
        arguments = {key: self.resources[key] for key in signature(sensor).parameters if key != "context"}
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name)) as context:
            result: dg.SensorResult | dg.SkipReason = sensor(context, **arguments)
            return result

    def apply(self, name: str, result: dg.SensorResult | dg.SkipReason) -> None:
        if isinstance(result, dg.SkipReason):
            return
        for partitions in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions("batch", list(partitions.partition_keys))
        requests = [request for request in result.run_requests or [] if (name, request.run_key) not in self.keys]
        if name == "new_batch_sensor":
            times = [
                (self.root / "applications" / f"{request.partition_key}.csv").stat().st_mtime_ns for request in requests
            ]
            assert all(earlier <= later for earlier, later in pairwise(times)), (
                "the first to come is the first to be scored"
            )
        for request in requests:  # a key is used once
            self.keys.add((name, str(request.run_key)))
            job = request.job_name or SENSORS[name]
            batch = str(request.partition_key or "")
            tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": name}
            if batch:
                tags["dagster/partition"] = batch
            self.ask(job, tags, self.why(name, job, batch))

    def why(self, name: str, job: str, batch: str) -> tuple[Any, ...]:
        """Return what is asked for, as the world names it."""
        if name == "drift_sensor":
            return (*self.verdicts[batch][:2], batch, self.version) if batch else (self.version, self.loans)
        if name == "production_sensor":
            return (self.version,)
        if name == "new_batch_sensor":
            times = self.requests[batch, self.changes[batch]]
            times.append(self.now)
            lost = sum(moment > times[0] for moment in self.lost[name])
            assert len(times) <= 1 + lost, f"{batch} is asked for twice: {times}"
            assert not self.scored[batch, self.changes[batch]], f"{batch} is asked for though it is scored"
            return name, batch, self.changes[batch]
        if name == "performance_sensor":
            why = (name, self.outcomes, self.now.date())
            assert why not in {run.why for run in self.of(job)}, f"measured twice: {why}"
            return why
        return (name, next(self.numbers))

    # --- what must be done now

    def due_drift(self) -> dict[str, set[tuple[Any, ...]]]:
        """Return what drifted against another version, to be scored again once; a retraining if all rules allow it."""
        if self.down["registry"]:
            return {"batch_prediction_job": set(), "retraining_job": set()}
        drifted = {
            (number, version, batch, self.version)
            for batch, (number, version, has_drifted) in self.verdicts.items()
            if has_drifted
        }
        requests = {run.why for run in self.of("batch_prediction_job")}
        again = {why for why in drifted if why[1] != self.version} - requests
        past = self.of("retraining_job")
        allowed = (
            (self.reported == self.version or any(version == self.version for _, version, *_ in drifted))
            and not any(run.status in ("queued", "started") for run in past)
            and all(self.now - run.asked_at >= HOUR * self.policy.cooldown_hours for run in past)
            and sum(self.now - run.asked_at < 7 * DAY for run in past) < self.policy.most_per_week
            and (self.version, self.loans) not in {run.why for run in past if run.status == "succeeded"}
        )
        return {
            "batch_prediction_job": again,
            "retraining_job": {(self.version, self.loans)} if allowed else set(),
        }

    def due_production(self) -> dict[str, set[tuple[Any, ...]]]:
        """Return the serving run that is due until one saw this version answer; each failure doubles the pause."""
        past = self.of("serving_job")
        failures = 0
        for run in reversed(past):
            if run.status == "succeeded":
                break
            failures += 1
        pause = min(30 * SECOND * 2 ** (failures - 1), 30 * MINUTE) if failures else 0 * SECOND
        verified = bool(past) and not failures and past[-1].why == (self.version,)
        due = (
            not self.down["registry"]
            and not any(run.status in ("queued", "started") for run in past)
            and not (self.server == self.version and verified)
            and not (self.server is None and self.supervised)
            and (not past or self.now - past[-1].asked_at >= pause)
        )
        return {"serving_job": {(self.version,)} if due else set()}

    def hear(self, *, looked: bool, may_repeat: bool) -> None:
        """Assert that each piece of news was told by the first look that could tell it, and no line again."""
        lost = bool(self.lost["alert_sensor"])
        again = self.lines_before & set(self.heard) or len(set(self.heard)) < len(self.heard)
        assert may_repeat or lost or not again, f"told again: {again}"
        self.lines_before |= set(self.heard)
        if looked:
            oldest = self.now - (5 * MINUTE if lost else DAY)
            for news in self.news:
                was_told = any(line.startswith(news.begins) and news.holds in line for line in self.heard)
                assert was_told or news.moment <= oldest, f"{news} is not told at {self.now}"
            self.news.clear()
            self.lost["alert_sensor"].clear()
        self.heard.clear()

    # --- the end

    def settled(self) -> None:
        """Assert that after some quiet days nothing is left to be done."""
        batches = set(self.instance.get_dynamic_partitions("batch"))
        files = {path.stem: path.read_text() for path in self.inbox()}
        assert {batch.casefold() for batch in files} == {batch.casefold() for batch in batches}, "every batch is known"
        assert len(batches) == len({batch.casefold() for batch in batches}), "and once"
        for batch in batches:
            scored = self.predicted.get(batch) == files[batch] or files[batch].rstrip(".").endswith("broken")
            abandoned = ("new_batch_sensor", batch, self.changes[batch]) in self.abandoned
            runs = [run for run in self.runs if run.run.tags.get("dagster/partition") == batch]
            assert scored or abandoned, f"{batch} is not scored: {files[batch]}; {runs}"
        for batch, change in self.scored:
            assert self.scored[batch, change] <= len(self.requests[batch, change]), f"{batch} is scored twice"
        for batch, (number, version, drifted) in self.verdicts.items():
            waits = drifted and version != self.version
            assert not waits or (number, version, batch, self.version) in self.abandoned, f"{batch} is not scored again"
        assert self.measured == self.outcomes, "all outcomes are measured"
        assert self.server == self.version, "the server answers by the version in production"


# A failure is replayed by its seed: to look for a smaller one would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
SEEDS, SPARED = st.integers(0, 2**32), st.sets(st.sampled_from(TROUBLES), max_size=4)


@settings(max_examples=1, phases=PHASES)
@given(seed=SEEDS, spared=SPARED)
@pytest.mark.integration
def test_a_month(seed: int, spared: set[str]) -> None:
    live(seed, spared, SAMPLE)


@pytest.mark.long
@settings(max_examples=int(os.environ.get("LOAN_DEFAULT_TEST_HALF_YEARS", "2")), phases=PHASES)
@given(seed=SEEDS, spared=SPARED)
def test_half_a_year(seed: int, spared: set[str]) -> None:
    live(seed, spared, HALF_YEAR)


def live(seed: int, spared: set[str], days: int) -> None:
    """Let a world live through its troubles apart from those that are spared, and settle."""
    retries = {"run_retries": HOME["run_retries"]} if "run_retries" in HOME else {}
    with TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(settings=retries) as instance:
        world = World(Path(folder), instance, seed, set(TROUBLES) - spared, days)
        with (
            mock.patch("dagster._time._mockable_get_current_datetime", lambda: world.now),
            mock.patch.object(SqlRunStorage, "has_run_stats_index_cols", lambda _: True),  # asked anew each time
            mock.patch.object(alert_sensor, "send", world.send),
        ):
            world.live()
            world.settled()
