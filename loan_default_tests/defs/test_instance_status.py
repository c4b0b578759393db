"""Dagster's records of a real instance: what a daemon left there, runs whose process ended, limits of old homes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from loan_default.adapters import run_lock
from loan_default.defs.instance_status import instance_status_of, is_new, read_instance_status
from loan_default.homes import dagster_yaml
from loan_default.operations.doctor.instance import judge_daemons, judge_instigators
from loan_default.settings import Settings
from loan_default_tests.homes import own_environment

DAGSTER_YAML = dagster_yaml(Settings(Path()))
CODE = """
import dagster as dg

@dg.sensor(minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def shut():
    raise OSError("the door is shut\\nand more")

@dg.sensor(minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def open_():
    return dg.SkipReason("nobody is there")

defs = dg.Definitions(sensors=[shut, open_])
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def begun(instance: dg.DagsterInstance) -> dg.DagsterRun:
    run = dg.DagsterRun(job_name="training_job", status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    return run


def test_a_home_is_new_until_something_is_recorded(tmp_path: Path) -> None:
    assert is_new(tmp_path)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    assert is_new(tmp_path)
    (tmp_path / "dagster.yaml").write_text("storage:\n  postgres: {}\n")
    assert not is_new(tmp_path)
    (tmp_path / "dagster.yaml").unlink()
    (tmp_path / "history").mkdir()
    assert not is_new(tmp_path)


@pytest.mark.integration
def test_a_run_is_gone_once_its_process_has_died(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lives, gone, _ = (begun(instance) for _ in range(3))
    settings = Settings(tmp_path)
    run_lock.hold(settings.runs, lives.run_id)
    (settings.runs / gone.run_id).touch()  # as its death has left it
    status = instance_status_of(instance, settings)
    run_lock.forget(settings.runs, lives.run_id)
    assert status.lost_runs == (f"training_job {gone.run_id[:8]}",)
    assert status.runs_under_way == 3


@pytest.mark.integration
def test_the_oldest_queued_run_and_the_newest_run_are_told(instance: dg.DagsterInstance) -> None:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    origin = RemoteJobOrigin(repository, "training_job")
    assert instance_status_of(instance, Settings(Path())).queued_since is None
    for _ in range(2):
        queued = dg.DagsterRunStatus.QUEUED
        instance.add_run(dg.DagsterRun(job_name="training_job", status=queued, remote_job_origin=origin))
        time.sleep(0.01)
    status = instance_status_of(instance, Settings(Path()))
    assert status.queued_since is not None
    assert status.newest_run_at is not None
    assert timedelta() < status.newest_run_at - status.queued_since < timedelta(minutes=1)
    assert datetime.now(UTC) - status.queued_since < timedelta(minutes=1)


@pytest.mark.integration
def test_sensors_are_those_of_the_code_location_or_all_where_it_has_another_name(instance: dg.DagsterInstance) -> None:
    on, off, kind = InstigatorStatus.RUNNING, InstigatorStatus.STOPPED, InstigatorType.SENSOR
    for location, sensor, status in (("homes", "drift", on), ("homes", "new", on), ("loans", "drift", off)):
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
        origin = repository.get_instigator_origin(sensor)
        instance.add_instigator_state(InstigatorState(origin, kind, status, SensorInstigatorData()))
    switches = {
        location: {
            each.name: each.on
            for each in instance_status_of(instance, Settings(Path(), code_location=location)).instigators
        }
        for location in ("homes", "loans", "renamed")
    }
    assert switches["homes"] == {"drift": True, "new": True}
    assert switches["loans"] == {"drift": False}
    assert switches["renamed"].keys() == {"drift", "new"}


@pytest.mark.integration
def test_heartbeats_tell_when_and_with_what_error(instance: dg.DagsterInstance) -> None:
    assert {daemon.last_heartbeat_at for daemon in instance_status_of(instance, Settings(Path())).daemons} == {None}
    error = SerializableErrorInfo("outer\n", [], "A", cause=SerializableErrorInfo("the disk is full\nat last", [], "B"))
    instance.add_daemon_heartbeat(DaemonHeartbeat(1_000.0, "SENSOR", None, [error]))
    sensor = next(
        daemon for daemon in instance_status_of(instance, Settings(Path())).daemons if daemon.name == "SENSOR"
    )
    assert sensor.last_heartbeat_at == datetime.fromtimestamp(1_000, UTC)
    assert sensor.error == "the disk is full"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("yaml", "monitored", "limited"),
    [
        (DAGSTER_YAML, True, True),
        ("telemetry:\n  enabled: false\n", False, False),
        ("concurrency:\n  runs:\n    max_concurrent_runs: 3\nrun_monitoring:\n  enabled: true\n", True, False),
        (DAGSTER_YAML.partition("run_retries")[0].replace("default_limit: 1", ""), True, False),
    ],
    ids=["new", "old", "half", "without pools"],
)
def test_limits_are_read_from_the_home(tmp_path: Path, yaml: str, monitored: bool, limited: bool) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml)
    with own_environment():
        os.environ["DAGSTER_HOME"] = str(tmp_path)
        status = read_instance_status(Settings(tmp_path, dagster_home=tmp_path))
    assert (status.monitors_runs, status.retries_runs, status.limits_runs) == (monitored, limited, limited)


@pytest.mark.integration
def test_a_daemon_that_was_stopped_leaves_its_heartbeats_and_the_tick_that_failed(tmp_path: Path) -> None:
    (tmp_path / "watchers.py").write_text(CODE)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    log = tmp_path / "daemon.log"
    with own_environment(), log.open("w") as output:
        os.environ["DAGSTER_HOME"] = str(tmp_path)
        read_instance_status(Settings(tmp_path, dagster_home=tmp_path))  # which makes the tables; the daemon would too
        command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(tmp_path / "watchers.py")]
        daemon = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True)
        try:
            deadline = time.monotonic() + 90
            while True:
                status = read_instance_status(Settings(tmp_path, dagster_home=tmp_path))
                if len(status.instigators) == 2 and all(daemon.last_heartbeat_at for daemon in status.daemons):
                    break
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGTERM)
            daemon.wait(timeout=30)
        status = read_instance_status(Settings(tmp_path, dagster_home=tmp_path))
        with dg.DagsterInstance.get() as instance:
            for state in instance.all_instigator_state():
                instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
        off = read_instance_status(Settings(tmp_path, dagster_home=tmp_path))
    assert {instigator.name: instigator.error for instigator in status.instigators} == {
        "shut": "OSError: the door is shut",
        "open_": None,
    }
    assert {instigator.name: instigator.skip_reason for instigator in status.instigators} == {
        "shut": None,
        "open_": "nobody is there",
    }
    assert all(instigator.ticked_at for instigator in status.instigators)
    (failed,) = judge_instigators(status, sensors=True)
    assert (failed.mark, failed.message) == ("wrong", "The last tick of shut failed: OSError: the door is shut.")
    (switched,) = judge_instigators(off, sensors=True)
    assert (switched.mark, switched.message) == ("note", "open_, shut: switched off by hand.")

    now = datetime.now(UTC)
    (lives,) = judge_daemons(status, now)
    assert lives.mark == "ok"
    (silent,) = judge_daemons(status, now + timedelta(hours=3))
    assert silent.mark == "wrong"
    assert f"{len(status.daemons)} of {len(status.daemons)} daemons are silent" in silent.message
    assert "last heard of 3 hours ago" in silent.message
    silenced = replace(status, daemons=(replace(status.daemons[0], last_heartbeat_at=None), *status.daemons[1:]))
    (missing,) = judge_daemons(silenced, now)
    silence = f"1 of {len(silenced.daemons)} daemons are silent ({silenced.daemons[0].name}); last heard of never."
    assert silence in missing.message
