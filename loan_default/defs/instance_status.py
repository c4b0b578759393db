"""What Dagster's own records tell of its condition: daemons, sensors, the queue, runs whose process is gone, limits.

It is only read here, into plain values; what of it is wrong is judged by `doctor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import yaml

from loan_default.adapters import run_lock
from loan_default.defs.instance import open_records
from loan_default.settings import Settings, dagster_yaml

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorState
    from dagster_shared.error import SerializableErrorInfo

_NEW_HOME = yaml.safe_load(dagster_yaml(Settings(Path())))
_KEYS = {limit["key"] for limit in _NEW_HOME["concurrency"]["runs"]["tag_concurrency_limits"]}
_STARTED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Daemon:
    """A daemon that this instance needs: when it was last heard of, and the last error that it told."""

    name: str
    heard_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class Ticker:
    """A sensor or schedule that the daemon knows; `on` is None where the code decides, `error` of its last tick."""

    name: str
    on: bool | None
    error: str | None


@dataclass(frozen=True)
class Condition:
    """All of it; `gone` are runs that have begun, and whose process has died since."""

    daemons: tuple[Daemon, ...]
    tickers: tuple[Ticker, ...]
    queued_since: datetime | None
    under_way: int
    gone: tuple[str, ...]
    newest_run_at: datetime | None
    monitored: bool
    retried: bool
    limited: bool  # what writes the same files waits for each other


def is_new(home: Path) -> bool:
    """Whether nothing was ever recorded in this home of Dagster; opening the instance would make its files."""
    settings = home / "dagster.yaml"
    told = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.exists() else None
    elsewhere = isinstance(told, Mapping) and {"storage", "run_storage"} & told.keys()
    return not elsewhere and not (home / "history").exists()


def read_condition(settings: Settings) -> Condition:
    """Of the instance that DAGSTER_HOME describes.

    Raises:
        BadInput: its records cannot be opened.
    """
    with open_records(settings) as instance:
        return condition_of(instance, settings.runs)


def condition_of(instance: dg.DagsterInstance, lifelines: Path) -> Condition:
    """Of this instance; its runs hold their lifelines in this folder."""
    newest = instance.get_run_records(limit=1)
    queued = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), limit=1, ascending=True)
    started = [run.dagster_run for run in instance.get_run_records(dg.RunsFilter(statuses=_STARTED))]
    concurrency = instance.get_concurrency_config()
    limits = concurrency.run_queue_config
    keys = {limit.get("key") for limit in limits.tag_concurrency_limits} if limits else set()
    return Condition(
        daemons=tuple(_daemons(instance)),
        tickers=tuple(_tickers(instance)),
        queued_since=queued[0].create_timestamp.astimezone(UTC) if queued else None,
        under_way=len(started),
        gone=tuple(f"{run.job_name} {run.run_id[:8]}" for run in started if run_lock.is_lost(lifelines, run.run_id)),
        newest_run_at=newest[0].create_timestamp.astimezone(UTC) if newest else None,
        monitored=instance.run_monitoring_enabled,
        retried=instance.run_retries_enabled,
        limited=keys >= _KEYS and concurrency.pool_config.default_pool_limit is not None,
    )


def _daemons(instance: dg.DagsterInstance) -> Iterator[Daemon]:
    heard = instance.get_daemon_heartbeats()
    for name in instance.get_required_daemon_types():
        beat = heard.get(name)
        at = datetime.fromtimestamp(beat.timestamp, UTC) if beat else None
        yield Daemon(name, at, _told(beat.errors[0]) if beat and beat.errors else None)


def _tickers(instance: dg.DagsterInstance) -> Iterator[Ticker]:
    """Each name once: a code location that was renamed leaves its old states behind."""
    newest: dict[str, tuple[float, Ticker]] = {}
    for state in instance.all_instigator_state():
        at, error = _last_tick(instance, state)
        if at >= newest.get(state.name, (0.0, None))[0]:
            switched = {"RUNNING": True, "STOPPED": False}.get(state.status.value)
            newest[state.name] = at, Ticker(state.name, switched, error)
    yield from (ticker for _, (_, ticker) in sorted(newest.items()))


def _last_tick(instance: dg.DagsterInstance, state: InstigatorState) -> tuple[float, str | None]:
    """When it was, and with what it failed, if it did; one that is under way says nothing yet."""
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
    done = next((tick for tick in ticks if tick.status.value != "STARTED"), None)
    if done is None:
        return 0.0, None
    return done.timestamp, _told(done.error) if done.status.value == "FAILURE" else None


def _told(error: SerializableErrorInfo | None) -> str:
    """The first line of what lies at the bottom of an error."""
    while error and error.cause:
        error = error.cause
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "no reason was recorded"
