"""The MLflow run of a Dagster run: a resource over dagster-mlflow's, and how such a run ends.

dagster-mlflow starts one MLflow run for each Dagster run and resumes it in every step process. How it ends is
decided here, from Dagster's event log. What is logged to the run belongs in `steps`, how in
`adapters.tracking`. Importing this module loads neither mlflow nor dagster_mlflow.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from loan_default.adapters.tracking import EXPERIMENT, MODEL_NAME, Tracking, load_environment

# The tag by which dagster-mlflow finds the MLflow run of a Dagster run again.
DAGSTER_RUN_TAG = "dagster_run_id"
_DOUBTFUL_RUNS = 5  # that ended last: between MLflow's end of a run and Dagster's a process may be killed

_FAILURES = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELING,
    dg.DagsterEventType.RUN_CANCELED,
}


class MlflowResource(dg.ConfigurableResource[Any]):
    """MLflow's store, and the names that the book has there."""

    tracking_uri: str
    artifact_root: str
    experiment: str = EXPERIMENT
    model_name: str = MODEL_NAME

    @property
    def tracking(self) -> Tracking:
        """The client of the store, also usable outside a Dagster run."""
        return Tracking(self.tracking_uri, self.artifact_root, self.experiment, self.model_name)


class MlflowRunResource(MlflowResource):
    """The MLflow run of a Dagster run: FAILED if any step failed, whichever asset that was, else FINISHED.

    Assets hand `run_id` to their steps. Only those that ask for this resource pay for MLflow's import. Under the
    multiprocess executor the status is right once each step process has ended; a step that fails in a process without
    this resource needs `mlflow_failure_hook` on its job as well.
    """

    _run_id: str | None = PrivateAttr(default=None)

    @property
    def run_id(self) -> str:
        """The id of this Dagster run's MLflow run."""
        if self._run_id is None:
            raise RuntimeError("There is no MLflow run outside a Dagster run: read run_id in an asset or op.")
        return self._run_id

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[MlflowRunResource]:
        """Start or resume the MLflow run, and end it with what Dagster recorded."""
        assert context.instance is not None, "a run has an instance"
        assert context.run is not None, "the resource is that of a run"
        instance, dagster_run_id, tracking = context.instance, context.run.run_id, self.tracking
        _end_active_runs(context)
        tracking.ensure_experiment()  # with its artifact location; dagster-mlflow would create it without
        with tracking.as_default(), _dagster_mlflow_run(context, tracking) as run_id:
            self._run_id = run_id
            try:
                yield self
            finally:
                _end_active_run(instance, dagster_run_id, tracking, run_id)
            settle_lost_runs(instance, tracking)  # not before: the run lock may be taken after this


def mlflow_failure_hook(tracking: Tracking) -> dg.HookDefinition:
    """Return the hook that marks the MLflow run FAILED as soon as a step fails, in the process of that step."""

    @dg.failure_hook(name="fail_mlflow_run")
    def fail_mlflow_run(context: dg.HookContext) -> None:
        settle_mlflow_run(context.instance, context.run_id, tracking)

    return fail_mlflow_run


def settle_mlflow_run(instance: dg.DagsterInstance, dagster_run_id: str, tracking: Tracking) -> None:
    """End the MLflow run of a Dagster run, if it has one, with what Dagster recorded about that run."""
    run_id = tracking.find_run(DAGSTER_RUN_TAG, dagster_run_id)
    if run_id is not None:
        _end_truthfully(instance, dagster_run_id, tracking, run_id)


def settle_lost_runs(instance: dg.DagsterInstance, tracking: Tracking) -> None:
    """End the MLflow runs of Dagster runs whose process was killed, before or just after it had ended them itself."""
    for status, at_most in (("RUNNING", 1000), ("FINISHED", _DOUBTFUL_RUNS)):
        for run_id, dagster_run_id in tracking.latest_runs(DAGSTER_RUN_TAG, status, at_most).items():
            run = instance.get_run_by_id(dagster_run_id)  # an unknown one belongs to another platform
            if run is not None and run.is_finished and _status(instance, dagster_run_id) != status:
                _end_truthfully(instance, dagster_run_id, tracking, run_id)


@contextmanager
def _dagster_mlflow_run(context: dg.InitResourceContext, tracking: Tracking) -> Iterator[str]:
    """Yield the id of the MLflow run that dagster-mlflow starts or resumes."""
    config = {
        "experiment_name": tracking.experiment,
        "mlflow_tracking_uri": tracking.tracking_uri,
        "env": {},
        "extra_tags": {},
    }
    with ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # its version is pinned
            from dagster_mlflow import mlflow_tracking

            start = contextmanager(mlflow_tracking.resource_fn)
            mlflow = stack.enter_context(start(context.replace_config(config)))
        yield mlflow.active_run().info.run_id


def _end_active_run(instance: dg.DagsterInstance, dagster_run_id: str, tracking: Tracking, run_id: str) -> None:
    """End the run that is active in this process, also where the store can no longer be asked."""
    import mlflow

    mlflow.end_run(_status(instance, dagster_run_id))
    _end_truthfully(instance, dagster_run_id, tracking, run_id)


def _end_truthfully(instance: dg.DagsterInstance, dagster_run_id: str, tracking: Tracking, run_id: str) -> None:
    """Write the status, then look again: another step process may have failed and written in between."""
    status = _status(instance, dagster_run_id)
    tracking.end_run(run_id, status)
    if (latest := _status(instance, dagster_run_id)) != status:
        tracking.end_run(run_id, latest)


def _status(instance: dg.DagsterInstance, dagster_run_id: str) -> str:
    """Return MLflow's word for what Dagster has recorded so far; a step that is to be retried has not failed."""
    failures = instance.get_records_for_run(dagster_run_id, of_type=_FAILURES, limit=1).records
    return "FAILED" if failures else "FINISHED"


def _end_active_runs(context: dg.InitResourceContext) -> None:
    """End what other code left active in this process; dagster-mlflow would take it for its own run."""
    assert context.log is not None, "a run has a log"
    load_environment()
    import mlflow

    while (stale := mlflow.active_run()) is not None:
        context.log.warning(f"Ending the MLflow run {stale.info.run_id}, which was left active.")
        mlflow.end_run("KILLED")
