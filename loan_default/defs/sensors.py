"""What the platform notices by itself: batches and outcomes that come in, drift, and a server that is not as it should.

A sensor reads lists and small records, asks `risk` or an adapter what follows, and requests runs; whatever it does
not do, it says why. What was done is read from Dagster's runs: a cursor may be lost and only saves work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from loan_default.adapters import inbox, prediction_history
from loan_default.adapters import storage as files
from loan_default.adapters.alerts import send
from loan_default.adapters.layout import batch_name, is_verdict
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import PRODUCTION, TrackingError
from loan_default.defs.lost_runs import RunLockResource
from loan_default.defs.mlflow_run import settle_lost_runs
from loan_default.defs.partitions import batches
from loan_default.defs.resources import (
    ClockResource,
    LoanBookResource,
    ModelRegistryResource,
    NotificationsResource,
    ScoringServerResource,
    StorageResource,
)
from loan_default.risk.errors import BadInput
from loan_default.risk.monitoring.retraining import DegradedVersion, DriftedBatch, Retraining, decide_retraining
from loan_default.risk.monitoring.verdicts import with_current_verdict
from loan_default.risk.text import shorten_names, shorten_sentences

if TYPE_CHECKING:
    from upath import UPath

    from loan_default.adapters.scoring_server import Health

Result = dg.SensorResult | dg.SkipReason

VERSION_TAG, DATA_TAG, REASON_TAG = "loan_default/version", "loan_default/data", "loan_default/reason"

_READ_BYTES = 1_000_000_000  # of batch files in one tick
_ASKED = 3  # runs in one tick: Dagster files them one by one, and other sensors wait
_RUN_KEY = "dagster/run_key"  # Dagster's tag of what a sensor asked for
_TOLD = 10  # names in a skip reason
_REASONS = 3  # of a decision, in a message
_RUNS = 100  # of the past that are looked at
_UNDER_WAY = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
}
_FIRST_LOOK, _LONGEST_SILENCE = timedelta(minutes=5), timedelta(days=1)  # back, to see what happened
_OVERLAP, _EVENTS_KEPT = timedelta(seconds=15), 1_000
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=30)  # before a server is started again


def _told(does: Callable[..., Result]) -> Callable[..., Result]:
    """What cannot be asked now is said, and asked again at the next tick."""

    @wraps(does)
    def tick(*given: Any, **named: Any) -> Result:
        try:
            return does(*given, **named)
        except (TrackingError, ServerError, BadInput) as error:
            return dg.SkipReason(str(error))
        except OSError as error:
            return dg.SkipReason(files.explain_os_error(error))

    return tick


# --- batches --------------------------------------------------------------------------------------------------


@_told
def new_batches(
    context: dg.SensorEvaluationContext, storage: StorageResource, model_registry: ModelRegistryResource
) -> Result:
    """Register and score what has come in whole, a few batches in a tick; the same content is scored once."""
    before = inbox.ScanState.from_json(context.cursor)
    known = context.instance.get_dynamic_partitions(str(batches.name))
    batch_files = inbox.list_files(storage.layout.inbox)
    seen = inbox.scan_inbox(batch_files, known, before, batch_name, most_bytes=_READ_BYTES, staging=storage.staging)
    for reason in set(seen.refused.values()) - set(before.refused.values()):
        context.log.warning(reason)
    scored = {one.batch for one in seen.ready if _is_scored(storage, one)}
    new = [one for one in seen.ready if one.batch not in scored and before.taken.get(one.batch) != one.fingerprint]
    asked = new[:_ASKED] if new and model_registry.tracking.version_of(PRODUCTION) else []
    taken = {**before.taken, **{one.batch: one.fingerprint for one in asked}}
    unknown = [*scored.difference(known), *(one.batch for one in asked)]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{one.batch}-{one.fingerprint}-{one.state}", partition_key=one.batch)
            for one in asked
        ],
        skip_reason=None if asked else _nothing_asked(seen, new),
        dynamic_partitions_requests=[batches.build_add_request(unknown)] if unknown else [],
        cursor=seen.memory(taken, done=scored).to_json(),
    )


def _is_scored(storage: StorageResource, ready: inbox.ReadyBatch) -> bool:
    """Whether this very content was scored before, even where Dagster's runs were lost."""
    report = files.read_json(storage.layout.batch_record("application_report", ready.batch))
    parquet = storage.layout.batch_table("predictions", ready.batch)
    if report is None or report["fingerprint"] != ready.fingerprint or not files.exists(parquet):
        return False
    # A run may have died between the two.
    return prediction_history.origin_of(parquet, storage.staging)[1] == ready.fingerprint


