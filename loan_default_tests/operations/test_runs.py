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

from loan_default.operations.runs import JobFailed, newest_runs, read_batch_runs, run_job
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
    assert cleaning.step_seconds.keys() == {"clean_raw_loans", "loan_splits"}
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
def test_a_batch_has_failed_until_its_newest_run_succeeds(home: Settings) -> None:
    broken = Path(home.storage) / "applications" / "2014-08.csv"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("id\n1\n")
    with pytest.raises(JobFailed, match=r"2014-08\.csv") as failed:
        run_job(home, "batch_prediction_job", batch="2014-08", group="scoring")
    (failure,) = read_batch_runs(home).failures
    assert (failure.batch, failure.reason) == ("2014-08", str(failed.value))
    (run,) = (run for run in newest_runs(home, "batch_prediction_job") if run.run_id == failure.run_id)
    assert (run.status, run.batch, run.finished) == ("failure", "2014-08", True)

    write_batch(broken)
    run_job(home, "batch_prediction_job", batch="2014-08", group="scoring")
    runs = read_batch_runs(home)
    assert runs.failures == ()
    assert "2014-08" in runs.batches


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
