"""The platform's metrics for Prometheus: runs, daemons, batches and verdicts, read from what is recorded already.

The scoring server has metrics of its own, in `serving.metrics`; they tell of requests, these of what Dagster, MLflow
and the storage hold. Which of it raises an alert is `docker/observability`'s.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from loan_default.operations.status import Status, read_status
from loan_default.risk.errors import BadInput
from loan_default.risk.monitoring.verdicts import DriftWord, PerformanceWord
from loan_default.settings import Settings

if TYPE_CHECKING:
    from threading import Thread

    import dagster as dg

    from loan_default.defs.instance_status import InstanceStatus

log = logging.getLogger(__name__)

_ENDS = ("success", "failure", "canceled")
_BATCH_STATES = ("failed", "refused", "waiting")


def write_metrics(settings: Settings) -> str:
    """Write Prometheus' text form of how the platform stands now.

    Raises:
        TrackingError: the registry cannot be asked.
        BadInput: Dagster's records cannot be read.
    """
    return generate_latest(_registry(settings)).decode()


def serve_metrics(settings: Settings, host: str, port: int) -> Thread:
    """Answer each scrape with what is recorded then, in the thread that is returned.

    All is read once before, as the first reading imports Dagster and MLflow: ten times what a later one takes, and on a
    busy machine longer than Prometheus waits.

    Raises:
        BadInput: the address cannot be bound.
    """
    from loan_default.adapters.sockets import bind
    from loan_default.adapters.tracking import TrackingError

    bind(host, port).close()

    try:
        write_metrics(settings)
    except (BadInput, TrackingError) as error:  # whose remedy may come while scrapes fail
        log.warning("%s", error)
    _, thread = start_http_server(port, host, _registry(settings))
    return thread


def _registry(settings: Settings) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PlatformCollector(settings))
    return registry


class PlatformCollector(Collector):
    """Reads everything anew for each scrape; what cannot be read fails the scrape, which Prometheus shows as `up == 0`.

    Runs are those of the whole instance of Dagster, batches and versions those of the book.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to name the metrics beforehand would read everything."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        from loan_default.defs.instance import open_instance
        from loan_default.defs.instance_status import instance_status_of

        with open_instance(self._settings) as instance:  # once for all: opening takes longer than reading
            status = read_status(self._settings)
            yield from run_metrics(instance)
            yield from instance_metrics(instance_status_of(instance, self._settings))
        yield from status_metrics(status)


def run_metrics(instance: dg.DagsterInstance) -> Iterator[Metric]:
    """Yield how many runs of each job have ended how, and when one last succeeded."""
    import dagster as dg

    from loan_default.defs.jobs import ASSET_JOB, JOBS

    runs = CounterMetricFamily(
        "loan_default_runs", "Runs that have ended, by job and how.", labels=["dagster_job", "status"]
    )
    succeeded = GaugeMetricFamily(
        "loan_default_job_last_success_timestamp_seconds", "When a run of a job last succeeded.", labels=["dagster_job"]
    )
    for job in (*JOBS, ASSET_JOB):
        for end in _ENDS:  # also at 0: what appears at its first count has no increase
            ended = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus(end.upper())])
            runs.add_metric([job, end], instance.get_runs_count(ended))
        success = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(success, limit=1):
            succeeded.add_metric([job], record.end_time or 0)
    yield from (runs, succeeded)


def instance_metrics(status: InstanceStatus) -> Iterator[Metric]:
    """Yield how Dagster's instance does: runs under way, the queue, daemons, sensors."""
    yield GaugeMetricFamily("loan_default_runs_under_way", "Runs that have begun.", status.runs_under_way)
    queued_seconds = (datetime.now(UTC) - status.queued_since).total_seconds() if status.queued_since else 0
    yield GaugeMetricFamily("loan_default_queue_wait_seconds", "How long the first queued run waits.", queued_seconds)
    heartbeats = GaugeMetricFamily(
        "loan_default_daemon_last_heartbeat_timestamp_seconds",
        "When a daemon of Dagster was last alive, 0 for never.",
        labels=["daemon"],
    )
    for daemon in status.daemons:
        beat = daemon.last_heartbeat_at
        heartbeats.add_metric([daemon.name], beat.timestamp() if beat else 0)
    yield heartbeats
    failing = [instigator for instigator in status.instigators if instigator.error]
    yield GaugeMetricFamily("loan_default_failing_sensors", "Sensors and schedules that fail.", len(failing))


def status_metrics(status: Status) -> Iterator[Metric]:
    """Yield versions by alias, batches that are not scored, and the newest verdicts."""
    versions = GaugeMetricFamily(
        "loan_default_alias_version", "Version that the registry names for an alias, 0 for none.", labels=["alias"]
    )
    for version in status.versions:
        versions.add_metric([version.alias], version.version or 0)
    yield versions
    batches = GaugeMetricFamily("loan_default_batches", "Batches that are not scored, by why.", labels=["state"])
    states = Counter[str](batch.state for batch in status.batches)
    for state in _BATCH_STATES:
        batches.add_metric([state], len(status.waiting) if state == "waiting" else states[state])
    yield batches
    verdicts = [batch.verdict for batch in status.batches if batch.verdict]
    yield _verdict("loan_default_drift_verdict", "newest batch that was compared", get_args(DriftWord), verdicts[-1:])
    performance = [status.performance.verdict] if status.performance else []
    words = get_args(PerformanceWord)
    yield _verdict("loan_default_performance_verdict", "newest performance report", words, performance)


def _verdict(name: str, of: str, words: tuple[str, ...], verdicts: list[str]) -> Metric:
    metric = GaugeMetricFamily(name, f"1 for the verdict of the {of}, 0 for others.", labels=["verdict"])
    for word in words:
        metric.add_metric([word], word in verdicts)
    return metric