def _nothing_asked(seen: inbox.InboxScan, new: Sequence[inbox.ReadyBatch]) -> str:
    if new:
        return f"{shorten_names([one.batch for one in new], _TOLD)} will be scored once a version is in production."
    told = [f"{shorten_names(seen.changing, _TOLD)} may still be written."] if seen.changing else []
    told += list(seen.refused.values())[:_TOLD]
    return " ".join(told) or "No new batch is in the inbox."


# --- drift ----------------------------------------------------------------------------------------------------


@_told
def drift(
    context: dg.SensorEvaluationContext,
    storage: StorageResource,
    model_registry: ModelRegistryResource,
    loan_book: LoanBookResource,
    clock: ClockResource,
) -> Result:
    """Retrain where a batch drifted, or the version in production fell, and the policy allows it.

    Once another version is in production, what drifted is scored again.
    """
    found, cursor = _drifted(context, storage)
    drifted = [*found]
    degraded = _degraded_version(storage)
    if not drifted and degraded is None:
        return dg.SensorResult(skip_reason="No batch has drifted.", cursor=cursor)
    version = model_registry.tracking.version_of(PRODUCTION)
    production = version.version if version else None
    again = [
        dg.RunRequest(
            run_key=key,
            job_name="batch_prediction_job",
            partition_key=seen.batch,
            tags={REASON_TAG: f"drifted against version {seen.version}; version {production} is in production now"},
        )
        for key, seen in _not_scored_again(context.instance, found, production)
    ]
    loan_files = inbox.match_files(loan_book.data)
    data = inbox.signature(loan_files) if loan_files else ""
    past = [*_retrainings(context.instance)]
    decision = decide_retraining(drifted, production, data, past, loan_book.policy.retraining, clock.now(), degraded)
    if decision.verdict == "wait":
        reasons = " ".join(decision.reasons)
        return dg.SensorResult(run_requests=again, skip_reason=None if again else reasons, cursor=cursor)
    tries = sum((one.version, one.data) == (production, data) for one in past)
    retrain = dg.RunRequest(
        run_key=f"version-{production}-data-{data}-{tries}",
        job_name="retraining_job",
        tags={VERSION_TAG: str(production), DATA_TAG: data, REASON_TAG: " ".join(decision.reasons)},
    )
    return dg.SensorResult(run_requests=[*again, retrain], cursor=cursor)


def _drifted(context: dg.SensorEvaluationContext, storage: StorageResource) -> tuple[dict[DriftedBatch, str], str]:
    """Batches whose last verdict is that they drifted, with the state of its record; only new ones are read."""
    calm, before = _remembered(context.cursor)
    tokens, drifted = [], {}
    for file in inbox.list_files(storage.layout.drift_reports):
        if not is_verdict(file.name):
            continue
        if file.token in calm:
            tokens.append(file.token)
        elif (known := before.get(file.name)) and known[0] == file.state:
            drifted[file.name] = known
        else:
            record = json.loads(files.read_text(file.path))
            if record["verdict"] == "drifted":
                drifted[file.name] = (file.state, record["batch"], record["model_version"])
            else:
                tokens.append(file.token)
    found = {DriftedBatch(batch, version): state for state, batch, version in drifted.values()}
    return found, json.dumps(["".join(tokens), drifted])


