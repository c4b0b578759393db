"""A trained home as the steps see it, without Dagster: its files, its models and what people have reviewed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters.layout import StorageLayout
from loan_default.settings import Settings
from loan_default.steps.workspace import Workspace
from loan_default_tests.steps.book import Book


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty storage."""
    return Workspace(StorageLayout(UPath(tmp_path / "storage")), tmp_path / "staging", "run-1")


@pytest.fixture(scope="session")
def trained_book(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The book of a home with version 1 in production; its registry is changed by no test."""
    return Book(trained_home(tmp_path_factory.mktemp("book")))


@pytest.fixture
def book(trained_book: Book, tmp_path: Path) -> Book:
    """The same with a storage of the test's own, without MLflow's artifacts."""
    mlflow = Path(trained_book.settings.artifacts)
    shutil.copytree(
        trained_book.settings.storage, tmp_path / "storage", ignore=lambda folder, names: {mlflow.name} & {*names}
    )
    return trained_book.with_storage(tmp_path / "storage")


@pytest.fixture
def own_book(trained_home: Callable[[Path], Settings], tmp_path: Path) -> Book:
    """A home of the test's own, whose registry it may change."""
    return Book(trained_home(tmp_path / "own"))
