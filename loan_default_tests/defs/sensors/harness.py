"""A harness at which sensors are evaluated tick by tick: a real instance, real files, and fakes of what is asked.

What each sensor must do is tested in the file that bears its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from loan_default.adapters.alerts import Channels
from loan_default.adapters.scoring_server import Health
from loan_default.adapters.tracking import ModelVersion
from loan_default.defs.resources import ClockResource, StorageResource
from loan_default.defs.sensors.build import SENSORS
from loan_default.risk.data.loan_files import fingerprint
from loan_default.risk.policy import load_policy
from loan_default_tests.records import filled

RunStatus = dg.DagsterRunStatus
Result = dg.SensorResult | dg.SkipReason


@dataclass
class RegistryFake:
    """A registry that knows the version in production, or cannot be asked."""

    version: int | None = 1
    error: Exception | None = None

    @property
    def tracking(self) -> RegistryFake:
        return self

    def version_of(self, alias: str) -> ModelVersion | None:
        if self.error:
            raise self.error
        return None if self.version is None else ModelVersion("m", self.version, "run", datetime.now(UTC))


@dataclass
class ServerFake:
    """A scoring server that gives this answer, or none."""

    answer: Health | None = None
    supervised: bool = False
    url: str = "http://127.0.0.1:1"

    @property
    def server(self) -> ServerFake:
        return self

    def health(self) -> Health | None:
        return self.answer


@dataclass
class NotificationsFake:
    """The channels to people."""

    channels: Channels


@dataclass
class Clock:
    """A clock that is set by hand."""

    time: datetime

    def now(self) -> datetime:
        return self.time


@dataclass
class Harness:
    """An instance, a storage, the fakes, and the cursor of each sensor."""

    instance: dg.DagsterInstance
    storage: StorageResource
    model_registry: RegistryFake = field(default_factory=RegistryFake)
    server: ServerFake = field(default_factory=ServerFake)
    cursors: dict[str, str | None] = field(default_factory=dict)

    # --- ticks

    def tick(self, name: str, **resources: Any) -> Result:
        """Evaluate a sensor once, and store its cursor as the daemon does."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name)) as context:
            result = SENSORS[name].evaluate(context, **resources)
        if isinstance(result, dg.SensorResult) and result.cursor is not None:
            self.cursors[name] = result.cursor
        return result

    def tick_new_batches(self) -> Result:
        return self.tick("new_batch_sensor", storage=self.storage, model_registry=self.model_registry)

    def batches(self) -> list[str]:
        """Tick once; return the partitions that are to be scored, and register them as the daemon does."""
        result = self.tick_new_batches()
        assert isinstance(result, dg.SensorResult), result.skip_message
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions("batch", list(request.partition_keys))
        return [str(request.partition_key) for request in result.run_requests or []]

    def drift(self, data: str | None = None, clock: Any = None) -> dg.SensorResult:
        """Tick once, with these loan files."""
        if data is None:
            data = str(self.write("loans.csv", text="1"))
        result = self.tick(
            "drift_sensor",
            storage=self.storage,
            model_registry=self.model_registry,
            loan_book=SimpleNamespace(data=data, policy=load_policy()),
            clock=clock or ClockResource(),
        )
        assert isinstance(result, dg.SensorResult)
        return result

    def performance(self, now: datetime) -> list[str]:
        """Tick once; return the keys of the runs that are requested."""
        result = self.tick("performance_sensor", storage=self.storage, clock=Clock(now))
        return [str(request.run_key) for request in getattr(result, "run_requests", None) or []]

    def serving(self) -> Result:
        return self.tick(
            "production_sensor",
            storage=self.storage,
            model_registry=self.model_registry,
            scoring_server=self.server,
            clock=ClockResource(),
        )

    def alerts(self, channels: Channels | None = None, clock: Any = None) -> str:
        """Tick once; return what the sensor says."""
        notifications = NotificationsFake(channels or Channels())
        return skip_message(
            self.tick("alert_sensor", storage=self.storage, notifications=notifications, clock=clock or ClockResource())
        )

    # --- what happens between them

    def write(self, *parts: str, text: str, changed_at: int = 1_000) -> Path:
        """Write a file of the storage; `changed_at` in seconds since 1970."""
        path = Path(self.storage.root, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (changed_at, changed_at))
        return path

    def write_verdict(self, batch: str, version: int, verdict: str = "drifted", changed_at: int = 1_000) -> None:
        record = {"batch": batch, "model_version": version, "verdict": verdict}
        self.write(
            "drift_report", f"{batch}.json", text=json.dumps(filled("drift_report", record)), changed_at=changed_at
        )

    def write_performance(self, verdict: str, version: int = 1, **more: Any) -> None:
        """Write a performance report just now."""
        now = datetime.now(UTC)
        record = {"verdict": verdict, "model_version": version, "reasons": ["AUC 0.5 is too low."], "unreadable": []}
        record |= {"measured_at": now.isoformat(), **more}
        text = json.dumps(filled("performance_report", record))
        self.write("performance_report.json", text=text, changed_at=int(now.timestamp()))

    def score(self, batch: str, file: Path, *, report_only: bool = False) -> None:
        """Leave what a scoring run leaves; or one that died when it had read the batch."""
        content = fingerprint([file])
        self.write(
            "application_report",
            f"{batch}.json",
            text=json.dumps(filled("application_report", {"fingerprint": content})),
        )
        if not report_only:
            path = self.write("predictions", f"{batch}.parquet", text="")
            pl.DataFrame({"model_version": [1], "input_fingerprint": [content]}).write_parquet(path)

    def add_run(self, job: str, status: RunStatus, tags: Mapping[str, str] | None = None) -> dg.DagsterRun:
        run = dg.DagsterRun(job_name=job, status=status, tags=tags or {})
        self.instance.add_run(run)
        return run


