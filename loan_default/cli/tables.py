"""What a person at a terminal sees of records and results: tables, panels and sentences.

Everything here is read from plain values; running and reading are the operations'. Progress is `progress`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from loan_default.risk.metrics import SHOWN_METRICS, metric_headings
from loan_default.risk.monitoring.performance import ESTIMATED_METRICS
from loan_default.risk.text import plural, shorten_names, shorten_sentences

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from loan_default.operations.batch_status import BatchStatus
    from loan_default.operations.batches import Rescoring, RescoringPlan, ScoredBatch
    from loan_default.operations.contracts import CheckedContract, WrittenDraft
    from loan_default.operations.doctor import Diagnosis
    from loan_default.operations.history import HistoryEvent
    from loan_default.operations.status import PerformanceStatus, ServerStatus, Status, VersionStatus
    from loan_default.operations.training import TrainingRecords
    from loan_default.risk.data.contract_check import FieldCheck
    from loan_default.serving.client import ClientReport
    from loan_default.serving.decisions import Decision

_COLOURS = {
    **{"promote": "green", "hold": "yellow", "rollback": "yellow"},
    **{"stable": "green", "drifted": "red", "not enough rows": "yellow"},
    **{"healthy": "green", "degraded": "red", "not enough outcomes": "yellow"},
    **{"ok": "green", "note": "yellow", "wrong": "red"},
    **{"failed": "red", "refused": "red"},
}
_CHECK_WIDTH = 22
_LEVELS = 3  # of many, in a table
_PROBLEMS = 4  # of many, likewise
_STATUSES, _NAMES, _LINES = 20, 12, 20  # of many
_ID_LETTERS = 8  # of a run's id: enough to find it in Dagster's UI
_RUN_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")

_number = partial(Column, justify="right")


# --- contracts ------------------------------------------------------------------------------------------------


def show_draft(console: Console, written: WrittenDraft, file: Path, program: str) -> None:
    """Show what a draft rests on, what was guessed, and the commands that lead on."""
    draft = written.draft
    values = {
        "rows, columns": f"{written.rows:,}, {written.columns:,}",
        "outcome": draft.outcome or "none found: name it",
        "date of the loan": draft.time or "none found: time: none",
        "number of the loan": draft.id or "none found: rows are numbered",
    }
    for column, reason in draft.suspects.items():
        values[f"not read: {column}"] = reason
    show_values(console, f"Drafted {written.path}", values)
    console.print(
        f"{written.guesses} guesses (GUESS) and {written.decisions} decisions that only a person can take (DECIDE) are "
        "marked in it. Next:"
    )
    show_next(
        console,
        {
            f"{program} contract check {written.path} {file}": "what the file has of each field",
            f"LOAN_DEFAULT_CONTRACT={written.path} {program} run --data {file}": "a model",
        },
    )


def show_contract_check(console: Console, checked: CheckedContract) -> None:
    """Show a contract that loads, and field by field what a file has of it."""
    contract, check = checked.contract, checked.check
    values = {
        "fields": f"{len(contract.fields)}, of which {len(contract.features)} are features",
        "policy": str(checked.policy or "the one that is shipped"),
        "search space": str(checked.search_space or "the one that is shipped"),
    }
    show_values(console, f"Contract {contract.name}: {contract.title}", values)
    if checked.guesses or checked.decisions:
        console.print(_marks_left(checked.guesses, checked.decisions), markup=False, style="yellow")
    if check is None:
        console.print("It can be loaded. Name a file to see what that has of each field.")
        return
    table = _table("Fields", "field", "column", _number("filled"), _number("read"), "values", "to look at")
    for field in check.fields:
        read = "" if field.read is None else _share(field.read)
        _add_row(
            table,
            field.field,
            field.column or "not in the file",
            _share(field.filled),
            read,
            field.values,
            _remarks(field),
        )
    console.print(table)
    statuses = _table(f"Status ({contract.outcome.column})", "text", "means", _number("rows"))
    for text, meaning, count in check.statuses[:_STATUSES]:
        _add_row(statuses, text, meaning, f"{count:,}")
    console.print(statuses)
    if check.unused:
        console.print(f"Columns that are not read: {shorten_names(check.unused, _NAMES)}.", markup=False)
    if check.report:
        show_cleaning(console, check.report.to_dict())
    console.print(check.refusal or "The file can be used.", markup=False, style="red" if check.refusal else "green")


def _marks_left(guesses: Sequence[int], decisions: Sequence[int]) -> str:
    """Say how many marks of its draft a contract still has, and on which lines."""
    parts = [
        f"{plural(len(lines), word, several)} ({mark}: line{'' if len(lines) == 1 else 's'} "
        f"{shorten_names([*dict.fromkeys(map(str, lines))], _LINES)})"
        for mark, word, several, lines in (
            ("GUESS", "guess", "guesses", guesses),
            ("DECIDE", "decision", "decisions", decisions),
        )
        if lines
    ]
    return f"Of its draft {' and '.join(parts)} are left: look at each, and delete its mark."


def _share(share: float) -> str:
    """Format a share so that neither all nor nothing is said of what is nearly so."""
    return f"{share:.1%}" if share in (0, 1) or 0.0005 <= share < 0.9995 else ("< 0.1%" if share < 0.5 else "> 99.9%")


def _remarks(field: FieldCheck) -> str:
    unread = ", ".join(f"{text} ({count:,})" for text, count in field.unread)
    parts = [f"not read: {unread}"] if unread else []
    if field.unseen:
        parts.append(f"no row has {shorten_names(field.unseen, _LEVELS)}")
    return "; ".join(parts)


# --- training -------------------------------------------------------------------------------------------------


def show_training(console: Console, records: TrainingRecords) -> None:
    """Show the data, the candidates and the decision."""
    show_data(console, records)
    if records.evaluation and records.training:
        show_evaluation(console, records.evaluation, records.training)
    if records.decision:
        show_decision(console, records.decision)


def show_data(console: Console, records: TrainingRecords) -> None:
    """Show what cleaning found, and the windows."""
    if records.cleaning:
        show_cleaning(console, records.cleaning)
    if records.splits:
        show_windows(console, records.splits)


def show_cleaning(console: Console, report: Mapping[str, Any]) -> None:
    """Show the rows kept and rejected, the months, and what the file lacks."""
    problems = ", ".join(f"{problem} {count:,}" for problem, count in list(report["problems"].items())[:_PROBLEMS])
    values = {
        "files": ", ".join(report["files"]),
        "layout, fingerprint": f"{', '.join(report['layouts'])}, {report['fingerprint']}",
        "rows read": f"{report['rows_read']:,}, of which {report['lines_not_loans']:,} are no loans",
        "kept": f"{report['kept']:,}",
        "rejected": f"{report['rejected']:,}" + (f" ({problems})" if problems else ""),
    }
    if report["first_month"]:
        values["issue months"] = f"{report['first_month']} to {report['last_month']}"
    counted = f"matured by {report['snapshot']}" if report["snapshot"] else "with an outcome"
    if report["snapshot"] or report["resolved"]:
        rate = "" if report["default_rate"] is None else f", {report['default_rate']:.1%} of them defaulted"
        values[counted] = f"{report['matured']:,}{rate}"
    for unreadable in report.get("unreadable_snapshots", ()):
        first = f"the first is {unreadable['value']} in row {unreadable['row']:,} of {unreadable['file']}"
        values[f"unreadable {unreadable['column']}"] = f"{plural(unreadable['loans'], 'loan')}; {first}"
    if report["missing_fields"]:
        values["fields without values"] = ", ".join(report["missing_fields"])
    show_values(console, "Loans", values)


def show_windows(console: Console, splits: Mapping[str, Any]) -> None:
    """Show the windows and what each holds of each term: months, rows and default rates; and what was known when."""
    from loan_default.risk.data.splits import Splits

    cut = Splits.from_dict(splits)
    too_few = "" if cut.out_of_time or cut.cut_by else " (too few months to be cut by month: not out of time)"
    spans = [cut.order] if cut.order else []
    table = _table(f"Windows{too_few}", "window", *spans, _number("loans"), _number("default rate"))
    for name, term, part in cut.parts:
        label = name if term == "all" else f"  {term}"
        _add_row(table, label, *([part.span] if spans else []), f"{part.rows:,}", f"{part.default_rate:.1%}")
    console.print(table)
    for sentence in cut.remarks:
        console.print(sentence)


def show_evaluation(console: Console, evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Show each candidate, and the model in production, on the test window."""
    table = _table("Candidates on the test window", "model", *map(_number, metric_headings()))
    judgement = evaluation["judgement"]
    boards = {
        f"{kind} → version {evaluation['version']}" if kind == training["kind"] else kind: metrics
        for kind, metrics in judgement["leaderboard"].items()
    }
    if judgement["champion"]:
        production, comparable = f"production: version {evaluation['champion_version']}", judgement.get("comparable")
        fewer = comparable is not None and comparable["rows"] < judgement["evaluation"]["rows"]
        boards[f"{production}, on {comparable['rows']:,} loans" if fewer else production] = judgement["champion"]
    for name, metrics in boards.items():
        _add_row(table, name, *_figures(metrics))
    if (auc := judgement["evaluation"]["opinion_auc"]) is not None:
        _add_row(table, "the lender's opinion alone", f"{auc:.4f}")
    console.print(table)


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    """Return the shown metrics as text, the first with its interval."""
    first, *others = SHOWN_METRICS
    interval = metrics[first]
    return [
        f"{interval['value']:z.4f} ({interval['low']:z.4f} to {interval['high']:z.4f})",
        *(f"{metrics[name]['value']:.4f}" for name in others),
    ]


