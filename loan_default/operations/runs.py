"""Jobs run in this process, and what Dagster recorded of runs; Dagster is spoken here.

Which job answers a request belongs to the operation that runs it; what a job consists of is `defs.jobs`'s. Progress
goes to the logger `loan_default.progress`, which the command line listens to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loan_default.defs.run_tags import PARTITION_TAG, REASON_TAG
from loan_default.operations.book import read_policy
from loan_default.settings import Settings

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

_RUNS_READ = 50  # the newest
_TRACKING_ERROR = "loan_default.adapters.tracking.TrackingError: "
_INTERRUPTED = "UNEXPECTED_TERMINATION"  # Dagster's word for a run that Ctrl-C ended
_REPOSITORY = "__repository__"  # Dagster's name for the only one of a code location


class JobFailed(Exception):
    """A job failed; the message is the sentence of the step that failed first."""


@dataclass(frozen=True)
class JobRun:
    """A run that succeeded: its id in Dagster, and the seconds of each step."""

    run_id: str
    step_seconds: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run as Dagster recorded it; `status` in lower case, `reason` is why a sensor or a person asked for it."""

    run_id: str
    job: str
    status: str
    created_at: datetime
    batch: str | None
    reason: str | None


@dataclass(frozen=True)
class BatchFailure:
    """A batch whose newest run failed: which run, when it was requested, and the sentence of its step."""

    batch: str
    run_id: str
    requested_at: datetime
    reason: str


@dataclass(frozen=True)
class RunFailure:
    """A run that failed, and the sentence of its step."""

    run: Run
    reason: str


@dataclass(frozen=True)
class BatchRuns:
    """Dagster's records of batches: those it knows, and those whose newest run failed."""

    batches: tuple[str, ...]
    failures: tuple[BatchFailure, ...]


def run_job(
    settings: Settings,
    job: str,
    *,
    config: Mapping[str, Any] | None = None,
    batch: str | None = None,
    group: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> JobRun:
    """Run a job in this process, or the assets of one `group` of it, until it has ended.

    Args:
        settings: of the home; `prepare_process` was called with them.
        job: the job's name.
        config: the values of each op's config by the op's name.
        batch: the partition; Dagster learns of it first.
        group: the asset group that is run alone.
        tags: of the run.

    Raises:
        JobFailed: a step failed; says which and why.
        BadInput: the contract or the policy cannot be used, or Dagster cannot keep its records; nothing was run.
        KeyboardInterrupt: Ctrl-C, once Dagster knows the run as failed.
    """
    read_policy(settings)

    import dagster as dg

    from loan_default.definitions import build_definitions
    from loan_default.defs.book import BookNames
    from loan_default.defs.instance import open_instance

    with open_instance(settings) as instance:
        if batch is not None:
            instance.add_dynamic_partitions(str(BookNames(settings.book).batches.name), [batch])
        definitions = build_definitions(settings, retries=False)
        keys = dg.AssetSelection.groups(group).resolve(definitions.resolve_asset_graph()) if group else None
        definition = definitions.resolve_job_def(job)
        run = _create_run(instance, definition, settings.code_location, config or {}, batch, keys, tags or {})
        events = _execute(instance, definition, run)
        succeeded = any(event.is_job_success for event in events)
    if not succeeded:
        if _is_interrupted(events):
            raise KeyboardInterrupt
        raise JobFailed(failure_reason(events))
    return JobRun(run.run_id, _step_seconds(events))


def _create_run(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    code_location: str,
    config: Mapping[str, Any],
    batch: str | None,
    keys: Collection[dg.AssetKey] | None,
    tags: Mapping[str, str],
) -> dg.DagsterRun:
    """Record a run as the webserver and the daemon do, by the job of the code location: else its pages leave it out.

    With an origin the daemon would retry a run that Ctrl-C ended; a person who runs it decides on that.
    """
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

    selection = frozenset(keys) if keys else None
    partition = job.get_tags_for_partition_key(batch, selected_asset_keys=selection) if batch else {}
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(code_location), _REPOSITORY).get_job_origin(job.name)
    return instance.create_run_for_job(
        job_def=job,
        run_config={"ops": {op: {"config": values} for op, values in config.items()}, "loggers": {"progress": {}}},
        asset_selection=selection,
        remote_job_origin=origin,
        tags={**job.run_tags, **partition, **tags, "dagster/max_retries": "0"},
    )


def _execute(instance: dg.DagsterInstance, job: dg.JobDefinition, run: dg.DagsterRun) -> list[dg.DagsterEvent]:
    """Execute a recorded run in this process; a failure is an event."""
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run_iterator

    return list(execute_run_iterator(InMemoryJob(job), run, instance))


