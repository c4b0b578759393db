"""The first page: what is in production and why, the last batches, and what to do next."""

from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.operations.batch_figures import BatchArchive
from loan_default.operations.batch_status import BatchStatus, list_deliveries, read_batches
from loan_default.operations.overview import advise_on_drift
from loan_default.operations.runs import BatchRuns, Run
from loan_default.operations.status import ServerStatus, Status, VersionStatus
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People
from loan_default_tests.web.clients import client_of

pytestmark = pytest.mark.integration


def test_the_first_page_says_what_is_in_production_and_what_to_do(pages: TestClient) -> None:
    response = pages.get("/")
    text = unescape(response.text)
    assert response.status_code == 200
    assert '<a href="/versions/1">Version 1</a>' in text
    assert "policy, run " in text
    assert '<span class="tag warn">daemon off</span> The daemon never ran here' in text
    assert "The newest batch, 2014-09, has drifted." in text
    assert 'href="/batches/2014-09"' in text
    assert "Data read on" in text


@pytest.mark.parametrize(
    ("job", "sentence"), [("retraining_job", "a retraining is"), ("training_job", "the drift sensor asks")]
)
def test_who_has_drift_is_told_whether_it_is_cared_for(job: str, sentence: str) -> None:
    run = Run("1", job, "started", datetime.now(UTC), None, None)
    drifted = BatchStatus("2014-09", "scored", verdict="drifted")
    status = Status((VersionStatus("production", 1),) * 3, (drifted,), (), (run,), ServerStatus("http://a"), None)
    (advice,) = advise_on_drift(status)
    assert sentence in advice.remedy


def test_a_new_home_is_told_how_to_begin(empty_pages: TestClient) -> None:
    text = unescape(empty_pages.get("/").text)
    assert "No version is registered in MLflow." in text
    assert "loan-default run --data FILE" in text


def test_batches_stand_as_they_do_where_nothing_was_read_of_them_before(pages_home: Settings) -> None:
    deliveries, runs = list_deliveries(pages_home.layout), BatchRuns((), ())
    opened = read_batches(pages_home, runs, deliveries)
    assert read_batches(pages_home, runs, deliveries, BatchArchive(pages_home.layout).read()) == opened
    assert len(opened) == 3


@pytest.mark.usefixtures("pages")
def test_the_first_page_names_a_reviewed_file_that_cannot_be_used(pages_home: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("decision: {approve_below: 2}\n", encoding="utf-8")
    page = client_of(create_app(replace(pages_home, policy=policy), People())).get("/")
    assert page.status_code == 200
    assert f"{policy}, line 1: decision.approve_below: 2 is not allowed" in unescape(page.text)