def show_decision(console: Console, decision: Mapping[str, Any]) -> None:
    """Show what was decided of a version, and why."""
    verdict = decision["verdict"]
    title = f"{'roll back to' if verdict == 'rollback' else verdict} version {decision['candidate']}"
    _show_panel(console, title, decision["reasons"], _COLOURS[verdict])


def show_decision_by_hand(console: Console, decision: Mapping[str, Any]) -> None:
    """Show what a person decided, and what follows."""
    show_decision(console, decision)
    console.print("A scoring server that runs follows by itself; loan-default status shows whether it does.")


def show_staged(console: Console, records: TrainingRecords, program: str) -> None:
    """Show the version that was trained, and what comes next."""
    training = records.training or {}
    console.print(f"Version {training['version']} ({training['kind']}) is staged. Next: {program} promote.")


# --- batches --------------------------------------------------------------------------------------------------


def show_batch(console: Console, batch: ScoredBatch) -> None:
    """Show how a batch was decided, where its predictions lie, and whether it drifted."""
    show_scored_batches(console, [batch])
    show_values(console, "Where it lies", {"Parquet": batch.parquet, "CSV": batch.csv})
    if batch.rejected:
        console.print(f"{plural(batch.rejected, 'row')} could not be scored; {batch.rejections} says why.")
    if batch.drift:
        show_drift(console, [batch.drift])


