"""A lifeline is held by a process that lives, and by no other."""

import fcntl
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from loan_default.adapters import lifeline

HOLD = """
import sys, time
from pathlib import Path
from loan_default.adapters import lifeline

with lifeline.held(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_process_that_was_killed_has_lost_its_lifeline(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not lifeline.is_lost(tmp_path, "run")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert lifeline.is_lost(tmp_path, "run")
    lifeline.forget(tmp_path, "run")
    assert not list(tmp_path.iterdir())


def test_a_run_that_ends_while_it_is_looked_at_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, lock = ExitStack(), fcntl.flock
    run.enter_context(lifeline.held(tmp_path, "run"))

    def after_its_end(*given: Any) -> None:
        run.close()
        lock(*given)

    monkeypatch.setattr(fcntl, "flock", after_its_end)
    assert not lifeline.is_lost(tmp_path, "run")


def test_a_run_that_ends_by_itself_leaves_nothing_and_an_unknown_one_is_not_lost(tmp_path: Path) -> None:
    with lifeline.held(tmp_path, "run"):
        assert not lifeline.is_lost(tmp_path, "run")
    assert not list(tmp_path.iterdir())
    assert not lifeline.is_lost(tmp_path, "run")
