"""The sensor of lost runs: it ends the runs whose process has died, in Dagster and in MLflow.

How a death is noticed is `adapters.run_lock`'s; the lock itself is held by `defs.lost_runs`.
"""

from __future__ import annotations

import dagster as dg

from loan_default.defs.lost_runs import RunLockResource
from loan_default.defs.mlflow_run import settle_lost_runs
from loan_default.defs.resources import ModelRegistryResource
from loan_default.defs.sensors.ticks import Result, explain_skips


@explain_skips
def evaluate(
    context: dg.SensorEvaluationContext, model_registry: ModelRegistryResource, run_lock: RunLockResource
) -> Result:
    """End the runs whose process was killed or went down with its machine, here and in MLflow: others wait for them."""
    lost_runs = run_lock.end_lost_runs(context.instance)
    settle_lost_runs(context.instance, model_registry.tracking)
    if not lost_runs:
        return dg.SkipReason("Every run that is under way lives.")
    return dg.SkipReason(" ".join(f"{run.job_name} had died (run {run.run_id})." for run in lost_runs))
