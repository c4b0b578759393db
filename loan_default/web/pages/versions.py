"""The pages on versions: what each measured, why it was promoted or held, its card, and two of them side by side.

Figures are read by `operations.versions` and `operations.version_comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.operations.application_form import level_words
from loan_default.operations.batch_figures import BatchArchive
from loan_default.operations.book import read_policy
from loan_default.operations.version_comparison import SQUARE, VersionComparison, compare_versions
from loan_default.operations.versions import VersionArchive, VersionSummary
from loan_default.risk.errors import BadInput, DamagedRecord
from loan_default.risk.metrics import SHOWN_METRICS
from loan_default.risk.model.scorer import DECISIONS
from loan_default.risk.text import percent
from loan_default.web import charts
from loan_default.web.card import card_page
from loan_default.web.charts import Chart, Limit, draw
from loan_default.web.pages.batches import field_label
from loan_default.web.rendering import contract_of, kind_words, settings_of
from loan_default.web.tables import Cell, Column, PageTable, counts, figures, page_number, shares, show

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.evaluation import Comparison, Segment
    from loan_default.risk.policy import Policy
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.settings import Settings

_DRAWN = 20  # versions, newest
_IMPORTANT = 15  # fields
_MEANINGS = {  # of the metrics that are drawn
    "auc": "How well it ranks: 0.5 is chance, 1 perfect.",
    "ks": "How far apart it keeps those who default and those who repay.",
    "brier": "How far PDs lie from what happened; less is better.",
}
_METRIC_NAMES = {**SHOWN_METRICS, "gini": "Gini", "pr_auc": "PR AUC", "f1": "F1"}
_SEGMENT_FIGURES = ("rows", "mean_pd", "default_rate", "auc", "ks", "z")
_ENDS = ("value", "low", "high")


def show_versions(request: Request) -> Response:
    """Show all versions."""
    archive: VersionArchive = request.app.state.versions
    batches: BatchArchive = request.app.state.batches
    content = read_versions(settings_of(request), archive, page_number(request))
    names = [batch.batch for batch in reversed(batches.read().batches)]
    return show(request, "versions.html", **content, batch_names=names)


def read_versions(settings: Settings, archive: VersionArchive, page: int = 1) -> dict[str, Any]:
    """Read what the page on versions shows, and which records of it cannot be read."""
    damages: list[DamagedRecord] = []
    versions = archive.read(damages)
    measured = [version for version in reversed(versions) if version.metrics][-_DRAWN:]
    return {
        "versions": versions,
        "charts": [chart for name in _MEANINGS if (chart := metric_chart(name, measured, read_policy(settings)))],
        "tables": [version_table(versions, page)],
        "damages": damages,
    }


def version_table(versions: Sequence[VersionSummary], page: int = 1) -> PageTable:
    """Tabulate versions, newest first."""
    columns = (
        Column("version", "count"),
        Column("in use as"),
        Column("kind"),
        *figures("AUC"),
        Column("95% interval", "interval"),
        *figures("KS", "Brier"),
        Column("decision", "tag"),
        Column("decided, UTC", "moment"),
        Column("by", "person"),
        Column("trained, UTC", "moment"),
    )
    rows = [_version_row(version) for version in versions]
    empty = "No version is registered in MLflow. Run loan-default run --data FILE."
    return PageTable("versions", "All versions, newest first", columns, rows, empty, page)


def _version_row(version: VersionSummary) -> tuple[Any, ...]:
    metrics, decision = version.metrics or {}, version.decision or {}
    auc = metrics.get("auc")
    return (
        Cell(version.version, f"/versions/{version.version}"),
        ", ".join(version.aliases) or None,
        kind_words(version.kind),
        auc and auc["value"],
        auc and f"{auc['low']:.3f} to {auc['high']:.3f}",
        *((name in metrics and metrics[name]["value"]) or None for name in ("ks", "brier")),
        decision.get("verdict") or Cell("not decided yet"),
        decision.get("decided_at"),
        decision.get("decided_by"),
        version.created_at,
    )


def metric_chart(name: str, versions: Sequence[VersionSummary], policy: Policy) -> Chart | None:
    """Draw a metric of versions with its interval; None where none has it."""
    rows = [
        (version.version, metric["value"], metric["low"], metric["high"])
        for version in versions
        if version.metrics and (metric := version.metrics.get(name))
    ]
    if not rows:
        return None
    floor = policy.promotion.auc_at_least
    limit = Limit(floor, f"lower end at least {floor:g}") if name == "auc" else None
    points = [(str(version), value, low, high) for version, value, low, high in rows]
    title = (
        f"{SHOWN_METRICS[name]} of version {rows[-1][0]}: {rows[-1][1]:.3f} ({rows[-1][2]:.3f} to {rows[-1][3]:.3f})"
    )
    columns = (*counts("version"), *figures(*_ENDS))
    table = PageTable(name, f"{SHOWN_METRICS[name]} by version, each on its own test window", columns, rows)
    note = f"{_MEANINGS[name]} Each version on its own test window, with the 95% interval."
    return Chart(title, draw(charts.intervals(points, format=".3f", limit=limit), f"{title}. {note}"), table, note)


# --- one version


def show_version(request: Request) -> Response:
    """Show one version."""
    archive: VersionArchive = request.app.state.versions
    damages: list[DamagedRecord] = []
    detail = archive.detail(_number(request.path_params["version"]), damages)
    summary, judgement = detail.summary, detail.judgement
    contract = contract_of(request)
    judged = summary.judged or {}
    tables = [findings_table(judged)]
    pictures: list[Chart] = []
    if judgement is not None:
        tables += judgement_tables(judgement, contract, judged.get("champion"))
        pictures.append(calibration_chart(judgement))
    return show(
        request,
        "version.html",
        tables,
        version=summary,
        decision=summary.decision,
        judged=judged,
        run_url=detail.run_url,
        judgement=judgement,
        charts=pictures,
        has_card=detail.card is not None,
        damages=damages,
    )


def _number(text: str) -> int:
    """Read the number of a version.

    Raises:
        BadInput: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput(f"{text[:20]!r} is no version; versions are numbered from 1.")
    return int(text)


