"""Jobs run in process: what is recorded of them, on which of Dagster's pages they show, and why they failed."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import dagster as dg
import pytest
import yaml

from loan_default.operations.runs import JobFailed, newest_runs, read_batch_runs, read_failures, run_job, runs_under_way
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch
from loan_default_tests.stores import free_port

ROOT = Path(__file__).parents[2]
BATCH = "2014-07"


@pytest.fixture(scope="module")
def webserver(home: Settings) -> Iterator[str]:
    """The address of Dagster's pages over this home."""
    port = free_port()
    command = ("dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-m", "loan_default.definitions")
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home.home
    )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/server_info", timeout=5)
                break
            except (URLError, TimeoutError):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait()


def ask(url: str, query: str, **variables: Any) -> Any:
    """Return the answer of a query that the pages ask."""
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def run_ids_by_page(url: str, settings: Settings, job: str) -> dict[str, list[str]]:
    """Return the runs that each of Dagster's pages lists, by the queries of its webapp."""
    label = {"key": ".dagster/repository", "value": f"__repository__@{settings.code_location}"}
    selector = {
        "pipelineName": job,
        "repositoryName": "__repository__",
        "repositoryLocationName": settings.code_location,
    }
    jobs = ask(
        url,
        "query($selector: PipelineSelector!) {pipelineOrError(params: $selector) "
        "{... on Pipeline {runs(limit: 5) {id}}}}",
        selector=selector,
    )["pipelineOrError"]
    job_page = ask(
        url,
        "query($filter: RunsFilter) {pipelineRunsOrError(filter: $filter) {... on Runs {results {id}}}}",
        filter={"pipelineName": job, "tags": [label]},
    )["pipelineRunsOrError"]
    timeline = ask(
        url,
        "query($filter: RunsFilter) {runsOrError(filter: $filter) {... on Runs {results {id repositoryOrigin "
        "{repositoryName repositoryLocationName}}}}}",
        filter={"pipelineName": job},
    )["runsOrError"]
    return {
        "jobs": [run["id"] for run in jobs["runs"]],
        "job page": [run["id"] for run in job_page["results"]],
        "timeline": [run["id"] for run in timeline["results"] if run["repositoryOrigin"]],
    }


@pytest.mark.integration
def test_runs_show_on_the_pages_of_their_job_as_any_other(home: Settings, webserver: str) -> None:
    cleaning = run_job(home, "cleaning_job")
    assert cleaning.step_seconds.keys() == {"read_loan_outcomes", "clean_raw_loans", "loan_splits"}
    assert all(cleaning.run_id in ids for ids in run_ids_by_page(webserver, home, "cleaning_job").values())

    write_batch(Path(home.storage) / "applications" / f"{BATCH}.csv")
    scoring = run_job(home, "batch_prediction_job", batch=BATCH, group="scoring", tags={"why": "a test"})
    assert scoring.step_seconds.keys() == {"read_application_batch", "predictions"}
    assert all(scoring.run_id in ids for ids in run_ids_by_page(webserver, home, "batch_prediction_job").values())
    with dg.DagsterInstance.get() as instance:
        (record,) = instance.get_runs(dg.RunsFilter(run_ids=[scoring.run_id]))
    assert (record.tags["why"], record.tags["dagster/partition"]) == ("a test", BATCH)
    assert record.tags["dagster/max_retries"] == "0", "the daemon would begin again what Ctrl-C ended"


@pytest.mark.integration
@pytest.mark.parametrize("job", ["batch_prediction_job", "__ASSET_JOB"])
def test_a_batch_has_failed_until_its_newest_run_succeeds(home: Settings, job: str) -> None:
    broken = Path(home.storage) / "applications" / "2014-08.csv"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("id\n1\n")
    with pytest.raises(JobFailed, match=r"2014-08\.csv") as failed:
        run_job(home, job, batch="2014-08", group="scoring")
    _record_successes(job, 60)  # more than are read of a job
    (failure,) = read_batch_runs(home).failures
    assert (failure.batch, failure.reason) == ("2014-08", str(failed.value))

    write_batch(broken)
    run_job(home, "batch_prediction_job", batch="2014-08", group="scoring")
    runs = read_batch_runs(home)
    assert runs.failures == ()
    assert "2014-08" in runs.batches


def _record_successes(job: str, count: int, batch: str = BATCH) -> None:
    """Record runs of a batch, by default of another."""
    tags = {"dagster/partition": batch}
    with dg.DagsterInstance.get() as instance:
        for _ in range(count):
            instance.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.SUCCESS, tags=tags))


@pytest.mark.integration
def test_a_run_of_any_job_is_under_way_until_it_ends(home: Settings) -> None:
    run = dg.DagsterRun(job_name="training_job", status=dg.DagsterRunStatus.STARTED)
    with dg.DagsterInstance.get() as instance:
        instance.add_run(run)
    assert [(under_way.run_id, under_way.status) for under_way in runs_under_way(home)] == [(run.run_id, "started")]
    with dg.DagsterInstance.get() as instance:
        instance.report_run_failed(run)
    assert runs_under_way(home) == []


@pytest.mark.integration
def test_the_newest_runs_of_a_job_are_read_with_how_they_stand(home: Settings) -> None:
    with pytest.raises(JobFailed):
        run_job(home, "monitoring_job", batch="2014-10")
    (run,) = newest_runs(home, "monitoring_job")
    assert (run.status, run.batch) == ("failure", "2014-10")
    newest, *_ = read_failures(home)
    assert (newest.run, bool(newest.reason)) == (run, True)
    _record_successes("monitoring_job", 1, "2014-10")
    assert "2014-10" not in [failure.run.batch for failure in read_failures(home)]


@pytest.mark.integration
def test_the_reason_is_the_platforms_own_sentence(home: Settings) -> None:
    with pytest.raises(JobFailed) as failed:
        run_job(home, "batch_prediction_job", batch="2014-09", group="scoring")
    assert str(failed.value).endswith("put the batch there.")
    assert "\n" not in str(failed.value)


def test_the_code_location_is_called_alike_wherever_it_is_loaded() -> None:
    stack = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))
    (container,) = yaml.safe_load((ROOT / "docker" / "workspace.yaml").read_text("utf-8"))["load_from"]
    in_container = stack["services"]["code-server"]["environment"]["DAGSTER_LOCATION_NAME"]
    assert in_container == container["grpc_server"]["location_name"]
    (local,) = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))["load_from"]
    assert "location_name" not in local["python_module"], "Dagster takes the module's name"
    assert local["python_module"]["module_name"] == Settings(home=Path("home")).code_location
