"""Makes pages of templates: the frame with its navigation, how numbers, shares and times are written, forms' tokens.

What a page shows is read by its module in `pages`, from `operations`.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateSyntaxError
from markupsafe import Markup
from starlette.responses import HTMLResponse

from loan_default.operations.book import read_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.text import percent, plural
from loan_default.settings import Settings
from loan_default.web.people import Role, person_of
from loan_default.web.security import TOKEN, form_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from loan_default.risk.contract.book import Contract

FOLDER = Path(__file__).parent
NOTHING = "–"  # where there is no value


_DECISION_WORDS = {"approve": "Approved", "review": "For review", "decline": "Declined"}


class NavigationEntry(NamedTuple):
    """A page of the navigation, and the role that it needs."""

    path: str
    title: str
    role: Role = "viewer"


NAVIGATION = (
    NavigationEntry("/", "Overview"),
    NavigationEntry("/score", "Score", "officer"),
    NavigationEntry("/decisions", "Decisions", "officer"),
    NavigationEntry("/batches", "Batches"),
    NavigationEntry("/versions", "Versions"),
    NavigationEntry("/promised", "Promised and realised"),
    NavigationEntry("/strategy", "Strategy"),
    NavigationEntry("/history", "History"),
)


def settings_of(request: Request) -> Settings:
    """Return the settings of the installation that the pages show."""
    settings: Settings = request.app.state.settings
    return settings


def contract_of(request: Request) -> Contract:
    """Return the contract of the installation, as it stands now."""
    return read_contract(settings_of(request))


def render(request: Request, template: str | Template, status_code: int = 200, **values: Any) -> Response:
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
        "damages": (),
        "dagster_ui": settings_of(request).dagster_ui,
        **values,
    }
    return HTMLResponse(environment().get_template(template).render(values), status_code)


def read_template(file: Path) -> Template:
    """Return a lender's own template, which may extend one of these.

    Raises:
        BadInput: it cannot be read, or is no template.
    """
    try:
        return environment().from_string(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TemplateSyntaxError) as error:
        raise BadInput(f"{file} cannot be used as a template: {error}.") from error


def token_field(request: Request) -> Markup:
    """Return the hidden field that each form of ours holds."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN, form_token(request))


@functools.cache
def environment() -> Environment:
    """Return the environment of the templates."""
    templates = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=number,
        percent=percent,
        cut_off=cut_off,
        moment=moment,
        short_moment=short_moment,
        day=day,
        plural=plural,
        times=times,
        decision_word=decision_word,
        kind_words=kind_words,
    )
    return templates


# --- how values are written


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with so many digits after the point, thousands parted: `12,345`; a dash for none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def cut_off(share: float) -> str:
    """Write a cut-off, a share as a policy has it, with no more digits than it has: `15%`."""
    return f"{100 * share:.6g}%"


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


def day(value: datetime | str) -> str:
    """Write the day of a time, as a letter has it: `27 November 2026`."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%-d %B %Y}"


def kind_words(kind: str) -> str:
    """Write the kind of a model, of which a record may say more behind it: `logistic regression`."""
    return kind.replace("_", " ")


def decision_word(decision: str) -> str:
    """Write a decision as what became of the application."""
    return _DECISION_WORDS.get(decision, decision)


def short_moment(value: datetime | str | None) -> Markup:
    """Write a time, or its ISO 8601 text, in UTC and short enough for a table: `2026-11-27 07:05`; a dash for none."""
    if value is None:
        return Markup(NOTHING)
    time = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(time.isoformat(timespec="seconds"), f"{time:%Y-%m-%d %H:%M}")


def times(count: int) -> str:
    """Write how often something was: `once`, `3 times`."""
    return "once" if count == 1 else f"{count:,} times"
