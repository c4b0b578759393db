"""The server's metrics for Prometheus: what it answered and how quickly, PDs, versions, and what it lost.

With several workers they are those of all of them; prometheus_client keeps them in files of one folder, which
`PROMETHEUS_MULTIPROC_DIR` names before this module is imported. Gauges are of the workers that live. Which of it
raises an alert is `docker/observability`'s; what runs and batches came to is `operations.metrics`'s.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import loan_default
from loan_default.adapters.processes import is_alive
from loan_default.risk.model.scorer import DECISIONS, Predictions
from loan_default.serving.connection import CLOSED
from loan_default.serving.log_status import LogStatus

if TYPE_CHECKING:
    from loan_default.serving.connection import Connections
    from loan_default.serving.follower import FollowedAlias
    from loan_default.serving.work_queue import WorkQueue

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody asks for

# What appears at its first count has no increase: series that alerts watch stand at 0 before.
_WATCHED_CODES = ("200", "500", "503")
_LATENCY_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_PD_BUCKETS = tuple(index / 20 for index in range(1, 20))


class _Bulk(Histogram):
    """A histogram that takes many values at once: one step for each bucket they fall into, not for each value."""

    def observe_all(self, values: Sequence[float]) -> None:
        """Count the values."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, values))
        for index in np.flatnonzero(counts).tolist():
            self._buckets[index].inc(counts[index])
        self._sum.inc(sum(values))


class _Total:
    """A counter of what another part of the worker counts: it takes over by how much that has grown."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._last = counter, 0

    def update(self, total: int) -> None:
        self._counter.inc(total - self._last)
        self._last = total


class _AliasMetrics:
    """The metrics of one alias: its version, the registry's last answer, and swaps."""

    def __init__(self, metrics: Metrics, alias: str) -> None:
        self._version = metrics.version.labels(alias)
        self._registry_version = metrics.registry_version.labels(alias)
        self._registry_answer = metrics.registry_answer.labels(alias)
        self._registry_answer.set(time.time())  # a registry that never answers is away since the start
        self._swaps, self._failures = _Total(metrics.swaps.labels(alias)), _Total(metrics.swap_failures.labels(alias))

    def update(self, followed: FollowedAlias) -> None:
        self._version.set(followed.model.version if followed.model else 0)
        self._registry_version.set(followed.registry_version or 0)
        if followed.answered_at:
            self._registry_answer.set(followed.answered_at)
        self._swaps.update(followed.swaps)
        self._failures.update(followed.failures)


