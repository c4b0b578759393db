"""The page on promised and realised: PDs beside default rates, by version, vintage, decision and PD.

Figures are those of the newest performance report, which `operations.promised` reads.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.operations.promised import OverrideGroup, Promised, PromisedArchive
from loan_default.operations.records import Record
from loan_default.risk.data.outcomes import BUCKETS
from loan_default.risk.metrics import SHOWN_METRICS
from loan_default.risk.monitoring.performance import ENOUGH_OUTCOMES, ESTIMATED_METRICS
from loan_default.risk.text import percent
from loan_default.risk.validation.backtest import levels_of
from loan_default.web import charts
from loan_default.web.charts import Chart, draw
from loan_default.web.rendering import kind_words
from loan_default.web.tables import Cell, Column, PageTable, counts, figures, page_number, shares, show

_ALL_MONTHS = "all"
_COUNTS, _RATES = ("loans", "matured", "known", "defaults"), ("mean PD", "default rate")


def show_promised(request: Request) -> Response:
    """Show what versions promised, and what came of it."""
    text = request.query_params.get("version", "")
    chosen = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    archive: PromisedArchive = request.app.state.promised
    content = promised_content(archive.read(), chosen, page_number(request))
    return show(request, "promised.html", **content)


def promised_content(promised: Promised, chosen: int | None = None, page: int = 1) -> dict[str, Any]:
    """Return what the page shows: of one version its vintages, decisions and groups of PD."""
    report, version = promised.report, promised.choose(chosen)
    vintages = promised.rows("vintages", version)
    pictures = [
        chart
        for chart in (
            default_chart(vintages, version),
            ranking_chart(vintages, version),
            group_chart(promised.rows("groups", version), version),
        )
        if chart
    ]
    backtest = promised.backtest
    return {
        "report": report,
        "version": version,
        "versions": promised.versions,
        "charts": pictures,
        "backtest": backtest,
        "backtest_levels": " ".join(levels_of(backtest["points"])) if backtest else "",
        "backtest_charts": (backtest_charts := back_test_charts(backtest["points"]) if backtest else []),
        "tables": [
            version_table(report["versions"] if report else []),
            group_table("vintages", "vintage", vintages, version, page),
            group_table("decisions", "decision", promised.rows("decisions", version), version),
            early_table(promised.rows("early", version), version, page),
            finding_table(report),
            roll_table(promised.rolls, page),
            override_table(promised.overrides),
            *(table(backtest) for table in (backtest_table, backtest_terms_table, gates_table) if backtest),
            *(chart.table for chart in backtest_charts if chart.table),
        ],
        "damages": promised.damages,
        "read_at": promised.read_at,
    }


def finding_table(report: Record | None) -> PageTable:
    """Tabulate what the verdict rests on."""
    findings = report["findings"] if report else ()
    rows = [(_result(finding), finding["sentence"]) for finding in findings]
    return PageTable("findings", "What the verdict rests on", (Column("result", "tag"), Column("finding")), rows)


def _result(finding: Record) -> Any:
    """Say what came of a rule; where outcomes are too few nothing failed."""
    if finding["passed"]:
        return "pass"
    return "not enough outcomes" if finding["rule"] == ENOUGH_OUTCOMES else Cell("fail", tone="bad")


def early_table(rows: Sequence[Record], version: int | None, page: int = 1) -> PageTable:
    """Tabulate what came of young loans beside what was expected by their months on book."""
    columns = (
        Column("vintage"),
        Column("months on book"),
        *counts("loans", "defaults", "expected", "repaid", "expected repaid"),
    )
    cells = [
        (
            row["vintage"],
            "to date" if row["months_on_book"] is None else f"{row['months_on_book']:.0f}",
            *(row[name] for name in ("loans", "defaults")),
            round(row["expected_defaults"]),
            row["repaid"],
            round(row["expected_repaid"]),
        )
        for row in rows
    ]
    caption = (
        f"Loans of version {version} that files of outcomes tell of month by month: what came, and what was expected"
    )
    return PageTable("early", caption, columns, cells, "No file tells of a loan month by month.", page)


def roll_table(rolls: Sequence[Record], page: int = 1) -> PageTable:
    """Tabulate roll rates: where loans with a status stood a month later, in all and by month, the newest first.

    A status that no loan ever left is an end, and has no line.
    """
    sums: Counter[tuple[str, str, str]] = Counter()
    for roll in rolls:
        for month in (_ALL_MONTHS, roll["month"]):
            sums[month, roll["status"], roll["next_status"]] += roll["loans"]
    left = {roll["status"] for roll in rolls if roll["status"] != roll["next_status"]}
    later = sorted({roll["next_status"] for roll in rolls if roll["status"] in left}, key=_bucket_order)
    months = [_ALL_MONTHS, *sorted({roll["month"] for roll in rolls}, reverse=True)]
    rows = []
    for month, status in itertools.product(months, sorted(left, key=_bucket_order)):
        loans = [sums[month, status, next_status] for next_status in later]
        if total := sum(loans):
            rows.append((month, status, total, *(count / total for count in loans)))
    caption = "Roll rates: of the loans with a status in a month the shares by their status a month later"
    columns = (Column("month"), Column("status"), *counts("loans"), *shares(*later))
    return PageTable("rolls", caption, columns, rows, "No two months that follow each other are told.", page)


def _bucket_order(status: str) -> tuple[int, str]:
    """Order days past due by their length, before what the lender's own texts say."""
    return (BUCKETS.index(status) if status in BUCKETS else len(BUCKETS), status)


