"""Runs of processes that were killed for real: they are ended, and those that live are not."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from loan_default.adapters.run_lock import hold
from loan_default.defs.lost_runs import RunLockResource
from loan_default_tests.defs.sensors.harness import (
    Harness,
    RunStatus,
    skip_message,
)


@pytest.mark.integration
def test_runs_that_died_are_ended_and_those_that_live_are_not(harness: Harness, tmp_path: Path) -> None:
    run_lock = RunLockResource(folder=str(tmp_path / "runs"), scratch="", models="", storage="")
    died, lives, unknown = (harness.add_run("training_job", RunStatus.STARTED) for _ in range(3))
    stopped = harness.add_run("tuning_job", RunStatus.CANCELING)
    ended = harness.add_run("training_job", RunStatus.SUCCESS)
    settled: list[str] = []
    runs = {
        "RUNNING": {"m1": died.run_id, "m2": lives.run_id, "m3": "of another platform", "m4": stopped.run_id},
        "FINISHED": {"m5": ended.run_id},
    }
    tracking = SimpleNamespace(
        latest_runs=lambda tag, status, at_most: runs[status],
        end_run=lambda run_id, status: settled.append(f"{run_id} {status}"),
    )

    def tick() -> str:
        registry = SimpleNamespace(tracking=tracking)
        return skip_message(harness.tick("lost_run_sensor", model_registry=registry, run_lock=run_lock))

    holder = "import sys, time; from pathlib import Path; from loan_default.adapters import run_lock\n"
    holder += "for run in sys.argv[2:]: run_lock.hold(Path(sys.argv[1]), run)\n"
    holder += "print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, run_lock.folder]
    with subprocess.Popen([*command, died.run_id, stopped.run_id], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for run in (lives, ended):
            hold(Path(run_lock.folder), run.run_id)
        assert tick() == "Every run that is under way lives."
        process.kill()
        process.wait()
        message = tick()
    assert set(message.rstrip(".").split(". ")) == {
        f"training_job had died (run {died.run_id})",
        f"tuning_job had died (run {stopped.run_id})",
    }
    statuses = {run.run_id: run.status for run in harness.instance.get_runs()}
    assert statuses == {
        died.run_id: RunStatus.FAILURE,
        stopped.run_id: RunStatus.CANCELED,
        lives.run_id: RunStatus.STARTED,
        unknown.run_id: RunStatus.STARTED,
        ended.run_id: RunStatus.SUCCESS,
    }
    assert settled == ["m1 FAILED", "m4 FAILED"]
    assert [path.name for path in Path(run_lock.folder).iterdir()] == [lives.run_id]