def show_scored_batches(console: Console, batches: Sequence[ScoredBatch]) -> None:
    """Show the applications of each batch by decision, with their share and mean PD."""
    columns = (_number("applications"), _number("share"), _number("mean PD"))
    table = _table("Decisions", "batch", "decision", *columns)
    for batch in batches:
        for count in batch.decisions:
            share = count.applications / batch.applications
            cells = (f"{count.applications:,}", f"{share:.1%}", f"{count.mean_pd:.1%}")
            _add_row(table, batch.batch, count.decision, *cells)
    console.print(table)


def show_drift(console: Console, reports: Sequence[Mapping[str, Any]]) -> None:
    """Show the verdict on each batch."""
    columns = ("batch", _number("applications"), _number("model version"), "verdict", "why")
    table = _table("Batches", *columns)
    for report in reports:
        why = shorten_sentences(report["reasons"], separator="; ")
        cells = (report["batch"], f"{report['rows']:,}", str(report["model_version"]))
        _add_row(table, *cells, _coloured(report["verdict"]), why)
    console.print(table)


def show_backtest(console: Console, record: Mapping[str, Any]) -> None:
    """Show what each way of learning reached at each month, and why one could not be developed."""
    from loan_default.risk.validation.backtest import COLUMNS, levels_of, reasons_of, rows_of

    rows = rows_of(record["points"])
    bounds = (3, COLUMNS.index("approved"), COLUMNS.index("AUC 12"), len(COLUMNS))
    titles = ("Back-test", "What the policy's cut-offs would have approved", "The first twelve months")
    for title, (start, end) in zip(titles, pairwise(bounds), strict=True):  # in one they are too wide for a terminal
        table = _table(title, *COLUMNS[:3], *map(_number, COLUMNS[start:end]))
        for row in rows:
            _add_row(table, *row[:3], *row[start:end])
        console.print(table)
    for level in levels_of(record["points"]):
        console.print(level, markup=False)
    for reason in reasons_of(record["points"]):
        console.print(reason, style="dim", markup=False)


