"""Which assets each job runs, and that all of them tell MLflow of a failure."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from loan_default.adapters.tracking import Tracking
from loan_default.defs.book import BookNames
from loan_default.defs.jobs import build_jobs
from loan_default.homes import prepare_process
from loan_default.settings import Settings
from loan_default_tests.homes import dagster_of, definitions_of, own_environment
from loan_default_tests.queues import ask, begin, end

pytestmark = pytest.mark.integration  # a queue over run storage on disk

OUTCOMES = {"loan_outcomes", "rejected_outcomes", "outcomes_report"}
CLEANING = OUTCOMES | {"cleaned_loans", "rejected_loans", "cleaning_report", "loan_splits"}
TRAINING = CLEANING | {"tuned_params", "trained_model"}
REGISTRY = {"model_evaluation", "strategy_report", "promoted_model", "model_card"}
SCORING = {"application_batch", "rejected_applications", "application_report", "predictions"}
RUNS = {
    "cleaning_job": CLEANING,
    "tuning_job": CLEANING | {"tuned_params"},
    "training_job": TRAINING,
    "promotion_job": REGISTRY,
    "full_pipeline_job": TRAINING | REGISTRY,
    "performance_job": OUTCOMES | {"performance_report"},
    "backtest_job": {"backtest"},
    "provision_job": {"provision_report"},
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
    for job in build_jobs(Tracking("sqlite://", str(tmp_path)), BookNames(), retries=False):
        assert job.op_retry_policy is None


def test_a_new_home_has_dagster_keep_to_what_the_jobs_say(tmp_path: Path) -> None:
    with own_environment():
        os.environ.pop("DAGSTER_HOME", None)
        prepare_process(Settings(home=tmp_path))
        with dg.DagsterInstance.get() as instance:
            assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 0)
            assert instance.run_monitoring_max_runtime_seconds == 86_400


# --- the queue of a new home ----------------------------------------------------------------------------------


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_of(Settings(home=tmp_path)) as opened:
        yield opened


def test_a_training_goes_before_the_batches_that_wait(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("batch_prediction_job")
    first, second = (ask(instance, job, batch=batch) for batch in "ab")
    training, again = (ask(instance, definitions.resolve_job_def("full_pipeline_job")) for _ in range(2))
    assert begin(instance) == [training, first], "two runs at a time, one training"
    end(instance, training)
    assert begin(instance) == [again]
    end(instance, first)
    assert begin(instance) == [second]


def test_one_run_of_a_batch_goes_at_a_time(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    job = definitions.resolve_job_def("batch_prediction_job")
    first, _, other = (ask(instance, job, batch=batch) for batch in "aab")
    assert begin(instance) == [first, other]


@pytest.mark.parametrize("name", ["tuned_params", "trained_model"])
def test_a_heavy_step_waits_for_a_training_though_no_job_is_run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, name: str
) -> None:
    training = ask(instance, definitions.resolve_job_def("training_job"))
    assert begin(instance) == [training]  # Dagster learns of the pool here, and limits it from the next look on
    assets = definitions.resolve_implicit_global_asset_job_def()  # what "Materialize" runs; it has no job's tags
    heavy = ask(instance, assets, asset_selection=frozenset({dg.AssetKey(name)}))
    light = ask(instance, assets, asset_selection=frozenset({dg.AssetKey("model_card")}))
    assert begin(instance) == [light]
    end(instance, training)
    assert begin(instance) == [heavy]


@pytest.mark.parametrize("name", RUNS)
def test_a_job_tells_mlflow_of_a_failure(definitions: dg.Definitions, name: str) -> None:
    assert {hook.name for hook in definitions.resolve_job_def(name).hook_defs} >= {"fail_mlflow_run"}


def test_no_job_is_forgotten(tmp_path: Path) -> None:
    assert {job.name for job in build_jobs(Tracking("sqlite://", str(tmp_path)), BookNames())} == RUNS.keys()
