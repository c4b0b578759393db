"""Jobs: each is a selection of assets with its tags, and with the hooks that see to it if it fails or dies.

What an asset does is said in `assets`; what requests a job, in `sensors` and `schedules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from loan_default.adapters.tracking import Tracking
from loan_default.defs.book import BookNames
from loan_default.defs.lost_runs import run_lock_hook
from loan_default.defs.mlflow_run import mlflow_failure_hook

if TYPE_CHECKING:  # what define_asset_job returns; Dagster does not export it
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Outcome files say since when endings were known: what is cleaned takes in those that lie there now.
_OUTCOMES = dg.AssetSelection.groups("outcomes")
_DATA = dg.AssetSelection.groups("data").materializable() | _OUTCOMES
_TRAINING = _DATA | dg.AssetSelection.groups("training")
_REGISTRY = dg.AssetSelection.groups("registry")
_MONITORING = dg.AssetSelection.groups("monitoring")
_BATCH = dg.AssetSelection.groups("scoring") | _MONITORING

# The tag of runs that write the same records: `dagster.yaml` lets one run of each value go at a time.
ALONE = "loan_default/alone"
# Takes the next free slot: a training does not wait until 500 batches are scored again.
_BEFORE_BATCHES = {"dagster/priority": "1"}
_OF_A_TRAINING = {ALONE: "training"}
# Longer than any run takes: one that is still under way has lost its machine.
_OF_A_REPORT = {ALONE: "performance", "dagster/max_runtime": "7200"}
_OF_A_SERVER = {"dagster/max_runtime": "1800"}
# A batch that failed for a reason that may pass is tried again: by Dagster where the run was killed, else step by step,
# here. What a person has to mend (`user_errors`) is not.
_OF_A_BATCH = {
    "dagster/max_runtime": "7200",
    "dagster/max_retries": "2",
    "dagster/retry_on_asset_or_op_failure": "false",
}
_RETRIES = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL)


@dataclass(frozen=True)
class Job:
    """The assets of a job, what it is for, the tags of its runs, and whether each run is of a batch."""

    selection: dg.AssetSelection
    description: str
    tags: Mapping[str, str] = field(default_factory=lambda: _OF_A_TRAINING)
    of_a_batch: bool = False


JOBS: Mapping[str, Job] = {
    "cleaning_job": Job(_DATA, "Clean the loan file and cut it into windows."),
    "tuning_job": Job(_DATA | dg.AssetSelection.kind("optuna"), "Clean, split and search for parameters."),
    "training_job": Job(_TRAINING, "From the loan file to a new version of the model (staging)."),
    "promotion_job": Job(_REGISTRY, "Measure the newest version, decide on it and write its card."),
    "full_pipeline_job": Job(_TRAINING | _REGISTRY, "From the loan file to a decision on a new version."),
    "retraining_job": Job(
        _TRAINING | _REGISTRY,
        "As full_pipeline_job, asked for by drift or a degradation; what drifted is scored again after a promotion.",
    ),
    "performance_job": Job(
        _OUTCOMES | dg.AssetSelection.groups("performance"),
        "Hold what was predicted against the outcomes that came in.",
        _OF_A_REPORT,
    ),
    "backtest_job": Job(
        dg.AssetSelection.groups("backtest"),
        "Develop as of past months, and judge by the loans that came after.",
    ),
    "provision_job": Job(
        dg.AssetSelection.groups("provision"),
        "Compute what open loans are expected to lose, by the version in production.",
    ),
    "serving_job": Job(
        dg.AssetSelection.groups("serving"),
        "Have the scoring server answer by the version in production.",
        _OF_A_SERVER,
    ),
    "batch_prediction_job": Job(
        _BATCH,
        "Score one batch of applications and compare it with the training population.",
        _OF_A_BATCH,
        of_a_batch=True,
    ),
    "monitoring_job": Job(
        _MONITORING, "Compare one scored batch with the training population.", _OF_A_BATCH, of_a_batch=True
    ),
}
ASSET_JOB = "__ASSET_JOB"  # Dagster's, of assets that are run without one of these


def build_jobs(tracking: Tracking, names: BookNames, *, retries: bool = True) -> list[UnresolvedAssetJobDefinition]:
    """Define every job; without `retries` a step of a batch that failed is not tried again, as a person waits."""
    hooks = {mlflow_failure_hook(tracking), run_lock_hook}
    return [
        dg.define_asset_job(
            name,
            job.selection,
            description=job.description,
            hooks=hooks,
            tags={**({} if job.of_a_batch else _BEFORE_BATCHES), **job.tags, **names.tags},
            op_retry_policy=_RETRIES if job.of_a_batch and retries else None,
        )
        for name, job in JOBS.items()
    ]