def override_table(groups: Sequence[OverrideGroup]) -> PageTable:
    """Tabulate what became of applications on which a person decided otherwise."""
    columns = (
        Column("the version decided", "tag"),
        Column("a person decided", "tag"),
        *counts("applications"),
        *shares("mean PD"),
        *counts("ended", "defaults"),
        *shares("default rate"),
    )
    rows = [
        (
            group.decided,
            group.decision,
            group.overrides,
            group.mean_pd,
            group.known,
            group.defaults,
            group.defaults / group.known if group.known else None,
        )
        for group in groups
    ]
    empty = "Nobody has decided otherwise than a version."
    return PageTable(
        "overrides", "Where a person decided otherwise than the version, and what came of it", columns, rows, empty
    )


def backtest_table(record: Record) -> PageTable:
    """Tabulate what models would have reached that were developed at past months, by how they treat open loans."""
    columns = (
        Column("as of"),
        Column("label", "tag"),
        Column("model"),
        *counts("loans learned from", "loans tested"),
        *figures("AUC", "Brier"),
        *shares("mean PD", "default rate", "approved", "default rate of these", "declined"),
        *counts("their expected NPV", "their NPV"),
        *shares("12-month PD", "12-month default rate"),
    )
    names = ["month", "label", "model", "learned", "loans", "auc", "brier", "mean_pd", "default_rate", "approved"]
    names += ["approved_default_rate", "declined", "approved_expected_npv", "approved_npv"]
    names += ["year_mean_pd", "year_default_rate"]
    rows = [
        tuple(kind_words(point.get(name, "")) if name == "model" else point.get(name) for name in names)
        for point in record["points"]
    ]
    caption = f"Developed as of past months, tested on the loans of the {record['tested_months']} months after each"
    return PageTable("backtest", caption, columns, rows)


def backtest_terms_table(record: Record) -> PageTable:
    """Tabulate the same by term, of the candidate that leads in each way; empty where all loans have one term."""
    columns = (
        Column("as of"),
        Column("label", "tag"),
        Column("model"),
        *counts("term", "loans tested"),
        *shares("mean PD", "default rate", "approved"),
        *counts("their expected NPV", "their NPV"),
    )
    keys = ("term", "loans", "mean_pd", "default_rate", "approved", "approved_expected_npv", "approved_npv")
    rows = [
        (point["month"], point["label"], kind_words(point.get("model", "")), *(term.get(key) for key in keys))
        for point in record["points"]
        if point.get("leads", True)
        for term in point.get("terms", ())
    ]
    return PageTable("backtest_terms", "The same by term, of the candidate that leads", columns, rows)


