"""Processes that live, that have ended, and that are another user's."""

import os
import subprocess
import sys

import pytest

from loan_default.adapters.processes import is_alive


@pytest.mark.integration
def test_a_process_is_alive_until_somebody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.communicate(b"\n")
    assert not is_alive(process.pid)


def test_other_users_processes_are_alive_too() -> None:
    assert is_alive(1), "which only root may send a signal"
    assert is_alive(os.getpid())
