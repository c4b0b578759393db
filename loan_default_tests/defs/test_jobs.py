"""Which assets each job runs, and that all of them tell MLflow of a failure."""

from pathlib import Path

import dagster as dg
import pytest

from loan_default.adapters.tracking import Tracking
from loan_default.defs.jobs import build_jobs
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of

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
    "serving_job": {"model_server"},
    "batch_prediction_job": SCORING | {"drift_report"},
    "monitoring_job": {"drift_report"},
    "retraining_job": TRAINING | REGISTRY,
}
OF_A_BATCH = {"batch_prediction_job", "monitoring_job"}
ALONE = RUNS.keys() - OF_A_BATCH - {"serving_job"}


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
def test_a_job_tells_mlflow_of_a_failure(definitions: dg.Definitions, name: str) -> None:
    assert {hook.name for hook in definitions.resolve_job_def(name).hook_defs} == {"fail_mlflow_run"}


def test_no_job_is_forgotten(tmp_path: Path) -> None:
    assert {job.name for job in build_jobs(Tracking("sqlite://", str(tmp_path)))} >= RUNS.keys()
