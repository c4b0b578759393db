"""The application: which pages there are, and how mistakes and faults look."""

import errno
import os
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from loan_default.adapters.gcs import BucketError
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.homes import prepare_process
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default.web import app as application
from loan_default.web.app import create_app
from loan_default.web.people import People, User
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.web.clients import client_of


def test_whoever_watches_the_server_is_answered(client: TestClient) -> None:
    assert client.get("/ping").text == "ok"


def test_a_browser_finds_an_icon_also_where_nobody_has_signed_in(tmp_path: Path) -> None:
    answer = client_of(create_app(Settings(tmp_path), People({"anna": User("anna", "viewer")}))).get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


def test_a_path_without_a_page_is_said_to_be_none(client: TestClient) -> None:
    answer = client.get("/absent")
    assert answer.status_code == 404
    assert "<h1>There is no such page</h1>" in answer.text
    assert "Not Found" not in answer.text


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BadInput("row 3 is <odd>."), 400, "row 3 is &lt;odd&gt;."),
        (ServerError("The server does not answer."), 503, "The server does not answer."),
        (TrackingError("The registry does not answer."), 503, "The registry does not answer."),
        (BucketError("gs://loans cannot be read; run again once it can."), 503, "gs://loans cannot be read;"),
        (OSError(errno.ENOSPC, "no space", "/home/a"), 503, "There is no room left at /home/a; make some"),
        (PermissionError(errno.EACCES, "denied", "/home/a"), 503, "/home/a cannot be used (denied)"),
        (ValueError("a secret"), 500, "the log of loan-default web says what"),
    ],
)
def test_a_mistake_is_a_page_of_one_sentence(tmp_path: Path, error: Exception, status: int, text: str) -> None:
    def fail(request: Request) -> Response:
        raise error

    app: Starlette = create_app(Settings(tmp_path), People())
    app.router.routes.insert(0, Route("/fail", fail))
    answer = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False).get("/fail")
    assert answer.status_code == status
    assert text in answer.text
    assert "a secret" not in answer.text


@pytest.mark.slow
def test_warming_up_goes_on_after_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read: list[tuple[object, ...]] = []

    def fail() -> None:
        raise TrackingError("The registry does not answer.")

    app, settings = create_app(Settings(tmp_path), People()), Settings(tmp_path)
    monkeypatch.setattr(app.state.versions, "read", fail)
    monkeypatch.setattr(application, "read_overview", lambda *arguments: read.append(arguments))
    application.warm_up(app).join(60)
    assert read == [(settings, app.state.batches)]
    assert "The registry does not answer." in caplog.text


_DAMAGED = {  # pages, and the records of which each says that they cannot be read
    "/": ["prediction_report/2014-09", "drift_report/2014-08", "performance_report"],
    "/batches": ["prediction_report/2014-09", "drift_report/2014-08"],
    "/batches/2014-08": ["drift_report/2014-08"],
    "/batches/2014-07": ["field_distributions/2014-07"],
    "/versions": ["history"],
    "/versions/1": ["history"],
    "/promised": ["performance_report"],
    "/strategy": ["strategy_report"],
    "/history": ["history"],
}


@pytest.mark.integration
def test_pages_say_which_records_cannot_be_read_and_show_the_rest(pages_home: Settings, tmp_path: Path) -> None:
    settings = replace(pages_home, storage=str(tmp_path / "storage"))
    shutil.copytree(pages_home.storage, settings.storage, ignore=shutil.ignore_patterns("mlflow"))
    records = {name for names in _DAMAGED.values() for name in names}
    files = {name: Path(settings.storage, f"{name}.json") for name in records}
    files["history"] = min(Path(settings.storage, "history").iterdir())
    for file in files.values():
        os.truncate(file, 99)  # as a full disk leaves it
    with own_environment():
        os.environ |= environment_of(settings)
        prepare_process(settings)
        client = client_of(create_app(settings, People()))
        answers = {page: client.get(page) for page in _DAMAGED}
        batch = client.get("/batches/2014-09")
    for page, answer in answers.items():
        assert answer.status_code == 200
        text = unescape(answer.text)
        assert [name for name in files if f"<li>The record {files[name]} is no JSON" in text] == sorted(
            _DAMAGED[page], key=[*files].index
        ), page
    assert batch.status_code == 400
    assert f"The record {files['prediction_report/2014-09']} is no JSON" in unescape(batch.text)
