"""The whole platform on a bucket: loans, batches, outcomes, models, logs and everything recorded lie in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from inspect import signature
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import gcs, storage
from loan_default.adapters.scoring_server import ScoringServer
from loan_default.cli import main
from loan_default.defs import instance
from loan_default.defs.sensors.build import SENSORS
from loan_default.operations.doctor import installation, registry
from loan_default.operations.doctor import storage as storage_checks
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default_tests.buckets import asked_at, faulty, new_bucket, objects_in
from loan_default_tests.homes import (
    Platform,
    dagster_of,
    definitions_of,
    environment_of,
    failure,
    failures,
    new_home,
    own_environment,
    write_outcomes,
)
from loan_default_tests.stores import free_port, new_tracking

pytestmark = pytest.mark.integration

MONTH = date(2014, 8, 1)


@pytest.fixture(scope="module")
def root(emulator: str) -> Iterator[UPath]:
    with asked_at(emulator):
        yield new_bucket()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, root: UPath) -> Iterator[Platform]:
    settings = new_home(tmp_path_factory.mktemp("gcs"), root)
    new_tracking(settings.home / "mlflow")
    settings = replace(settings, serving_url=f"http://127.0.0.1:{free_port()}")
    with dagster_of(settings) as instance:
        yield Platform(settings, instance)


@pytest.fixture(scope="module")
def trained(platform: Platform) -> dg.DagsterRun:
    """A training by the command, as a user begins."""
    assert command(platform, "run", "--trials", "2") == 0
    (run,) = platform.instance.get_runs()
    return run


@pytest.fixture(scope="module")
def scored(platform: Platform, trained: dg.DagsterRun) -> str:
    """A batch that was dropped into the bucket, seen by the sensor, and scored as it asked."""
    file = platform.settings.home / "2014-08.csv"
    write_csv(make_applications(400, seed=3, month=MONTH), file)
    drop(platform, "applications", file)
    (request,) = ticks(platform, "new_batch_sensor")
    assert request.partition_key == "2014-08"
    assert failures(platform.run("batch_prediction_job", batch="2014-08")) == []
    return "2014-08"


@pytest.fixture(scope="module")
def judged(platform: Platform, scored: str) -> Mapping[str, Any]:
    """Its outcomes, dropped, seen, and held against what was predicted."""
    file = write_outcomes(platform.settings.home, make_loans(400, seed=3, first_month=MONTH, last_month=MONTH))
    drop(platform, "outcomes", file)
    assert len(ticks(platform, "performance_sensor")) == 1
    assert failures(platform.run("performance_job", config={"performance_report": {"resamples": 20}})) == []
    report: Mapping[str, Any] = record(platform, "performance_report.json")
    return report


def drop(platform: Platform, folder: str, file: Path) -> None:
    storage.store(file, UPath(platform.settings.storage) / folder / file.name)


def ticks(platform: Platform, name: str) -> list[dg.RunRequest]:
    """Return what the sensor asks for in the second of two ticks; add the partitions that it asks for."""
    cursor, requests = None, list[dg.RunRequest]()
    for _ in range(2):
        result = tick(platform, name, cursor)
        if isinstance(result, dg.SkipReason):
            return []
        cursor, requests = result.cursor, list(result.run_requests or [])
        for request in result.dynamic_partitions_requests or []:
            platform.instance.add_dynamic_partitions("batch", list(request.partition_keys))
    return requests


def tick(platform: Platform, name: str, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    does = SENSORS[name].evaluate
    resources = definitions_of(platform.settings).resources or {}
    arguments = {key: resources[key] for key in signature(does).parameters if key != "context"}
    with dg.build_sensor_context(platform.instance, cursor) as context:
        return does(context, **arguments)


def copied(platform: Platform) -> list[str]:
    """Return the names of the files that lie in scratch space."""
    return sorted(path.name for path in platform.settings.staging.rglob("*") if path.is_file())


def record(platform: Platform, *parts: str) -> Any:
    return storage.read_json(UPath(platform.settings.storage).joinpath(*parts))


def stored_names(platform: Platform) -> set[str]:
    """Return the first parts of the names of what the bucket holds for the platform."""
    return {name.split("/")[0] for name in objects_in(UPath(platform.settings.storage))}


def command(platform: Platform, *arguments: str) -> int:
    with own_environment():
        os.environ.update(environment_of(platform.settings))
        return main(arguments)


def test_a_training_leaves_everything_in_the_bucket(platform: Platform, trained: dg.DagsterRun) -> None:
    assert stored_names(platform) == {
        *("cleaned_loans.parquet", "rejected_loans.parquet", "cleaning_report.json", "loan_splits.json"),
        *("tuned_params.json", "trained_model.json", "model_evaluation.json", "promoted_model.json", "model_card.md"),
        *("strategy_report.json", "history", "test_looks", "mlflow", "compute_logs"),
        *("loan_outcomes.parquet", "rejected_outcomes.parquet", "outcomes_report.json"),
    }
    assert record(platform, "promoted_model.json")["verdict"] == "promote"
    assert not list(platform.settings.home.glob("storage"))
    names = objects_in(UPath(platform.settings.storage) / "mlflow")
    assert any(name.endswith("/package/contract.json") for name in names)
    logs = objects_in(UPath(platform.settings.storage) / "compute_logs")
    assert any(trained.run_id in name for name in logs)


def test_what_was_copied_here_is_no_leftover(platform: Platform, trained: dg.DagsterRun) -> None:
    assert copied(platform) == ["cleaned_loans.parquet", "loan_outcomes.parquet", "loans.csv"], (
        "one copy of each, and nothing else"
    )


def test_a_batch_is_scored_compared_and_done_with(platform: Platform, scored: str) -> None:
    assert record(platform, "drift_report", f"{scored}.json")["verdict"] == "stable"
    assert ticks(platform, "new_batch_sensor") == [], "it is not scored twice"
    predictions = objects_in(UPath(platform.settings.storage) / "predictions")
    assert set(predictions) == {f"{scored}.parquet", f"{scored}.csv"}


def test_outcomes_are_held_against_what_was_predicted(platform: Platform, judged: Mapping[str, Any]) -> None:
    (version,) = judged["versions"]
    assert version["known"] > 390
    assert version["real"]["auc"]["value"] > 0.55


def test_the_model_is_served_from_the_bucket_and_what_is_scored_is_logged_there(
    platform: Platform, scored: str, tmp_path: Path
) -> None:
    settings = platform.settings
    port = settings.serving_url.rpartition(":")[2]
    serve = [sys.executable, "-m", "loan_default.cli", "serve", "--port", port]
    output_file = tmp_path / "serve.log"
    with output_file.open("w") as output:
        process = subprocess.Popen(serve, env=environment_of(settings), stdout=output, stderr=output)
    try:
        server = ScoringServer(settings.serving_url, settings.serving)
        for _ in range(600):
            assert process.poll() is None, output_file.read_text()
            with suppress(Exception):
                if (health := server.health()) and health.version == 1:
                    break
            time.sleep(0.1)
        body = json.loads(Path(__file__).parents[1].joinpath("data", "sample_input.json").read_text())
        answer = httpx.post(f"{settings.serving_url}/invocations", json=body, timeout=30)
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "1")
    finally:
        process.terminate()
        process.wait(timeout=40)
    log = objects_in(UPath(settings.storage) / "prediction_log")
    assert [pl.read_parquet(content).height for content in log.values()] == [2], output_file.read_text()


def test_people_are_told_as_of_a_folder(
    platform: Platform, judged: Mapping[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(platform, "status") == 0
    output = capfd.readouterr().out
    assert "2014-08" in output
    assert "none" in output
    assert command(platform, "history") == 0
    assert "promote" in capfd.readouterr().out
    assert command(platform, "doctor") == 0
    output = capfd.readouterr().out
    assert f"{platform.settings.storage} was listed, written to and read back" in output
    assert "names 1 file of" in output
    assert "Version 1 is in production, loads and answers its canary." in output
    write_csv(make_applications(60, seed=5, month=MONTH), tmp_path / "again.csv")
    assert command(platform, "score", str(tmp_path / "again.csv"), "--without-drift") == 0
    assert "predictions/again.csv" in capfd.readouterr().out
    assert command(platform, "score-again", "again") == 0
    assert command(platform, "score-again", "again") == 0
    assert "Scored by version 1 already" in capfd.readouterr().out


# --- a bucket that fails --------------------------------------------------------------------------------------

TOPICS = (installation, registry, storage_checks)
REFUSED = "it is not permitted (robot@x may not do that); give this account roles/storage.objectUser"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, seconds in (
        (gcs, "PATIENCE"),
        (instance, "_PATIENCE_SECONDS"),
        *((topic, "ASK_SECONDS") for topic in TOPICS),
    ):
        monkeypatch.setattr(module, seconds, 1.0)


def test_a_job_says_what_the_bucket_refuses_and_leaves_all_as_it_was(
    platform: Platform, trained: dg.DagsterRun, emulator: str, impatient: None
) -> None:
    root = UPath(platform.settings.storage)
    before = {name: content for name, content in objects_in(root).items() if not name.startswith("compute_logs")}
    here = copied(platform)
    with faulty(emulator) as faults:
        faults.status, faults.message, faults.only = 403, "robot@x may not do that.", "POST /upload"
        sentence = failure(platform.run("cleaning_job"))
    assert sentence.startswith(f"{root / 'loan_outcomes.parquet'} cannot be written: {REFUSED}")
    after = {name: content for name, content in objects_in(root).items() if not name.startswith("compute_logs")}
    assert after == before
    assert copied(platform) == here
    assert failures(platform.run("cleaning_job")) == []


@pytest.mark.long
def test_a_job_whose_upload_is_cut_off_ends_right_the_next_time(
    platform: Platform, trained: dg.DagsterRun, emulator: str, impatient: None
) -> None:
    loans = UPath(platform.settings.storage) / "cleaned_loans.parquet"
    before = gcs.find(loans)
    with faulty(emulator) as faults:
        faults.cut_after, faults.only = 100_000, "POST /upload"
        sentence = failure(platform.run("cleaning_job"))
        assert faults.requests
    assert sentence.startswith(f"{loans} cannot be written: Google Cloud Storage could not be reached (")
    assert sentence.endswith("; run again once it can.")
    assert gcs.find(loans) == before
    assert failures(platform.run("cleaning_job")) == []
    after = gcs.find(loans)
    assert before is not None
    assert after is not None
    assert after.generation > before.generation


@pytest.mark.parametrize("name", ["new_batch_sensor", "drift_sensor", "performance_sensor", "alert_sensor"])
def test_a_sensor_says_what_the_bucket_refuses(
    platform: Platform, trained: dg.DagsterRun, emulator: str, impatient: None, name: str
) -> None:
    with faulty(emulator) as faults:
        faults.status, faults.message = 403, "robot@x may not do that."
        result = tick(platform, name)
    assert isinstance(result, dg.SkipReason)
    assert f" cannot be listed: {REFUSED}" in str(result.skip_message)


@pytest.mark.parametrize(
    ("status", "sentence_part"),
    [(403, REFUSED), (404, "there is no bucket"), (0, "could not be reached (Connection refused)")],
)
def test_a_person_is_told_in_one_line(
    platform: Platform,
    trained: dg.DagsterRun,
    emulator: str,
    impatient: None,
    capfd: pytest.CaptureFixture[str],
    status: int,
    sentence_part: str,
) -> None:
    with faulty(emulator) as faults, asked_at(faults.address if status else f"http://127.0.0.1:{free_port()}"):
        faults.status, faults.message = status, "robot@x may not do that."
        assert command(platform, "history") == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"loan-default: {platform.settings.storage}")
        assert sentence_part in line
        assert command(platform, "doctor", "--json") == 1
        diagnoses = json.loads(capfd.readouterr().out)["diagnoses"]
    wrong = {
        diagnosis["check"]: diagnosis["message"] + diagnosis["remedy"]
        for diagnosis in diagnoses
        if diagnosis["mark"] == "wrong"
    }
    assert {"loan data", "storage", "production", "dagster"} <= wrong.keys()
    assert all("Traceback" not in message and "Looking failed" not in message for message in wrong.values())
    assert sentence_part.split(";")[0] in wrong["storage"]
