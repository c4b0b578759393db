"""Tables and sentences: what a person sees of records, word by word."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from loan_default.cli import tables
from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.batches import DecisionCount, ScoredBatch
from loan_default.operations.doctor import Diagnosis
from loan_default.operations.history import HistoryEvent
from loan_default.operations.runs import Run
from loan_default.operations.status import PerformanceStatus, ServerStatus, Status, VersionStatus

RUN_ID = "1234abcd-1234-4321-abcd-1234567890ab"


@pytest.fixture
def printed() -> tuple[Console, Callable[[], str]]:
    console = Console(record=True, width=120, file=io.StringIO())
    return console, console.export_text


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


METRICS = {name: interval(value) for name, value in {"auc": 0.7, "ks": 0.3, "brier": 0.12, "ece": 0.02}.items()}


def test_evaluation_names_candidates_production_and_grade(printed: Any) -> None:
    console, text = printed
    evaluation = {
        "version": 3,
        "champion_version": 2,
        "judgement": {
            "leaderboard": {"xgboost": METRICS, "random_forest": METRICS},
            "champion": METRICS,
            "evaluation": {"opinion_auc": 0.65},
        },
    }
    tables.show_evaluation(console, evaluation, {"kind": "xgboost"})
    lines = text()
    assert "xgboost → version 3" in lines
    assert "random_forest " in lines
    assert "production: version 2 " in lines
    assert "0.7000 (0.6900 to 0.7100)" in lines
    assert "the lender's opinion alone" in lines


@pytest.mark.parametrize(("rows", "expected"), [(500, "version 2 "), (499, "version 2, on 499 loans")])
def test_production_is_said_to_be_measured_on_the_loans_that_it_was(printed: Any, rows: int, expected: str) -> None:
    console, text = printed
    judgement = {
        "leaderboard": {"xgboost": METRICS},
        "champion": METRICS,
        "comparable": {"rows": rows, "defaults": 100},
        "evaluation": {"opinion_auc": None, "rows": 500},
    }
    evaluation = {"version": 3, "champion_version": 2, "judgement": judgement}
    tables.show_evaluation(console, evaluation, {"kind": "xgboost"})
    assert f"production: {expected}" in text()


def test_evaluation_without_champion_and_grade_is_shown(printed: Any) -> None:
    console, text = printed
    evaluation = {
        "version": 1,
        "champion_version": None,
        "judgement": {"leaderboard": {"xgboost": METRICS}, "champion": None, "evaluation": {"opinion_auc": None}},
    }
    tables.show_evaluation(console, evaluation, {"kind": "xgboost"})
    lines = text()
    assert "xgboost → version 1" in lines
    assert "production" not in lines
    assert "grade" not in lines


@pytest.mark.parametrize("verdict", ["promote", "hold"])
def test_a_decision_is_shown_with_its_reasons(printed: Any, verdict: str) -> None:
    console, text = printed
    tables.show_decision(console, {"verdict": verdict, "candidate": 4, "reasons": ["AUC 0.70.", "No champion."]})
    lines = text()
    assert f"{verdict} version 4" in lines
    assert "• AUC 0.70." in lines
    assert "• No champion." in lines


def test_cleaning_shows_problems_and_missing_fields(printed: Any) -> None:
    console, text = printed
    report = {
        "files": ["loans.csv"],
        "layouts": ["main"],
        "fingerprint": "0123456789abcdef",
        "rows_read": 1_012,
        "lines_not_loans": 2,
        "kept": 1_000,
        "rejected": 10,
        "problems": {"term: missing": 6, "dti: unreadable number": 4},
        "missing_fields": ["fico_range_low"],
        "first_month": "2012-01",
        "last_month": "2014-06",
        "snapshot": "2019-03",
        "matured": 900,
        "default_rate": None,
    }
    odd = {"column": "last_credit_pull_d", "file": "a.csv", "loans": 3, "of_loans": 1_000, "row": 8, "value": "Mar-10"}
    tables.show_cleaning(console, {**report, "unreadable_snapshots": [odd]})
    lines = text()
    assert "3 loans; the first is Mar-10 in row 8 of a.csv" in lines
    assert "10 (term: missing 6, dti: unreadable number 4)" in lines
    assert "1,012, of which 2 are no loans" in lines
    assert "fico_range_low" in lines
    assert "matured by 2019-03" in lines


@pytest.mark.parametrize("out_of_time", [True, False])
def test_windows_say_whether_they_are_out_of_time(printed: Any, out_of_time: bool) -> None:
    console, text = printed
    months = {"first_month": "2014-01", "last_month": "2014-06"}
    term = {"term": 60, "rows": 300, "defaults": 90, **months}
    window = {"rows": 1_200, "defaults": 240, "terms": [term, {**term, "term": 36, "rows": 900}], **months}
    splits = {
        "snapshot": "2019-03",
        "windows": [{"name": name, **window} for name in ("train", "calibrate", "test")],
        "out_of_time": out_of_time,
        "data_fingerprint": "a",
        "unresolved": 7,
        "immature": 8,
    }
    tables.show_windows(console, {**splits, "labels_known_by": "2018-11", "overdue": 6, "training_age_months": 57})
    lines = " ".join(text().split())
    assert "60 months" in lines
    assert "30.0%" in lines
    assert "6 loans have no outcome although it had to be known by 2019-03." in lines
    assert "was known by 2018-11" in lines
    tables.show_windows(console, splits)  # as a record of before has them
    assert "1,200" in lines
    assert "20.0%" in lines
    assert ("not out of time" in lines) == (not out_of_time)


def test_drift_shows_a_few_reasons_and_counts_the_rest(printed: Any) -> None:
    console, text = printed
    reports = [
        {"batch": batch, "rows": 50, "model_version": 1, "verdict": verdict, "reasons": reasons}
        for batch, verdict, reasons in [
            ("a", "stable", ["0 drifted"]),
            ("b", "drifted", ["r1", "r2", "r3", "r4", "r5"]),
            ("c", "not enough rows", ["50 rows"]),
        ]
    ]
    tables.show_drift(console, reports)
    lines = text()
    assert "r1; r2; r3 (+2 more)" in lines
    assert all(word in lines for word in ("stable", "drifted", "not enough rows", "0 drifted"))


def test_performance_shows_real_figures_and_marks_estimates(printed: Any) -> None:
    counts = {"loans": 1_200, "matured": 900, "known": 800}
    estimated = {"auc": 0.61, "ks": 0.62, "brier": 0.63}
    row: dict[str, Any] = {
        **counts,
        "model_version": 2,
        "mean_pd": 0.125,
        "default_rate": 0.2,
        **dict.fromkeys(("auc", "ks"), 0.71),
    }
    row |= {"brier": None} | {f"estimated_{name}": value for name, value in estimated.items()}
    report = {
        "versions": [{"version": 2, **counts, "defaults": 90, "real": METRICS, "estimate": estimated}],
        "vintages": [{**row, "vintage": "2016-Q3"}],
        "decisions": [{**row, "decision": "approve", "mean_pd": None, "default_rate": None}],
        **{"verdict": "degraded", "model_version": 2, "reasons": ["AUC 0.5 is too low."], "unreadable": ["b.csv"]},
        **{"told_until": "2019-03", "estimates": "Every PD is supposed to be right."},
    }
    console, text = printed
    tables.show_performance(console, report)
    lines = text()
    for words in (
        *("1,200", "0.7000 (0.6900 to 0.7100)", "[0.6100]", "2016-Q3", "0.7100", "[0.6300]", "12.5%", "20.0%"),
        *("version 2: degraded; outcomes are told until 2019-03", "AUC 0.5 is too low.", "Outcome file b.csv cannot"),
        "[…] estimated without outcomes. Every PD is supposed to be right.",
        *("matured", "By vintage"),
    ):
        assert words in lines
    tables.show_performance(console, {**report, "quarters_of": "scoring", "outcomes_mature": False})
    undated = text()
    assert "By quarter of scoring" in undated
    assert not any(word in undated for word in ("matured", "vintage"))
    tables.show_performance(console, {**report, "remark": "Loans have no number."})
    assert "Loans have no number." in text()
    young = {"model_version": 2, "vintage": "2020-Q1", "months_on_book": None, "loans": 1_100, "defaults": 31}
    early = [{**young, "expected_defaults": 17.8, "repaid": 44, "expected_repaid": 39.6}]
    tables.show_performance(console, {**report, "early": early})
    (line,) = (line for line in text().splitlines() if "to date" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        *("2020-Q1", "to date", "1,100", "31", "18", "44", "40"),
    ]
    tables.show_performance(console, {**report, "told_until": None})
    assert "version 2: degraded; no outcome has been told yet" in text()


def test_a_diagnosis_is_one_line_however_long(printed: Any) -> None:
    console, text = printed
    tables.show_diagnosis(console, Diagnosis("storage", "wrong", f"It is [red]full[/red]{'.' * 200}", "Empty it."))
    tables.show_diagnosis(console, Diagnosis("clock", "ok", "It ticks."))
    first, second = text().splitlines()
    assert first.split() == ["storage", "wrong", "It", "is", f"[red]full[/red]{'.' * 200}", "→", "Empty", "it."]
    assert second.split() == ["clock", "ok", "It", "ticks."]


def scored_batch(**changes: Any) -> ScoredBatch:
    decisions = (DecisionCount("approve", 1_500, 0.081), DecisionCount("decline", 500, 0.4))
    paths = ("/somewhere/2018-10.parquet", "/somewhere/2018-10.csv", "/somewhere/rejected.parquet")
    return replace(ScoredBatch("2018-10", 1, 2_000, 3, decisions, *paths, None), **changes)


def test_a_batch_is_shown_by_decision_with_shares(printed: Any) -> None:
    console, text = printed
    tables.show_batch(console, scored_batch())
    lines = text()
    assert re.search(r"2018-10 │ approve +│ +1,500 │ +75.0% │ +8.1% │", lines)
    assert re.search(r"2018-10 │ decline +│ +500 │ +25.0% │ +40.0% │", lines)
    assert "/somewhere/2018-10.csv" in lines
    assert "3 rows could not be scored; /somewhere/rejected.parquet says why." in lines
    assert "verdict" not in lines


def production(**changes: Any) -> VersionStatus:
    decided = ("promote", "2026-01-02T04:00:00+00:00", f"policy, run {RUN_ID}", "Better than version 2.")
    return replace(VersionStatus("production", 3, "2026-01-02T03:00:00+00:00", *decided), **changes)


def status(**changes: Any) -> Status:
    scored = BatchStatus("2018-10", "scored", 2_000, 7, 3, "stable", ("PSI 0.01",))
    not_compared = BatchStatus("2018-09", "scored", 1_000, 0, 3)
    failed = BatchStatus("2018-11", "failed", rejected=4, reasons=("The disk is full.",), run_id=RUN_ID)
    refused = BatchStatus("a b.csv", "refused", reasons=("Rename the file.",))
    server = ServerStatus("http://127.0.0.1:5001", "ready", 3, 77, None)
    performance = PerformanceStatus(3, "healthy", "2026-01-03T04:00:00+00:00", "2025-12")
    run = Run(RUN_ID, "retraining_job", "started", datetime(2026, 1, 2, tzinfo=UTC), None, None)
    versions = (production(), VersionStatus("previous"), VersionStatus("staging", 4, "2026-01-02T03:00:00+00:00"))
    batches = (scored, not_compared, failed, refused)
    return replace(Status(versions, batches, ("2018-12",), (run,), server, performance), **changes)


def test_status_shows_who_decided_what_came_of_batches_and_what_is_under_way(printed: Any) -> None:
    console, text = printed
    tables.show_status(console, status(), "loan-default")
    lines = text()
    for pattern in (
        r"production │ +3 │ 2026-01-02 03:00:00 │ promote +│ 2026-01-02 04:00:00 │ policy, run 1234abcd +│",
        r"previous +│ +none │",
        r"staging +│ +4 │ 2026-01-02 03:00:00 │ not decided yet",
        r"2018-10 │ +2,000 │ +7 │ +3 │ stable +│ PSI 0.01",
        r"2018-09 │ +1,000 │ +0 │ +3 │ not compared +│ +│",
        r"2018-11 │ +│ +4 │ +│ failed +│ The disk is full. \(run 1234abcd\)",
        r"a b.csv │ +│ +│ +│ refused +│ Rename the file.",
        r"in production because +│ Better than version 2.",
        r"http://127.0.0.1:5001: ready, version 3, process 77",
        r"version 3: healthy \(outcomes until 2025-12; measured 2026-01-03\)",
        r"batches that wait +│ 2018-12",
        r"runs under way +│ retraining_job started",
    ):
        assert re.search(pattern, lines), pattern
    assert RUN_ID not in lines


def test_status_without_server_performance_and_production(printed: Any) -> None:
    console, text = printed
    bare = status(
        versions=(VersionStatus("production"),),
        server=ServerStatus("http://127.0.0.1:5001"),
        performance=None,
        waiting=(),
        runs=(),
    )
    tables.show_status(console, bare, "loan-default")
    lines = text()
    for words in ("none is", "does not answer", "not known yet"):
        assert words in lines


def test_each_reason_of_a_version_begins_a_line(printed: Any) -> None:
    console, text = printed
    production = VersionStatus("production", 3, "2026-01-02T03:00:00+00:00", reasons="Out of time.\nAUC 0.70.")
    tables.show_status(console, status(versions=(production,)), "loan-default")
    assert re.search(r"in production because +│ • Out of time\. +│\n│ +│ • AUC 0\.70\. ", text())


def test_history_shows_retrainings_beside_decisions(printed: Any) -> None:
    console, text = printed
    events = [
        HistoryEvent("2026-01-02T03:00:00+00:00", "hold", 3, f"policy, run {RUN_ID}", None, ("A", "B", "C", "D"), 12),
        HistoryEvent("2026-01-02T04:00:00+00:00", "retraining success", None, "drift_sensor", RUN_ID, ("Drift.",)),
    ]
    tables.show_history(console, events)
    lines = text()
    assert "Rests on" not in lines
    assert re.search(r"2026-01-02 03:00:00 │ hold +│ +3 │ policy, run 1234abcd +│ +12 │ A B C \(\+1 more\)", lines)
    assert re.search(r"2026-01-02 04:00:00 │ retraining success │ +│ drift_sensor, run 1234abcd │ +│ Drift.", lines)


def test_history_names_what_a_decision_rests_on(printed: Any) -> None:
    console, text = printed
    evidence = {"origin": {"data_fingerprint": "0123456789abcdef"}, "metrics": {"auc": {"value": 0.7034}}}
    event = HistoryEvent("2026-01-02T03:00:00+00:00", "hold", 3, "policy", None, ("Well.",), evidence=evidence)
    tables.show_history(console, [event])
    words = " ".join(re.sub(r"[│\n]", " ", text()).split())
    assert "Well. Rests on data 01234567, AUC 0.7034." in words


def test_values_and_next_steps_are_literal(printed: Any) -> None:
    console, text = printed
    tables.show_values(console, "Where it lies", {"Parquet": "/some[where]/2018-10.parquet"})
    tables.show_next(console, {"loan-default run --data [FILE]": "your own loans"})
    lines = text()
    assert "/some[where]/2018-10.parquet" in lines
    assert "  loan-default run --data [FILE]   your own loans" in lines