def show_provision(console: Console, record: Mapping[str, Any]) -> None:
    """Show what open loans are expected to lose, by stage and scenario, in the book's money."""
    sums = (_number("loans"), _number("owed"), _number("provision"), _number("over the lives"))
    table = _table(f"Open loans of {record['snapshot']}, {record['unit']}", "stage", *sums)
    for name, each in [*((str(stage["stage"]), stage) for stage in record["stages"]), ("all", record["total"])]:
        figures = (f"{each[key]:z,.0f}" for key in ("loans", "balance", "provision", "cecl"))
        _add_row(table, name, *figures)
    console.print(table)
    multipliers = ("hazard", "prepayment", "lgd", "weight")
    headings = ("hazard times", "prepayment times", "loss given default times", "weight")
    table = _table("Scenarios", "scenario", *map(_number, headings), _number("provision"), _number("over the lives"))
    for each in record["scenarios"]:
        sums_of = (f"{each[key]:z,.0f}" for key in ("provision", "cecl"))
        _add_row(table, each["scenario"], *(f"{each[name]:.2f}" for name in multipliers), *sums_of)
    console.print(table)
    if record["not_valued"]:
        loans = plural(record["not_valued"], "loan without a value is", "loans without a value are")
        console.print(f"{loans} in no sum.", style="dim")


def show_batch_number(console: Console, batch: str, number: int, count: int) -> None:
    """Show which batch of how many comes next."""
    console.print(Text(f"Batch {batch}, {number} of {count}", style="bold"))


def show_plan(console: Console, plan: RescoringPlan) -> None:
    """Show what is left out of a request to score again."""
    if plan.done:
        names = ", ".join(plan.done)
        console.print(f"Scored by version {plan.model_version} already; --force scores again: {names}.")


def show_rescoring(console: Console, result: Rescoring, again_tag: str) -> None:
    """Show the verdicts on what was scored again, and how to find the runs."""
    if result.drift:
        show_drift(console, result.drift)
    if result.drift or result.failures:
        console.print(f"In the Dagster UI these runs have the tag {again_tag}: {result.tag}.")


def show_answers(console: Console, report: ClientReport, output: str) -> None:
    """Show how the scoring server answered for a file."""
    versions = ", ".join(str(version) for version in report.versions)
    table = _table(f"Answered by version {versions}", "decision", _number("applications"))
    for decision, rows in sorted(report.decisions.items()):
        _add_row(table, decision, f"{rows:,}")
    console.print(table)
    if report.rejected:
        console.print(f"{plural(report.rejected, 'row')} could not be sent; {report.rejected_file} says why.")
    console.print(f"{plural(report.rows, 'application')} in {report.seconds:.1f} s → {output}")


# --- watching -------------------------------------------------------------------------------------------------


def show_status(console: Console, status: Status, program: str) -> None:
    """Show how the installation stands; one sentence where nothing was done in it yet."""
    for damage in status.damages:
        console.print(str(damage), markup=False)
    if status.empty:
        console.print(f"Nothing has been trained or scored here yet; begin with {program} run --data FILE.")
        return
    _show_versions(console, status.versions)
    if status.batches:
        _show_batches(console, status.batches)
    production = next(version for version in status.versions if version.alias == "production")
    show_values(
        console,
        "Now",
        {
            "in production because": _lines(production.reasons or "") if production.version else "none is",
            "scoring server": _server(status.server),
            "performance": _performance(status.performance),
            "batches that wait": ", ".join(status.waiting) or "none",
            "runs under way": ", ".join(f"{run.job} {run.status}" for run in status.runs) or "none",
        },
    )


def _lines(text: str) -> str:
    """Mark where each of several lines begins, as the terminal breaks them too."""
    lines = text.splitlines()
    return text if len(lines) < 2 else "\n".join(f"• {line}" for line in lines)


def _show_versions(console: Console, versions: Sequence[VersionStatus]) -> None:
    table = _table("Versions", "alias", _number("version"), "registered (UTC)", "decision", "decided (UTC)", "by")
    for version in versions:
        if version.version is None:
            _add_row(table, version.alias, "none")
            continue
        decision = version.decision or "not decided yet"
        by = _short_ids(version.decided_by or "")
        times = _time(version.created_at or ""), decision, _time(version.decided_at or "")
        _add_row(table, version.alias, str(version.version), *times, by)
    console.print(table)


