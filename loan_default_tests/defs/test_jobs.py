"""Which assets each job runs, and that all of them tell MLflow of a failure."""

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.tags import TagConcurrencyLimitsCounter

from loan_default.adapters.tracking import Tracking
from loan_default.defs.jobs import build_jobs
from loan_default.settings import Settings, prepare_process
from loan_default_tests.homes import definitions_of, own_environment

CLEANING = {"cleaned_loans", "rejected_loans", "cleaning_report", "loan_splits"}
TRAINING = CLEANING | {"tuned_params", "trained_model"}
REGISTRY = {"model_evaluation", "promoted_model", "model_card"}
SCORING = {"application_batch", "rejected_applications", "application_report", "predictions"}
RUNS = {
    "cleaning_job": CLEANING,
    "tuning_job": CLEANING | {"tuned_params"},
    "training_job": TRAINING,
    "promotion_job": REGISTRY,
    "full_pipeline_job": TRAINING | REGISTRY,
    "performance_job": {"loan_outcomes", "rejected_outcomes", "outcomes_report", "performance_report"},
    "serving_job": {"model_server"},
    "batch_prediction_job": SCORING | {"drift_report"},
    "monitoring_job": {"drift_report"},
    "retraining_job": TRAINING | REGISTRY,
}
OF_A_BATCH = {"batch_prediction_job", "monitoring_job"}
ALONE = RUNS.keys() - OF_A_BATCH - {"serving_job"}
TRAINING_JOBS = ALONE - {"performance_job"}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return definitions_of(Settings(home=tmp_path_factory.mktemp("jobs")))


@pytest.mark.parametrize("name", RUNS)
def test_a_job_runs_its_assets(definitions: dg.Definitions, name: str) -> None:
    job = definitions.resolve_job_def(name)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == RUNS[name]
    assert (job.partitions_def is not None) == (name in OF_A_BATCH)
    assert job.description


@pytest.mark.parametrize("name", RUNS)
def test_of_the_jobs_that_write_the_same_records_one_runs_at_a_time(definitions: dg.Definitions, name: str) -> None:
    tags = definitions.resolve_job_def(name).tags
    assert ("loan_default/alone" in tags) == (name in ALONE)


@pytest.mark.parametrize("name", RUNS)
def test_only_a_batch_is_tried_again_by_dagster_and_each_run_ends(definitions: dg.Definitions, name: str) -> None:
    job = definitions.resolve_job_def(name)
    tries = {key: value for key, value in job.tags.items() if key.startswith("dagster/")}
    again = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
    assert ({*again.items()} <= {*tries.items()}) == (name in OF_A_BATCH), "of retrainings the policy decides"
    step = job.get_retry_policy_for_handle(next(iter(job.graph.iterate_node_handles())))
    assert (step is not None) == (name in OF_A_BATCH)
    assert ("dagster/max_runtime" in tries) == (name not in TRAINING_JOBS), "the others end by dagster.yaml"


def test_a_person_who_waits_is_told_at_once(tmp_path: Path) -> None:
    for job in build_jobs(Tracking("sqlite://", str(tmp_path)), patient=False):
        assert job.op_retry_policy is None


def test_a_new_home_has_dagster_keep_to_what_the_jobs_say(tmp_path: Path) -> None:
    with own_environment():
        os.environ.pop("DAGSTER_HOME", None)
        prepare_process(Settings(home=tmp_path))
        with dg.DagsterInstance.get() as instance:
            assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 0)
            assert instance.run_monitoring_max_runtime_seconds == 86_400
            queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    counter = TagConcurrencyLimitsCounter(queue.tag_concurrency_limits, [run_of("a")])
    assert [counter.is_blocked(run_of(batch)) for batch in "ab"] == [True, False]


def run_of(batch: str) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="batch_prediction_job", tags={"dagster/partition": batch})


@pytest.mark.parametrize("name", RUNS)
def test_a_job_tells_mlflow_of_a_failure(definitions: dg.Definitions, name: str) -> None:
    assert {hook.name for hook in definitions.resolve_job_def(name).hook_defs} >= {"fail_mlflow_run"}


def test_no_job_is_forgotten(tmp_path: Path) -> None:
    assert {job.name for job in build_jobs(Tracking("sqlite://", str(tmp_path)))} == RUNS.keys()
