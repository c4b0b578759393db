"""The pages on batches: how each was decided and has moved, over time and field by field; one batch in detail.

Figures are read by `operations.batch_figures` and `operations.batch_detail`; what is drift is `risk.monitoring`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from loan_default.operations.application_form import level_words
from loan_default.operations.batch_detail import (
    FieldDrift,
    predictions_file,
    read_batch_detail,
    read_rejected_rows,
)
from loan_default.operations.batch_figures import BatchArchive, BatchFigures, BatchList, NotScored
from loan_default.operations.batch_status import BatchStatus, explain_not_scored, read_unscored
from loan_default.operations.book import read_contract, read_policy
from loan_default.operations.evidently import PageDrawer
from loan_default.risk.model.scorer import DECISIONS
from loan_default.risk.text import percent
from loan_default.web import charts
from loan_default.web.charts import Chart, Limit, draw
from loan_default.web.people import Role, allow, person_of
from loan_default.web.rendering import contract_of, render, settings_of
from loan_default.web.tables import Cell, Column, PageTable, counts, figures, page_number, shares, show

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.contract.field import LoanField
    from loan_default.risk.policy import DriftPolicy
    from loan_default.settings import Settings

BinShare = tuple[str, float, float]  # label, and the shares of reference and batch
_HEAT_BATCHES, _FIELDS_LISTED, _FIELDS_DRAWN = 12, 15, 6
_DECIDED = {"approve": "approved", "review": "to review", "decline": "declined"}
_APPLICANT_ROLE: Role = "officer"  # who may see what stands there of an applicant
_ASK_AGAIN_SECONDS = "1"
# Evidently's page brings its own scripts: it may run them, and reach neither these pages nor anything else.
_EVIDENTLY_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


def show_batches(request: Request) -> Response:
    """Show all batches that were scored, and those that were not."""
    settings, everything = settings_of(request), request.query_params.get("fields") == "all"
    batches = read_unscored(settings, request.app.state.batches)
    content = batches_content(settings, *batches, page_number(request), everything=everything)
    return show(request, "batches.html", **content)


def batches_content(
    settings: Settings,
    batches: BatchList,
    unscored: Sequence[BatchStatus],
    page: int = 1,
    *,
    everything: bool = False,
) -> dict[str, Any]:
    """Return what the page on batches shows; of the map of fields those that moved most, or `everything`."""
    drift, contract = read_policy(settings).drift, read_contract(settings)
    table = batch_table(batches.batches, page)
    heat = heat_map(batches.batches[-_HEAT_BATCHES:], contract, drift)
    return {
        "heat_fields": _FIELDS_LISTED if not everything else len(heat.rows) if heat else 0,
        "batches": batches.batches,
        "without_record": batches.without_record,
        "without_predictions": sorted(batches.without_predictions),
        "charts": batch_charts(batches.batches, drift) if batches.batches else [],
        "heat": heat,
        "limits": drift,
        "tables": [table, unscored_table(unscored, page), *([heat.table] if heat else [])],
        "damages": batches.damages,
        "read_at": batches.read_at,
    }


def batch_table(batches: Sequence[BatchFigures], page: int = 1) -> PageTable:
    """Tabulate batches, newest first."""
    columns = (
        Column("batch"),
        Column("verdict", "tag"),
        *counts("applications"),
        *shares(*(_DECIDED[decision] for decision in DECISIONS), "mean PD"),
        *figures("score PSI", digits=3),
        *shares("fields drifted", digits=0),
        *counts("rows rejected", "version"),
        Column("scored, UTC", "moment"),
    )
    rows = [
        (
            Cell(batch.batch, f"/batches/{batch.batch}"),
            batch.verdict or Cell("not compared", tone=""),
            batch.rows,
            *(batch.decisions.get(decision, 0.0) for decision in DECISIONS),
            batch.mean_pd,
            batch.score_psi,
            batch.drifted_share,
            batch.rejected,
            Cell(batch.model_version, f"/versions/{batch.model_version}"),
            batch.scored_at,
        )
        for batch in reversed(batches)
    ]
    return PageTable("batches", "All batches that were scored, newest first", columns, rows, page=page)


def unscored_table(batches: Sequence[BatchStatus], page: int = 1) -> PageTable:
    """Tabulate the batches that were delivered and not scored."""
    columns = (
        Column("batch"),
        Column("state", "tag"),
        *counts("rows rejected"),
        Column("why", "long"),
        Column("run", "run"),
    )
    rows = [(batch.batch, batch.state, batch.rejected, " ".join(batch.reasons), batch.run_id) for batch in batches]
    return PageTable("unscored", "Not scored", columns, rows, "Every batch that was delivered is scored.", page)


def batch_charts(batches: Sequence[BatchFigures], policy: DriftPolicy) -> list[Chart]:
    """Draw how batches were decided, how the population moved, and what could not be scored, over time."""
    names, newest = [batch.batch for batch in batches], batches[-1]
    by_decision = {decision: [batch.decisions.get(decision, 0.0) for batch in batches] for decision in DECISIONS}
    approved = f"{percent(newest.decisions.get('approve', 0.0))} of {newest.batch} were approved"
    decided = draw(
        charts.stacked(names, by_decision, charts.DECISION_COLOURS), f"{approved}. Shares of decisions by batch."
    )
    table = PageTable(
        "decisions",
        "Shares of decisions by batch",
        (Column("batch"), *shares(*DECISIONS)),
        [(batch.batch, *(batch.decisions.get(decision, 0.0) for decision in DECISIONS)) for batch in batches],
    )
    on_average = f"; {_mean(by_decision['approve'])} on average" if len(batches) > 1 else ""
    drifted_limit = policy.drifted_share_limit
    return [
        Chart(f"{approved}{on_average}", decided, table),
        _trend(batches, "mean PD", "mean_pd", f"Mean PD: {percent(newest.mean_pd)} in {newest.batch}", charts.PERCENT),
        _trend(
            batches,
            "score PSI",
            "score_psi",
            _above("The score's PSI", [batch.score_psi for batch in batches], policy.score_psi_limit, strictly=True),
            charts.NUMBER,
            Limit(policy.score_psi_limit, f"limit {policy.score_psi_limit:g}"),
        ),
        _trend(
            batches,
            "fields drifted",
            "drifted_share",
            _above("The share of drifted fields", [batch.drifted_share for batch in batches], drifted_limit),
            charts.PERCENT,
            Limit(drifted_limit, f"limit {percent(drifted_limit, 0)}"),
        ),
        _trend(batches, "rows rejected", "rejected_share", _rejected_title(batches), charts.FINE_PERCENT),
    ]


def _mean(parts: Sequence[float]) -> str:
    return percent(sum(parts) / len(parts))


def _rejected_title(batches: Sequence[BatchFigures]) -> str:
    rejected, rows = sum(batch.rejected for batch in batches), sum(batch.rows for batch in batches)
    return (
        f"{percent(rejected / max(rejected + rows, 1))} of all rows could not be scored"
        if rejected
        else "Every row could be scored"
    )


def _above(what: str, figures: Sequence[float | None], limit: float, *, strictly: bool = False) -> str:
    compared = [figure for figure in figures if figure is not None]
    beyond = sum(figure > limit if strictly else figure >= limit for figure in compared)
    if not compared:
        return f"{what} is not known of any batch"
    if len(compared) == 1:
        return f"{what} is {'beyond' if beyond else 'within'} its limit"
    if not beyond:
        return f"{what} is within its limit in all {len(compared):,} batches"
    return f"{what} is beyond its limit in {beyond:,} of {len(compared):,} batches"


def _trend(
    batches: Sequence[BatchFigures], heading: str, figure: str, title: str, format: str, limit: Limit | None = None
) -> Chart:
    points = [(batch.batch, getattr(batch, figure)) for batch in batches]
    column = Column(heading, "number", 3) if format == charts.NUMBER else Column(heading, "percent", 1)
    table = PageTable(figure, f"{heading} by batch", (Column("batch"), column), points)
    return Chart(title, draw(charts.trend(points, format=format, limit=limit), f"{title}. {heading} by batch."), table)


# --- the heat map


@dataclass(frozen=True)
class HeatCell:
    """The widest PSI of a field in a batch: `level` of its colour from 0 to 4, None where it is not known."""

    psi: float | None
    level: int | None
    drifted: bool


@dataclass(frozen=True)
class HeatMap:
    """Fields (rows) by batches (columns), what moved most first; `table` holds the same for CSV."""

    batches: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[HeatCell, ...]], ...]
    steps: tuple[float, ...]
    table: PageTable


def heat_map(batches: Sequence[BatchFigures], contract: Contract, policy: DriftPolicy) -> HeatMap | None:
    """Lay out how far each field has moved in each batch; None where none was compared."""
    names = dict.fromkeys(name for batch in batches for name in batch.psi)
    if not names:
        return None
    limit = policy.feature_psi_limit
    steps = (0.2 * limit, 0.4 * limit, limit, 2 * limit)
    ranked = sorted(names, key=lambda name: -max(batch.psi.get(name) or 0.0 for batch in batches))
    rows = tuple(
        (name, field_label(name, contract), tuple(_heat_cell(batch, name, steps) for batch in batches))
        for name in ranked
    )
    columns = (Column("field"), *figures(*(batch.batch for batch in batches), digits=3))
    lines = [(name, *(cell.psi for cell in cells)) for name, _, cells in rows]
    table = PageTable("fields", "The widest PSI of each field by batch", columns, lines)
    return HeatMap(tuple(batch.batch for batch in batches), rows, steps, table)


def _heat_cell(batch: BatchFigures, name: str, steps: Sequence[float]) -> HeatCell:
    psi = batch.psi.get(name)
    level = None if psi is None else sum(psi >= step for step in steps)
    return HeatCell(psi, level, name in batch.drifted)


def field_label(name: str, contract: Contract) -> str:
    """Return what people call a column of a drift report: its description in the contract."""
    field = contract.by_name.get(name)
    return field.short if field else "Score before calibration, in log-odds"


# --- one batch


def show_batch(request: Request) -> Response:
    """Show one batch."""
    settings = settings_of(request)
    archive: BatchArchive = request.app.state.batches
    listed = archive.read()
    name = request.path_params["batch"]
    try:
        batch = listed.find(name)
    except NotScored as error:
        raise NotScored(explain_not_scored(settings, name) or str(error)) from error
    damages = [damage for damage in listed.damages if damage.name == batch.batch]
    detail, contract = read_batch_detail(settings, batch, damages), contract_of(request)
    with_values = person_of(request).may(_APPLICANT_ROLE)
    rejected = rejected_table(settings, batch, page_number(request), with_values=with_values)
    everything = request.query_params.get("fields") == "all"
    moved = detail.fields if everything else detail.fields[:_FIELDS_DRAWN]
    pictures = [distribution_chart(field, contract) for field in moved if field.bins]
    return show(
        request,
        "batch.html",
        [field_table(detail.fields, contract), rejected],
        batch=batch,
        detail=detail,
        charts=pictures,
        drawn_all=everything or len(detail.fields) <= _FIELDS_DRAWN,
        limits=detail.limits or read_policy(settings).drift.model_dump(),
        decisions=DECISIONS,
        with_values=with_values,
        damages=damages,
        read_at=listed.read_at,
    )


def field_table(fields: Sequence[FieldDrift], contract: Contract) -> PageTable:
    """Tabulate how far each field has moved, most first."""
    columns = (
        Column("field"),
        Column("what it is", "long"),
        Column("verdict", "tag"),
        *figures("PSI", digits=3),
        Column("reference"),
        Column("batch"),
        *shares("missing, reference", "missing, batch"),
    )
    rows = [
        (
            field.name,
            field_label(field.name, contract),
            "drifted" if field.drifted else "stable",
            field.psi,
            _typical(field.name, field.mean_reference, field.top_reference, contract),
            _typical(field.name, field.mean_batch, field.top_batch, contract),
            field.missing_reference,
            field.missing_batch,
        )
        for field in fields
    ]
    return PageTable("drift", "How far each field has moved, most first", columns, rows, rows_of_a_page=500)


def _typical(name: str, mean: float | None, top: str | None, contract: Contract) -> str | None:
    """Say the mean of a number in its unit, or the level that most have and their share."""
    field = contract.by_name.get(name)
    if mean is None:
        level, bracket, share = (top or "").rpartition(" (")
        return f"{level_words(field, level)}{bracket}{share}" if field and bracket else top
    rounded = float(f"{mean:.3g}") if abs(mean) < 1000 else float(f"{mean:.4g}")
    return f"{rounded:z,.2f}" if field is None else f"mean {field.say(rounded)}"


def distribution_chart(field: FieldDrift, contract: Contract) -> Chart:
    """Draw a field's distribution in the batch beside that of the loans of development."""
    label = field_label(field.name, contract)
    declared = contract.by_name.get(field.name)
    bins = _in_order([(bin_.label, bin_.reference, bin_.batch) for bin_ in field.bins], declared)
    if declared is not None and declared.levels:
        words = {level: level_words(declared, level) for level in declared.levels}
        bins = [(words.get(label, label), reference, share) for label, reference, share in bins]
    unit = f", in {declared.unit}" if declared is not None and declared.unit and declared.unit != "count" else ""
    drifted = "has drifted" if field.drifted else "is stable"
    title = f"{label}{unit}"
    note = f"{field.name} {drifted}: PSI {field.psi:.3f}" if field.psi is not None else f"{field.name} {drifted}"
    sides = ("reference", "batch")
    table = PageTable(
        f"distribution-{field.name}",
        f"{title}: shares of the reference and of the batch",
        (Column("value"), *shares(*sides)),
        bins,
    )
    picture = draw(charts.distribution(bins, sides), f"{title}. {note}. Shares by value, reference beside batch.")
    return Chart(title, picture, table, note)