def gates_table(record: Record) -> PageTable:
    """Tabulate what the gates would have said of the version of each month."""
    rows = [
        (
            point["month"],
            {"": "not trained"}.get(point["verdict"], point["verdict"]),
            kind_words(point["model"]),
            point["reason"],
        )
        for point in record["points"]
        if point["label"] == "platform"
    ]
    columns = (Column("as of"), Column("gates", "tag"), Column("in production then"), Column("why", "long"))
    return PageTable("backtest_gates", "What the platform's own gates would have said", columns, rows)


def back_test_charts(points: Sequence[Record]) -> list[Chart]:
    """Draw AUC, and mean PD beside the default rate, by the month of development and how open loans were treated.

    Of each way the candidate that leads is drawn.
    """
    points = [point for point in points if point.get("leads", True)]
    months = list(dict.fromkeys(point["month"] for point in points))
    labels = list(dict.fromkeys(point["label"] for point in points))
    by_label = {label: {point["month"]: point for point in points if point["label"] == label} for label in labels}

    def lines(name: str) -> dict[str, list[float | None]]:
        return {label: [of.get(month, {}).get(name) for month in months] for label, of in by_label.items()}

    rates = {point["month"]: point["default_rate"] for point in points}
    promised = {**lines("mean_pd"), "default rate": [rates[month] for month in months]}
    note = "By the month as of which a model was developed, on the loans of the months after it."
    return [
        _months_chart("backtest_auc", "How well models of past months rank (AUC)", months, lines("auc"), ".2f", note),
        _months_chart("backtest_pd", "What models of past months promised, and what came", months, promised, "%", note),
    ]


def _months_chart(
    name: str, title: str, months: Sequence[str], lines: Mapping[str, Sequence[float | None]], format: str, note: str
) -> Chart:
    columns = [Column("as of"), *(shares(*lines) if format == "%" else figures(*lines))]
    table = PageTable(name, title, columns, [*zip(months, *lines.values(), strict=True)])
    spec = charts.vintages(months, lines, format=charts.PERCENT if format == "%" else format)
    return Chart(title, draw(spec, f"{title}. {note}"), table, note)


def version_table(versions: Sequence[Record]) -> PageTable:
    """Tabulate every version that predicted; estimates of loans without outcomes are in brackets."""
    columns = (
        *counts("version", *_COUNTS),
        *shares("mean PD of those known", "default rate"),
        *(Column(SHOWN_METRICS[name], "interval") for name in ESTIMATED_METRICS),
    )
    rows = [
        (
            Cell(version["version"], f"/versions/{version['version']}"),
            *(version[name] for name in _COUNTS),
            version["expected"] and version["expected"]["default_rate"],
            version["defaults"] / version["known"] if version["known"] else None,
            *(_version_figure(version, name) for name in ESTIMATED_METRICS),
        )
        for version in sorted(versions, key=lambda version: -version["version"])
    ]
    return PageTable("versions", "Every version that predicted, newest first", columns, rows)


def _version_figure(version: Record, name: str) -> str | None:
    if version["real"]:
        interval = version["real"][name]
        return f"{interval['value']:.4f} ({interval['low']:.3f} to {interval['high']:.3f})"
    return f"[{version['estimate'][name]:.4f}]" if version["estimate"] else None


