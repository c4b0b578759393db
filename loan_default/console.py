"""What a person at a terminal sees: progress while a job runs, and tables of what it recorded.

Everything here is read from records of plain values; running jobs is `cli`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loan_default.risk.text import shorten_sentences

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.operations.doctor import Diagnosis
    from loan_default.serving.client import ClientReport

_METRICS = ("auc", "ks", "brier", "ece")
_COLOURS = {
    **{"promote": "green", "hold": "yellow", "rollback": "yellow"},
    **{"stable": "green", "drifted": "red", "not enough rows": "yellow"},
    **{"healthy": "green", "degraded": "red", "not enough outcomes": "yellow"},
    **{"ok": "green", "note": "yellow", "wrong": "red"},
}
_CHECK_WIDTH = 22
_REASONS = 3  # of many, in a table


class ProgressHandler(logging.Handler):
    """Prints steps as they begin and end, and what they say, one line each."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        step = getattr(record, "step", "")
        if getattr(record, "begins", False):
            self._console.print(f"[bold]▸ {step}[/bold]")
        elif (seconds := getattr(record, "seconds", None)) is not None:
            self._console.print(f"  [green]✓[/green] {step} [dim]{seconds:.1f} s[/dim]")
        else:
            colour = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._console.print(Text(f"    {record.getMessage()}", style=colour))


def show_cleaning(console: Console, report: Mapping[str, Any]) -> None:
    """Rows kept and rejected, months, what the file lacks."""
    table = _table("Loans", "", "")
    _row(table, "files", ", ".join(report["files"]))
    _row(table, "layout, fingerprint", f"{', '.join(report['layouts'])}, {report['fingerprint']}")
    _row(table, "rows read", f"{report['rows_read']:,}, of which {report['lines_not_loans']:,} are no loans")
    _row(table, "kept", f"{report['kept']:,}")
    problems = ", ".join(f"{problem} {count:,}" for problem, count in list(report["problems"].items())[:4])
    _row(table, "rejected", f"{report['rejected']:,}" + (f" ({problems})" if problems else ""))
    _row(table, "issue months", f"{report['first_month']} to {report['last_month']}")
    if report["snapshot"]:
        rate = "" if report["default_rate"] is None else f", {report['default_rate']:.1%} of them defaulted"
        _row(table, "matured by " + report["snapshot"], f"{report['matured']:,}{rate}")
    if report["missing_fields"]:
        _row(table, "fields without values", ", ".join(report["missing_fields"]))
    console.print(table)


def show_windows(console: Console, splits: Mapping[str, Any]) -> None:
    """The windows with their months, rows and default rates."""
    title = "Windows" if splits["out_of_time"] else "Windows (too few months to be cut by month: not out of time)"
    table = _table(title, "window", "issue months", "loans", "default rate")
    for window in splits["windows"]:
        months = f"{window['first_month']} to {window['last_month']}"
        rate = window["defaults"] / window["rows"]
        _row(table, window["name"], months, f"{window['rows']:,}", f"{rate:.1%}")
    console.print(table)


