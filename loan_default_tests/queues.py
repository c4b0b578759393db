"""Dagster's own queue without its daemon's process: runs are asked for, and one look says which begin."""

from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "loans")  # without it none is queued


def ask(instance: dg.DagsterInstance, job: dg.JobDefinition, *, batch: str | None = None, **how: Any) -> str:
    """Put a run into the queue; return its id."""
    tags = {**job.tags, **({"dagster/partition": batch} if batch else {})}
    run = instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.QUEUED,
        tags=tags,
        remote_job_origin=ORIGIN.get_job_origin(job.name),
        **how,
    )
    return run.run_id


def begin(instance: dg.DagsterInstance) -> list[str]:
    """Have the queue say which runs begin now, and begin them."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    runs = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
    for run in runs:
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_STARTING", run.job_name), run.run_id)
    return [run.run_id for run in runs]


def end(instance: dg.DagsterInstance, run_id: str) -> None:
    """End a run, so that its slot is free."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceled(run)
