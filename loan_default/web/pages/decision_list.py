"""The page of the newest decisions: filtered by day, decision, version, who asked and application, and as CSV; and of
what people decided otherwise.

Decisions are listed by `operations.decisions`, overrides by `operations.overrides`; a single decision is `decisions`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loan_default.operations.decisions import list_decisions
from loan_default.operations.overrides import Override, override_reasons, read_overrides
from loan_default.operations.records import distinct
from loan_default.risk.errors import BadInput, DamagedRecord
from loan_default.web.pages.history import version_cell
from loan_default.web.people import allow
from loan_default.web.rendering import decision_word, settings_of
from loan_default.web.tables import Cell, Column, PageTable, counts, shares, show

if TYPE_CHECKING:
    from loan_default.serving.decision_list import DecisionQuery

DECISIONS = ("approve", "review", "decline")
_PARAMETERS = ("number", "day", "decision", "version", "by", "before")
_ROWS, _ROWS_OF_CSV = 50, 10_000  # the newest


@allow("officer")
def show_decisions(request: Request) -> Response:
    """List decisions, or lead to the one whose number is asked for."""
    from loan_default.serving.decision_id import first_of

    number = request.query_params.get("number", "").strip()
    with suppress(BadInput):  # it is an application's
        first_of(number)
        return RedirectResponse(f"/decisions/{number}", 303)
    settings, parameters = settings_of(request), {name: request.query_params.get(name, "") for name in _PARAMETERS}
    query, read_at = read_query(parameters), datetime.now(UTC)
    rows = _ROWS_OF_CSV if request.query_params.get("csv") else _ROWS
    decisions = list_decisions(settings, query, rows)
    damages: list[DamagedRecord] = []
    overrides = read_overrides(settings, {row["decision_id"] for row in decisions.rows}, damages=damages)
    newest = read_overrides(settings, newest=rows, damages=damages)[::-1]
    return show(
        request,
        "decisions.html",
        [decision_table(decisions.rows, overrides), override_table(newest, override_reasons(settings))],
        parameters=parameters,
        choices=DECISIONS,
        older=decisions.older,
        looked_until=decisions.looked_until,
        rows_of_csv=_ROWS_OF_CSV,
        damages=distinct(damages),
        read_at=read_at,
    )


def read_query(parameters: Mapping[str, str]) -> DecisionQuery:
    """Read which decisions an address asks for.

    Raises:
        BadInput: a day is none, a version is no number, or a decision is none of those that there are.
    """
    from loan_default.serving.decision_list import DecisionQuery

    day, version, decision = (parameters.get(name, "").strip() for name in ("day", "version", "decision"))
    if decision and decision not in DECISIONS:
        raise BadInput(f"There is no decision {decision}; choose one of {', '.join(DECISIONS)}.")
    if version and not (version.isascii() and version.isdigit() and len(version) < 10):
        raise BadInput(f"{version[:20]} is no number of a version; enter one as 3.")
    try:
        asked_day = date.fromisoformat(day) if day else None
    except ValueError:
        asked_day = date.max
    if asked_day == date.max:  # no day, or the last that there is, which no moment follows
        raise BadInput(f"{day} is no day; enter one as 2026-11-27.")
    return DecisionQuery(
        day=asked_day,
        decision=decision,
        version=int(version) if version else None,
        asked_by=parameters.get("by", "").strip(),
        application=parameters.get("number", "").strip(),
        before=parameters.get("before", ""),
    )


def decision_table(rows: Sequence[Mapping[str, Any]], overrides: Iterable[Override]) -> PageTable:
    """Tabulate decisions, with the last word of a person where one decided otherwise."""
    columns = (
        Column("when, UTC", "moment"),
        Column("application"),
        *shares("PD"),
        *counts("score"),
        Column("decision", "tag"),
        Column("decided otherwise"),
        *counts("version"),
        Column("asked by"),
    )
    last = {override.decision_id: override for override in overrides}
    cells = [
        (
            Cell(row["scored_at"], f"/decisions/{row['decision_id']}"),
            row["id"],
            row["pd"],
            row["score"],
            row["decision"],
            _otherwise(last.get(row["decision_id"])),
            version_cell(row["model_version"]),
            row["on_behalf_of"] or row["caller"],
        )
        for row in rows
    ]
    return PageTable("decisions", "Decisions, newest first", columns, cells, rows_of_a_page=max(len(cells), 1))


def _otherwise(override: Override | None) -> str | None:
    return f"{decision_word(override.decision).lower()} by {override.by}" if override else None


def override_table(overrides: Sequence[Override], reasons: Mapping[str, str]) -> PageTable:
    """Tabulate what people decided otherwise, newest first."""
    columns = (
        Column("when, UTC", "moment"),
        Column("application"),
        Column("the version", "tag"),
        Column("the person", "tag"),
        Column("by"),
        Column("reason"),
        Column("in words", "long"),
    )
    rows = [
        (
            Cell(each.recorded_at, f"/decisions/{each.decision_id}"),
            each.id,
            each.decided,
            each.decision,
            each.by,
            reasons.get(each.reason, each.reason),
            each.words,
        )
        for each in overrides
    ]
    return PageTable("overrides", "Decided otherwise by a person, newest first", columns, rows)


routes = (Route("/decisions", show_decisions),)
