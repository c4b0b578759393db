"""The sensor of alerts: it tells people in one message what has happened since the last.

How a message is sent is `adapters.alerts`'s. An event is told once, by its own name; the cursor holds the names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters.alerts import send
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import RecordKind, StorageLayout, is_verdict
from loan_default.adapters.storage import read_json
from loan_default.defs.book import BookNames
from loan_default.defs.resources import ClockResource, NotificationsResource, StorageResource
from loan_default.defs.run_tags import PARTITION_TAG, REASON_TAG
from loan_default.defs.sensors.ticks import MAX_NAMES, Result, explain_skips
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.monitoring.verdicts import with_current_verdict
from loan_default.risk.text import plural, shorten_sentences

if TYPE_CHECKING:
    from upath import UPath

_FIRST_LOOK_BACK, _LONGEST_LOOK_BACK = timedelta(minutes=5), timedelta(days=1)
_OVERLAP = timedelta(seconds=15)
_MAX_EVENTS = 1_000  # whose names the cursor holds


@explain_skips
def evaluate(
    context: dg.SensorEvaluationContext,
    storage: StorageResource,
    notifications: NotificationsResource,
    clock: ClockResource,
) -> Result:
    """Tell people in one message what happened since the last: failures, drift, retrainings, decisions, a dead server.

    Names of jobs, batches and versions, and figures of whole batches; never what a run says of a row.
    """
    now = clock.now()
    since, past = read_cursor(context.cursor, now)
    new = {event: line for event, line in _events(context.instance, storage, since) if event not in past}
    lines = list(new.values())
    cursor = json.dumps([now.isoformat(), [*past, *new][-_MAX_EVENTS:]])
    if not lines:
        return dg.SensorResult(skip_reason="Nothing happened that people are told of.", cursor=cursor)
    text = " ".join(lines[:MAX_NAMES])
    if not notifications.channels:
        reason = f"Nobody is told, as neither SLACK_WEBHOOK_URL nor ALERT_EMAILS is set: {text}"
        return dg.SensorResult(skip_reason=reason, cursor=cursor)
    sent, errors = send(notifications.channels, f"loan-default: {plural(len(lines), 'event')}", lines)
    for error in errors:
        context.log.warning(error)
    if not sent:
        return dg.SkipReason(f"{' '.join(errors)} It is sent again.")
    return dg.SensorResult(skip_reason=f"People were told: {text}", cursor=cursor)


def read_cursor(cursor: str | None, now: datetime) -> tuple[datetime, list[str]]:
    """Read from when on to look, a day back at most whatever the cursor says, and the events that were told.

    Stores know times to the second, and write a run's end a little late where they are busy: each look begins some
    seconds before the last one ended. Where that lies ahead, the clock was set back: events are told apart by what
    they are, and not by when they were.
    """
    try:
        text, names = json.loads(cursor or "")
        since, events = datetime.fromisoformat(text).astimezone(UTC) - _OVERLAP, [str(name) for name in names]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return now - _FIRST_LOOK_BACK, []
    return max(since, now - _LONGEST_LOOK_BACK) if since <= now else now - _FIRST_LOOK_BACK, events


def _events(instance: dg.DagsterInstance, storage: StorageResource, since: datetime) -> Iterator[tuple[str, str]]:
    """Yield each event by its own name, with the line that tells of it."""
    layout, damages = storage.layout, list[DamagedRecord]()
    yield from _failures(instance, storage.names, since)
    yield from _requests(instance, storage.names, since)
    yield from _decisions(layout, since, damages)
    yield from _drifted_batches(layout, since, damages)
    yield from _performance(layout, since, damages)
    yield from ((str(damage), str(damage)) for damage in damages)


def _failures(instance: dg.DagsterInstance, names: BookNames, since: datetime) -> Iterator[tuple[str, str]]:
    for record in reversed(names.runs(instance, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)):
        run = record.dagster_run
        batch = run.tags.get(PARTITION_TAG)
        subject = f"{run.job_name} of batch {batch}" if batch else run.job_name
        yield f"failed {run.run_id}", f"{subject} failed (run {run.run_id})."


def _requests(instance: dg.DagsterInstance, names: BookNames, since: datetime) -> Iterator[tuple[str, str]]:
    """Yield retrainings, and servers that are started or made to follow."""
    for job, event in (
        ("retraining_job", "A retraining began"),
        ("serving_job", "The scoring server is started or reloaded"),
    ):
        for record in reversed(names.runs(instance, job_name=job, created_after=since)):
            run = record.dagster_run
            if reason := run.tags.get(REASON_TAG):
                yield f"asked {run.run_id}", f"{event}: {reason.rstrip('.')} (run {run.run_id})."


def _decisions(layout: StorageLayout, since: datetime, damages: list[DamagedRecord]) -> Iterator[tuple[str, str]]:
    for event, record in _records(layout.decisions, "history", since, damages):
        decision = f"Decision: {record['verdict']} version {record['candidate']}, by {record['decided_by']}"
        yield event, f"{decision}: {shorten_sentences(record['reasons'])}"


def _drifted_batches(layout: StorageLayout, since: datetime, damages: list[DamagedRecord]) -> Iterator[tuple[str, str]]:
    for event, record in _records(layout.drift_reports, "drift_report", since, damages):
        if record["verdict"] == "drifted":
            drift = f"Batch {record['batch']} drifted against version {record['model_version']}"
            yield event, f"{drift}: {record['reasons'][0]}."


def _performance(layout: StorageLayout, since: datetime, damages: list[DamagedRecord]) -> Iterator[tuple[str, str]]:
    """Yield, each day, a version that has degraded, and outcome files that cannot be read."""
    report = layout.record("performance_report")
    for event, record in _records(report.parent, "performance_report", since, damages, only=report.name):
        if record["verdict"] == "degraded":
            reasons = shorten_sentences(record["reasons"])
            yield event, f"Version {record['model_version']} has degraded: {reasons}"
        for name in record["unreadable"]:
            yield f"{event} {name}", f"Outcome file {name} cannot be read; the asset loan_outcomes says why."


def _records(
    folder: UPath, kind: RecordKind, since: datetime, damages: list[DamagedRecord], only: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield those that were written since, whatever time they hold: a decision is stored seconds after it was made.

    What cannot be read is added to `damages`.
    """
    for file in list_files(folder):
        is_record = is_verdict(file.name) if only is None else file.name == only
        if file.changed_at > since and is_record and (record := read_json(file.path, kind, damages)) is not None:
            yield f"{file.name} {file.state}", with_current_verdict(record)
