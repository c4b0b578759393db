"""Checks Dagster's records, daemons, sensors, runs and limits, as `defs.instance_status` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loan_default.adapters import probes
from loan_default.adapters.gcs import BucketError
from loan_default.homes import dagster_yaml
from loan_default.operations.doctor.check import (
    CheckContext,
    Diagnosis,
    address_without_login,
    diagnosis_of,
    duration_of,
    unreachable_database,
)
from loan_default.risk.errors import BadInput
from loan_default.risk.text import plural
from loan_default.settings import DAGSTER_STORAGE, Settings

if TYPE_CHECKING:
    from loan_default.defs.instance_status import InstanceStatus

_SILENT = timedelta(minutes=5)  # daemons tell that they live every 30 s
_LONG_QUEUED = timedelta(hours=1)


def check_dagster(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that Dagster's records open, its daemon lives, sensors tick, no run waits in vain and limits are set."""
    from loan_default.defs.instance_status import is_new, read_instance_status

    home = context.settings.dagster_home
    file = home / "dagster.yaml"
    yield from judge_sections(file, context.settings)
    uses_postgres = file.exists() and DAGSTER_STORAGE in file.read_text(encoding="utf-8")
    url = context.settings.dagster_storage if uses_postgres else ""
    location = address_without_login(url) if url else home
    try:
        if "runs" not in probes.read_tables(url) if url else is_new(home):
            yield Diagnosis("dagster", "note", f"Nothing has run from {location} yet.", "Run loan-default demo or run.")
            return
        status, now = read_instance_status(context.settings), datetime.now(UTC)
    except ConnectionError as error:
        yield unreachable_database("dagster", str(location), error, DAGSTER_STORAGE)
        return
    except BucketError as error:
        yield diagnosis_of(
            "dagster", error, "Correct LOAN_DEFAULT_STORAGE.", "Its logs have no place, so no run begins: "
        )
        return
    except BadInput as error:
        yield diagnosis_of("dagster", error, "Correct it, or see that its database answers.")
        return
    context.records_open = True
    if status.newest_run_at:
        context.timestamps.append(("Dagster's newest run", status.newest_run_at))
    yield Diagnosis(
        "dagster", "ok", f"The records in {location} can be read; {plural(status.runs_under_way, 'run')} under way."
    )
    yield from judge_daemons(status, now)
    yield from judge_instigators(status, sensors=context.settings.sensors)
    yield from judge_runs(status, now)
    yield from judge_limits(status, file)


def judge_daemons(status: InstanceStatus, now: datetime) -> Iterator[Diagnosis]:
    """Judge that every daemon that is needed was heard of lately, and without an error."""
    start = "Start it: make dev, or dagster-daemon run -m loan_default.definitions."
    if all(daemon.last_heartbeat_at is None for daemon in status.daemons):
        yield Diagnosis("daemon", "note", "The daemon never ran here; nothing happens by itself.", start)
        return
    silent = {
        daemon.name: f"{duration_of(now - daemon.last_heartbeat_at)} ago" if daemon.last_heartbeat_at else "never"
        for daemon in status.daemons
        if daemon.last_heartbeat_at is None or now - daemon.last_heartbeat_at > _SILENT
    }
    if silent:
        when = sorted(set(silent.values()))
        message = f"{len(silent)} of {len(status.daemons)} daemons are silent ({', '.join(silent)})"
        yield Diagnosis("daemon", "wrong", f"{message}; last heard of {', '.join(when)}.", start)
    for daemon in status.daemons:
        if daemon.error and daemon.name not in silent:
            remedy = "See the log of the process that runs the daemon."
            yield Diagnosis("daemon", "wrong", f"{daemon.name} reports: {daemon.error.rstrip('.')}.", remedy)
    if not silent and not any(daemon.error for daemon in status.daemons):
        last = min(daemon.last_heartbeat_at for daemon in status.daemons if daemon.last_heartbeat_at)
        message = f"All {len(status.daemons)} daemons live; each was heard of in the last {duration_of(now - last)}."
        yield Diagnosis("daemon", "ok", message)


