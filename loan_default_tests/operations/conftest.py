"""Shared by the tests of operations: a home with version 1 in production, one for each file of tests."""

import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from loan_default.homes import prepare_process
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.settings import Settings
from loan_default_tests.homes import environment_of, own_environment


@pytest.fixture(scope="module")
def home(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of the home, whose environment this process has meanwhile."""
    settings = trained_home(tmp_path_factory.mktemp("home") / "trained")
    with own_environment():
        os.environ |= environment_of(settings)
        prepare_process(settings)
        yield settings


def write_batch(path: Path, seed: int = 1, rows: int = 60) -> Path:
    """Write a batch of applications."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(make_applications(rows, seed=seed, month=date(2014, 7, 1)), path)
    return path
