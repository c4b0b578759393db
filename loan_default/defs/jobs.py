"""Jobs: each is a selection of assets with its tags, and with the hooks that see to it if it fails or dies.

What an asset does is said in `assets`; what requests a job, in `sensors` and `schedules`.
"""

from typing import TYPE_CHECKING

import dagster as dg

from loan_default.adapters.tracking import Tracking
from loan_default.defs.book import BookNames
from loan_default.defs.lost_runs import run_lock_hook
from loan_default.defs.mlflow_run import mlflow_failure_hook

if TYPE_CHECKING:  # what define_asset_job returns; Dagster does not export it
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_DATA = dg.AssetSelection.groups("data").materializable()
_TRAINING = _DATA | dg.AssetSelection.groups("training")
_REGISTRY = dg.AssetSelection.groups("registry")
_MONITORING = dg.AssetSelection.groups("monitoring")
_BATCH = dg.AssetSelection.groups("scoring") | _MONITORING

_JOBS: dict[str, tuple[dg.AssetSelection, str]] = {
    "cleaning_job": (_DATA, "Clean the loan file and cut it into windows."),
    "tuning_job": (_DATA | dg.AssetSelection.kind("optuna"), "Clean, split and search for parameters."),
    "training_job": (_TRAINING, "From the loan file to a new version of the model (staging)."),
    "promotion_job": (_REGISTRY, "Measure the newest version, decide on it and write its card."),
    "full_pipeline_job": (_TRAINING | _REGISTRY, "From the loan file to a decision on a new version."),
    "retraining_job": (
        _TRAINING | _REGISTRY,
        "As full_pipeline_job, asked for by drift or a degradation; what drifted is scored again after a promotion.",
    ),
    "performance_job": (
        dg.AssetSelection.groups("performance"),
        "Hold what was predicted against the outcomes that came in.",
    ),
    "backtest_job": (
        dg.AssetSelection.groups("backtest"),
        "Develop as of past months, and judge by the loans that came after.",
    ),
    "provision_job": (
        dg.AssetSelection.groups("provision"),
        "Compute what open loans are expected to lose, by the version in production.",
    ),
    "serving_job": (
        dg.AssetSelection.groups("serving"),
        "Have the scoring server answer by the version in production.",
    ),
}
_BATCH_JOBS: dict[str, tuple[dg.AssetSelection, str]] = {
    "batch_prediction_job": (_BATCH, "Score one batch of applications and compare it with the training population."),
    "monitoring_job": (_MONITORING, "Compare one scored batch with the training population."),
}

# Of every job; the last is of assets that are run without one.
JOB_NAMES = (*_JOBS, *_BATCH_JOBS, "__ASSET_JOB")

# The tag of runs that write the same records: `dagster.yaml` lets one run of each value go at a time.
ALONE = "loan_default/alone"
# Takes the next free slot: a training does not wait until 500 batches are scored again.
_BEFORE_BATCHES = {"dagster/priority": "1"}
# Longer than any run takes: one that is still under way has lost its machine.
_TAGS = {
    "performance_job": {ALONE: "performance", "dagster/max_runtime": "7200"},
    "serving_job": {"dagster/max_runtime": "1800"},
}
_OF_A_TRAINING = {ALONE: "training"}
# A batch that failed for a reason that may pass is tried again: by Dagster where the run was killed, else step by step,
# here. What a person has to mend (`user_errors`) is not.
_OF_A_BATCH = {
    "dagster/max_runtime": "7200",
    "dagster/max_retries": "2",
    "dagster/retry_on_asset_or_op_failure": "false",
}
_RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL)


def build_jobs(tracking: Tracking, names: BookNames, *, patient: bool = True) -> list["UnresolvedAssetJobDefinition"]:
    """Define every job; one that is not patient fails at once, as a person waits for it."""
    hooks = {mlflow_failure_hook(tracking), run_lock_hook}
    jobs = [
        dg.define_asset_job(
            name,
            selection,
            description=description,
            hooks=hooks,
            tags=_BEFORE_BATCHES | _TAGS.get(name, _OF_A_TRAINING) | names.tags,
        )
        for name, (selection, description) in _JOBS.items()
    ]
    batch_jobs = [
        dg.define_asset_job(
            name,
            selection,
            description=description,
            hooks=hooks,
            tags=_OF_A_BATCH | names.tags,
            op_retry_policy=_RETRIES if patient else None,
        )
        for name, (selection, description) in _BATCH_JOBS.items()
    ]
    return [*jobs, *batch_jobs]