def _not_scored_again(
    instance: dg.DagsterInstance, found: Mapping[DriftedBatch, str], production: int | None
) -> list[tuple[str, DriftedBatch]]:
    """What drifted against another version, and was not asked for since: a few in a tick, with their run keys."""
    others = {
        f"{seen.batch}-version-{production}-{state}": seen
        for seen, state in found.items()
        if production is not None and seen.version != production
    }
    runs = instance.get_runs(dg.RunsFilter(tags={_RUN_KEY: [*others]})) if others else []
    asked = {run.tags[_RUN_KEY] for run in runs}
    return [(key, seen) for key, seen in others.items() if key not in asked][:_ASKED]


def _degraded_version(storage: StorageResource) -> DegradedVersion | None:
    """What the last performance report says, where a version has degraded."""
    record = files.read_json(storage.layout.record("performance_report"))
    if record is None or with_current_verdict(record)["verdict"] != "degraded":
        return None
    return DegradedVersion(record["model_version"], tuple(record["reasons"]))


def _remembered(cursor: str | None) -> tuple[set[str], dict[str, tuple[str, str, int]]]:
    """Tokens of the verdicts that are calm, and by the names of their files those that are not."""
    try:
        calm, drifted = json.loads(cursor or '["", {}]')
        whole = {name: (state, batch, version) for name, (state, batch, version) in drifted.items()}
        sound = all(tuple(map(type, one)) == (str, str, int) for one in whole.values())
        return (inbox.split_tokens(calm), whole) if sound and isinstance(calm, str) else (set(), {})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return set(), {}


def _retrainings(instance: dg.DagsterInstance) -> Iterator[Retraining]:
    for run in instance.get_run_records(dg.RunsFilter(job_name="retraining_job"), limit=_RUNS):
        tags = run.dagster_run.tags
        version = tags.get(VERSION_TAG)
        yield Retraining(
            run.dagster_run.run_id[:8],
            run.create_timestamp.astimezone(UTC),
            _status(run.dagster_run.status),
            int(version) if version else None,
            tags.get(DATA_TAG),
        )


def _status(status: dg.DagsterRunStatus) -> Literal["under way", "succeeded", "failed"]:
    if status in _UNDER_WAY:
        return "under way"
    return "succeeded" if status is dg.DagsterRunStatus.SUCCESS else "failed"


# --- outcomes -------------------------------------------------------------------------------------------------


@_told
def performance(context: dg.SensorEvaluationContext, storage: StorageResource, clock: ClockResource) -> Result:
    """Measure again when outcome files have come in whole, and each day, as applications are scored without pause."""
    outcome_files = inbox.list_files(storage.layout.outcomes)
    if not outcome_files and not inbox.list_files(storage.layout.prediction_history):
        return dg.SkipReason("Nothing is predicted yet, and no outcomes are in.")
    signature, before = inbox.signature(outcome_files), context.cursor or ""
    asked = f"{signature}-{clock.now():%Y-%m-%d}"
    if before == asked:
        return dg.SkipReason("Today's report is asked for; it is made again when outcome files come in, and tomorrow.")
    if not before.startswith(signature):
        return dg.SensorResult(skip_reason="Outcome files may still be written.", cursor=signature)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=asked)], cursor=asked)


# --- the server -----------------------------------------------------------------------------------------------


@_told
def production(
    context: dg.SensorEvaluationContext,
    model_registry: ModelRegistryResource,
    scoring_server: ScoringServerResource,
    clock: ClockResource,
) -> Result:
    """Have the server answer by the version in production: also after a rollback by hand, also after its death."""
    version = model_registry.tracking.version_of(PRODUCTION)
    if version is None:
        return dg.SkipReason("No version is in production.")
    runs = context.instance.get_run_records(dg.RunsFilter(job_name="serving_job"), limit=_RUNS)
    if any(run.dagster_run.status in _UNDER_WAY for run in runs):
        return dg.SkipReason("serving_job is under way.")
    health = scoring_server.server.health()
    if health is not None and health.serves(version.version) and _verified(runs, version.version):
        return dg.SkipReason(f"The server answers by version {version.version}.")
    if health is None and scoring_server.supervised:
        return dg.SkipReason(f"No server answers at {scoring_server.url}; the service that runs it has to start it.")
    free = _free_again(runs, clock.now())
    if free is not None:
        return dg.SkipReason(f"The last tries to serve failed; the next is at {free:%Y-%m-%d %H:%M:%S %Z}.")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"version-{version.version}-after-{runs[0].dagster_run.run_id if runs else 'none'}",
                tags={VERSION_TAG: str(version.version), REASON_TAG: _why(health, version.version)},
            )
        ]
    )


