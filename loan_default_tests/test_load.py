"""Many batches at once under `dagster dev`: dropped into the inbox, and scored again from the UI.

Two files are a sample, also of the loop. `make test-load` drops as many as FILES says, which takes minutes.
"""

import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from loan_default.settings import Settings
from loan_default_tests.homes import dagster_of
from loan_default_tests.loops import Loop, started_loop

FILES = int(os.environ.get("LOAN_DEFAULT_TEST_FILES", "50"))
SECONDS_EACH = 60  # at most, on a busy machine
FIRST = f"2014-08-{FILES}-0001"  # of the batches that are dropped

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
def loop(tmp_path_factory: pytest.TempPathFactory, trained_home: Callable[[Path], Settings]) -> Iterator[Loop]:
    with started_loop(trained_home(tmp_path_factory.mktemp("load"))) as loop:
        yield loop


def spans(instance: dg.DagsterInstance, runs: list[dg.RunRecord]) -> list[tuple[float, float, str]]:
    """List when each run began and when it ended, and its batch; in the order of their beginnings."""
    ended = [(run.dagster_run, run.end_time) for run in runs if run.end_time]
    return sorted(
        (start, end, run.tags.get("dagster/partition", ""))
        for run, end in ended
        if (start := start_of(instance, run.run_id))
    )


def start_of(instance: dg.DagsterInstance, run_id: str) -> float | None:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.PIPELINE_STARTING).records
    return records[0].event_log_entry.timestamp if records else None


def most_at_a_time(runs: list[tuple[float, float, str]]) -> int:
    return max(sum(start <= moment < end for start, end, _ in runs) for moment, _, _ in runs)


def most_allowed(instance: dg.DagsterInstance) -> int:
    limit = instance.get_concurrency_config().run_queue_config
    assert limit is not None
    return limit.max_concurrent_runs


def tick_seconds(instance: dg.DagsterInstance, sensor: str) -> list[float]:
    (state,) = [state for state in instance.all_instigator_state() if state.name == sensor]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    return [tick.end_timestamp - tick.timestamp for tick in ticks if tick.end_timestamp]


@pytest.mark.parametrize(
    "files", [pytest.param(2, marks=pytest.mark.integration), pytest.param(FILES, marks=pytest.mark.long)]
)
def test_files_that_come_at_once_are_all_scored_oldest_first_and_a_few_at_a_time(loop: Loop, files: int) -> None:
    loop.drop("one.csv", seed=3)
    batch_file = (loop.storage / "applications" / "one.csv").rename(loop.storage / "one.csv")
    # The oldest has the last name.
    began, batches = time.time(), [f"2014-08-{files}-{number:04}" for number in range(files, 0, -1)]
    for batch in batches:
        shutil.copyfile(batch_file, loop.storage / "applications" / f"{batch}.csv")
    log.warning("%d files dropped within %.1f s", files, time.time() - began)

    def are_compared() -> bool:
        return all(loop.record("drift_report", batch) for batch in batches)

    loop.wait_for(are_compared, f"{files} batches are scored and compared", seconds=120 + SECONDS_EACH * files)
    loop.wait_for(lambda: all(run.is_finished for run in loop.runs("batch_prediction_job")), "no run is under way")
    with dagster_of(loop.settings) as instance:
        runs = instance.get_run_records(dg.RunsFilter(job_name="batch_prediction_job"))
        scored = [run for run in spans(instance, [*runs]) if run[2] in batches]
        every = spans(instance, [*instance.get_run_records()])
        limit, ticks = most_allowed(instance), tick_seconds(instance, "new_batch_sensor")
    in_order = [batch for _, _, batch in scored] == batches
    seconds = statistics.median(end - start for start, end, _ in scored)
    log.warning(
        "new_batch_sensor: %d ticks, the longest %.2f s, median %.2f s",
        len(ticks),
        max(ticks),
        statistics.median(ticks),
    )
    log.warning("at most %d runs at a time, %d are allowed", most_at_a_time(every), limit)
    log.warning("started in the order of the files: %s", "yes" if in_order else "no")
    log.warning(
        "a run took %.1f s in the median, all %d took %.0f s", seconds, files, max(end for _, end, _ in scored) - began
    )
    assert in_order
    assert most_at_a_time(every) <= limit


@pytest.mark.long
def test_outcomes_that_are_dropped_are_measured(loop: Loop) -> None:
    assert loop.record("drift_report", FIRST), "it was dropped before, and scored"
    loop.drop_outcomes(seed=3)
    report = loop.wait_for(
        lambda: (report := loop.record("performance_report") or {}).get("told_until") and report,
        "outcomes show how good the version proved to be",
    )
    assert [version["version"] for version in report["versions"] if version["known"] > 390] == [1]


# --- backfills ------------------------------------------------------------------------------------------------


def launch_backfill(loop: Loop, mutation: str, **parameters: Any) -> str:
    """Ask the UI for a backfill as its pages do; return the backfill's id."""
    request = {"query": mutation, "variables": {"how": parameters}}
    answer = httpx.post(f"http://127.0.0.1:{loop.port}/graphql", json=request, timeout=60).json()
    (result,) = answer["data"].values()
    assert "backfillId" in result, answer
    return str(result["backfillId"])


def runs_of(loop: Loop, backfill: str) -> list[tuple[str, bool]]:
    """Wait until a backfill is done; return batch and success of each run."""

    def is_done() -> bool:
        with dagster_of(loop.settings) as instance:
            state = instance.get_backfill(backfill)
            assert state is not None
            return state.status.value.startswith("COMPLETED")

    loop.wait_for(is_done, "a backfill is done", seconds=300)
    with dagster_of(loop.settings) as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
    return sorted((run.tags["dagster/partition"], run.is_success) for run in runs)


ASSETS = [{"path": [name]} for name in ("predictions", "drift_report")]


@pytest.mark.long
def test_a_backfill_of_assets_from_the_ui_is_a_run_of_the_batch(loop: Loop) -> None:
    backfill = launch_backfill(loop, LAUNCH, assetSelection=ASSETS, partitionNames=[FIRST])
    assert runs_of(loop, backfill) == [(FIRST, True)]


@pytest.mark.long
def test_backfills_from_the_ui_are_one_run_for_each_batch_and_take_up_what_failed(loop: Loop) -> None:
    first, second, third, fourth = (f"2014-08-{FILES}-{number:04}" for number in range(1, 5))
    absent = loop.storage / "applications" / f"{fourth}.csv"
    absent.rename(loop.storage / absent.name)
    of_assets = launch_backfill(loop, LAUNCH, assetSelection=ASSETS, partitionNames=[first, second])
    of_job = launch_backfill(loop, LAUNCH, selector=JOB, partitionNames=[third, fourth])
    assert runs_of(loop, of_assets) == [(first, True), (second, True)]
    assert runs_of(loop, of_job) == [(third, True), (fourth, False)]
    (loop.storage / absent.name).rename(absent)
    again = launch_backfill(loop, AGAIN, parentRunId=of_job, strategy="FROM_FAILURE")
    assert runs_of(loop, again) == [(fourth, True)]
    with dagster_of(loop.settings) as instance:
        assert most_at_a_time(spans(instance, [*instance.get_run_records()])) <= most_allowed(instance)
