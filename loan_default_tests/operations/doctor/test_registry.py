"""Registries that are old, new, slow or away; tuning studies and Dask's workers."""

import os
import sqlite3
import time
from pathlib import Path

import pytest

from loan_default.operations.doctor import Check, examine
from loan_default.operations.doctor.registry import check_registry, check_studies, check_workers, judge_answer
from loan_default_tests.engines import Cluster
from loan_default_tests.operations.doctor.conftest import Installation, diagnoses_of, wrong
from loan_default_tests.stores import free_port, new_tracking

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("revision", "text", "remedy"),
    [("451aebb31d03", "of an older MLflow", "mlflow db upgrade"), ("f00000000000", "newer MLflow", "Install")],
    ids=["older", "newer"],
)
def test_a_database_of_another_release_is_one_clear_sentence(
    install: Installation, revision: str, text: str, remedy: str
) -> None:
    settings = install()
    (settings.home).mkdir()
    new_tracking(settings.home / "mlflow")
    with sqlite3.connect(settings.home / "mlflow" / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = ?", [revision])
    diagnosis = wrong(diagnoses_of(check_registry, settings))
    assert text in diagnosis.message
    assert remedy in diagnosis.remedy


def test_a_registry_that_is_new_has_nothing_in_production(install: Installation) -> None:
    settings = install()
    settings.home.mkdir()
    new_tracking(settings.home / "mlflow")
    diagnoses = diagnoses_of(check_registry, settings)
    assert [(diagnosis.check, diagnosis.mark) for diagnosis in diagnoses] == [
        ("registry", "ok"),
        ("production", "note"),
    ]


def test_a_deleted_experiment_is_wrong_and_the_command_that_restores_it_is_named(install: Installation) -> None:
    settings = install()
    settings.home.mkdir()
    new_tracking(settings.home / "mlflow")
    number = settings.tracking.ensure_experiment()
    with settings.tracking._client("delete it") as client:
        client.delete_experiment(number)
    diagnosis = wrong(diagnoses_of(check_registry, settings))
    assert diagnosis.message.startswith("The experiment loan_default is deleted in MLflow")
    assert diagnosis.remedy.endswith(f"mlflow experiments restore --experiment-id {number}")


def test_a_registry_at_a_closed_port_is_said_without_its_password(install: Installation) -> None:
    install(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}", MLFLOW_TRACKING_PASSWORD="hush")
    diagnosis = wrong([*examine(checks=[Check("registry", check_registry, "", 60)])])
    assert "cannot be reached to read the alias production." in diagnosis.message
    assert diagnosis.remedy == "Start it or correct MLFLOW_TRACKING_URI."
    assert "hush" not in str(diagnosis)


def test_a_slow_registry_is_noted() -> None:
    assert judge_answer("sqlite:///x", 0.1).mark == "ok"
    assert judge_answer("sqlite:///x", 4.2).message == "MLflow at sqlite:///x took 4.2 s to answer."


def test_workers_are_counted_where_there_are_any_to_be(install: Installation) -> None:
    assert diagnoses_of(check_workers, install()) == []
    (own,) = diagnoses_of(check_workers, install(LOAN_DEFAULT_ENGINE="dask"))
    assert (own.mark, own.message) == ("ok", f"Each run starts Dask workers of this machine, {os.cpu_count()} of them.")
    assert diagnoses_of(check_studies, install()) == []  # they lie in a journal file
    silent = wrong(diagnoses_of(check_workers, install(LOAN_DEFAULT_DASK_ADDRESS="nonsense://here")))
    assert silent.message == "No Dask scheduler answers at nonsense://here (LOAN_DEFAULT_DASK_ADDRESS)."
    assert silent.remedy.startswith("Start one with dask scheduler, or leave")


def test_a_scheduler_without_workers_is_wrong(install: Installation, tmp_path: Path) -> None:
    running = Cluster(tmp_path)
    running.start_scheduler()
    settings = install(LOAN_DEFAULT_ENGINE="dask", LOAN_DEFAULT_DASK_ADDRESS=running.address)
    try:
        idle = wrong(diagnoses_of(check_workers, settings))
        assert idle.message == f"The Dask scheduler at {running.address} has had no worker for 1 seconds."
        running.start_workers()
        deadline = time.monotonic() + 60
        while (diagnosis := diagnoses_of(check_workers, settings)[0]).mark == "wrong":
            assert time.monotonic() < deadline
        assert "worker" in diagnosis.message
        assert "GB of memory; watch them at http://127.0.0.1:" in diagnosis.message
    finally:
        running.stop()
