"""The harness of every test of a sensor."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from loan_default.defs.resources import StorageResource
from loan_default_tests.defs.sensors.harness import Harness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    with dg.DagsterInstance.ephemeral() as instance:
        storage = StorageResource(root=str(tmp_path / "storage"), scratch=str(tmp_path / "staging"))
        yield Harness(instance, storage)
