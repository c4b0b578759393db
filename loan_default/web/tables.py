"""Tables of pages: typed columns, links and tags in cells, pages of many rows, and the same as CSV.

What stands in a table is said by its page in `pages`; how a number is written by `rendering`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from starlette.responses import Response

from loan_default.web.rendering import render

if TYPE_CHECKING:
    from starlette.requests import Request

Kind = Literal["text", "long", "interval", "count", "number", "percent", "moment", "tag", "run", "person"]
ROWS_OF_A_PAGE = 50
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # also as full-width letters
# What a word says of how things are, for the colour of its tag; the word says it too.
TONES: Mapping[str, str] = {
    **dict.fromkeys(("stable", "healthy", "promote", "pass", "scored", "success", "production", "ok"), "good"),
    **dict.fromkeys(("drifted", "degraded", "failed", "refused", "gone", "failure", "wrong"), "bad"),
    **dict.fromkeys(
        ("hold", "not enough rows", "not enough outcomes", "waiting", "rollback", "note", "canceled"), "warn"
    ),
    **{decision: decision for decision in ("approve", "review", "decline")},
}


@dataclass(frozen=True)
class Column:
    """A column: its heading, how its values are written, and to how many digits."""

    heading: str
    kind: Kind = "text"
    digits: int = 0

    @property
    def is_number(self) -> bool:
        """Tell whether its values stand to the right."""
        return self.kind in ("count", "number", "percent", "interval")

    @property
    def css(self) -> str:
        """Return the class of its cells."""
        classes = {"moment": "short", "interval": "number short", "long": "long"}
        return classes.get(self.kind, "number" if self.is_number else "")


def counts(*headings: str) -> list[Column]:
    """Return columns of whole numbers."""
    return [Column(heading, "count") for heading in headings]


def shares(*headings: str, digits: int = 1) -> list[Column]:
    """Return columns of shares, which are written as percent."""
    return [Column(heading, "percent", digits) for heading in headings]


def figures(*headings: str, digits: int = 4) -> list[Column]:
    """Return columns of numbers with so many digits after the point."""
    return [Column(heading, "number", digits) for heading in headings]


@dataclass(frozen=True)
class Cell:
    """A value with a link, or with a tone of its own."""

    value: Any
    href: str = ""
    tone: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table: `name` is that of its CSV, `caption` says what it shows, `empty` what to do where it has no rows.

    A cell is a value as it was read, or a `Cell`; shares are from 0 to 1.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    empty: str = "There is nothing to show yet."
    page: int = 1
    rows_of_a_page: int = ROWS_OF_A_PAGE

    @property
    def pages(self) -> int:
        """Count the pages of its rows."""
        return max(-(-len(self.rows) // self.rows_of_a_page), 1)

    @property
    def current(self) -> int:
        """Return the number of its page, which is one of those that it has."""
        return min(max(self.page, 1), self.pages)

    @property
    def shown(self) -> Sequence[Sequence[Cell]]:
        """Return the rows of its page, each value as a cell."""
        start = (self.current - 1) * self.rows_of_a_page
        return [[_as_cell(value) for value in row] for row in self.rows[start : start + self.rows_of_a_page]]

    def first(self, rows: int) -> PageTable:
        """Return the table with so many rows on its first page."""
        return replace(self, page=1, rows_of_a_page=min(rows, self.rows_of_a_page))

    def to_csv(self) -> str:
        """Write all rows as CSV, which a spreadsheet opens without computing what stands in it."""
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\r\n")
        writer.writerow([_plain(column.heading) for column in self.columns])
        writer.writerows([_plain(_as_cell(value).value) for value in row] for row in self.rows)
        return target.getvalue()


def _as_cell(value: Any) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def _plain(value: Any) -> Any:
    """Return a value as CSV holds it: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return value
    text = value.isoformat() if isinstance(value, date | datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text


def page_number(request: Request) -> int:
    """Return which page of a long table is asked for; the first where that is no number."""
    text = request.query_params.get("page", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def show(request: Request, template: str, tables: Iterable[PageTable], **values: Any) -> Response:
    """Return a page with its tables by their names, or one of them or of its `charts` where `?csv=NAME` asks for it."""
    by_name = {table.name: table for table in tables}
    of_charts = {chart.table.name: chart.table for chart in values.get("charts", ()) if chart.table}
    table = (of_charts | by_name).get(request.query_params.get("csv", ""))
    if table is not None:
        return csv_response(table, request.url.path)
    return render(request, template, tables=by_name, query=partial(_query, request), links=True, tones=TONES, **values)


def csv_response(table: PageTable, path: str) -> Response:
    """Return a table as a file to keep, named after the page and the table."""
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-"
        for letter in f"{path.strip('/') or 'overview'}-{table.name}.csv"
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(table.to_csv().encode("utf-8-sig"), media_type="text/csv", headers=headers)  # the mark is for Excel


def _query(request: Request, **changes: Any) -> str:
    """Return what the address asks for, but for a page, a place in a list or a CSV, with these changes."""
    parameters = {name: value for name, value in request.query_params.items() if name not in ("page", "before", "csv")}
    return urlencode({**parameters, **changes})
