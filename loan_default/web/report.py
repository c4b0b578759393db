"""The report for a committee: what the pages show of versions, batches, money and outcomes, in one file that needs
nothing else.

It shows what the pages show, without links and scripts; what stands there is the pages' to say.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from loan_default.operations.batch_figures import BatchArchive
from loan_default.operations.batch_status import read_unscored
from loan_default.operations.overview import read_overview
from loan_default.operations.promised import PromisedArchive
from loan_default.operations.versions import VersionArchive
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.settings import Settings
from loan_default.web.pages.batches import batches_content
from loan_default.web.pages.overview import overview_content
from loan_default.web.pages.promised import promised_content
from loan_default.web.pages.strategy import read_strategy
from loan_default.web.pages.versions import read_versions
from loan_default.web.rendering import FOLDER, environment
from loan_default.web.tables import TONES

_ROWS = 24  # of a table: what a committee reads, and no more


def write_report(settings: Settings, out: Path) -> None:
    """Write the report as one HTML file.

    Raises:
        BadInput: the file's name is not that of a page.
        TrackingError: the registry cannot be asked.
    """
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise BadInput(f"{out} cannot be written; name a file that ends in .html.")
    page = render_report(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(out) as part:
        part.write_text(page, encoding="utf-8")


def render_report(settings: Settings) -> str:
    """Return the report as HTML."""
    written_at, batches = datetime.now(UTC), read_unscored(settings, BatchArchive(settings.layout))
    contents = {
        "Overview": ("overview_body.html", overview_content(read_overview(settings))),
        "Batches": ("batches_body.html", batches_content(settings, *batches)),
        "Versions": ("versions_body.html", read_versions(settings, VersionArchive(settings))),
        "Promised and realised": ("promised_body.html", promised_content(PromisedArchive(settings).read())),
        "Strategy": ("strategy_body.html", read_strategy(settings)),
    }
    sections = {title: _section(template, content) for title, (template, content) in contents.items()}
    # Of our own sheet, which a reader of the file has not.
    style = Markup((FOLDER / "static" / "style.css").read_text(encoding="utf-8"))
    damages = dict.fromkeys(str(damage) for _, content in contents.values() for damage in content["damages"])
    values = {"sections": sections, "style": style, "written_at": written_at, "book": settings.book, "damages": damages}
    return environment().get_template("report.html").render(values)


def _section(template: str, content: dict[str, Any]) -> Markup:
    tables = {table.name: table.first(_ROWS) for table in content["tables"]}
    html = environment().get_template(template).render({**content, "tables": tables, "links": False, "tones": TONES})
    return Markup(html)
