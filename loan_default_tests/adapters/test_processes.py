"""Processes that live, that have ended, and that are another user's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loan_default.adapters.processes import is_alive, start_module


@pytest.mark.integration
def test_a_process_is_alive_until_somebody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.communicate(b"\n")
    assert not is_alive(process.pid)


def test_other_users_processes_are_alive_too() -> None:
    assert is_alive(1), "which only root may send a signal"
    assert is_alive(os.getpid())


@pytest.mark.integration
def test_a_module_imports_what_this_process_does_whatever_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "helper_of_test.py").write_text(
        "import sys, this_is_here; print(*sys.argv[1:], this_is_here.NAME)"
    )
    (tmp_path / "own" / "this_is_here.py").write_text("NAME = 'own'")
    (tmp_path / "this_is_here.py").write_text("NAME = 'working folder'")
    (tmp_path / "orjson.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    with start_module("helper_of_test", "a", stdout=subprocess.PIPE) as process:
        assert process.communicate()[0] == b"a own\n"