def group_table(name: str, heading: str, groups: Sequence[Record], version: int | None, page: int = 1) -> PageTable:
    """Tabulate the loans of a version by a field; estimates of loans without outcomes are in brackets."""
    columns = (
        Column(heading, "tag" if heading == "decision" else "text"),
        *counts(*_COUNTS),
        *shares(*_RATES),
        *(Column(SHOWN_METRICS[metric], "interval") for metric in ESTIMATED_METRICS),
    )
    rows = [
        (
            group[heading],
            *(group[count] for count in _COUNTS),
            group["mean_pd"],
            group["default_rate"],
            *(_or_estimate(group[metric], group[f"estimated_{metric}"]) for metric in ESTIMATED_METRICS),
        )
        for group in groups
    ]
    caption = f"Version {version} by {heading}; estimates of loans without outcomes are in brackets"
    return PageTable(name, caption, columns, rows, "No version has predicted yet.", page)


def _or_estimate(measured: float | None, estimate: float | None) -> str | None:
    if measured is not None:
        return f"{measured:.4f}"
    return None if estimate is None else f"[{estimate:.4f}]"


def default_chart(vintages: Sequence[Record], version: int | None) -> Chart | None:
    """Draw mean PDs and default rates by vintage."""
    if not vintages:
        return None
    names = [row["vintage"] for row in vintages]
    lines = {"mean PD": [row["mean_pd"] for row in vintages], "default rate": [row["default_rate"] for row in vintages]}
    known = [row for row in vintages if row["default_rate"] is not None]
    loans = sum(row["known"] for row in known)
    title = f"Version {version}: no outcome is known yet"
    if loans:
        promised = sum(row["mean_pd"] * row["known"] for row in known) / loans
        realised = sum(row["defaults"] for row in known) / loans
        title = f"Version {version} promised {percent(promised)} defaults, {percent(realised)} came"
    columns = (Column("vintage"), *shares(*_RATES))
    table = PageTable(
        "promised",
        f"{title}, by vintage",
        columns,
        [(row["vintage"], row["mean_pd"], row["default_rate"]) for row in vintages],
    )
    note = f"By vintage; {loans:,} loans have ended." if loans else "By vintage."
    return Chart(title, draw(charts.vintages(names, lines, format=charts.PERCENT), f"{title}. {note}"), table, note)


def ranking_chart(vintages: Sequence[Record], version: int | None) -> Chart | None:
    """Draw AUCs by vintage: measured, and estimated for loans without outcomes."""
    lines = {"measured": [row["auc"] for row in vintages], "estimated": [row["estimated_auc"] for row in vintages]}
    if not any(figure is not None for line in lines.values() for figure in line):
        return None
    names = [row["vintage"] for row in vintages]
    title = f"How well version {version} ranks, by vintage"
    note = "AUC. Open points are estimates for loans whose outcome is not known: they suppose that every PD is right."
    columns = (Column("vintage"), *figures(*lines))
    table = PageTable("ranking", title, columns, list(zip(names, *lines.values(), strict=True)))
    spec = charts.vintages(names, lines, format=charts.NUMBER, hollow=["estimated"])
    return Chart(title, draw(spec, f"{title}. {note}"), table, note)


def group_chart(groups: Sequence[Record], version: int | None) -> Chart | None:
    """Draw default rates of loans that ended against their mean PD."""
    if not groups:
        return None
    rows = [(row["group"], row["loans"], row["mean_pd"], row["default_rate"]) for row in groups]
    rates = [rate for *_, rate in rows]
    more = "did default more often" if rates[-1] > rates[0] else "did not default more often"
    title = f"Loans that version {version} called risky {more}"
    if len(rows) == 1:  # nothing to hold it against
        title = f"PD and default rate of the loans of version {version} that ended"
    note = "Groups of the loans that ended, by PD. On the dashed line the PD is what happened."
    columns = (*counts("group", "loans"), *shares(*_RATES))
    spec = charts.calibration({"loans that ended": [(pd, rate) for *_, pd, rate in rows]}, _RATES)
    return Chart(title, draw(spec, f"{title}. {note}"), PageTable("groups", title, columns, rows), note)


routes = (Route("/promised", show_promised),)
