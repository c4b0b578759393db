"""The pages of one decision: found by its number, scored again, decided otherwise, and its notice."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from starlette.testclient import TestClient

from loan_default.operations.applicants import score_applicant
from loan_default.operations.overrides import override_reasons, read_overrides
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People, User
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.pages.test_score import CONTRACT, application
from loan_default_tests.web.test_people import ANNA, PASSWORD

WORDS = {"reason": "documents", "words": "Payslips <of> a year were shown."}


def test_what_is_no_number_of_a_decision_is_said(client: TestClient) -> None:
    answer = client.get("/decisions/7")
    assert answer.status_code == 400
    assert "is no id of a decision" in answer.text


@pytest.fixture(scope="module")
def declined(trained: Settings) -> str:
    """The number of a decision by which an application was declined."""
    scored = score_applicant(trained, CONTRACT, application(), person="anna")
    assert scored.decision == "decline"
    return scored.decision_id


@pytest.mark.integration
def test_a_decision_shows_what_was_asked_and_answered_and_by_whom(scoring_pages: TestClient, declined: str) -> None:
    page = scoring_pages.get(f"/decisions/{declined}").text
    for text in ("Declined", "30,000 dollars", "version 1", "says the same to the bit", "<dd>anna", declined):
        assert text in page


@pytest.mark.integration
def test_a_decision_is_found_without_the_server_too(
    scoring_pages: TestClient, declined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loan_default.operations.scoring_server.address", lambda _: "http://127.0.0.1:9")
    assert "says the same to the bit" in scoring_pages.get(f"/decisions/{declined}").text


@pytest.mark.integration
def test_a_person_decides_otherwise_by_name(trained: Settings, scoring_pages: TestClient, declined: str) -> None:
    path = f"/decisions/{declined}"
    refused = send_form(scoring_pages, path, f"{path}/override", decision="approve", **{**WORDS, "words": ""}, by="Ann")
    assert (refused.status_code, "Say in words why" in refused.text) == (400, True)
    assert send_form(scoring_pages, path, f"{path}/override", decision="approve", **WORDS, by="Ann").status_code == 303
    page = scoring_pages.get(path).text
    assert "Declined, then approved by Ann" in page
    assert "Ann decided otherwise on" in page
    assert "Payslips &lt;of&gt; a year were shown." in page
    (override,) = read_overrides(trained, [declined])
    assert (override.by, override.decided, override.decision) == ("Ann", "decline", "approve")
    assert "Your application was approved" in scoring_pages.get(f"{path}/notice").text


@pytest.mark.integration
def test_an_officer_may_not_approve_what_was_declined_and_an_approver_may(trained: Settings, declined: str) -> None:
    path, bob = f"/decisions/{declined}", User("bob", "approver", ANNA.password_hash)
    client = client_of(create_app(trained, People({"anna": ANNA, "bob": bob})))
    send_form(client, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    assert "takes the role approver" in client.get(path).text
    assert send_form(client, "/sign-in", f"{path}/override", decision="approve", **WORDS).status_code == 403
    send_form(client, "/sign-in", "/sign-in", name="bob", password=PASSWORD)
    assert send_form(client, path, f"{path}/override", decision="approve", **WORDS).status_code == 303
    assert read_overrides(trained, [declined])[-1].by == "bob"


@pytest.mark.integration
def test_a_notice_has_the_reasons_and_the_score_of_the_bureau(trained: Settings, scoring_pages: TestClient) -> None:
    scored = score_applicant(trained, CONTRACT, application())
    page = scoring_pages.get(f"/decisions/{scored.decision_id}/notice").text
    assert all(f"<li>{escape(sentence)}</li>" in page for sentence, _ in scored.reasons)
    assert "<strong>660 FICO points</strong>" in page
    assert "300 to 850 FICO points" in page
    assert "[Name and address of the creditor]" in page


@pytest.mark.integration
def test_where_a_person_declined_that_persons_reason_stands_first(trained: Settings, scoring_pages: TestClient) -> None:
    safe = {"int_rate": 6.0, "grade": "A", "loan_amnt": 5_000.0, "term": 36.0, "annual_inc": 150_000.0, "dti": 5.0}
    review = score_applicant(trained, CONTRACT, application(**safe, fico_range_low=780.0, revol_util=10.0))
    assert review.decision == "review"  # as much is not known of this one
    path = f"/decisions/{review.decision_id}"
    send_form(scoring_pages, path, f"{path}/override", decision="decline", **WORDS, by="Ann")
    items = re.findall("<li>(.*?)</li>", scoring_pages.get(f"{path}/notice").text.partition("<ol>")[2])
    meaning = override_reasons(trained)[WORDS["reason"]]
    assert items == [escape(f"{meaning}."), *(escape(sentence) for sentence, _ in review.reasons)]


@pytest.mark.integration
def test_a_lenders_template_says_its_own_words(trained: Settings, tmp_path: Path) -> None:
    template = tmp_path / "notice.html"
    template.write_text(
        '{% extends "notice.html" %}{% block creditor %}First Bank, 1 Main Street{% endblock %}'
        "{% block agency %}<p>The agency.</p>{% endblock %}",
        encoding="utf-8",
    )
    client = client_of(create_app(replace(trained, notice_template=template), People()))
    path = f"/decisions/{score_applicant(trained, CONTRACT, application()).decision_id}/notice"
    page = client.get(path).text
    assert "First Bank, 1 Main Street" in page
    assert "The agency." in page
    assert "LOAN_DEFAULT_NOTICE_TEMPLATE" not in page
    template.write_text("{% block %}", encoding="utf-8")
    answer = client.get(path)
    assert answer.status_code == 400
    assert "cannot be used as a template" in answer.text
