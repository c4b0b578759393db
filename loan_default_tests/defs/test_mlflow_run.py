"""Dagster runs that succeed and fail for real, and what MLflow says about each afterwards."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import pytest

import loan_default
from loan_default.adapters.tracking import Tracking
from loan_default.defs.mlflow_run import DAGSTER_RUN_TAG, MlflowRunResource, settle_lost_runs, settle_mlflow_run
from loan_default_tests.stores import client_of, new_run, new_tracking

pytestmark = pytest.mark.integration

# `trained` logs; `reported` fails, in a process of its own if asked to, which meets MLflow only in the hook.
JOBS = """
import sys

import dagster as dg

sys.path.append({project!r})
from loan_default.defs.mlflow_run import MlflowRunResource, mlflow_failure_hook

mlflow_run = MlflowRunResource(tracking_uri={tracking_uri!r}, artifact_root={artifact_root!r})


@dg.asset
def trained(mlflow_run: MlflowRunResource) -> None:
    mlflow_run.tracking.log_metrics(mlflow_run.run_id, {{"auc": 0.7}})


@dg.asset(deps=[trained])
def reported() -> None:
    raise ValueError("broken for the test")


def job(name, executor):
    hook = mlflow_failure_hook(mlflow_run.tracking)
    return dg.define_asset_job(name, hooks={{hook}}, executor_def=executor)


defs = dg.Definitions(
    [trained, reported],
    resources={{"mlflow_run": mlflow_run}},
    jobs=[job("one_process", dg.in_process_executor), job("many_processes", dg.multiprocess_executor)],
)


def many_processes():
    return defs.resolve_job_def("many_processes")
"""


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return new_tracking(tmp_path / "store")


@pytest.fixture
def jobs(tracking: Tracking, tmp_path: Path) -> Path:
    path = tmp_path / "jobs.py"
    project = str(Path(loan_default.__file__).parents[1])
    path.write_text(JOBS.format(project=project, **asdict(tracking)))
    return path


def mlflow_runs(tracking: Tracking) -> list[tuple[str, Mapping[str, float]]]:
    """Status and metrics of every run, oldest first."""
    client = client_of(tracking)
    runs = client.search_runs([tracking.ensure_experiment()], order_by=["attributes.start_time"])
    return [(run.info.status, run.data.metrics) for run in runs]


def test_command_line_leaves_a_failed_run_failed(tracking: Tracking, jobs: Path) -> None:
    home = jobs.parent / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-f", str(jobs), "-j", "one_process"]
    env = {**os.environ, "DAGSTER_HOME": str(home)}
    # Where nobody's .env is, which wins over what is exported: the run showed on the pages of whoever ran the tests.
    run = subprocess.run(command, env=env, cwd=home, check=False, capture_output=True, timeout=300)
    assert run.returncode != 0
    assert (home / "history" / "runs.db").exists()
    assert mlflow_runs(tracking) == [("FAILED", {"auc": 0.7})]


@pytest.mark.long
def test_run_fails_with_a_step_whose_process_meets_mlflow_only_in_the_hook(tracking: Tracking, jobs: Path) -> None:
    job = dg.build_reconstructable_job("jobs", "many_processes", reconstructor_working_directory=str(jobs.parent))
    with dg.DagsterInstance.local_temp(str(jobs.parent), {"telemetry": {"enabled": False}}) as instance:
        assert not dg.execute_job(job, instance).success
    assert mlflow_runs(tracking) == [("FAILED", {"auc": 0.7})]


@dg.asset
def measured(mlflow_run: MlflowRunResource) -> None:
    mlflow_run.tracking.log_metrics(mlflow_run.run_id, {"auc": 0.7})


@dg.asset(deps=[measured])
def broken() -> None:
    raise ValueError("broken for the test")


@dg.asset(deps=[measured], retry_policy=dg.RetryPolicy(max_retries=1))
def broken_once(context: dg.AssetExecutionContext) -> None:
    if context.retry_number == 0:
        raise ValueError("broken the first time")


def materialize(tracking: Tracking, *assets: dg.AssetsDefinition) -> None:
    resource = MlflowRunResource(tracking_uri=tracking.tracking_uri, artifact_root=tracking.artifact_root)
    dg.materialize([measured, *assets], resources={"mlflow_run": resource}, raise_on_error=False)


def test_runs_in_one_process_do_not_disturb_each_other(tracking: Tracking, tmp_path: Path) -> None:
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    for asset in (broken, broken_once):
        materialize(tracking, asset)
        assert mlflow.active_run() is None
    elsewhere = new_tracking(tmp_path / "elsewhere")
    materialize(elsewhere)
    assert mlflow_runs(tracking) == [("FAILED", {"auc": 0.7}), ("FINISHED", {"auc": 0.7})]
    assert mlflow_runs(elsewhere) == [("FINISHED", {"auc": 0.7})]
    assert os.environ.get("MLFLOW_TRACKING_URI") == before


def test_run_left_active_by_other_code_is_not_taken_over(tracking: Tracking) -> None:
    import mlflow

    with tracking.as_default():
        active = mlflow.start_run(experiment_id=tracking.ensure_experiment())
        materialize(tracking)
    assert mlflow_runs(tracking) == [("KILLED", {}), ("FINISHED", {"auc": 0.7})]
    client = client_of(tracking)
    assert DAGSTER_RUN_TAG not in client.get_run(active.info.run_id).data.tags


def test_experiment_gets_its_artifact_location(tracking: Tracking) -> None:
    materialize(tracking)
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("loan_default")
    assert experiment is not None
    assert experiment.artifact_location == f"{Path(tracking.artifact_root).as_uri()}/loan_default"


@dg.job
def empty() -> None:
    """Nothing: only the record of its run counts."""


def test_run_of_a_killed_process_is_settled_later(tracking: Tracking) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(empty)
        tracking.set_tags(new_run(tracking), {DAGSTER_RUN_TAG: run.run_id})
        assert mlflow_runs(tracking) == [("RUNNING", {})]
        instance.report_run_failed(run)
        settle_mlflow_run(instance, run.run_id, tracking)
        settle_mlflow_run(instance, "a run without MLflow", tracking)
    assert mlflow_runs(tracking) == [("FAILED", {})]


@pytest.mark.parametrize("ended", [False, True])
def test_the_next_run_settles_what_a_killed_process_left(tracking: Tracking, ended: bool) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        killed, under_way = (instance.create_run_for_job(empty) for _ in range(2))
        for run in (killed, under_way):
            tracking.set_tags(run_id := new_run(tracking), {DAGSTER_RUN_TAG: run.run_id})
            if ended:  # as far as MLflow knows
                tracking.end_run(run_id, "FINISHED")
        instance.report_run_failed(killed)
        settle_lost_runs(instance, tracking)
    assert mlflow_runs(tracking) == [("FAILED", {}), ("FINISHED" if ended else "RUNNING", {})]


def test_there_is_no_run_outside_a_dagster_run(tracking: Tracking) -> None:
    resource = MlflowRunResource(tracking_uri=tracking.tracking_uri, artifact_root=tracking.artifact_root)
    with pytest.raises(RuntimeError, match="outside a Dagster run"):
        _ = resource.run_id


def test_import_loads_neither_mlflow_nor_dagster_mlflow() -> None:
    check = "import sys, loan_default.defs.mlflow_run; print({'mlflow', 'dagster_mlflow', 'pandas'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
