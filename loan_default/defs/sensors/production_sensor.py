"""The sensor of production: it has the scoring server answer by the version in production.

Starting the server is the asset `model_server`'s; where another service runs it, that service starts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

import dagster as dg

from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs.resources import ClockResource, ModelRegistryResource, ScoringServerResource, StorageResource
from loan_default.defs.run_tags import REASON_TAG, VERSION_TAG
from loan_default.defs.sensors.ticks import MAX_RUNS, UNDER_WAY, Result, explain_skips

if TYPE_CHECKING:
    from loan_default.adapters.scoring_server import Health

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=30)  # before a server is started again


@explain_skips
def evaluate(
    context: dg.SensorEvaluationContext,
    storage: StorageResource,
    model_registry: ModelRegistryResource,
    scoring_server: ScoringServerResource,
    clock: ClockResource,
) -> Result:
    """Have the server answer by the version in production: also after a rollback by hand, also after its death."""
    production = model_registry.tracking.version_of(PRODUCTION)
    if production is None:
        return dg.SkipReason("No version is in production.")
    version = production.version
    runs = storage.names.runs(context.instance, MAX_RUNS, job_name="serving_job")
    if any(run.dagster_run.status in UNDER_WAY for run in runs):
        return dg.SkipReason("serving_job is under way.")
    health = scoring_server.server.health()
    if health is not None and health.serves(version) and _verified(runs, version):
        return dg.SkipReason(f"The server answers by version {version}.")
    if health is None and scoring_server.supervised:
        return dg.SkipReason(f"No server answers at {scoring_server.url}; the service that runs it has to start it.")
    if (pause_ends := end_of_pause(runs, clock.now())) is not None:
        return dg.SkipReason(f"The last tries to serve failed; the next is at {pause_ends:%Y-%m-%d %H:%M:%S %Z}.")
    run_key = f"version-{version}-after-{runs[0].dagster_run.run_id if runs else 'none'}"
    tags = {VERSION_TAG: str(version), REASON_TAG: _reason(health, version)}
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=run_key, tags=tags)])


def _verified(runs: Sequence[dg.RunRecord], version: int) -> bool:
    """Tell whether in the last run the server answered its canary by this version."""
    if not runs or runs[0].dagster_run.status is not dg.DagsterRunStatus.SUCCESS:
        return False
    return runs[0].dagster_run.tags.get(VERSION_TAG) == str(version)


def _reason(health: Health | None, version: int) -> str:
    if health is None:
        return "no server answered"
    answer = f"the server answered by version {health.version}"
    return f"{answer}; version {version} is in production" if health.version != version else answer


def end_of_pause(runs: Sequence[dg.RunRecord], now: datetime) -> datetime | None:
    """Return when the server may be tried again, if not now: after each failure in a row the pause doubles.

    A failure that lies ahead shows that the clock was set back; nobody waits until that time comes again.

    Args:
        runs: of serving_job, newest first.
        now: in UTC.
    """
    failures = sum(1 for _ in takewhile(lambda run: run.dagster_run.status is not dg.DagsterRunStatus.SUCCESS, runs))
    if not failures:
        return None
    pause = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE)
    failed_at = runs[0].create_timestamp.astimezone(UTC)
    return failed_at + pause if failed_at <= now < failed_at + pause else None
