"""Scoring an applicant on a page: the server decides, says why, and what would have to change."""

import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from loan_default.operations.applicants import ScoredApplicant, describe_inputs, missing_fields, score_applicant
from loan_default.operations.applied_rule import AppliedRule
from loan_default.operations.decisions import find_decision
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.model.offers import Offer
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.pages import score
from loan_default.web.people import People
from loan_default.web.rendering import environment
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.test_people import ANNA, PASSWORD

CONTRACT = load_contract()
RISKY = {"id": "A-17", "loan_amnt": "30,000", "term": "60", "int_rate": "24", "annual_inc": "35,000", "dti": "35"}
RISKY |= {"fico_range_low": "660", "revol_util": "95", "grade": "F", "earliest_cr_line": "2003-08"}


def application(**changes: Any) -> Mapping[str, Any]:
    numbers = {name: float(value.replace(",", "")) for name, value in RISKY.items() if value.replace(",", "").isdigit()}
    return {**RISKY, **numbers, **changes}


def test_the_form_has_the_contracts_labels_and_no_field_names(client: TestClient) -> None:
    page = client.get("/score").text
    assert "Amount asked for" in page
    assert "dollars a year" in page
    visible = re.sub(r"<[^>]*>", " ", page)
    names = (field.name for field in CONTRACT.features if "_" in field.name)
    assert [name for name in names if re.search(rf"\b{name}\b", visible)] == []


def test_what_cannot_be_used_is_said_at_its_field_and_the_rest_stays(client: TestClient) -> None:
    answer = send_form(client, "/score", "/score", **{**RISKY, "annual_inc": "5", "term": ""})
    assert answer.status_code == 400
    assert "5 is not allowed; it must be 100 to 100,000,000 dollars a year." in answer.text
    assert "This is needed." in answer.text
    assert 'value="30,000"' in answer.text


@pytest.mark.integration
def test_without_a_server_one_sentence_says_what_to_start(tmp_path: Path) -> None:
    settings = Settings(tmp_path, serving_url="http://127.0.0.1:9")  # of the discard protocol
    answer = send_form(client_of(create_app(settings, People())), "/score", "/score", **RISKY)
    assert answer.status_code == 503
    assert "start it with loan-default serve" in answer.text
    assert 'value="30,000"' in answer.text


def test_a_pasted_application_fills_the_form_and_one_that_is_none_is_said(client: TestClient) -> None:
    answer = send_form(client, "/score", "/score/fill", pasted=json.dumps({"loan_amnt": 12500, "purpose": "car"}))
    assert 'value="12500"' in answer.text
    assert '<option value="car" selected>' in answer.text
    refused = send_form(client, "/score", "/score/fill", pasted="nothing")
    assert refused.status_code == 400
    assert "Paste two lines" in refused.text


def test_what_cannot_be_computed_from_the_form_goes_with_it_and_is_told(client: TestClient) -> None:
    answer = send_form(client, "/score", "/score/fill", pasted=json.dumps({"dti": 3, "credit_history_months": 361}))
    assert '<input type="hidden" name="credit_history_months" value="361.0">' in answer.text
    assert "Months from the first credit line to the loan: 361 months." in unescape(answer.text)


def test_who_lacks_what_hardly_anybody_lacks_is_told_so() -> None:
    template = environment().from_string(
        '{% from "parts.html" import rule_note %}{% for rule in rules %}{{ rule_note(rule) }}|{% endfor %}'
    )
    cut_offs = {"approve_below": 0.15, "decline_from": 0.3}
    answers = [(0.14, "review"), (0.16, "review"), (0.14, "approve")]
    rules = [AppliedRule.of({"pd": pd, "decision": decision}, cut_offs, {}, CONTRACT) for pd, decision in answers]
    below, above, approved, _ = template.render(rules=rules).split("|")
    assert "Its PD alone would be approved" in below
    assert (above.strip(), approved.strip()) == ("", "")


def test_a_row_of_a_batch_that_is_not_there_is_said(client: TestClient) -> None:
    answer = client.get("/score?batch=2018-10&id=7")
    assert answer.status_code == 400
    assert "There is no stored batch &#39;2018-10&#39;" in answer.text


