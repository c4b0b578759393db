"""The application of the pages: which there are, who is asked before each, and how mistakes look.

Each page is a module in `pages`, whose `routes` are listed here; the server's address and its start are `server`'s.
"""

from __future__ import annotations

import gc
import logging
import threading
from functools import partial
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from loan_default.adapters.parquet_table import find_damage
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.storage import explain_os_error
from loan_default.adapters.tracking import TrackingError
from loan_default.operations.batch_figures import BatchArchive
from loan_default.operations.evidently import PageDrawer
from loan_default.operations.overview import read_overview
from loan_default.operations.promised import PromisedArchive
from loan_default.operations.versions import VersionArchive
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default.web import charts
from loan_default.web.pages import (
    batches,
    decision_list,
    decisions,
    history,
    overview,
    promised,
    score,
    sign_in,
    strategy,
    versions,
)
from loan_default.web.people import People, SignInLimit
from loan_default.web.rendering import FOLDER, render
from loan_default.web.security import BODY_BYTES, Security

PAGES = (overview, score, decision_list, decisions, batches, versions, promised, strategy, history, sign_in)


def create_app(settings: Settings, people: People) -> Starlette:
    """Make the application of one installation's pages."""
    routes: list[BaseRoute] = [route for page in PAGES for route in page.routes]
    app = Starlette(
        routes=[
            Route("/ping", _ping),
            Route("/favicon.ico", _icon),
            *routes,
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        middleware=[Middleware(Security, people=people)],
        exception_handlers={
            HTTPException: _show_refusal,
            BadInput: _show_mistake,
            ServerError: _show_trouble,
            TrackingError: _show_trouble,
            OSError: _show_disk_trouble,
            Exception: _show_fault,
        },
        max_body_size=BODY_BYTES,
    )
    app.state.settings, app.state.people, app.state.sign_in_limit = settings, people, SignInLimit()
    app.state.batches, app.state.versions = BatchArchive(settings.layout), VersionArchive(settings)
    app.state.promised, app.state.evidently = PromisedArchive(settings), PageDrawer(settings)
    return app


def warm_up(app: Starlette) -> threading.Thread:
    """Read in a thread, which is returned, what the first page would wait for: records, libraries and the renderer."""
    thread = threading.Thread(target=_read_ahead, args=(app,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _read_ahead(app: Starlette) -> None:
    from loan_default.defs.instance import keep_instance_open

    settings = app.state.settings
    for read in (
        partial(keep_instance_open, settings),
        app.state.batches.read,
        app.state.versions.read,
        partial(read_overview, settings, app.state.batches),
    ):
        try:
            read()
        except (BadInput, TrackingError, OSError) as error:  # the pages say it too
            logging.getLogger(__name__).warning("%s", error)
    charts.warm_up()
    gc.collect()
    gc.freeze()  # what stays until the end need not be looked through again: else some pages wait a quarter second


def _ping(request: Request) -> Response:
    return PlainTextResponse("ok", headers={"X-Application": "loan-default"})


def _icon(request: Request) -> Response:
    """Answer browsers that look for an icon where a page names none, as Evidently's."""
    return FileResponse(FOLDER / "static" / "icon.svg", media_type="image/svg+xml")


_TITLES = {403: "You may not see this page", 404: "There is no such page", 405: "There is no such page"}


def _show_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = _TITLES.get(error.status_code, "This cannot be shown")
    if request.method == "POST":
        title = "Nothing was done"
    own_words = error.detail != HTTPStatus(error.status_code).phrase
    return render(request, "error.html", error.status_code, title=title, sentence=error.detail if own_words else "")


def _show_mistake(request: Request, error: Exception) -> Response:
    return render(request, "error.html", 400, title="This cannot be shown", sentence=str(error))


def _show_trouble(request: Request, error: Exception) -> Response:
    return render(request, "error.html", 503, title="This cannot be shown now", sentence=str(error))


def _show_disk_trouble(request: Request, error: Exception) -> Response:
    """Answer what a disk or a bucket refuses."""
    assert isinstance(error, OSError)
    return render(request, "error.html", 503, title="This cannot be shown now", sentence=explain_os_error(error))


def _show_fault(request: Request, error: Exception) -> Response:
    """Answer a fault of ours, which Starlette raises again for the log."""
    settings = request.app.state.settings
    damage = find_damage(error, settings.layout, settings.staging)
    sentence = str(damage or "Something went wrong that should not; the log of loan-default web says what.")
    return render(request, "error.html", 500, title="This page failed", sentence=sentence)
