"""The page on strategy: what cut-offs earn, with both sides of it, or why nothing is said."""

import csv
import io
from dataclasses import asdict
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.adapters import storage
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.economics.approval import ApprovedLoans, RealisedGroup
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.pages.strategy import proposal_table, strategy_content
from loan_default.web.people import People
from loan_default.web.rendering import environment
from loan_default_tests.records import filled
from loan_default_tests.web.clients import client_of

CONTRACT = load_contract()
pytestmark = pytest.mark.integration


def test_the_page_shows_what_is_earned_and_how_many_default(pages: TestClient) -> None:
    text = unescape(pages.get("/strategy").text)
    assert "Strategy: what cut-offs earn" in text
    assert "In dollars, by the costs of the policy" in text
    assert "defaulted, of those by PD" in text
    assert text.count("<svg role=") == 1
    assert "loan-default policy adopt" in text
    rows = list(csv.DictReader(io.StringIO(pages.get("/strategy?csv=curve").content.decode("utf-8-sig"))))
    assert {row["rule"] for row in rows} == {"by PD", "by value"}
    groups = list(csv.DictReader(io.StringIO(pages.get("/strategy?csv=groups").content.decode("utf-8-sig"))))
    assert ("Number of monthly payments", "36 months") in {(row["field"], row["group"]) for row in groups}
    last = [row for row in rows if float(row["of all"]) == 1]
    assert len({round(float(row["NPV"]), 4) for row in last}) == 1


def test_what_was_earned_as_of_past_months_stands_beside_what_was_expected(tmp_path: Path) -> None:
    outcome = asdict(ApprovedLoans(80, 0.5, 8e5, 0.1, 0.12, 4e4, 5e4, 3e4, 2e4, 0.1, 0.07))
    rules = dict.fromkeys(("present", "pd", "npv"), outcome)
    point = {"month": "2013-01", "label": "open", "model": "logistic_regression", "leads": True, "rules": rules}
    others = [{**point, "leads": False}, {**point, "rules": None}, {"month": "2012-01", "label": "open"}]
    record = {"tested_months": 12, "unit": "dollars", "points": [point, *others]}
    content = strategy_content(None, None, record, contract=CONTRACT)
    (table,) = content["tables"]
    assert [row[:5] for row in table.rows] == [
        ("2013-01", "open", "logistic regression", word, 80) for word in ("by the policy", "by PD", "by value")
    ]
    assert table.rows[0][-4:] == (3e4, 2e4, 0.1, 0.07)
    groups = [RealisedGroup(number, 8, 10.0 * number, 9.0 * number, 0.0, 20.0, number < 3) for number in (1, 2, 3)]
    with_tenths = {**record, "points": [{**point, "deciles": [asdict(group) for group in groups]}, *others]}
    _, tenths = strategy_content(None, None, with_tenths, contract=CONTRACT)["tables"]
    assert tenths.rows == [("2013-01", "open", "logistic regression", 3, 2, 10.0, 9.0, 30.0, 27.0)]
    assert len(tenths.columns) == 9
    settings = Settings(tmp_path)
    storage.write_json(settings.layout.record("backtest"), filled("backtest", with_tenths))
    text = unescape(client_of(create_app(settings, People())).get("/strategy").text)
    assert "What cut-offs would have earned" in text
    assert "In dollars, by the costs of the policy, of models that were developed at past months" in text
    assert "in how many what was realised lies in the interval around that" in text
    assert (
        strategy_content(None, None, {"tested_months": 12, "points": others}, contract=CONTRACT)["tables"][0].rows == []
    )


def test_a_rule_without_a_proposal_says_why() -> None:
    reasons = {"pd": "Whatever the cut-off, what it approves is not expected to earn anything."}
    table = proposal_table(filled("strategy_report", {"proposals": {"pd": None, "npv": None}, "no_proposal": reasons}))
    assert [(row[0], row[1], row[-1]) for row in table.rows] == [
        ("by PD", None, reasons["pd"]),
        ("by value", None, "No cut-offs keep the limits of the policy and are expected to earn anything."),
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_without_a_report_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "loan-default run" in empty_pages.get("/strategy").text


def test_a_version_without_a_value_says_why() -> None:
    content = strategy_content({"version": 1, "problem": "The policy has no section value."}, contract=CONTRACT)
    assert (content["report"], content["problem"], content["tables"]) == (None, "The policy has no section value.", [])
    text = environment().get_template("strategy_body.html").render(content)
    assert "The policy has no section value." in text
    assert "section <code>value</code> says what funding" in text
    assert "loan-default provision" not in text, "which could not say anything either"


def test_a_provision_says_by_which_loans_defaults_are_timed(tmp_path: Path) -> None:
    figures = {"loans": 3, "balance": 9e3, "provision": 90.0, "cecl": 120.0, "year_pd": None, "lifetime_pd": None}
    record = {
        "unit": "dollars",
        "snapshot": "2020-01",
        "version": 1,
        "policy": {"stage_2_months": 1, "stage_2_pd_ratio": 3.0},
        "with_granted_pd": 0,
        "not_valued": 0,
        "stages": [{"stage": 1, **figures}],
        "total": figures,
        "scenarios": [],
        "groups": [],
    }
    settings = Settings(tmp_path)
    client = client_of(create_app(settings, People()))
    for by_curve, words in (
        ({}, "the ended loans of its term say"),  # as earlier releases recorded it
        ({"by_curve": False}, "the ended loans of its term say"),
        ({"by_curve": True}, "its own curve by month says"),
    ):
        storage.write_json(settings.layout.record("provision_report"), {**record, **by_curve})
        assert words in client.get("/strategy").text
