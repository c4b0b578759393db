"""Shared by the tests of commands: an empty working directory, a command run in process, its one sentence."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loan_default.cli import main
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default_tests.homes import unset_environment

Outcome = tuple[int, str, str]  # exit code, output, errors
Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; the home is `var` in it."""
    monkeypatch.chdir(tmp_path)
    with unset_environment():
        yield tmp_path


@pytest.fixture
def command(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns exit code, output and errors."""

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        return code, *capfd.readouterr()

    return run


def sentence(outcome: Outcome, code: int = 1) -> str:
    """Return the one sentence of a mistake."""
    ended, _, errors = outcome
    assert ended == code, errors
    assert "Traceback" not in errors
    (line,) = errors.splitlines()
    assert line.startswith("loan-default: ")
    return line.removeprefix("loan-default: ")


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Dagster keeps the runs of all these tests: its databases take a second to create."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def loans(folder: Path, dagster_home: Path) -> Path:
    """400 synthetic loans in the working directory."""
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    write_csv(make_loans(400, seed=1), folder / "loans.csv", footer=True)
    return folder / "loans.csv"