def _verified(runs: Sequence[dg.RunRecord], version: int) -> bool:
    """Whether the last run saw the server answer its canary by this version."""
    if not runs or runs[0].dagster_run.status is not dg.DagsterRunStatus.SUCCESS:
        return False
    return runs[0].dagster_run.tags.get(VERSION_TAG) == str(version)


def _why(health: Health | None, version: int) -> str:
    if health is None:
        return "no server answered"
    found = f"the server answered by version {health.version}"
    return f"{found}; version {version} is in production" if health.version != version else found


def _free_again(runs: Sequence[dg.RunRecord], now: datetime) -> datetime | None:
    """When the server may be tried again, if not now: after each failure in a row the pause doubles.

    A failure that lies ahead shows that the clock was set back; nobody waits until that time comes again.
    """
    failures = 0
    for run in runs:
        if run.dagster_run.status is dg.DagsterRunStatus.SUCCESS:
            break
        failures += 1
    if not failures:
        return None
    pause = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE)
    failed_at = runs[0].create_timestamp.astimezone(UTC)
    return failed_at + pause if failed_at <= now < failed_at + pause else None


# --- runs that died -------------------------------------------------------------------------------------------


@_told
def lost_runs(
    context: dg.SensorEvaluationContext, model_registry: ModelRegistryResource, run_lock: RunLockResource
) -> Result:
    """End the runs whose process was killed or went down with its machine, here and in MLflow: others wait for them."""
    lost = run_lock.end_lost_runs(context.instance)
    settle_lost_runs(context.instance, model_registry.tracking)
    if not lost:
        return dg.SkipReason("Every run that is under way lives.")
    return dg.SkipReason(" ".join(f"{run.job_name} had died (run {run.run_id})." for run in lost))


# --- people ---------------------------------------------------------------------------------------------------


@_told
def alerts(
    context: dg.SensorEvaluationContext,
    storage: StorageResource,
    notifications: NotificationsResource,
    clock: ClockResource,
) -> Result:
    """Tell people in one message what happened since the last: failures, drift, retrainings, decisions, a dead server.

    Names of jobs, batches and versions, and figures of whole batches; never what a run says of a row.
    """
    now = clock.now()
    since, before = _told_before(context.cursor, now)
    happened = dict([*_failures(context.instance, since), *_asked(context.instance, since), *_seen(storage, since)])
    new = {event: line for event, line in happened.items() if event not in before}
    lines = list(new.values())
    cursor = json.dumps([now.isoformat(), [*before, *new][-_EVENTS_KEPT:]])
    if not lines:
        return dg.SensorResult(skip_reason="Nothing happened that people are told of.", cursor=cursor)
    if not notifications.channels:
        unsaid = f"Nobody is told, as neither SLACK_WEBHOOK_URL nor ALERT_EMAILS is set: {' '.join(lines[:_TOLD])}"
        return dg.SensorResult(skip_reason=unsaid, cursor=cursor)
    sent, troubles = send(notifications.channels, f"loan-default: {len(lines)} news", lines)
    for trouble in troubles:
        context.log.warning(trouble)
    if not sent:
        return dg.SkipReason(f"{' '.join(troubles)} It is sent again.")
    return dg.SensorResult(skip_reason=f"People were told: {' '.join(lines[:_TOLD])}", cursor=cursor)