def _is_interrupted(events: Iterable[dg.DagsterEvent]) -> bool:
    reasons = [event.job_failure_data.failure_reason for event in events if event.is_job_failure]
    return any(reason is not None and reason.value == _INTERRUPTED for reason in reasons)


def _step_seconds(events: Iterable[dg.DagsterEvent]) -> dict[str, float]:
    return {
        event.step_key: event.step_success_data.duration_ms / 1000
        for event in events
        if event.is_step_success and event.step_key
    }


def failure_reason(events: Iterable[dg.DagsterEvent]) -> str:
    """Return the sentence of the first step that failed, else of the run."""
    run_error = None
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            return f"{event.step_key} failed: {_root_cause(failure.error)}"
        if event.is_job_failure and run_error is None:
            run_error = getattr(event.event_specific_data, "error", None)  # none where it was ended from outside
    return f"The run failed before its first step: {_root_cause(run_error)}"


def _root_cause(error: SerializableErrorInfo | None) -> str:
    """Return what the platform itself says of the error, else what lies at its bottom."""
    while error and error.cause and error.cls_name != "TrackingError":
        error = error.cause
    return error.message.strip().removeprefix(_TRACKING_ERROR) if error else "no reason was recorded."


def newest_runs(settings: Settings, job: str) -> list[Run]:
    """Read the newest runs of a job, the newest first."""
    from loan_default.defs.instance import open_instance

    with open_instance(settings) as instance:
        return _runs(instance, settings, job_name=job)


def runs_under_way(settings: Settings) -> list[Run]:
    """Read the newest runs that wait or run, of any job, the newest first."""
    from loan_default.defs.instance import open_instance
    from loan_default.defs.sensors.ticks import UNDER_WAY

    with open_instance(settings) as instance:
        return _runs(instance, settings, statuses=[*UNDER_WAY])


def read_batch_runs(settings: Settings) -> BatchRuns:
    """Read which batches Dagster knows, and why the newest run of a batch failed where it did."""
    import dagster as dg

    from loan_default.defs.book import BookNames
    from loan_default.defs.instance import open_instance
    from loan_default.defs.jobs import ASSET_JOB, JOBS

    partitions = str(BookNames(settings.book).batches.name)
    with open_instance(settings) as instance:
        failed = [
            run.batch
            for job in (*(name for name, job in JOBS.items() if job.of_a_batch), ASSET_JOB)
            for run in _runs(instance, settings, job_name=job, statuses=[dg.DagsterRunStatus.FAILURE])
            if run.batch is not None
        ]
        failures = [failure for batch in dict.fromkeys(failed) if (failure := _failure(instance, settings, batch))]
        return BatchRuns(tuple(instance.get_dynamic_partitions(partitions)), tuple(failures))


def read_failures(settings: Settings) -> list[RunFailure]:
    """Read which runs failed, newest first, after which no other of the same batch, or else of the same job, ended."""
    from dagster._core.storage.dagster_run import FINISHED_STATUSES

    from loan_default.defs.instance import open_instance

    with open_instance(settings) as instance:
        newest: dict[str, Run] = {}
        for run in _runs(instance, settings, statuses=FINISHED_STATUSES):
            newest.setdefault(run.batch or run.job, run)
        failed = [run for run in newest.values() if run.status == "failure"]
        return [RunFailure(run, failure_reason(_failure_events(instance, run.run_id))) for run in failed]


def _failure(instance: dg.DagsterInstance, settings: Settings, batch: str) -> BatchFailure | None:
    """Return the failure of the newest run of a batch that has ended; None where that run did not fail."""
    from dagster._core.storage.dagster_run import FINISHED_STATUSES

    newest = next(iter(_runs(instance, settings, tags={PARTITION_TAG: batch}, statuses=FINISHED_STATUSES)), None)
    if newest is None or newest.status != "failure":
        return None
    reason = failure_reason(_failure_events(instance, newest.run_id))
    return BatchFailure(batch, newest.run_id, newest.created_at, reason)


def _runs(instance: dg.DagsterInstance, settings: Settings, **filters: Any) -> list[Run]:
    """Return the newest runs of the book that pass the filters, which are those of Dagster's `RunsFilter`."""
    from loan_default.defs.book import BookNames

    return [_run(record) for record in BookNames(settings.book).runs(instance, _RUNS_READ, **filters)]


def _run(record: dg.RunRecord) -> Run:
    run = record.dagster_run
    return Run(
        run_id=run.run_id,
        job=run.job_name,
        status=run.status.value.lower(),
        created_at=record.create_timestamp.astimezone(UTC),
        batch=run.tags.get(PARTITION_TAG),
        reason=run.tags.get(REASON_TAG),
    )


def _failure_events(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    import dagster as dg

    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    entries = [record.event_log_entry.dagster_event for record in records]
    return [event for event in entries if event is not None]
