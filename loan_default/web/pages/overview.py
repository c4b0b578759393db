"""The first page: what is in production and why, what works, what waits and failed, and what to do next.

It is read by `operations.overview`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.overview import Overview, read_overview
from loan_default.web.pages.history import version_cell
from loan_default.web.rendering import settings_of
from loan_default.web.tables import Cell, Column, PageTable, counts, show

if TYPE_CHECKING:
    from loan_default.defs.instance_status import Instigator


def show_overview(request: Request) -> Response:
    """Show how the installation stands."""
    overview = read_overview(settings_of(request), request.app.state.batches)
    return show(request, "overview.html", **overview_content(overview))


def overview_content(overview: Overview) -> dict[str, Any]:
    """Return what the page shows."""
    status = overview.status
    return {
        "overview": overview,
        "production": overview.production,
        "decided": {"promote": "promoted", "rollback": "rolled back to"},
        "server": status.server,
        "daemon": overview.daemon,
        "performance": status.performance,
        "advice": overview.advice,
        "in_progress": status.in_progress,
        "waiting": [batch for batch in status.waiting if batch not in status.in_progress],
        "tables": [batch_table(status.batches), run_table(overview), failure_table(overview), sensor_table(overview)],
        "damages": status.damages,
        "read_at": overview.read_at,
    }


def batch_table(batches: tuple[BatchStatus, ...]) -> PageTable:
    """Tabulate how the last batches stand, newest first."""
    columns = (
        Column("batch"),
        Column("drift", "tag"),
        Column("state", "tag"),
        *counts("applications", "rejected", "version"),
        Column("why", "long"),
    )
    rows = [
        (
            Cell(batch.batch, f"/batches/{batch.batch}" if batch.state == "scored" else ""),
            batch.verdict,
            batch.state,
            batch.applications,
            batch.rejected,
            version_cell(batch.model_version),
            batch.reasons[0] if batch.reasons else None,
        )
        for batch in reversed(batches)
    ]
    return PageTable(
        "batches", "The last batches", columns, rows, "No batch has been scored yet. Run loan-default score FILE."
    )


def run_table(overview: Overview) -> PageTable:
    """Tabulate the runs that wait or run."""
    columns = (
        Column("job"),
        Column("state", "tag"),
        Column("batch"),
        Column("since, UTC", "moment"),
        Column("why", "long"),
        Column("run", "run"),
    )
    rows = [(run.job, run.status, run.batch, run.created_at, run.reason, run.run_id) for run in overview.status.runs]
    return PageTable("runs", "Runs under way", columns, rows, "Nothing runs.")


def failure_table(overview: Overview) -> PageTable:
    """Tabulate what failed, and why."""
    columns = (
        Column("when, UTC", "moment"),
        Column("job"),
        Column("batch"),
        Column("why", "long"),
        Column("run", "run"),
    )
    rows = [
        (failure.run.created_at, failure.run.job, failure.run.batch, failure.reason, failure.run.run_id)
        for failure in overview.failures
    ]
    return PageTable(
        "failures", "What failed, newest first", columns, rows, "Nothing has failed that did not succeed since."
    )


def sensor_table(overview: Overview) -> PageTable:
    """Tabulate what sensors and schedules last said."""
    columns = (
        Column("sensor or schedule"),
        Column("state", "tag"),
        Column("last tick, UTC", "moment"),
        Column("what it said", "long"),
    )
    rows = [
        (each.name, _state(each), each.ticked_at, each.error or each.skip_reason)
        for each in overview.instance.instigators
    ]
    empty = "The daemon never ran here, so nothing happens by itself. Run loan-default dev."
    return PageTable("sensors", "What sensors and schedules last said", columns, rows, empty)


def _state(instigator: Instigator) -> Cell:
    if instigator.on is False:
        return Cell("off", tone="warn")
    return Cell("failed", tone="bad") if instigator.error else Cell("on", tone="good")


routes = (Route("/", show_overview),)