def _told_before(cursor: str | None, now: datetime) -> tuple[datetime, list[str]]:
    """From when on to look, and which events were told: a day back at most, whatever the cursor says.

    Stores know times to the second, and keep a run's end a little late where they are busy: each look begins some
    seconds before the last one ended. Where that lies ahead, the clock was set back: events are told apart by what
    they are, and not by when they were.
    """
    try:
        text, events = json.loads(cursor or "")
        since, told = datetime.fromisoformat(text).astimezone(UTC) - _OVERLAP, [str(event) for event in events]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return now - _FIRST_LOOK, []
    return max(since, now - _LONGEST_SILENCE) if since <= now else now - _FIRST_LOOK, told


def _failures(instance: dg.DagsterInstance, since: datetime) -> Iterator[tuple[str, str]]:
    """Each event, as here and below, by its own name, with the line that tells of it."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for run in reversed(instance.get_run_records(failed)):
        batch = run.dagster_run.tags.get("dagster/partition")
        of = f" of batch {batch}" if batch else ""
        run_id = run.dagster_run.run_id
        yield f"failed {run_id}", f"{run.dagster_run.job_name}{of} failed (run {run_id})."


def _asked(instance: dg.DagsterInstance, since: datetime) -> Iterator[tuple[str, str]]:
    """Retrainings, and servers that were seen to."""
    for job, told in (("retraining_job", "A retraining began"), ("serving_job", "The scoring server is seen to")):
        for run in reversed(instance.get_run_records(dg.RunsFilter(job_name=job, created_after=since))):
            if reason := run.dagster_run.tags.get(REASON_TAG):
                yield f"asked {run.dagster_run.run_id}", f"{told}: {reason.rstrip('.')} (run {run.dagster_run.run_id})."


def _seen(storage: StorageResource, since: datetime) -> Iterator[tuple[str, str]]:
    """Decisions on versions, batches that drifted, and each day a version that has degraded."""
    for event, record in _records(storage.layout.decisions, since):
        decided = f"{record['verdict']} version {record['candidate']}, by {record['decided_by']}"
        yield event, f"{decided}: {shorten_sentences(record['reasons'], _REASONS)}"
    for event, record in _records(storage.layout.drift_reports, since):
        if record["verdict"] == "drifted":
            against = f"Batch {record['batch']} drifted against version {record['model_version']}"
            yield event, f"{against}: {record['reasons'][0]}."
    performance = storage.layout.record("performance_report")
    for event, record in _records(performance.parent, since, only=performance.name):
        if record["verdict"] == "degraded":
            reasons = shorten_sentences(record["reasons"], _REASONS)
            yield event, f"Version {record['model_version']} has degraded: {reasons}"
        for name in record["unreadable"]:
            yield f"{event} {name}", f"Outcome file {name} cannot be read; the asset loan_outcomes says why."


def _records(folder: UPath, since: datetime, only: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those that were written since, whatever time they tell: a decision is kept some seconds after it was made."""
    for file in inbox.list_files(folder):
        if file.changed_at > since and (is_verdict(file.name) if only is None else file.name == only):
            yield f"{file.name} {file.state}", with_current_verdict(json.loads(files.read_text(file.path)))


# --- all of them ----------------------------------------------------------------------------------------------


def build_sensors(jobs: Mapping[str, Any], *, running: bool) -> list[dg.SensorDefinition]:
    """Every sensor; running from the start, or once a person starts it."""
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED

    def sensor(name: str, seconds: int, does: Callable[..., Result], *targets: str) -> dg.SensorDefinition:
        how = dg.sensor(
            name=name,
            jobs=[jobs[target] for target in targets] or None,
            minimum_interval_seconds=seconds,
            default_status=status,
            description=cleandoc(does.__doc__ or ""),
        )
        return how(does)

    return [
        sensor("new_batch_sensor", 10, new_batches, "batch_prediction_job"),
        sensor("drift_sensor", 15, drift, "retraining_job", "batch_prediction_job"),
        sensor("performance_sensor", 30, performance, "performance_job"),
        sensor("production_sensor", 15, production, "serving_job"),
        sensor("lost_run_sensor", 30, lost_runs),
        sensor("alert_sensor", 30, alerts),
    ]
