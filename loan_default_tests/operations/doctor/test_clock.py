"""Clocks that differ, and files from the future."""

import os
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from loan_default.adapters import decision_log
from loan_default.operations.doctor import CheckContext
from loan_default.operations.doctor.clock import check_clock, judge_clocks
from loan_default.operations.doctor.registry import check_registry
from loan_default.operations.doctor.storage import check_storage
from loan_default_tests.operations.doctor.conftest import NOW, Installation, answering, diagnoses_of, wrong

pytestmark = pytest.mark.integration


def test_a_file_from_the_future_tells_of_the_clock(install: Installation) -> None:
    context = CheckContext(install())
    record = {"verdict": "promote", "candidate": 1, "decided_at": "2026-11-24T12:00:00+00:00"}
    decision_log.add(context.settings.layout, record)
    (file,) = Path(context.settings.storage, "history").iterdir()
    ahead = time.time() + 3 * 3600
    os.utime(file, (ahead, ahead))
    diagnoses_of(check_storage, context)
    diagnosis = wrong(diagnoses_of(check_clock, context))
    assert diagnosis.message.startswith(f"history/{file.name} is from ")
    assert "3 hours from now" in diagnosis.message


def test_a_tracking_server_with_another_time_tells_of_the_clock(install: Installation) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
    with answering({"/version": (200, b"3.17.2")}, {"Date": date}) as url:
        context = CheckContext(install(MLFLOW_TRACKING_URI=url))
        assert wrong(diagnoses_of(check_registry, context)).check == "registry"  # it is no MLflow, but for its version
    diagnosis = wrong(diagnoses_of(check_clock, context))
    assert diagnosis.message == "This machine's clock is 3 hours behind that of MLflow's server."


@pytest.mark.parametrize(("seconds", "where"), [(9, None), (-9, None), (11, "behind"), (-11, "ahead of")])
def test_clocks_may_differ_by_a_little(seconds: int, where: str | None) -> None:
    diagnoses = [*judge_clocks([("the storage", NOW + timedelta(seconds=seconds), NOW)])]
    assert [diagnosis.message for diagnosis in diagnoses] == (
        [f"This machine's clock is 11 s {where} that of the storage."] if where else []
    )
