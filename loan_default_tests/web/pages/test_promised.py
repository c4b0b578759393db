"""Promised and realised: what versions said beside what came, with estimates in brackets."""

import csv
import io
import shutil
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from loan_default.adapters import override_log, storage
from loan_default.operations.promised import OverrideGroup, PromisedArchive
from loan_default.risk.validation.backtest import BackTestPoint
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.pages.promised import (
    back_test_charts,
    backtest_table,
    default_chart,
    early_table,
    finding_table,
    group_chart,
    group_table,
    roll_table,
    version_table,
)
from loan_default.web.people import People
from loan_default.web.tables import Cell
from loan_default_tests.records import filled
from loan_default_tests.web.clients import client_of

pytestmark = pytest.mark.integration


def test_the_version_in_production_is_held_against_outcomes(pages: TestClient) -> None:
    text = unescape(pages.get("/promised").text)
    assert "Version 1, in production" in text
    assert "Version 1 promised " in text
    assert text.count("<svg role=") == 3
    rows = list(csv.DictReader(io.StringIO(pages.get("/promised?csv=vintages").content.decode("utf-8-sig"))))
    assert [row["vintage"] for row in rows] == ["2014-Q3"]
    assert 0 < int(rows[0]["known"]) <= int(rows[0]["loans"]) == 897
    assert "An estimate supposes that every PD is right" in text


def test_a_version_that_predicted_nothing_is_not_chosen(pages: TestClient) -> None:
    for version in ("2", "x", "9999999999999"):
        assert "Version 1 promised " in unescape(pages.get(f"/promised?version={version}").text)


def test_without_a_report_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "loan-default performance FILE" in empty_pages.get("/promised").text


def _vintage(**figures: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("loans", "matured", "known", "defaults"), 10)
    metrics = {f"{kind}{name}": None for kind in ("", "estimated_") for name in ("auc", "ks", "brier")}
    return {"vintage": "2016-Q1", **counts, "mean_pd": 0.2, "default_rate": None, **metrics, **figures}


def test_estimates_are_in_brackets_and_measures_are_not() -> None:
    table = group_table("vintages", "vintage", [_vintage(auc=0.7), _vintage(estimated_auc=0.68)], 1)
    assert [row[7] for row in table.rows] == ["0.7000", "[0.6800]"]


def test_too_few_outcomes_are_no_failure_of_the_version() -> None:
    rules = {"enough_outcomes": False, "early_defaults": True, "auc": False}
    findings = [{"rule": rule, "passed": passed, "sentence": rule} for rule, passed in rules.items()]
    results = [row[0] for row in finding_table({"findings": findings}).rows]
    assert results == ["not enough outcomes", "pass", Cell("fail", tone="bad")]


def test_what_came_of_young_loans_is_beside_what_was_expected_of_them() -> None:
    young = {"vintage": "2020-Q1", "loans": 1_100, "defaults": 31, "expected_defaults": 17.8, "expected_repaid": 39.6}
    rows = [{**young, "months_on_book": months, "repaid": 44} for months in (3.0, None)]
    assert early_table(rows, 2).rows == [
        ("2020-Q1", "3", 1_100, 31, 18, 44, 40),
        ("2020-Q1", "to date", 1_100, 31, 18, 44, 40),
    ]


def test_roll_rates_are_shares_by_month_and_in_all_of_statuses_that_loans_leave() -> None:
    rolls = [
        ("2019-01", "0 days", "0 days", 6),
        ("2019-01", "0 days", "1 to 29 days", 2),
        ("2019-02", "1 to 29 days", "0 days", 1),
        ("2019-02", "1 to 29 days", "Charged Off", 1),
        ("2019-02", "Charged Off", "Charged Off", 9),
    ]
    table = roll_table([dict(zip(("month", "status", "next_status", "loans"), roll, strict=True)) for roll in rolls])
    assert [column.heading for column in table.columns[2:]] == ["loans", "0 days", "1 to 29 days", "Charged Off"]
    assert table.rows == [
        ("all", "0 days", 8, 0.75, 0.25, 0),
        ("all", "1 to 29 days", 2, 0.5, 0, 0.5),
        ("2019-02", "1 to 29 days", 2, 0.5, 0, 0.5),
        ("2019-01", "0 days", 8, 0.75, 0.25, 0),
    ]


def test_a_back_test_is_a_table_of_its_months_and_labels() -> None:
    point = BackTestPoint(date(2013, 1, 1), "open", 300, 200, 150, 0.14, 0.66, 0.12, 0.15, 0.5, 0.08, 9e3, 0.1)
    absent = BackTestPoint(date(2013, 1, 1), "matured", 9, 0, 150, 0.14, reason="9 loans had matured.")
    record = {"tested_months": 12, "points": [point.to_dict(), absent.to_dict()]}
    assert backtest_table(record).rows == [
        ("2013-01", "open", "", 300, 150, 0.66, 0.12, 0.15, 0.14, 0.5, 0.08, 0.1, None, 9e3, None, None),
        ("2013-01", "matured", "", 9, 150, None, None, None, 0.14, None, None, None, None, None, None, None),
    ]


