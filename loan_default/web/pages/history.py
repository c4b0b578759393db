"""The page of what happened: every promotion, hold, rollback and retraining, as a time line, newest first.

Events are read by `operations.history`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.operations.history import HistoryEvent, read_history
from loan_default.risk.errors import DamagedRecord
from loan_default.web.rendering import settings_of
from loan_default.web.tables import Cell, Column, PageTable, page_number, show


def show_history(request: Request) -> Response:
    """Show what happened."""
    read_at = datetime.now(UTC)
    damages: list[DamagedRecord] = []
    events = read_history(settings_of(request), damages, request.app.state.versions)[::-1]
    table = history_table(events, page_number(request))
    start = (table.current - 1) * table.rows_of_a_page
    timeline = events[start : start + table.rows_of_a_page]
    return show(request, "history.html", [table], events=timeline, damages=damages, read_at=read_at)


def history_table(events: tuple[HistoryEvent, ...], page: int = 1) -> PageTable:
    """Tabulate events."""
    columns = (
        Column("when, UTC", "moment"),
        Column("event", "tag"),
        Column("version", "count"),
        Column("by", "person"),
        Column("looks before", "count"),
        Column("basis"),
        Column("why"),
    )
    rows = [
        (
            event.at,
            event.event,
            version_cell(event.version),
            event.by,
            event.test_looks,
            event.basis,
            " ".join(event.reasons),
        )
        for event in events
    ]
    return PageTable("history", "What happened, newest first", columns, rows, page=page)


def version_cell(version: int | None) -> Cell:
    """Return the number of a version with a link to its page."""
    return Cell(version, "" if version is None else f"/versions/{version}")


routes = (Route("/history", show_history),)
