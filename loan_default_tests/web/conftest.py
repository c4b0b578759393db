"""What the tests of the pages share: clients of an empty home, and of a trained one whose scoring server runs."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.homes import prepare_process
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.serving.test_server import running
from loan_default_tests.web.clients import client_of


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A client at this machine, of pages without users."""
    return client_of(create_app(Settings(tmp_path), People()))


@pytest.fixture(scope="session")
def pages_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with all that pages show; no test changes it."""
    from loan_default_tests.web.home import pages_home

    return pages_home(tmp_path_factory.mktemp("pages") / "home")


@pytest.fixture
def pages(pages_home: Settings) -> Iterator[TestClient]:
    """A client at this machine, of the pages of that home."""
    with own_environment():
        os.environ |= environment_of(pages_home)
        prepare_process(pages_home)
        yield client_of(create_app(pages_home, People()))


@pytest.fixture
def empty_pages(tmp_path: Path) -> Iterator[TestClient]:
    """A client at this machine, of the pages of a home in which nothing has run."""
    settings = Settings(tmp_path / "home")
    with own_environment():
        prepare_process(settings)
        yield client_of(create_app(settings, People()))


@pytest.fixture(scope="package")
def trained(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a home whose scoring server runs; mark tests that take it `integration`."""
    folder = tmp_path_factory.mktemp("pages")
    settings = trained_home(folder / "home")
    with own_environment(), running(settings.tracking, settings.home, LOAN_DEFAULT_STORAGE=settings.storage) as server:
        server.until(lambda health: health["status"] == "ready")
        settings = replace(settings, serving_url=server.url)
        os.environ |= environment_of(settings)
        prepare_process(settings)
        yield settings


@pytest.fixture
def scoring_pages(trained: Settings) -> TestClient:
    """A client of that home's pages, without users."""
    return client_of(create_app(trained, People()))