def findings_table(decision: Mapping[str, Any]) -> PageTable:
    """Tabulate what the gate found, what spoke against the version first."""
    findings = sorted(decision.get("findings", ()), key=lambda finding: finding["passed"])
    rows = [
        ("pass" if finding["passed"] else "hold", rule_words(finding["rule"]), finding["sentence"])
        for finding in findings
    ]
    empty = "The gate has not judged it yet. Run loan-default promote."
    return PageTable(
        "findings",
        "What the gate found",
        (Column("result", "tag"), Column("rule"), Column("finding", "long")),
        rows,
        empty,
        rows_of_a_page=500,
    )


def rule_words(rule: str) -> str:
    """Write the name of a rule of the gate as people read it."""
    return rule.replace("_", " ").replace("auc", SHOWN_METRICS["auc"])


def judgement_tables(judgement: Judgement, contract: Contract, champion: int | None) -> list[PageTable]:
    """Tabulate metrics, terms, segments, decisions, and the champion on the same loans."""
    evaluation = judgement.evaluation
    metrics = [
        (_METRIC_NAMES.get(name, name.replace("_", " ")), metric.value, metric.low, metric.high)
        for name, metric in evaluation.metrics.items()
    ]
    decisions = judgement.decisions.select("decision", "loans", "share", "default_rate").rows()
    decision_columns = (Column("decision", "tag"), *counts("loans"), *shares("share", "default rate"))
    caption = f"On {evaluation.rows:,} test loans, with 95% intervals"
    tables = [
        PageTable("metrics", caption, (Column("metric"), *figures(*_ENDS)), metrics),
        segment_table("within-term", "Within each term", evaluation.within_term, contract),
        segment_table("segments", "The segments whose PDs are furthest off", evaluation.worst_segments, contract),
        PageTable("decisions", "What the cut-offs do to the test loans", decision_columns, decisions),
    ]
    if judgement.comparison is not None and judgement.comparable is not None:
        tables.append(champion_table(judgement.comparison, judgement.comparable.rows, champion))
    return tables


def champion_table(comparison: Comparison, rows: int, champion: int | None) -> PageTable:
    """Tabulate what the version gains over the one in production, on the loans that neither was developed on."""
    changes = {"change in AUC": comparison.auc_gain, "change in the Brier score": comparison.brier_rise}
    lines = [(name, change.value, _finite(change.low), _finite(change.high)) for name, change in changes.items()]
    against = f"Against version {champion}" if champion else "Against the version in production"
    caption = f"{against}, on the {rows:,} test loans that neither was developed on"
    return PageTable("champion", caption, (Column("change"), *figures(*_ENDS)), lines)


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def segment_table(name: str, caption: str, segments: Sequence[Segment], contract: Contract) -> PageTable:
    """Tabulate segments of the test loans."""
    columns = (
        Column("segment"),
        *counts("loans"),
        *shares("mean PD", "default rate"),
        *figures("AUC", "KS"),
        *figures("z", digits=1),
    )
    rows = [
        (
            ": ".join(group_words(segment.field, segment.level, contract)),
            *(getattr(segment, name) for name in _SEGMENT_FIGURES),
        )
        for segment in segments
    ]
    return PageTable(name, caption, columns, rows, "No segment holds enough loans.", rows_of_a_page=500)


def group_words(name: str, level: str, contract: Contract) -> tuple[str, str]:
    """Return what people call a field by which loans are told apart, and a level of it with its unit."""
    field = contract.by_name.get(name)
    if field is None:
        return name.replace("_", " "), level
    words = level_words(field, level) if level in field.levels else level.removesuffix(".0")
    return field.short, f"{words} {field.unit}" if field.unit and field.unit != "count" else words


