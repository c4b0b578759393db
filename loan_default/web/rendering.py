"""Makes pages of templates: the frame with its navigation, how numbers, shares and times are written, forms' tokens.

What a page shows is read by its module in `pages`, from `operations`.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from loan_default.settings import Settings
from loan_default.web.people import Role, person_of
from loan_default.web.security import TOKEN, form_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

FOLDER = Path(__file__).parent
NOTHING = "–"  # where there is no value


class NavigationEntry(NamedTuple):
    """A page of the navigation, and the role that it needs."""

    path: str
    title: str
    role: Role = "viewer"


NAVIGATION = (
    NavigationEntry("/score", "Score", "officer"),
    NavigationEntry("/decisions", "Decisions", "officer"),
)


def settings_of(request: Request) -> Settings:
    """Return the settings of the installation that the pages show."""
    settings: Settings = request.app.state.settings
    return settings


def render(request: Request, template: str, status_code: int = 200, **values: Any) -> Response:
    """Return a page made of a template, which also has the navigation, who looks, and when the data was read."""
    person = person_of(request)
    people = request.app.state.people
    values = {
        "path": request.url.path,
        "navigation": [entry for entry in NAVIGATION if person and person.may(entry.role)],
        "person": person,
        "may_sign_out": bool(person and person.name and people.sign_in_here),
        "book": settings_of(request).book,
        "read_at": datetime.now(UTC),
        "form_token": lambda: token_field(request),
        **values,
    }
    return HTMLResponse(environment().get_template(template).render(values), status_code)


def token_field(request: Request) -> Markup:
    """Return the hidden field that each form of ours holds."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN, form_token(request))


@functools.cache
def environment() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, percent=percent, moment=moment, plural=plural)
    return made


# --- how values are written


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with so many digits after the point, thousands parted: `12,345`; a dash for none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share (0 to 1) as `11.2 %`; a dash for none."""
    return NOTHING if share is None else f"{100 * share:,.{digits}f}\N{NO-BREAK SPACE}%"


def moment(value: datetime | date | str | None) -> Markup:
    """Write a time, or its ISO 8601 text, as people do, in UTC, marked up for programs; a dash for none."""
    if value is None:
        return Markup(NOTHING)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), f"{value:%-d %B %Y}")
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    text = f"{value:%-d %B %Y, %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(timespec="seconds"), text)


def plural(count: int, noun: str, several: str = "") -> str:
    """Write a count with its noun: `1 batch`, `2,000 rows`."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