class Metrics:
    """Metrics of one worker."""

    def __init__(self, log_status: Callable[[], LogStatus] = LogStatus) -> None:
        """Count; `log_status` tells what the process has done that makes files of the log."""
        self._registry, self._log_status = CollectorRegistry(), log_status
        own = self._registry
        _Processes(own)
        _LogFiles(own, log_status)
        self._requests = Counter(
            "loan_default_requests", "Requests by route and status.", ["route", "code"], registry=own
        )
        self._scoring_requests = Counter(
            "loan_default_scoring_requests", "Requests to score, by whatever route, by status.", ["code"], registry=own
        )
        for code in _WATCHED_CODES:
            self._scoring_requests.labels(code)
        self.latency = _Bulk(
            "loan_default_request_seconds", "Time to answer a request to score.", buckets=_LATENCY_BUCKETS, registry=own
        )
        self.in_flight = Gauge(
            "loan_default_requests_in_flight",
            "Requests that wait for their answer.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.malformed = Counter("loan_default_malformed_requests", "Requests that are no HTTP.", registry=own)
        self._rows = Counter("loan_default_rows", "Applications that were scored.", ["version"], registry=own)
        self._pd = _Bulk(
            "loan_default_pd",
            "Probability of default of what was scored.",
            ["version"],
            buckets=_PD_BUCKETS,
            registry=own,
        )
        self._decisions = Counter("loan_default_decisions", "Decisions by kind.", ["version", "decision"], registry=own)
        self.what_if = Counter(
            "loan_default_what_if_rows",
            "Applications that were scored as a question.",
            registry=own,
        )
        self._define_version_metrics(own)
        self._define_log_metrics(own)
        self._define_connection_metrics(own)

    def _define_version_metrics(self, own: CollectorRegistry) -> None:
        self.version = Gauge(
            "loan_default_model_version",
            "Version that answers for an alias, 0 for none; the lowest of all workers.",
            ["alias"],
            registry=own,
            multiprocess_mode="livemin",
        )
        self.registry_version = Gauge(
            "loan_default_registry_version",
            "Version that the registry last named for an alias, 0 for none.",
            ["alias"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.registry_answer = Gauge(
            "loan_default_registry_last_answer_timestamp_seconds",
            "When the registry answered last, or the worker started; the earliest of all workers.",
            ["alias"],
            registry=own,
            multiprocess_mode="livemin",
        )
        self.swaps = Counter("loan_default_swaps", "Versions swapped in.", ["alias"], registry=own)
        self.swap_failures = Counter(
            "loan_default_swap_failures", "Versions that could not be loaded.", ["alias"], registry=own
        )
        self._build = Gauge(
            "loan_default_build_info",
            "Release of the platform and of Python.",
            ["version", "python"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self._aliases: dict[str, _AliasMetrics] = {}

    def _define_log_metrics(self, own: CollectorRegistry) -> None:
        dropped = Counter(
            "loan_default_log_dropped_rows", "Scored rows that the prediction log does not hold.", registry=own
        )
        self._log_dropped = _Total(dropped)
        self.log_lag = Gauge(
            "loan_default_log_lag_seconds",
            "Age of the oldest scored row that is not in the prediction log yet; the highest of all workers.",
            registry=own,
            multiprocess_mode="livemax",
        )
        access_dropped = Counter(
            "loan_default_access_log_dropped_lines", "Lines that the access log does not hold.", registry=own
        )
        self._access_dropped = _Total(access_dropped)

    def _define_connection_metrics(self, own: CollectorRegistry) -> None:
        self._connections = Gauge(
            "loan_default_connections", "Open connections.", registry=own, multiprocess_mode="livesum"
        )
        closed = Counter(
            "loan_default_connections_closed",
            "Connections that the server gave up: idle, crowded (by newer ones), or whose client reads nothing.",
            ["reason"],
            registry=own,
        )
        self._closed = {reason: _Total(closed.labels(reason)) for reason in CLOSED}

    def count_requests(self, requests: Iterable[tuple[str, int]], scoring: Sequence[tuple[int, float]]) -> None:
        """Count requests by route and status; of those to score also the status, and how many seconds they took."""
        for (route, status), count in Counts(requests).items():
            self._requests.labels(route, str(status)).inc(count)
        for status, count in Counts(status for status, _ in scoring).items():
            self._scoring_requests.labels(str(status)).inc(count)
        self.latency.observe_all([seconds for _, seconds in scoring])

    def count_scores(self, scored: Iterable[tuple[int, Predictions]]) -> None:
        """Count PDs and decisions that were answered, by version."""
        by_version: dict[int, list[Predictions]] = defaultdict(list)
        for version, predictions in scored:
            by_version[version].append(predictions)
        for version, parts in by_version.items():
            pds = [pd for part in parts for pd in part.pds]
            decided = Counts(chain.from_iterable(part.decisions for part in parts))
            self._rows.labels(str(version)).inc(len(pds))
            self._pd.labels(str(version)).observe_all(pds)
            for decision in DECISIONS:
                self._decisions.labels(str(version), decision).inc(decided[decision])

    def update(self, followed: Iterable[FollowedAlias], dropped: int) -> None:
        """Take over what the follower and the prediction log count; `dropped` rows since the start."""
        for alias in followed:
            if alias.alias not in self._aliases:
                self._aliases[alias.alias] = _AliasMetrics(self, alias.alias)
            self._aliases[alias.alias].update(alias)
        self._log_dropped.update(dropped)

    def update_connections(self, connections: Connections, queue: WorkQueue, dropped_lines: int) -> None:
        """Take over what the connections, the queue and the access log count."""
        self._connections.set(len(connections))
        self.in_flight.set(queue.waiting + queue.working)
        self._access_dropped.update(dropped_lines)
        for reason, total in self._closed.items():
            total.update(connections.closed[reason])

    def text(self) -> bytes:
        """Write Prometheus' text form, of all workers where there are several."""
        self._build.labels(loan_default.__version__, platform.python_version()).set(1)  # read late: it takes 40 ms
        registry = self._registry
        if folder := _shared_folder():
            registry = CollectorRegistry()
            _Processes(registry)
            _LogFiles(registry, self._log_status)
            multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _Processes(Collector):
    """The standard `process_*` metrics of each worker that lives, told apart by `pid`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all workers."""
        folder = _shared_folder()
        metrics: dict[str, Metric] = {}
        for pid in _live_workers(folder) if folder else [os.getpid()]:
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                merged = metrics.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                merged.samples += [sample._replace(labels={"pid": str(pid)}) for sample in metric.samples]
        yield from metrics.values()


class _LogFiles(Collector):
    """What the process that makes files of the log has done: one, whichever worker is asked."""

    def __init__(self, registry: CollectorRegistry, status: Callable[[], LogStatus]) -> None:
        self._status = status
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield its metrics, as it told of them last."""
        status, name = self._status(), "loan_default_log"
        up = "Whether the process that makes files of the prediction log lives."
        damaged = "Scored rows in segments of the journal that cannot be read, and so in no file of the prediction log."
        yield GaugeMetricFamily(f"{name}_process_up", up, status.is_up)
        yield GaugeMetricFamily(f"{name}_damaged_rows", damaged, status.damaged_rows)
        yield CounterMetricFamily(f"{name}_process_starts", "How often this process was started.", status.starts)
        yield CounterMetricFamily(f"{name}_files", "Files of the prediction log that it has stored.", status.files)
        yield CounterMetricFamily(f"{name}_stored_rows", "Scored rows that it has stored.", status.rows)
        yield CounterMetricFamily(f"{name}_failures", "Segments that the storage refused, each time.", status.failures)


def _shared_folder() -> Path | None:
    """Return where the workers of one server keep their metrics; None where there is one worker."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def _live_workers(folder: Path) -> list[int]:
    """Return the process ids of the workers that live; the gauges of the others are cleared away."""
    pids = {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}
    for pid in (living := {pid for pid in pids if is_alive(pid)}) ^ pids:
        multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    return sorted(living)