def test_a_viewer_may_not_score(tmp_path: Path) -> None:
    viewer = People({"anna": type(ANNA)("anna", "viewer", ANNA.password_hash)})
    client = client_of(create_app(Settings(tmp_path), viewer))
    send_form(client, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    assert client.get("/score").status_code == 403
    assert send_form(client, "/sign-in", "/score", **RISKY).status_code == 403


def test_what_is_missing_is_named_and_what_is_computed_is_not() -> None:
    values = {**dict.fromkeys(CONTRACT.feature_names, 1.0), "dti": None, "loan_to_income": None, "revol_bal": None}
    values |= {"revolving_to_income": None}
    missing = missing_fields(CONTRACT, values)
    assert "Revolving balance" in missing
    assert "Revolving balance as a share of a year's income" in missing
    assert "Amount asked for as a share of a year's income" not in missing


def test_inputs_are_said_with_units_and_levels_in_words() -> None:
    inputs = describe_inputs(CONTRACT, {"loan_amnt": 24_000.0, "purpose": "debt_consolidation", "dti": None})
    assert inputs.values == (
        ("Amount asked for", "24,000 dollars"),
        ("What the money is for", "Paying off other debts"),
    )
    assert inputs.missing == ("Monthly debt payments, without mortgage and this loan, as a share of monthly income",)


def test_the_page_asks_in_the_name_of_the_person_and_shows_offers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}

    def answer(settings: Settings, contract: Contract, loan: Mapping[str, Any], **more: Any) -> ScoredApplicant:
        options.update(more)
        offers = (Offer({"loan_amnt": 20_000.0, "term": 36.0}, "review", 0.29),)
        reasons = (("The term is long.", 0.4),)
        decided = {"decision": "decline", "pd": 0.31}
        rule = AppliedRule.of(decided, {"approve_below": 0.15, "decline_from": 0.3}, loan, contract)
        return ScoredApplicant("0192f0a1", "decline", 0.31, 500, "7", reasons, rule, (), offers)

    monkeypatch.setattr(score, "score_applicant", answer)
    client = client_of(create_app(Settings(tmp_path), People({"anna": ANNA})))
    send_form(client, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    page = send_form(client, "/score", "/score", **RISKY).text
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))
    assert options["person"] == "anna"
    assert re.fullmatch("[0-9a-f]{32}", options["key"])
    assert "No change of these leads to an approval." in text
    assert (
        "Amount asked for: 20,000 dollars instead of 30,000 dollars and Number of monthly payments: 36 months" in text
    )
    assert "The term is long." in text
    assert "By version 7 of the model." in text


@pytest.mark.integration
def test_an_applicant_is_decided_on_once_in_the_name_of_the_person(trained: Settings) -> None:
    first = score_applicant(trained, CONTRACT, application(), person="anna", key="form-1")
    again = score_applicant(trained, CONTRACT, application(), person="anna", key="form-1")
    other = score_applicant(trained, CONTRACT, application(), person="anna", key="form-2")
    assert first.decision_id == again.decision_id != other.decision_id
    row = find_decision(trained, first.decision_id).row
    assert (row["on_behalf_of"], row["id"], row["decision"]) == ("anna", "A-17", first.decision)
    assert row["credit_history_months"] > 0, "computed of the month in which the application is made"
    assert (first.rule.approve_below, first.rule.decline_from) == (row["approve_below"], row["decline_from"])
    assert [sentence for sentence, _ in first.reasons] == row["reasons"]


@pytest.mark.integration
def test_each_offer_is_kept_by_the_server(trained: Settings) -> None:
    incomes = (40_000.0, 60_000.0, 90_000.0, 150_000.0, 250_000.0)
    applicants = [application(fico_range_low=720.0, int_rate=13.0, grade="C", annual_inc=income) for income in incomes]
    results = [score_applicant(trained, CONTRACT, applicant) for applicant in applicants]
    assert any(result.offers for result in results)
    for applicant, result in zip(applicants, results, strict=True):
        for offer in result.offers:
            accepted = score_applicant(trained, CONTRACT, {**applicant, **offer.changes})
            assert (accepted.decision, accepted.pd) == (offer.decision, offer.pd)


@pytest.mark.integration
def test_the_page_shows_the_answer_and_leads_to_the_decision(scoring_pages: TestClient) -> None:
    answer = send_form(scoring_pages, "/score", "/score", **RISKY)
    assert answer.status_code == 200
    assert "Probability of default" in answer.text
    (decision_id,) = {*re.findall(r"/decisions/([0-9a-f-]{36})", answer.text)}
    assert scoring_pages.get(f"/decisions/{decision_id}").status_code == 200


@pytest.mark.integration
def test_what_the_server_refuses_is_said(scoring_pages: TestClient) -> None:
    answer = send_form(scoring_pages, "/score", "/score", **{**RISKY, "earliest_cr_line": "soon"})
    assert answer.status_code == 400
    assert "earliest_cr_line" in answer.text
    assert "Row 0" not in answer.text