def test_a_back_test_is_drawn_beside_what_came_and_shown_though_no_outcome_was_held_against_a_prediction(
    tmp_path: Path,
) -> None:
    point = BackTestPoint(date(2013, 1, 1), "open", 300, 200, 150, 0.14, 0.66, 0.12, 0.15, 0.5, 0.08, 9e3, 0.1)
    absent = BackTestPoint(date(2013, 1, 1), "matured", 9, 0, 150, 0.14, reason="9 loans had matured.")
    points = [absent.to_dict(), point.to_dict()]
    auc, promised = back_test_charts(points)
    assert auc.table
    assert promised.table
    assert auc.table.rows == [("2013-01", None, 0.66)]
    assert promised.table.rows == [("2013-01", None, 0.15, 0.14)]
    settings = Settings(tmp_path)
    record = {"measured_at": "2026-03-01T12:00:00+00:00", "tested_months": 12, "points": points}
    storage.write_json(settings.layout.record("backtest"), filled("backtest", record))
    text = client_of(create_app(settings, People())).get("/promised").text
    assert "What models of past months promised, and what came" in text
    assert "<caption>Developed as of past months" in text


def test_a_version_without_outcomes_has_estimates_in_brackets() -> None:
    figures = {"auc": 0.7, "ks": 0.3, "brier": 0.1}
    ends = {name: {"value": value, "low": 0.05, "high": 0.9} for name, value in figures.items()}
    none = {"version": 1, "loans": 9, "matured": 0, "known": 0, "defaults": 0, "expected": None}
    rows = version_table([{**none, "real": None, "estimate": figures}, {**none, "real": ends, "estimate": None}]).rows
    assert [row[7] for row in rows] == ["[0.7000]", "0.7000 (0.050 to 0.900)"]


def test_the_title_states_what_was_promised_and_what_came() -> None:
    rows = [
        _vintage(default_rate=0.3, known=10, defaults=3),
        _vintage(default_rate=0.1, known=30, defaults=3, mean_pd=0.1),
    ]
    chart = default_chart(rows, 4)
    assert chart is not None
    assert chart.title == "Version 4 promised 12.5% defaults, 15.0% came"
    none_known = default_chart([_vintage()], 4)
    assert none_known is not None
    assert none_known.title == "Version 4: no outcome is known yet"


@pytest.mark.parametrize(
    ("rates", "title"),
    [
        ((0.1, 0.3), "Loans that version 1 called risky did default more often"),
        ((0.3, 0.1), "Loans that version 1 called risky did not default more often"),
        ((0.3,), "PD and default rate of the loans of version 1 that ended"),
    ],
)
def test_the_title_of_groups_compares_those_that_there_are(rates: tuple[float, ...], title: str) -> None:
    groups = [
        {"group": number, "loans": 9, "mean_pd": 0.2, "default_rate": rate} for number, rate in enumerate(rates, 1)
    ]
    chart = group_chart(groups, 1)
    assert chart is not None
    assert chart.title == title


def test_a_report_of_an_earlier_release_is_shown(pages_home: Settings, tmp_path: Path) -> None:
    record = storage.read_json(pages_home.layout.record("performance_report"))
    settings = Settings(tmp_path / "home")
    earlier = {name: value for name, value in record.items() if name not in ("remark", "early")}
    storage.write_json(settings.layout.record("performance_report"), {**earlier, "verdict": "sound"})
    text = client_of(create_app(settings, People())).get("/promised").text
    assert "healthy" in text
    assert record["estimates"] in unescape(text)


def test_what_a_person_approved_is_held_against_its_outcome(pages_home: Settings, tmp_path: Path) -> None:
    outcomes = pl.read_parquet(pages_home.layout.table("loan_outcomes").read_bytes()).drop_nulls("outcome")
    defaulted, repaid = (outcomes.filter(pl.col("outcome") == outcome)["id"][0] for outcome in (1, 0))
    settings = Settings(tmp_path / "home", storage=str(tmp_path / "storage"))
    shutil.copytree(pages_home.storage, settings.storage, ignore=shutil.ignore_patterns("mlflow"))
    for number, (loan, decided, decision) in enumerate(
        [(defaulted, "decline", "approve"), (repaid, "decline", "approve"), (repaid, "review", "decline")]
    ):
        record = {"decision_id": f"d{number}", "recorded_at": f"2026-03-0{number + 1}T00:00:00+00:00", "id": loan}
        override = {**record, "decided": decided, "decision": decision, "pd": 0.4}
        override_log.add(settings.layout, filled("overrides", override))
    assert PromisedArchive(settings).read().overrides == (
        OverrideGroup("decline", "approve", 2, 0.4, 2, 1),
        OverrideGroup("review", "decline", 1, 0.4, 0, 0),
    )
    client = client_of(create_app(settings, People()))
    rows = list(csv.DictReader(io.StringIO(client.get("/promised?csv=overrides").content.decode("utf-8-sig"))))
    assert [(row["the version decided"], row["default rate"]) for row in rows] == [("decline", "0.5"), ("review", "")]