def show_evaluation(console: Console, evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Every candidate, and the model in production, on the test window."""
    table = _table("Candidates on the test window", "model", "AUC (95 %)", "KS", "Brier", "ECE")
    judged = evaluation["judgement"]
    boards = {
        f"{kind} → version {evaluation['version']}" if kind == training["kind"] else kind: metrics
        for kind, metrics in judged["leaderboard"].items()
    }
    if judged["champion"]:
        boards[f"production: version {evaluation['champion_version']}"] = judged["champion"]
    for name, metrics in boards.items():
        auc = metrics["auc"]
        shown = [f"{metrics[metric]['value']:.4f}" for metric in _METRICS[1:]]
        _row(table, name, f"{auc['value']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})", *shown)
    if (grade := judged["evaluation"]["grade_auc"]) is not None:
        _row(table, "the lender's grade alone", f"{grade:.4f}", "", "", "")
    console.print(table)


def show_decision(console: Console, decision: Mapping[str, Any]) -> None:
    """What was decided of the newest version, and why."""
    verdict = decision["verdict"]
    lines = "\n".join(f"• {reason}" for reason in decision["reasons"])
    title = f"{verdict} version {decision['candidate']}"
    console.print(Panel(Text(lines), title=title, title_align="left", border_style=_COLOURS[verdict]))


def show_drift(console: Console, reports: Sequence[Mapping[str, Any]]) -> None:
    """A verdict for each batch."""
    table = _table("Batches", "batch", "applications", "model version", "verdict", "why")
    for report in reports:
        verdict = Text(report["verdict"], style=_COLOURS[report["verdict"]])
        why = shorten_sentences(report["reasons"], _REASONS, "; ")
        _row(table, report["batch"], f"{report['rows']:,}", str(report["model_version"]), verdict, why)
    console.print(table)


def show_performance(console: Console, report: Mapping[str, Any]) -> None:
    """How good each version proved to be, in all and by vintage; estimates stand in brackets."""
    table = _table("Versions", "version", "loans", "matured", "known", "defaults", "AUC (95 %)", "KS", "Brier", "ECE")
    for version in report["versions"]:
        real, estimated = version["real"], version["estimate"]
        counts = [f"{version[name]:,}" for name in ("loans", "matured", "known", "defaults")]
        figures = [""] * len(_METRICS)
        if real:
            auc = real["auc"]
            figures = [f"{auc['value']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})"]
            figures += [f"{real[name]['value']:.4f}" for name in _METRICS[1:]]
        _row(table, str(version["version"]), *counts, *figures)
        if estimated:
            figures = [f"[{estimated[name]:.4f}]" for name in _METRICS[:3]]
            _row(table, str(version["version"]), "", "", "others", "", *figures, "")
    console.print(table)
    for field in ("vintage", "decision"):
        _show_levels(console, field, report[f"{field}s"])
    verdict = report["verdict"]
    lines = [*report["reasons"], *(f"Outcome file {name} cannot be read." for name in report["unreadable"])]
    told = report["told_until"] or "no month yet"
    title = f"version {report['model_version']}: {verdict}; outcomes are told until {told}"
    told_lines = Text("\n".join(f"• {line}" for line in lines))
    console.print(Panel(told_lines, title=title, title_align="left", border_style=_COLOURS.get(verdict, "")))
    console.print(f"[…] estimated without outcomes. {report['estimates']}", style="dim", markup=False)


def _show_levels(console: Console, field: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("loans", "matured", "known", "mean PD", "default rate", "AUC", "KS", "Brier")
    table = _table(f"By {field}", "version", field, *columns)
    for row in rows:
        rates = ["" if row[name] is None else f"{row[name]:.1%}" for name in ("mean_pd", "default_rate")]
        figures = [_or_estimate(row[name], row[f"estimated_{name}"]) for name in _METRICS[:3]]
        counts = [f"{row[name]:,}" for name in ("loans", "matured", "known")]
        _row(table, str(row["model_version"]), row[field], *counts, *rates, *figures)
    console.print(table)


def _or_estimate(real: float | None, estimated: float | None) -> str:
    if real is not None:
        return f"{real:.4f}"
    return "" if estimated is None else f"[{estimated:.4f}]"


def show_predictions(console: Console, batch: str, counts: Sequence[tuple[str, int, float]]) -> None:
    """How a batch was decided."""
    table = _table(f"Batch {batch}", "decision", "applications", "mean PD")
    for decision, rows, mean in counts:
        _row(table, decision, f"{rows:,}", f"{mean:.1%}")
    console.print(table)


def show_rest(console: Console, report: ClientReport, output: str) -> None:
    """How a file was answered by the scoring server."""
    versions = ", ".join(str(version) for version in report.versions)
    table = _table(f"Answered by version {versions}", "decision", "applications")
    for decision, rows in sorted(report.decisions.items()):
        _row(table, decision, f"{rows:,}")
    console.print(table)
    if report.rejected:
        console.print(f"{report.rejected:,} rows could not be sent; {report.rejected_file} says why.")
    console.print(f"{report.rows:,} applications in {report.seconds:.1f} s → {output}")


def show_history(console: Console, events: Sequence[tuple[str, str, str, str, Sequence[str]]]) -> None:
    """When, what, of which version, by whom, and why."""
    if not events:
        console.print("Nothing has been decided yet.")
        return
    table = _table("History", "when (UTC)", "what", "version", "by", "why")
    for at, what, version, by, reasons in events:
        why = shorten_sentences(reasons, _REASONS)
        _row(table, _time(at), Text(what, style=_COLOURS.get(what, "")), version, by, why)
    console.print(table)


def show_versions(console: Console, versions: Mapping[str, ModelVersion | None]) -> None:
    """Each alias: its version, and who decided what of it when."""
    table = _table("Versions", "alias", "version", "made (UTC)", "decision", "decided (UTC)", "by")
    for alias, version in versions.items():
        if version is None:
            _row(table, alias, "none", "", "", "", "")
            continue
        decision, decided_at, by = (version.tags.get(name, "") for name in ("decision", "decided_at", "decided_by"))
        made = f"{version.created_at:%Y-%m-%d %H:%M:%S}"
        _row(table, alias, str(version.version), made, decision or "not decided yet", _time(decided_at), by)
    console.print(table)


def _time(text: str) -> str:
    return text.removesuffix("+00:00").replace("T", " ")


def show_places(console: Console, places: Mapping[str, str], title: str = "Where it lies") -> None:
    """Where everything lies."""
    table = _table(title, "", "")
    for name, place in places.items():
        _row(table, name, place)
    console.print(table)


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print the check, its mark, the message and the remedy: one line, however long."""
    line = Text(f"{diagnosis.check:<{_CHECK_WIDTH}} ")
    line.append(f"{diagnosis.mark:<5} ", style=_COLOURS[diagnosis.mark])
    line.append(diagnosis.message)
    if diagnosis.remedy:
        line.append(f" → {diagnosis.remedy}", style="dim")
    console.print(line, soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    """Add a row as it is: what stands in square brackets in a path or a reason is no style."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
