"""The whole loop under `dagster dev`: files are dropped into the inbox, and nothing else is touched.

A sample, one batch and its outcomes, is `test_load`'s.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import dagster as dg
import httpx
import pytest

from loan_default_tests.databases import programs
from loan_default_tests.homes import environment_of, new_home
from loan_default_tests.loops import Loop, started_loop, train_by_command

pytestmark = pytest.mark.long


@pytest.fixture
def loop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Loop]:
    """Start a loop with its records in Postgres, as in production, where that is installed; `test_load`'s has files."""
    settings, environment = new_home(tmp_path), {}
    if programs():
        postgres = request.getfixturevalue("postgres")
        settings = postgres.with_databases(settings, "loop")
        environment = postgres.environment(settings)
    train_by_command(settings, {**environment_of(settings), **environment})
    with started_loop(settings, environment) as loop:
        yield loop


def test_a_stable_batch_is_scored_and_a_shifted_one_leads_to_one_new_model_that_is_served(loop: Loop) -> None:
    loop.drop("2014-08.csv", seed=3)
    loop.drop("2014-08-shifted.csv", seed=4, shift=1.0)
    for batch, verdict in (("2014-08", "stable"), ("2014-08-shifted", "drifted")):
        report = loop.wait_for(partial(loop.record, "drift_report", batch), f"{batch} is scored and compared")
        assert report["verdict"] == verdict
    loop.wait_for(lambda: loop.runs("retraining_job"), "a retraining is asked for")
    loop.wait_for(lambda: (loop.record("promoted_model") or {}).get("candidate") == 2, "version 2 is decided on")
    assert loop.record("promoted_model")["verdict"] == "promote"

    def is_served() -> bool:
        with suppress(httpx.TransportError):
            return bool(httpx.get(f"{loop.settings.serving_url}/health").json()["version"] == 2)
        return False

    loop.wait_for(is_served, "the server answers by version 2")
    loop.wait_for(
        lambda: (loop.record("drift_report", "2014-08-shifted") or {}).get("model_version") == 2,
        "the shifted batch is scored again",
    )
    loop.drop_outcomes(seed=3)
    report = loop.wait_for(
        lambda: (report := loop.record("performance_report") or {}).get("told_until") and report,
        "outcomes show how good each version proved to be",
    )
    assert [version["version"] for version in report["versions"] if version["known"] > 390] == [1]
    (retraining,) = loop.runs("retraining_job")
    assert retraining.status is dg.DagsterRunStatus.SUCCESS
    assert "2014-08-shifted drifted against version 1" in retraining.tags["loan_default/reason"]
