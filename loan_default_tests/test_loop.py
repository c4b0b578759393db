"""The whole loop under `dagster dev`: files are dropped into the inbox, and nothing else is touched."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import httpx
import pytest

from loan_default_tests.databases import programs
from loan_default_tests.loops import Loop, started_loop

pytestmark = pytest.mark.long


@pytest.fixture
def loop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Loop]:
    """With its records in Postgres, as in production, where one is installed; `test_load` has them in files."""
    with started_loop(tmp_path, request.getfixturevalue("postgres") if programs() else None) as started:
        yield started


def test_a_calm_batch_is_scored_and_a_shifted_one_leads_to_one_new_model_that_is_served(loop: Loop) -> None:
    loop.drop("2014-08.csv", seed=3)
    loop.drop("2014-08-shifted.csv", seed=4, shift=1.0)
    for batch, verdict in (("2014-08", "stable"), ("2014-08-shifted", "drifted")):
        report = loop.until(lambda batch=batch: loop.record("drift_report", batch), f"{batch} is scored and compared")
        assert report["verdict"] == verdict
    loop.until(lambda: loop.runs("retraining_job"), "a retraining is asked for")
    loop.until(lambda: (loop.record("promoted_model") or {}).get("candidate") == 2, "version 2 is decided on")
    assert loop.record("promoted_model")["verdict"] == "promote"

    def served() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{loop.settings.serving_url}/health").json()["version"] == 2
        return False

    loop.until(served, "the server answers by version 2")
    again = loop.until(
        lambda: (loop.record("drift_report", "2014-08-shifted") or {}).get("model_version") == 2,
        "the shifted batch is scored again",
    )
    assert again
    loop.tell("2019-09.csv", seed=3)
    told = loop.until(
        lambda: (report := loop.record("performance_report") or {}).get("told_until") and report,
        "outcomes show how good each version proved to be",
    )
    assert [version["version"] for version in told["versions"] if version["known"] > 390] == [1]
    (retraining,) = loop.runs("retraining_job")
    assert retraining.status is dg.DagsterRunStatus.SUCCESS
    assert "2014-08-shifted drifted against version 1" in retraining.tags["loan_default/reason"]
