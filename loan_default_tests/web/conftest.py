"""What the tests of the pages share: a client of the application on an empty home."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People
from loan_default_tests.web.clients import client_of


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A client at this machine, of pages without users."""
    return client_of(create_app(Settings(tmp_path), People()))
