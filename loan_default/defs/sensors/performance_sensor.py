"""The sensor of performance: it requests a new report when outcome files have come in, and each day.

Reading outcomes and measuring are assets; whether files are still written is seen by their signature.
"""

from __future__ import annotations

import dagster as dg

from loan_default.adapters.file_listing import list_files, signature
from loan_default.defs.resources import ClockResource, StorageResource
from loan_default.defs.sensors.ticks import Result, explain_skips


@explain_skips
def evaluate(context: dg.SensorEvaluationContext, storage: StorageResource, clock: ClockResource) -> Result:
    """Measure again when outcome files have come in whole, and each day, as applications are scored without pause."""
    outcome_files = list_files(storage.layout.outcomes)
    if not outcome_files and not list_files(storage.layout.prediction_history):
        return dg.SkipReason("Nothing is predicted yet, and no outcomes are in.")
    files, cursor = signature(outcome_files), context.cursor or ""
    run_key = f"{files}-{clock.now():%Y-%m-%d}"
    if cursor == run_key:
        return dg.SkipReason("Today's report is asked for; it is made again when outcome files come in, and tomorrow.")
    if outcome_files and not cursor.startswith(files):
        return dg.SensorResult(skip_reason="Outcome files may still be written.", cursor=files)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=run_key)], cursor=run_key)