def _show_batches(console: Console, batches: Sequence[BatchStatus]) -> None:
    columns = (_number("applications"), _number("rejected"), _number("version"))
    table = _table("Batches", "batch", *columns, "verdict", "why")
    for batch in batches:
        counts = ("" if count is None else f"{count:,}" for count in (batch.applications, batch.rejected))
        version = "" if batch.model_version is None else str(batch.model_version)
        why = shorten_sentences(batch.reasons, separator="; ")
        run = f" (run {batch.run_id[:_ID_LETTERS]})" if batch.run_id else ""
        word = batch.verdict or ("not compared" if batch.state == "scored" else batch.state)
        _add_row(table, batch.batch, *counts, version, _coloured(word), why + run)
    console.print(table)


def _server(server: ServerStatus) -> str:
    if server.status is None:
        return server.trouble or f"{server.url}: does not answer"
    trouble = f" ({server.trouble})" if server.trouble else ""
    return f"{server.url}: {server.status}, version {server.version}, process {server.pid}{trouble}"


def _performance(performance: PerformanceStatus | None) -> str:
    if performance is None:
        return "not known yet"
    until = performance.outcomes_until
    outcomes = f"outcomes until {until}" if until else "no outcomes yet"
    measured = f"{outcomes}; measured {performance.measured_at[:10]}"
    return f"version {performance.model_version}: {performance.verdict} ({measured})"


def show_history(console: Console, events: Sequence[HistoryEvent]) -> None:
    """Show when, what, of which version, by whom, why and by what evidence, and how often test had been looked at."""
    if not events:
        console.print("Nothing has been decided yet.")
        return
    table = _table("History", "when (UTC)", "what", _number("version"), "by", _number("earlier looks"), "why")
    for event in events:
        version = "" if event.version is None else str(event.version)
        by = event.by if event.run_id is None else f"{event.by}, run {event.run_id}"
        looks = "" if event.test_looks is None else f"{event.test_looks:,}"
        cells = (_time(event.at), _coloured(event.event), version, _short_ids(by), looks)
        why = shorten_sentences(event.reasons)
        _add_row(table, *cells, f"{why}\nRests on {event.basis}." if event.basis else why)
    console.print(table)


def show_performance(console: Console, report: Mapping[str, Any]) -> None:
    """Show how good each version proved to be, in all and by quarter; estimates stand in brackets.

    A record of before is of loans that mature, by vintage.
    """
    matured = ["matured"] if report.get("outcomes_mature", True) else []
    counts = ["loans", *matured, "known"]
    table = _table("Versions", *map(_number, ("version", *counts, "defaults", *metric_headings())))
    for version in report["versions"]:
        cells = [f"{version[name]:,}" for name in (*counts, "defaults")]
        _add_row(table, str(version["version"]), *cells, *(_figures(version["real"]) if version["real"] else []))
        if version["estimate"]:
            estimates = [f"[{version['estimate'][name]:.4f}]" for name in ESTIMATED_METRICS]
            _add_row(table, str(version["version"]), *("" for _ in counts[1:]), "not known", "", *estimates)
    console.print(table)
    quarter = "vintage" if report.get("quarters_of", "issue") == "issue" else "quarter of scoring"
    for field, heading in (("vintage", quarter), ("decision", "decision")):
        _show_levels(console, field, heading, report[f"{field}s"], counts)
    if early := report.get("early"):
        _show_early(console, early)
    verdict, until = report["verdict"], report["told_until"]
    outcomes = f"outcomes are told until {until}" if until else "no outcome has been told yet"
    title = f"version {report['model_version']}: {verdict}; {outcomes}"
    reasons = [*report["reasons"], *(f"Outcome file {name} cannot be read." for name in report["unreadable"])]
    _show_panel(console, title, reasons, _COLOURS.get(verdict, ""))
    console.print(f"[…] estimated without outcomes. {report['estimates']}", style="dim", markup=False)
    if remark := report.get("remark"):
        console.print(remark, style="dim", markup=False)


def _show_levels(
    console: Console, field: str, heading: str, rows: Sequence[Mapping[str, Any]], counts: Sequence[str]
) -> None:
    rates = ("mean_pd", "default_rate")
    metrics = [SHOWN_METRICS[name] for name in ESTIMATED_METRICS]
    table = _table(
        f"By {heading}", _number("version"), heading, *map(_number, (*counts, "mean PD", "default rate", *metrics))
    )
    for row in rows:
        _add_row(
            table,
            str(row["model_version"]),
            row[field],
            *(f"{row[name]:,}" for name in counts),
            *("" if row[name] is None else f"{row[name]:.1%}" for name in rates),
            *(_or_estimate(row[name], row[f"estimated_{name}"]) for name in ESTIMATED_METRICS),
        )
    console.print(table)


