"""The tiers of tests: a unit test that opens a socket or a database, or starts a process, fails however it does so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
UNIT = """
import multiprocessing, os, socket, sqlite3, subprocess, threading
import pytest

def bind():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

begin, end = threading.Event(), threading.Event()

def bind_later():
    begin.wait(20)
    bind()
    end.set()

threading.Thread(target=bind_later, daemon=True).start()

def test_arithmetic():
    assert 1 + 1 == 2

def test_beside_a_thread_that_was_there_before():
    begin.set()
    assert end.wait(20)

@pytest.mark.integration
def test_of_another_tier():
    bind()
    assert subprocess.run(["true"]).returncode == 0

def test_that_binds():
    bind()

def test_that_connects():
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))

def test_that_swallows_the_failure():
    try:
        bind()
    except BaseException:
        pass

def test_in_a_thread_of_its_own():
    thread = threading.Thread(target=bind)
    thread.start()
    thread.join()

@pytest.fixture
def bound():
    bind()

def test_whose_fixture_binds(bound):
    pass

def test_that_runs_a_command():
    subprocess.run(["true"])

def test_that_asks_the_shell():
    os.system("true")

def test_that_spawns():
    multiprocessing.get_context("spawn").Process(target=print).start()

def test_that_opens_a_database(tmp_path):
    sqlite3.connect(tmp_path / "runs.db").close()

def test_of_a_database_in_memory():
    sqlite3.connect(":memory:").close()
"""
SOCKET, PROCESS = "a unit test opens a socket", "a unit test starts a process"
DATABASE = "a unit test opens a database on disk"


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a folder of their own, with the tiers' hooks as pytest's plugin."""
    (folder / "test_some.py").write_text(tests, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "loan_default_tests.tiers", "-p", "no:cacheprovider", "-rA"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_a_unit_test_opens_no_socket_and_no_database_and_starts_no_process(tmp_path: Path) -> None:
    output = run(tmp_path, UNIT).stdout
    summary = re.findall(r"^([A-Z]+) test_some\.py::test_(\w+)(?: - Failed: (.*?)(?: \(|:|$))?", output, re.M)
    assert {name: (outcome, reason) for outcome, name, reason in summary} == {
        "arithmetic": ("PASSED", ""),
        "beside_a_thread_that_was_there_before": ("PASSED", ""),
        "of_another_tier": ("PASSED", ""),
        "that_binds": ("FAILED", SOCKET),
        "that_connects": ("FAILED", SOCKET),
        "that_swallows_the_failure": ("FAILED", SOCKET),
        "in_a_thread_of_its_own": ("FAILED", SOCKET),
        "whose_fixture_binds": ("ERROR", SOCKET),
        "that_runs_a_command": ("FAILED", PROCESS),
        "that_asks_the_shell": ("FAILED", PROCESS),
        "that_spawns": ("FAILED", PROCESS),
        "that_opens_a_database": ("FAILED", DATABASE),
        "of_a_database_in_memory": ("PASSED", ""),
    }


def test_a_test_has_one_tier(tmp_path: Path) -> None:
    tests = "import pytest\n\n@pytest.mark.long\n@pytest.mark.container\ndef test_of_two(): ...\n"
    finished = run(tmp_path, tests)
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_some.py::test_of_two is marked container and long: a test has one tier" in finished.stderr