def skip_message(result: Result) -> str:
    """The reason that a tick gives for requesting nothing."""
    reason = result.skip_reason if isinstance(result, dg.SensorResult) else result
    return str(getattr(reason, "skip_message", reason))


def health_of(version: int | None) -> Health:
    """The answer of a server with this version."""
    return Health("ready" if version else "not ready", "m", "production", version, 7, 1, None)


def serving_runs(*statuses: RunStatus, created_at: datetime) -> list[Any]:
    """Records of runs, newest first."""
    return [
        SimpleNamespace(dagster_run=SimpleNamespace(status=status), create_timestamp=created_at) for status in statuses
    ]


# --- cursors that are broken

CURSORS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def broken_cursors(draw: st.DrawFn, cursor: str) -> str:
    """No JSON, JSON of another shape, a part of the cursor, or the cursor with other things in it."""
    kind = draw(st.sampled_from(["text", "json", "part", "deep", "other", "other", "other", "other"]))
    if kind == "text":
        return draw(st.text())
    if kind == "part":
        return cursor[: draw(st.integers(0, len(cursor) - 1))]
    if kind == "deep":
        return "[" * 100_000
    if kind == "json":
        return json.dumps(draw(_JSON))
    return draw(_changed_cursors(cursor))


@st.composite
def _changed_cursors(draw: st.DrawFn, cursor: str) -> str:
    content = json.loads(cursor)
    key = draw(st.sampled_from(sorted(content) if isinstance(content, dict) else range(len(content))))
    inside = content[key]
    if isinstance(inside, dict) and inside and draw(st.booleans()):
        inside[draw(st.sampled_from(sorted(inside)))] = draw(_JSON.filter(lambda value: not isinstance(value, str)))
    else:
        content[key] = draw(_JSON)
    if isinstance(content, dict) and draw(st.booleans()):
        content["version"] = draw(_JSON)
    return json.dumps(content)
