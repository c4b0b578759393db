"""What the server counts: many values at once as one by one, counters that only grow, workers that have died."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from loan_default.risk.model.scorer import Predictions
from loan_default.serving.connection import CROWDED, Connections
from loan_default.serving.follower import FollowedAlias
from loan_default.serving.log_status import LogStatus
from loan_default.serving.metrics import Metrics
from loan_default.serving.work_queue import QueueLimits, WorkQueue

if TYPE_CHECKING:
    from loan_default.serving.served_model import ServedModel

VALUES = st.lists(st.one_of(st.floats(0, 20), st.sampled_from([0.0002, 0.001, 10.0])), max_size=20)


def samples(text: str) -> dict[str, float]:
    """Return the value of each series of Prometheus' text, by its name and labels as written there."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def predictions(pds: list[float], decisions: list[str]) -> Predictions:
    return Predictions(pds, [0] * len(pds), decisions, [[]] * len(pds), [[]] * len(pds))


def served(version: int) -> "ServedModel":
    return cast("ServedModel", SimpleNamespace(version=version))


@given(VALUES)
def test_many_values_fall_into_the_buckets_of_each(values: list[float]) -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.count_requests([], [(200, value) for value in values])
    bounds = metrics.latency._upper_bounds
    plain = Histogram("one_by_one", "Each by itself.", buckets=bounds, registry=registry)
    for value in values:
        plain.observe(value)
    ours, expected = ({s.labels.get("le"): s.value for s in next(iter(h.collect())).samples if "bucket" in s.name}
                      for h in (metrics.latency, plain))  # fmt: skip
    assert ours == expected
    assert f"loan_default_request_seconds_count {len(values):.1f}" in metrics.text().decode()


def test_requests_and_decisions_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics.count_requests([("/ping", 200), ("/invocations", 400), ("/ping", 200)], [(400, 0.1)])
    metrics.count_scores(
        [
            (1, predictions([0.1, 0.5], ["approve", "decline"])),
            (2, predictions([0.6], ["decline"])),
            (1, predictions([0.7], ["decline"])),
        ]
    )
    counts = samples(metrics.text().decode())
    assert counts['loan_default_requests_total{code="200",route="/ping"}'] == 2
    assert counts['loan_default_requests_total{code="400",route="/invocations"}'] == 1
    assert counts['loan_default_scoring_requests_total{code="400"}'] == 1
    assert counts['loan_default_decisions_total{decision="decline",version="1"}'] == 2
    assert counts['loan_default_decisions_total{decision="review",version="1"}'] == 0
    assert (counts['loan_default_rows_total{version="1"}'], counts['loan_default_rows_total{version="2"}']) == (3, 1)
    assert counts['loan_default_pd_bucket{le="0.5",version="1"}'] == 2


def test_what_an_alert_watches_stands_at_zero_before_it_happens() -> None:
    metrics = Metrics()
    metrics.update([FollowedAlias("production")], dropped=0)
    counts = samples(metrics.text().decode())
    for series in (
        'loan_default_scoring_requests_total{code="500"}',
        'loan_default_scoring_requests_total{code="503"}',
        'loan_default_swap_failures_total{alias="production"}',
        "loan_default_log_dropped_rows_total",
        "loan_default_malformed_requests_total",
        "loan_default_access_log_dropped_lines_total",
    ):
        assert counts[series] == 0


def test_versions_are_gauges_and_what_happened_to_them_counters() -> None:
    metrics, followed = Metrics(), FollowedAlias("production")
    metrics.update([followed], dropped=0)
    since = samples(metrics.text().decode())['loan_default_registry_last_answer_timestamp_seconds{alias="production"}']
    assert since > 1e9
    followed.model, followed.registry_version, followed.answered_at = served(7), 8, 2e9
    followed.swaps, followed.failures = 3, 2
    for _ in range(2):  # as two scrapes: what was counted once is not counted again
        metrics.update([followed], dropped=5)
    text = metrics.text().decode()
    counts = samples(text)
    assert counts['loan_default_model_version{alias="production"}'] == 7
    assert counts['loan_default_registry_version{alias="production"}'] == 8
    assert counts['loan_default_registry_last_answer_timestamp_seconds{alias="production"}'] == 2e9
    assert counts['loan_default_swaps_total{alias="production"}'] == 3
    assert counts['loan_default_swap_failures_total{alias="production"}'] == 2
    assert counts["loan_default_log_dropped_rows_total"] == 5
    kinds = {metric.name: metric.type for metric in text_string_to_metric_families(text)}
    names = ("swaps", "swap_failures", "log_dropped_rows", "malformed_requests", "access_log_dropped_lines")
    assert {kinds[f"loan_default_{name}"] for name in names} == {"counter"}
    assert not [name for name in kinds if name.endswith("_created")]


