"""How Dagster's instance is doing, by its own records: daemons, sensors and schedules, the queue, lost runs, limits.

It is only read here, into plain values; what of it is wrong is judged by the doctor.
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
from loan_default.defs.instance import open_instance
from loan_default.homes import dagster_yaml
from loan_default.settings import Settings

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorState
    from dagster_shared.error import SerializableErrorInfo

_NEW_HOME = yaml.safe_load(dagster_yaml(Settings(Path())))
_LIMITED_TAGS = {limit["key"] for limit in _NEW_HOME["concurrency"]["runs"]["tag_concurrency_limits"]}
_BEGUN = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_NEVER = datetime.fromtimestamp(0, UTC)
_SWITCHES = {"RUNNING": True, "STOPPED": False}  # any other status is what the code declares


@dataclass(frozen=True)
class Daemon:
    """A daemon that this instance needs, its last heartbeat, and the error that came with it."""

    name: str
    last_heartbeat_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class Instigator:
    """A sensor or schedule that the daemon knows; `on` is None where the code decides.

    Of its last tick are `error`, `skip_reason` (why it asked for nothing) and `ticked_at`.
    """

    name: str
    on: bool | None
    error: str | None
    skip_reason: str | None = None
    ticked_at: datetime | None = None


@dataclass(frozen=True)
class InstanceStatus:
    """The state of an instance; `lost_runs` have begun, and their process has died since."""

    daemons: tuple[Daemon, ...]
    instigators: tuple[Instigator, ...]
    queued_since: datetime | None
    runs_under_way: int
    lost_runs: tuple[str, ...]
    newest_run_at: datetime | None
    monitors_runs: bool
    retries_runs: bool
    limits_runs: bool  # runs that write the same files wait for each other


def is_new(home: Path) -> bool:
    """Tell whether nothing was ever recorded in this home of Dagster; opening the instance would make its files."""
    path = home / "dagster.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    elsewhere = isinstance(config, Mapping) and {"storage", "run_storage"} & config.keys()
    return not elsewhere and not (home / "history").exists()


def read_instance_status(settings: Settings) -> InstanceStatus:
    """Read the status of the instance that DAGSTER_HOME describes.

    Raises:
        BadInput: its records cannot be opened.
    """
    with open_instance(settings) as instance:
        return instance_status_of(instance, settings)


def instance_status_of(instance: dg.DagsterInstance, settings: Settings) -> InstanceStatus:
    """Read the status of an instance that is open, with the sensors and schedules of the settings' code location."""
    newest = instance.get_run_records(limit=1)
    queued = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), limit=1, ascending=True)
    begun = [record.dagster_run for record in instance.get_run_records(dg.RunsFilter(statuses=_BEGUN))]
    lost = [run for run in begun if run_lock.is_lost(settings.runs, run.run_id)]
    return InstanceStatus(
        daemons=tuple(_daemons(instance)),
        instigators=tuple(_instigators(instance, settings.code_location)),
        queued_since=queued[0].create_timestamp.astimezone(UTC) if queued else None,
        runs_under_way=len(begun),
        lost_runs=tuple(f"{run.job_name} {run.run_id[:8]}" for run in lost),
        newest_run_at=newest[0].create_timestamp.astimezone(UTC) if newest else None,
        monitors_runs=instance.run_monitoring_enabled,
        retries_runs=instance.run_retries_enabled,
        limits_runs=_limits_runs(instance),
    )


def _limits_runs(instance: dg.DagsterInstance) -> bool:
    """Tell whether the instance has the limits of a new home: by tag, and one step at a time of each pool."""
    concurrency = instance.get_concurrency_config()
    queue = concurrency.run_queue_config
    tags = {limit.get("key") for limit in queue.tag_concurrency_limits} if queue else set()
    return tags >= _LIMITED_TAGS and concurrency.pool_config.default_pool_limit is not None


def _daemons(instance: dg.DagsterInstance) -> Iterator[Daemon]:
    """Yield each daemon that the instance needs."""
    heartbeats = instance.get_daemon_heartbeats()
    for name in instance.get_required_daemon_types():
        if heartbeat := heartbeats.get(name):
            error = _root_message(heartbeat.errors[0]) if heartbeat.errors else None
            yield Daemon(name, datetime.fromtimestamp(heartbeat.timestamp, UTC), error)
        else:
            yield Daemon(name, None, None)


def _instigators(instance: dg.DagsterInstance, code_location: str) -> Iterator[Instigator]:
    """Yield each name of this code location once, or of all where the daemon knows none by this name.

    A code location that was renamed leaves its old states behind, and another's may be another book.
    """
    states = instance.all_instigator_state()
    own = [state for state in states if _location(state) == code_location]
    newest: dict[str, Instigator] = {}
    for state in own or states:
        instigator = _instigator(instance, state)
        other = newest.get(instigator.name)
        if other is None or (instigator.ticked_at or _NEVER) >= (other.ticked_at or _NEVER):
            newest[instigator.name] = instigator
    yield from (newest[name] for name in sorted(newest))


def _location(state: InstigatorState) -> str:
    return str(state.origin.repository_origin.code_location_origin.location_name)


def _instigator(instance: dg.DagsterInstance, state: InstigatorState) -> Instigator:
    """Read a sensor or schedule with its last tick that has ended."""
    switch = _SWITCHES.get(state.status.value)
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
    last = next((tick for tick in ticks if tick.status.value != "STARTED"), None)
    if last is None:
        return Instigator(state.name, switch, None)
    error = _root_message(last.error) if last.status.value == "FAILURE" else None
    return Instigator(state.name, switch, error, last.skip_reason, datetime.fromtimestamp(last.timestamp, UTC))


def _root_message(error: SerializableErrorInfo | None) -> str:
    """Return the first line of the error's root cause."""
    while error and error.cause:
        error = error.cause
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "no reason was recorded"
