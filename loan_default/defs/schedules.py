"""Schedules: a training every week, and each day whatever a sensor may have missed.

When each is due is said here; what is done then is a job's, and what waits is read from Dagster's own records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from loan_default.adapters.layout import DRIFT_REPORT, PREDICTIONS
from loan_default.defs.book import BookNames

_WEEKLY, _DAILY, _DAILY_LATER = "0 3 * * 1", "0 5 * * *", "0 6 * * *"


def build_schedules(
    jobs: Mapping[str, Any], names: BookNames, *, running: bool, time_zone: str
) -> list[dg.ScheduleDefinition]:
    """Define every schedule; running from the start, or once a person starts it."""
    options: dict[str, Any] = {
        "execution_timezone": time_zone,
        "default_status": dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
    }

    @dg.schedule(
        name="weekly_training",
        job=jobs["full_pipeline_job"],
        cron_schedule=_WEEKLY,
        description="Every Monday at 3:00: train on the loan file, and decide on the new version.",
        **options,
    )
    def weekly_training(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}")

    @dg.schedule(
        name="daily_batch_prediction",
        job=jobs["batch_prediction_job"],
        cron_schedule=_DAILY,
        description="Every day at 5:00: score the batches that a sensor registered and no run has scored.",
        **options,
    )
    def daily_batch_prediction(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return [*_requests(context, names, PREDICTIONS, after=None)] or dg.SkipReason("Every batch is scored.")

    @dg.schedule(
        name="daily_monitoring",
        job=jobs["monitoring_job"],
        cron_schedule=_DAILY_LATER,
        description="Every day at 6:00: compare the batches that were scored and not compared yet.",
        **options,
    )
    def daily_monitoring(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        requests = [*_requests(context, names, DRIFT_REPORT, after=PREDICTIONS)]
        return requests or dg.SkipReason("Every scored batch was compared with the training population.")

    return [weekly_training, daily_batch_prediction, daily_monitoring]


def _requests(
    context: dg.ScheduleEvaluationContext, names: BookNames, asset: str, *, after: str | None
) -> Iterator[dg.RunRequest]:
    """Request a run for each registered batch that has no such asset, but has `after`."""
    instance = context.instance
    materialized = instance.get_materialized_partitions(names.key(asset))
    registered = instance.get_dynamic_partitions(str(names.batches.name))
    ready = instance.get_materialized_partitions(names.key(after)) if after else set(registered)
    for batch in registered:
        if batch in ready and batch not in materialized:
            yield dg.RunRequest(run_key=f"{batch}-{context.scheduled_execution_time:%Y-%m-%d}", partition_key=batch)