def test_the_process_and_the_release_are_named() -> None:
    counts = samples(Metrics().text().decode())
    assert counts[f'process_resident_memory_bytes{{pid="{os.getpid()}"}}'] > 1e7
    assert [name for name in counts if name.startswith("loan_default_build_info{")]


def test_what_the_process_has_done_that_makes_files_of_the_log_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = LogStatus(None, 3, os.getpid(), starts=2, files=5, rows=70, failures=4)
    figures = {"process_up": 1, "damaged_rows": 3, "process_starts_total": 2, "files_total": 5}
    figures |= {"stored_rows_total": 70, "failures_total": 4}
    for folder in ("", str(tmp_path)):  # one worker, and one of several
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", folder)
        counts = samples(Metrics(lambda: status).text().decode())
        assert {name: counts[f"loan_default_log_{name}"] for name in figures} == figures
    assert samples(Metrics().text().decode())["loan_default_log_process_up"] == 0


# --- several workers


def _work(version: int, ready: "multiprocessing.synchronize.Event") -> None:
    """Be a worker that serves `version` and has scored a row."""
    metrics = Metrics()
    metrics.update([FollowedAlias("production", model=served(version), swaps=1)], dropped=1)
    metrics.in_flight.inc()
    metrics.count_scores([(version, predictions([0.2], ["approve"]))])
    ready.set()
    signal.pause()


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[multiprocessing.process.BaseProcess]]:
    """Two workers that serve versions 1 and 2 and share `tmp_path`."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))  # read when prometheus_client is loaded
    context = multiprocessing.get_context("spawn")
    ready = [context.Event() for _ in range(2)]
    processes = [context.Process(target=_work, args=(1 + n, ready[n]), daemon=True) for n in range(2)]
    for process, event in zip(processes, ready, strict=True):
        process.start()
        assert event.wait(60)
    yield [*processes]
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.integration
def test_counters_outlive_a_worker_and_its_gauges_do_not(
    workers: list[multiprocessing.process.BaseProcess], tmp_path: Path
) -> None:
    both = samples(Metrics().text().decode())
    assert both["loan_default_requests_in_flight"] == 2
    assert both['loan_default_model_version{alias="production"}'] == 1  # the lowest
    assert {f'process_start_time_seconds{{pid="{worker.pid}"}}' for worker in workers} <= both.keys()
    workers[0].kill()
    workers[0].join()
    figures = samples(Metrics().text().decode())
    assert figures["loan_default_requests_in_flight"] == 1
    assert figures['loan_default_model_version{alias="production"}'] == 2
    assert f'process_start_time_seconds{{pid="{workers[0].pid}"}}' not in figures
    assert (
        figures['loan_default_swaps_total{alias="production"}'] == figures["loan_default_log_dropped_rows_total"] == 2
    )
    assert figures['loan_default_rows_total{version="1"}'] == 1
    assert not [*tmp_path.glob(f"gauge_live*_{workers[0].pid}.db")]


def test_connections_the_queue_and_the_access_log_are_shown() -> None:
    async def text() -> dict[str, float]:
        metrics, connections, queue = Metrics(), Connections(), WorkQueue(QueueLimits())
        connections.closed.update({CROWDED: 2})
        queue.waiting = 3
        metrics.update_connections(connections, queue, 7)
        connections.closed.update({CROWDED: 1})
        metrics.update_connections(connections, queue, 9)
        return samples(metrics.text().decode())

    figures = asyncio.run(text())
    assert figures['loan_default_connections_closed_total{reason="crowded"}'] == 3
    assert figures['loan_default_connections_closed_total{reason="idle"}'] == 0
    assert (figures["loan_default_connections"], figures["loan_default_requests_in_flight"]) == (0, 3)
    assert figures["loan_default_access_log_dropped_lines_total"] == 9
