"""The server's counts for Prometheus: requests, latency, PDs, decisions, versions, swaps, lost log rows.

With several workers the counts are those of all of them; prometheus_client keeps them in files of one folder, which
`PROMETHEUS_MULTIPROC_DIR` names before this module is imported.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Iterable, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from loan_default.risk.model.scorer import DECISIONS

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


class Metrics:
    """Counters of one worker."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        self._requests = Counter(
            "loan_default_requests", "Requests by route and status.", ["route", "code"], registry=own
        )
        self.latency = _Bulk(
            "loan_default_request_seconds", "Time to answer /invocations.", buckets=_LATENCY_BUCKETS, registry=own
        )
        self.rows = Counter("loan_default_rows", "Applications that were scored.", registry=own)
        self._pd = _Bulk(
            "loan_default_pd", "Probability of default of what was scored.", buckets=_PD_BUCKETS, registry=own
        )
        decided = Counter("loan_default_decisions", "Decisions by kind.", ["decision"], registry=own)
        self._decided = {decision: decided.labels(decision) for decision in DECISIONS}
        self.version = Gauge(
            "loan_default_model_version", "Version by alias.", ["alias"], registry=own, multiprocess_mode="min"
        )
        self.swaps = Gauge(
            "loan_default_swaps", "Versions swapped in since start.", ["alias"], registry=own, multiprocess_mode="sum"
        )
        self.swap_failures = Gauge(
            "loan_default_swap_failures",
            "Versions that could not be loaded.",
            ["alias"],
            registry=own,
            multiprocess_mode="sum",
        )
        self.log_dropped = Gauge(
            "loan_default_log_dropped_rows",
            "Scored rows that the prediction log does not hold.",
            registry=own,
            multiprocess_mode="sum",
        )

    def count_requests(self, requests: Iterable[tuple[str, int]], seconds: Sequence[float]) -> None:
        """Count requests by route and status, and how long scoring ones took."""
        for (route, status), count in Counts(requests).items():
            self._requests.labels(route, str(status)).inc(count)
        self.latency.observe_all(seconds)

    def count_scores(self, pds: Sequence[float], decisions: Iterable[str]) -> None:
        """Count PDs and decisions that were answered."""
        self.rows.inc(len(pds))
        self._pd.observe_all(pds)
        for decision, count in Counts(decisions).items():
            self._decided[decision].inc(count)

    def text(self) -> bytes:
        """Write Prometheus' text form, of all workers where there are several."""
        registry = self._registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