def calibration_chart(judgement: Judgement) -> Chart:
    """Draw the default rate of groups by PD against their mean PD."""
    groups = judgement.groups.select("group", "loans", "mean_pd", "default_rate").rows()
    pairs = [(mean_pd, rate) for _, _, mean_pd, rate in groups]
    error = judgement.evaluation.metrics.get("ece")
    title = "Calibration: " + (
        f"{100 * error.value:z.1f} points off on average, beyond chance" if error else "PDs beside default rates"
    )
    note = f"{len(pairs)} groups of the test loans by PD. On the dashed line the PD is what happened."
    columns = (
        Column("group", "count"),
        Column("loans", "count"),
        Column("mean PD", "percent", 1),
        Column("default rate", "percent", 1),
    )
    table = PageTable("calibration", "Default rate by PD", columns, groups)
    picture = draw(charts.calibration({"test loans": pairs}, ("mean PD", "default rate")), f"{title}. {note}")
    return Chart(title, picture, table, note)


def show_card(request: Request) -> Response:
    """Show the card of a version."""
    archive: VersionArchive = request.app.state.versions
    damages: list[DamagedRecord] = []
    detail = archive.detail(_number(request.path_params["version"]), damages)
    if detail.card is None:
        raise BadInput(f"Version {detail.summary.version} has no card; loan-default promote writes that of the newest.")
    return show(request, "card.html", [], version=detail.summary, card=card_page(detail.card), damages=damages)


# --- two versions


def show_comparison(request: Request) -> Response:
    """Show two versions side by side, on the applications of a batch."""
    settings, query = settings_of(request), request.query_params
    archive: VersionArchive = request.app.state.versions
    batches: BatchArchive = request.app.state.batches
    damages: list[DamagedRecord] = []
    versions, names = archive.read(damages), [batch.batch for batch in reversed(batches.read().batches)]
    numbers = [version.version for version in versions]
    comparison = None
    if query.get("batch") and query["batch"] not in names:
        names.append(query["batch"])
    if {"a", "b", "batch"} <= query.keys():
        comparison = compare_versions(settings, _number(query["a"]), _number(query["b"]), query["batch"])
    contract = contract_of(request)
    tables = comparison_tables(comparison, contract) if comparison else []
    pictures = comparison_charts(comparison, contract) if comparison else []
    return show(
        request,
        "compare.html",
        tables,
        comparison=comparison,
        charts=pictures,
        numbers=numbers,
        batch_names=names,
        versions={version.version: version for version in versions},
        damages=damages,
    )


def comparison_tables(comparison: VersionComparison, contract: Contract) -> list[PageTable]:
    """Tabulate decisions by both, and how much each field is used."""
    first, second = f"version {comparison.first}", f"version {comparison.second}"
    rows = [
        (
            f"{decision} by {first}",
            *(comparison.decisions.get((decision, other), 0) for other in DECISIONS),
        )
        for decision in DECISIONS
    ]
    columns = (Column("applications"), *(Column(f"{other} by {second}", "count") for other in DECISIONS))
    return [
        PageTable("changes", "Applications by both decisions", columns, rows),
        _importance_table(comparison, contract),
    ]


def _importance_table(comparison: VersionComparison, contract: Contract) -> PageTable:
    columns = (
        Column("field"),
        Column("what it is"),
        Column(f"version {comparison.first}", "percent", 1),
        Column(f"version {comparison.second}", "percent", 1),
    )
    rows = [
        (field.field, field_label(field.field, contract), field.first, field.second) for field in comparison.importance
    ]
    return PageTable("importance", "Share of the whole importance, by field", columns, rows, rows_of_a_page=500)


def comparison_charts(comparison: VersionComparison, contract: Contract) -> list[Chart]:
    """Draw PDs by both, and how much each field is used."""
    return [_pd_chart(comparison), _importance_chart(comparison, contract)]


def _pd_chart(comparison: VersionComparison) -> Chart:
    first, second = f"version {comparison.first}", f"version {comparison.second}"
    mean, other = comparison.mean_pds
    title = f"Mean PD {percent(mean)} by {first}, {percent(other)} by {second}"
    note = "The darker a square, the more applications; dashed lines are the cut-offs, beyond which decisions change."
    squares = [(x * SQUARE, y * SQUARE, count) for (x, y), count in sorted(comparison.squares.items())]
    columns = (*shares(f"PD by {first} from", f"PD by {second} from", digits=0), *counts("applications"))
    table = PageTable("pds", f"Applications by both PDs, in squares of {percent(SQUARE, 0)}", columns, squares)
    spec = charts.agreement(squares, SQUARE, (f"PD by {first}", f"PD by {second}"), comparison.cutoffs)
    return Chart(title, draw(spec, f"{title}. {note}"), table, note)


def _importance_chart(comparison: VersionComparison, contract: Contract) -> Chart:
    most_used = comparison.importance[:_IMPORTANT]
    title = f"The field that is used most is {most_used[0].field}"
    note = f"Share of the whole importance; the first {len(most_used)} of {len(comparison.importance)} fields."
    bars = [(field.field, field.first, field.second) for field in most_used]
    spec = charts.compared_bars(bars, (f"version {comparison.first}", f"version {comparison.second}"))
    return Chart(title, draw(spec, f"{title}. {note}"), _importance_table(comparison, contract), note)


routes = (
    Route("/versions", show_versions),
    Route("/versions/compare", show_comparison),
    Route("/versions/{version}", show_version),
    Route("/versions/{version}/card", show_card),
)
