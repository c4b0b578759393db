"""A lock is held by a process that lives, and by no other."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loan_default.adapters import run_lock

HOLD = """
import sys, time
from pathlib import Path
from loan_default.adapters import run_lock

run_lock.hold(Path(sys.argv[1]), "run")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.mark.integration
@pytest.mark.parametrize("end", [signal.SIGKILL, None], ids=["killed", "by itself"])
def test_a_process_that_has_ended_has_lost_its_lock(tmp_path: Path, end: signal.Signals | None) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not run_lock.is_lost(tmp_path, "run")
        if end:
            process.send_signal(end)
        process.communicate(b"end\n")
    assert run_lock.is_lost(tmp_path, "run")
    assert run_lock.run_ids(tmp_path) == ["run"]
    run_lock.forget(tmp_path, "run")
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_forgotten_while_it_is_looked_at_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_lock.hold(tmp_path, "run")
    lock = fcntl.flock

    def after_its_end(*arguments: Any) -> None:
        run_lock.forget(tmp_path, "run")
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", after_its_end)
    assert not run_lock.is_lost(tmp_path, "run")


def test_what_is_held_is_not_lost_and_what_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    run_lock.hold(tmp_path, "run")
    assert not run_lock.is_lost(tmp_path, "run")
    run_lock.forget(tmp_path, "run")
    assert not list(tmp_path.iterdir())
    assert not run_lock.is_lost(tmp_path, "run")
    assert not run_lock.run_ids(tmp_path / "absent")
