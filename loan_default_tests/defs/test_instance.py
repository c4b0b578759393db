"""Dagster's records are opened, or one sentence says why not; what Postgres says of itself is in `test_postgres`."""

import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from loan_default.defs.instance import keep_instance_open, open_instance
from loan_default.homes import dagster_yaml
from loan_default.risk.errors import BadInput
from loan_default.settings import DAGSTER_STORAGE, Settings
from loan_default_tests.homes import own_environment


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Settings]:
    with own_environment():
        os.environ["DAGSTER_HOME"] = str(tmp_path)
        os.environ.pop(DAGSTER_STORAGE, None)
        yield Settings(tmp_path, dagster_home=tmp_path)


def refused(home: Settings, instance: str) -> str:
    (home.home / "dagster.yaml").write_text(instance)
    with pytest.raises(BadInput) as error, open_instance(home):
        pass
    return str(error.value)


@pytest.mark.integration
def test_a_home_without_a_file_of_its_own_is_opened(home: Settings) -> None:
    with open_instance(home) as instance:
        assert instance.get_runs_count() == 0


@pytest.mark.integration
def test_within_an_open_instance_it_is_not_opened_again(home: Settings) -> None:
    with open_instance(home) as outer:
        with open_instance(home) as inner:
            assert inner is outer
        assert outer.get_runs_count() == 0, "it is still open"
    with open_instance(home) as later:
        assert later is not outer


@pytest.mark.integration
def test_an_instance_that_is_kept_is_opened_again_when_its_file_changes_or_its_records_fail(home: Settings) -> None:
    keep_instance_open(home)
    with open_instance(home) as first:
        pass
    with open_instance(home) as second:
        assert second is first and second.get_runs_count() == 0
    (home.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with open_instance(home) as after_change:
        assert after_change is not first
    keep_instance_open(home)
    with open_instance(home) as kept:
        pass
    shutil.rmtree(home.home / "history")
    with pytest.raises(BadInput, match="Dagster cannot keep its records"), open_instance(home) as broken:
        assert broken is kept
        broken.get_runs_count()
    with open_instance(home) as made_again:
        assert made_again.get_runs_count() == 0


@pytest.mark.integration
def test_processes_that_meet_in_a_new_home_share_it(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    homes = [tmp_path / str(number) for number in range(3)]
    processes = [spawn.Process(target=open_each, args=(homes, together)) for _ in range(together.parties)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * together.parties


def open_each(homes: Sequence[Path], together: Barrier) -> None:
    """Open the records in each home when all of the processes are ready to, and look into each of their parts."""
    for home in homes:
        os.environ["DAGSTER_HOME"] = str(home)
        home.mkdir(exist_ok=True)
        together.wait(120)
        with open_instance(Settings(home, dagster_home=home)) as instance:
            assert instance.get_runs_count() == 0
            assert not instance.all_instigator_state()
            assert not instance.get_dynamic_partitions("batch")


def test_a_variable_that_is_not_set_is_named(home: Settings) -> None:
    sentence = refused(home, dagster_yaml(Settings(home.home, dagster_storage="postgresql://me@host/dagster")))
    assert (
        sentence
        == f"{home.home}/dagster.yaml cannot be used: it names {DAGSTER_STORAGE}; set it, or take it out there."
    )


def test_a_section_that_is_none_is_told_in_one_line(home: Settings) -> None:
    sentence = refused(home, "storage:\n  postgre: true\n")
    message = 'Received unexpected config entry "postgre" at path root:storage.'
    assert sentence == f"{home.home}/dagster.yaml cannot be used: {message}"


@pytest.mark.integration
def test_records_that_cannot_be_kept_any_more_are_told(home: Settings) -> None:
    with pytest.raises(BadInput) as error, open_instance(home) as instance:
        instance.get_runs_count()
        storage: Any = instance.run_storage
        with storage.connect() as connection:
            connection.exec_driver_sql("drop table runs")
        instance.get_runs_count()
    assert str(error.value) == (
        f"Dagster cannot keep its records in {home.home} (no such table: runs); make room there and let this user "
        "write there, then run again."
    )