def _show_early(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show what came of loans that files tell of month by month, beside what was expected by their months on book."""
    counts = ("loans", "defaults", "expected", "repaid", "expected repaid")
    table = _table("Month by month", "vintage", *map(_number, ("months on book", *counts)))
    for row in rows:
        months = "to date" if row["months_on_book"] is None else f"{row['months_on_book']:.0f}"
        expected = (f"{row[name]:,.0f}" for name in ("expected_defaults", "expected_repaid"))
        defaults, repaid = (f"{row[name]:,}" for name in ("defaults", "repaid"))
        _add_row(table, row["vintage"], months, f"{row['loans']:,}", defaults, next(expected), repaid, next(expected))
    console.print(table)


def _or_estimate(measured: float | None, estimate: float | None) -> str:
    if measured is not None:
        return f"{measured:.4f}"
    return "" if estimate is None else f"[{estimate:.4f}]"


def show_rejected_outcomes(console: Console, rejected: int) -> None:
    """Show how many lines of outcome files could not be used, where there are any."""
    if rejected:
        lines = plural(rejected, "line of an outcome file", "lines of outcome files")
        console.print(f"{lines} could not be used; rejected_outcomes.parquet says why.")


# --- setting up -----------------------------------------------------------------------------------------------


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Show the check, its mark, the message and the remedy: one line, however long."""
    line = Text(f"{diagnosis.check:<{_CHECK_WIDTH}} ")
    line.append(f"{diagnosis.mark:<5} ", style=_COLOURS[diagnosis.mark])
    line.append(diagnosis.message)
    if diagnosis.remedy:
        line.append(f" → {diagnosis.remedy}", style="dim")
    console.print(line, soft_wrap=True)


def show_next(console: Console, steps: Mapping[str, str]) -> None:
    """Show the commands that lead on, each with what it does."""
    for command, purpose in steps.items():
        console.print(Text(f"  {command}").append(f"   {purpose}", style="dim"), soft_wrap=True)


def show_values(console: Console, title: str, values: Mapping[str, str]) -> None:
    """Show values by their names."""
    table = _table(title, "", "")
    for name, value in values.items():
        _add_row(table, name, value)
    console.print(table)


# --- decisions ------------------------------------------------------------------------------------------------


def show_recalled(console: Console, decision: Decision) -> None:
    """Show a decision as the log keeps it, what the version that made it says now, and whether that is the same."""
    row = {name: value for name, value in decision.row.items() if value not in (None, "", [])}
    answered = {name: row.pop(name) for name in [*row] if name in decision.answer}
    show_values(console, "Decided", {name: _plain_value(value) for name, value in answered.items()})
    show_values(console, "Kept with it", {name: _plain_value(value) for name, value in row.items()})
    if decision.verdict == "different" and decision.again:
        show_values(console, "Scored again", {name: _plain_value(value) for name, value in decision.again.items()})
    colour = {"same": "green", "different": "red"}.get(decision.verdict, "yellow")
    console.print(Text(decision.sentence, style=colour))


def _plain_value(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_plain_value, value))
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, Mapping) else str(value)


# --- common parts ---------------------------------------------------------------------------------------------


def _table(title: str, *columns: str | Column) -> Table:
    headings = [column if isinstance(column, Column) else Column(column) for column in columns]
    for heading in headings:
        heading.overflow = "fold"
    named = any(heading.header for heading in headings)
    return Table(*headings, title=title, title_justify="left", title_style="bold", show_header=named)


def _add_row(table: Table, *cells: str | Text) -> None:
    """Add a row literally: square brackets in a path or a reason are no style."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _show_panel(console: Console, title: str, sentences: Sequence[str], colour: str) -> None:
    lines = Text("\n".join(f"• {sentence}" for sentence in sentences))
    console.print(Panel(lines, title=title, title_align="left", border_style=colour))


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))


def _short_ids(text: str) -> str:
    """Return the text with the ids of runs cut to what finds them in Dagster's UI."""
    return _RUN_ID.sub(r"\1", text)


def _time(text: str) -> str:
    return text.removesuffix("+00:00").replace("T", " ")
