"""Dagster's daemons, runs, limits and records: each trouble alone."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from loan_default.defs.instance_status import Daemon, InstanceStatus
from loan_default.homes import prepare_process
from loan_default.operations.doctor import CHECKS, examine
from loan_default.operations.doctor.instance import (
    check_dagster,
    judge_daemons,
    judge_runs,
    judge_sections,
)
from loan_default_tests.operations.doctor.conftest import NOW, Installation, diagnoses_of, wrong

pytestmark = pytest.mark.integration


SOUND = InstanceStatus(
    (Daemon("SENSOR", NOW, None),), (), None, 0, (), NOW, monitors_runs=True, retries_runs=True, limits_runs=True
)


def test_an_error_that_a_daemon_reports_is_told() -> None:
    failing = replace(SOUND, daemons=(Daemon("SENSOR", NOW, "The database is locked."), *SOUND.daemons))
    diagnosis = wrong([*judge_daemons(failing, NOW)])
    assert diagnosis.message == "SENSOR reports: The database is locked."


@pytest.mark.parametrize(
    ("minutes", "under_way", "mark"), [(59, 0, "ok"), (61, 0, "wrong"), (61, 1, "note"), (300, 0, "wrong")]
)
def test_a_run_that_waits_long_is_told(minutes: int, under_way: int, mark: str) -> None:
    waits = replace(SOUND, queued_since=NOW - timedelta(minutes=minutes), runs_under_way=under_way)
    (diagnosis,) = judge_runs(waits, NOW)
    assert diagnosis.mark == mark


def test_a_run_without_its_process_is_told() -> None:
    diagnosis = wrong([*judge_runs(replace(SOUND, lost_runs=("training_job 0a1b2c3d",), runs_under_way=1), NOW)])
    assert diagnosis.message == "training_job 0a1b2c3d has begun, and its process is gone."


def test_the_lines_that_an_old_home_lacks_make_it_sound(install: Installation) -> None:
    settings = install()
    home = settings.home / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (home / "history").mkdir()
    os.environ["DAGSTER_HOME"] = str(home)
    lacking = [diagnosis for diagnosis in diagnoses_of(check_dagster, settings) if diagnosis.mark == "wrong"]
    assert [diagnosis.check for diagnosis in lacking] == ["limits"] * 3
    with (home / "dagster.yaml").open("a") as file:
        file.writelines(f"{diagnosis.remedy.removeprefix('Add to it: ')}\n" for diagnosis in lacking)
    assert yaml.safe_load((home / "dagster.yaml").read_text())["concurrency"]["runs"]["max_concurrent_runs"] == 2
    assert [diagnosis for diagnosis in diagnoses_of(check_dagster, settings) if diagnosis.mark == "wrong"] == []


def test_what_prod_misses_is_a_line_and_the_other_checks_follow(install: Installation) -> None:
    install(LOAN_DEFAULT_ENV="prod", LOAN_DEFAULT_API_TOKENS="hush-1", LOAN_DEFAULT_ADMIN_TOKENS="hush-2")
    diagnoses = [*examine(checks=[CHECKS[0], CHECKS[2]])]
    assert wrong(diagnoses).message == (
        "Environment prod leaves nothing to a default, and LOAN_DEFAULT_STORAGE, MLFLOW_TRACKING_URI, "
        "LOAN_DEFAULT_DAGSTER_STORAGE, LOAN_DEFAULT_STUDY_STORAGE is not set."
    )
    assert diagnoses[-1].check == "loan data"


def test_a_home_that_is_older_than_the_settings_is_told_what_to_say(install: Installation) -> None:
    prepare_process(install())
    settings = install(LOAN_DEFAULT_DAGSTER_STORAGE="postgresql://ann:hush@127.0.0.1/dagster")
    file = settings.home / "dagster" / "dagster.yaml"
    diagnoses = diagnoses_of(check_dagster, settings)
    assert diagnoses[-1].message == f"Nothing has run from {settings.dagster_home} yet.", "the records are still there"
    diagnosis = wrong(diagnoses)
    assert diagnosis.message == f"{file} keeps runs on this machine, and not where LOAN_DEFAULT_DAGSTER_STORAGE says."
    assert "hush" not in str(diagnosis)
    with file.open("a") as lines:
        lines.write(f"{diagnosis.remedy.removeprefix('Have it say: ')}\n")
    assert not [*judge_sections(file, settings)]
    file.unlink()
    prepare_process(settings)
    assert not [*judge_sections(file, settings)]
    assert "hush" not in file.read_text()


def test_a_home_that_is_older_than_its_bucket_is_told_what_to_say(install: Installation) -> None:
    prepare_process(install())
    settings = install(LOAN_DEFAULT_STORAGE="gs://bucket/prefix")
    file = settings.home / "dagster" / "dagster.yaml"
    diagnosis = wrong([*judge_sections(file, settings)])
    assert diagnosis.message.startswith(f"{file} keeps what steps print on this machine, and not in the bucket")
    with file.open("a") as lines:
        lines.write(f"{diagnosis.remedy.removeprefix('Have it say: ')}\n")
    assert not [*judge_sections(file, settings)]


def test_a_broken_dagster_yaml_is_a_line(install: Installation) -> None:
    settings = install()
    prepare_process(settings)
    (settings.home / "dagster" / "history").mkdir()
    (settings.home / "dagster" / "dagster.yaml").write_text("concurrency: [")
    diagnosis = wrong([*examine(checks=[check for check in CHECKS if check.name == "dagster"])])
    assert diagnosis.message.startswith("Looking failed: ")
    assert "dagster.yaml" in diagnosis.remedy