def judge_instigators(status: InstanceStatus, *, sensors: bool) -> Iterator[Diagnosis]:
    """Name the sensors that a person switched off, and judge the last tick of each."""
    if not sensors:
        remedy = "Switch on what you want in the UI, or unset it."
        yield Diagnosis("sensors", "note", "LOAN_DEFAULT_SENSORS leaves them switched off.", remedy)
    if off := [instigator.name for instigator in status.instigators if instigator.on is False]:
        message = f"{', '.join(off)}: switched off by hand."
        yield Diagnosis(
            "sensors", "note", message, "Switch them on in the UI, under Automation, if that was not meant."
        )
    failed = [instigator for instigator in status.instigators if instigator.error and instigator.on is not False]
    for instigator in failed:
        remedy = "Mend what it names; its ticks in the UI tell more."
        yield Diagnosis("sensors", "wrong", f"The last tick of {instigator.name} failed: {instigator.error}.", remedy)
    if sensors and status.instigators and not off and not failed:
        names = ", ".join(instigator.name for instigator in status.instigators)
        yield Diagnosis("sensors", "ok", f"No last tick failed: {names}.")


def judge_runs(status: InstanceStatus, now: datetime) -> Iterator[Diagnosis]:
    """Judge that no run waits in vain, and that none counts as running whose process is gone."""
    for run in status.lost_runs:
        remedy = "Start the daemon, whose lost_run_sensor ends it; until then it may keep others waiting."
        yield Diagnosis("runs", "wrong", f"{run} has begun, and its process is gone.", remedy)
    since = now - status.queued_since if status.queued_since else timedelta()
    if since > _LONG_QUEUED and not status.runs_under_way:
        message = f"A run has been queued for {duration_of(since)}, and none runs that it could wait for."
        yield Diagnosis("runs", "wrong", message, "Start the daemon, or terminate the run in the UI.")
    elif since > _LONG_QUEUED:
        message = f"A run has been queued for {duration_of(since)} behind others."
        yield Diagnosis("runs", "note", message, "See in the UI whether the run before it still gets on.")
    elif not status.lost_runs:
        yield Diagnosis("runs", "ok", "None waits in vain, none has lost its process.")


_OUTSIDE = {
    "storage": f"keeps runs on this machine, and not where {DAGSTER_STORAGE} says",
    "compute_logs": "keeps what steps print on this machine, and not in the bucket of LOAN_DEFAULT_STORAGE",
}


def judge_sections(file: Path, settings: Settings) -> Iterator[Diagnosis]:
    """Name the outside stores of the settings that an older `dagster.yaml` does not use."""
    config = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else None
    new_home = yaml.safe_load(dagster_yaml(settings))
    for section, what in _OUTSIDE.items():
        if config is not None and section in new_home and not _holds(config.get(section), new_home[section]):
            line = _in_one_line(section, new_home[section])
            yield Diagnosis("dagster.yaml", "wrong", f"{file} {what}.", f"Have it say: {line}")


def _holds(config: Any, required: Any) -> bool:
    if isinstance(config, Mapping) and isinstance(required, Mapping):
        return all(_holds(config.get(key), value) for key, value in required.items())
    return bool(config == required)


def _in_one_line(section: str, content: Any) -> str:
    lines = yaml.safe_dump({section: content}, default_flow_style=True, sort_keys=False, width=1000)
    return f"{section}: {lines.strip()[1:-1].partition(': ')[2]}"


def judge_limits(status: InstanceStatus, file: Path) -> Iterator[Diagnosis]:
    """Name what an old `dagster.yaml` lacks of what a new home has."""
    new_home = yaml.safe_load(dagster_yaml(Settings(Path())))
    lacking = [
        (status.limits_runs, "concurrency", "lets runs go at a time that write the same records"),
        (status.monitors_runs, "run_monitoring", "does not notice a run that never ends"),
        (status.retries_runs, "run_retries", "does not start a batch again whose run was killed"),
    ]
    for has, section, lack in lacking:
        if not has:
            line = _in_one_line(section, new_home[section])
            yield Diagnosis("limits", "wrong", f"{file} {lack}.", f"Add to it: {line}")
    if all(has for has, _, _ in lacking):
        yield Diagnosis("limits", "ok", "Runs that write the same records wait for each other, and none runs for ever.")
