"""Many batches at once under `dagster dev`: dropped into the inbox, and scored again from the UI.

It takes minutes: `make test-load` runs it, with as many files as LOAD_FILES says.
"""

import logging
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import httpx
import pytest

from loan_default_tests.homes import dagster_of
from loan_default_tests.loops import Loop, started_loop

FILES = int(os.environ.get("LOAD_FILES", "0"))
SECONDS_EACH = 60  # at most, on a busy machine

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FILES, reason="make test-load runs it"),
]

log = logging.getLogger(__name__)

LAUNCH = """mutation($how: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $how) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
AGAIN = """mutation($how: ReexecutionParams!) { reexecutePartitionBackfill(reexecutionParams: $how) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
JOB = {
    "partitionSetName": "batch_prediction_job_partition_set",
    "repositorySelector": {
        "repositoryLocationName": "loan_default.definitions",
        "repositoryName": "__repository__",
    },
}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    with started_loop(tmp_path_factory.mktemp("load")) as started:
        yield started


def spans(instance: dg.DagsterInstance, runs: list[dg.RunRecord]) -> list[tuple[float, float, str]]:
    """When each run took its place and when it ended, and its batch; in the order of the former."""
    found = []
    for run in runs:
        if run.end_time and (began := launched_at(instance, run.dagster_run.run_id)):
            found.append((began, run.end_time, run.dagster_run.tags.get("dagster/partition", "")))
    return sorted(found)


def launched_at(instance: dg.DagsterInstance, run: str) -> float | None:
    records = instance.get_records_for_run(run, of_type=dg.DagsterEventType.PIPELINE_STARTING).records
    return records[0].event_log_entry.timestamp if records else None


def most_at_a_time(taken: list[tuple[float, float, str]]) -> int:
    return max(sum(began <= at < ended for began, ended, _ in taken) for at, _, _ in taken)


def most_allowed(instance: dg.DagsterInstance) -> int:
    return instance.get_concurrency_config().run_queue_config.max_concurrent_runs  # type: ignore[union-attr]


def ticks(instance: dg.DagsterInstance, sensor: str) -> list[float]:
    """The seconds that each tick took."""
    (state,) = [one for one in instance.all_instigator_state() if one.name == sensor]
    found = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    return [tick.end_timestamp - tick.timestamp for tick in found if tick.end_timestamp]


def test_files_that_come_at_once_are_all_scored_oldest_first_and_a_few_at_a_time(loop: Loop) -> None:
    loop.drop("one.csv", seed=3)
    whole = (loop.storage / "applications" / "one.csv").rename(loop.storage / "one.csv")
    began, batches = time.time(), [f"2014-08-{at:04}" for at in range(FILES, 0, -1)]  # the oldest has the last name
    for batch in batches:
        shutil.copyfile(whole, loop.storage / "applications" / f"{batch}.csv")
    log.warning("%d files dropped within %.1f s", FILES, time.time() - began)

    def finished() -> bool:
        return all(loop.record("drift_report", batch) for batch in batches)

    loop.until(finished, f"{FILES} batches are scored and compared", seconds=120 + SECONDS_EACH * FILES)
    loop.until(lambda: all(run.is_finished for run in loop.runs("batch_prediction_job")), "no run is under way")
    with dagster_of(loop.settings) as instance:
        runs = instance.get_run_records(dg.RunsFilter(job_name="batch_prediction_job"))
        scored, every = spans(instance, [*runs]), spans(instance, [*instance.get_run_records()])
        limit, took = most_allowed(instance), ticks(instance, "new_batch_sensor")
    in_order = [batch for _, _, batch in scored] == batches
    lasted = statistics.median(ended - launched for launched, ended, _ in scored)
    log.warning(
        "new_batch_sensor: %d ticks, the longest %.2f s, median %.2f s", len(took), max(took), statistics.median(took)
    )
    log.warning("at most %d runs at a time, %d are allowed", most_at_a_time(every), limit)
    log.warning("started in the order of the files: %s", "yes" if in_order else "no")
    log.warning(
        "a run took %.1f s in the median, all %d took %.0f s", lasted, FILES, max(end for _, end, _ in scored) - began
    )
    assert in_order
    assert most_at_a_time(every) <= limit


# --- backfills ------------------------------------------------------------------------------------------------


def ask(loop: Loop, mutation: str, **how: Any) -> str:
    """Ask the UI for a backfill as its pages do; the backfill's name is returned."""
    asked = {"query": mutation, "variables": {"how": how}}
    answer = httpx.post(f"http://127.0.0.1:{loop.port}/graphql", json=asked, timeout=60).json()
    (told,) = answer["data"].values()
    assert "backfillId" in told, answer
    return told["backfillId"]


def runs_of(loop: Loop, backfill: str) -> list[tuple[str, bool]]:
    """Batch and success of each run of a backfill, once it is done."""

    def done() -> bool:
        with dagster_of(loop.settings) as instance:
            return instance.get_backfill(backfill).status.value.startswith("COMPLETED")  # type: ignore[union-attr]

    loop.until(done, "a backfill is done", seconds=300)
    with dagster_of(loop.settings) as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
    return sorted((run.tags["dagster/partition"], run.is_success) for run in runs)


def test_a_backfill_from_the_ui_is_one_run_for_each_batch_and_takes_up_what_failed(loop: Loop) -> None:
    first, second, third, fourth = (f"2014-08-{at:04}" for at in range(1, 5))
    gone = loop.storage / "applications" / f"{fourth}.csv"
    gone.rename(loop.storage / gone.name)
    assets = [{"path": [name]} for name in ("predictions", "drift_report")]
    of_assets = ask(loop, LAUNCH, assetSelection=assets, partitionNames=[first, second])
    of_job = ask(loop, LAUNCH, selector=JOB, partitionNames=[third, fourth])
    assert runs_of(loop, of_assets) == [(first, True), (second, True)]
    assert runs_of(loop, of_job) == [(third, True), (fourth, False)]
    (loop.storage / gone.name).rename(gone)
    again = ask(loop, AGAIN, parentRunId=of_job, strategy="FROM_FAILURE")
    assert runs_of(loop, again) == [(fourth, True)]
    with dagster_of(loop.settings) as instance:
        assert most_at_a_time(spans(instance, [*instance.get_run_records()])) <= most_allowed(instance)