def _in_order(bins: Sequence[BinShare], field: LoanField | None) -> list[BinShare]:
    """Return the bins of levels that have an order in that order, what is none of them last; others as they are."""
    if field is None or field.kind != "ordered":
        return [*bins]
    ranks = {level: rank for rank, level in enumerate(field.levels)}
    return sorted(bins, key=lambda bin_: ranks.get(bin_[0], len(ranks)))


def rejected_table(settings: Settings, batch: BatchFigures, page: int, *, with_values: bool) -> PageTable:
    """Tabulate the rows that could not be scored; what stands in them only for those who may see it."""
    columns = [*counts("row"), Column("field"), Column("reason")]
    rows: list[tuple[Any, ...]] = []
    if batch.rejected:
        rows = [
            (row.row, row.field, row.reason if with_values else row.problem)
            for row in read_rejected_rows(settings, batch.batch)
        ]
    caption = "Rows that could not be scored"
    return PageTable("rejected", caption, columns, rows, "Every row of the file could be scored.", page)


@allow(_APPLICANT_ROLE)
def download_predictions(request: Request) -> Response:
    """Send what was predicted for each application of a batch as a CSV file."""
    archive: BatchArchive = request.app.state.batches
    batch = archive.read().find(request.path_params["batch"]).batch
    return FileResponse(
        predictions_file(settings_of(request), batch), media_type="text/csv", filename=f"{batch}-predictions.csv"
    )


def show_evidently(request: Request) -> Response:
    """Show Evidently's own page on a batch, shut off from these pages; until it is drawn, say so and ask again."""
    archive: BatchArchive = request.app.state.batches
    drawer: PageDrawer = request.app.state.evidently
    batch = archive.read().find(request.path_params["batch"]).batch
    page = drawer.page(batch)
    if page is None:
        waiting = render(request, "drawing.html", batch=batch)
        waiting.headers["Refresh"] = _ASK_AGAIN_SECONDS
        return waiting
    return HTMLResponse(page, headers={"Content-Security-Policy": _EVIDENTLY_POLICY})


routes = (
    Route("/batches", show_batches),
    Route("/batches/{batch}", show_batch),
    Route("/batches/{batch}/predictions.csv", download_predictions),
    Route("/batches/{batch}/evidently", show_evidently),
)
