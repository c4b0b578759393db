"""The page of the newest decisions: what it asks for, what stands in it, and who may see it."""

from datetime import UTC, date, datetime
from html import unescape

import pytest
from starlette.testclient import TestClient

from loan_default.operations.applicants import score_applicant
from loan_default.operations.overrides import Override
from loan_default.risk.errors import BadInput
from loan_default.serving.decision_list import DecisionQuery
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.pages.decision_list import decision_table, read_query
from loan_default.web.people import People, User
from loan_default_tests.waiting import within
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.pages.test_score import CONTRACT, application
from loan_default_tests.web.test_people import ANNA, PASSWORD

DECISION = "0192f0a1-b2c3-7d4e-8f5a-6b7c8d9e0000"


def test_the_number_of_a_decision_leads_to_it(client: TestClient) -> None:
    answer = client.get(f"/decisions?number=+{DECISION}+")
    assert answer.headers["Location"] == f"/decisions/{DECISION}"


def test_where_nothing_was_decided_it_is_said_what_to_do(client: TestClient) -> None:
    assert "has not decided on an application yet" in client.get("/decisions").text
    assert "No decision matches." in client.get("/decisions?version=3").text


def test_what_is_asked_for_is_read() -> None:
    parameters = {
        "day": "2026-11-27",
        "decision": "review",
        "version": "3",
        "by": " anna ",
        "number": "7",
        "before": "x",
    }
    assert read_query(parameters) == DecisionQuery(date(2026, 11, 27), "review", 3, "anna", "7", "x")
    assert read_query({}) == DecisionQuery()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("day", "yesterday", "yesterday is no day; enter one as 2026-11-27."),
        ("day", "9999-12-31", "9999-12-31 is no day; enter one as 2026-11-27."),
        ("version", "v3", "v3 is no number of a version; enter one as 3."),
        ("version", "9" * 5_000, f"{'9' * 20} is no number of a version; enter one as 3."),
        ("decision", "refer", "There is no decision refer; choose one of approve, review, decline."),
        ("before", "7", "'7' is no id of a decision"),
    ],
)
def test_what_cannot_be_asked_for_is_said(client: TestClient, name: str, value: str, sentence: str) -> None:
    answer = client.get("/decisions", params={name: value})
    assert answer.status_code == 400
    assert sentence in unescape(answer.text)
    if name != "before":
        with pytest.raises(BadInput):
            read_query({name: value})


def test_the_last_word_of_a_person_stands_beside_the_decision() -> None:
    decided_at = datetime(2026, 11, 27, tzinfo=UTC)
    names = "decision_id scored_at id pd score decision model_version caller on_behalf_of"
    rows = [
        dict(zip(names.split(), (id, decided_at, None, 0.2, 600, "decline", 2, "portal", person), strict=True))
        for id, person in (("a", "anna"), ("b", None))
    ]
    overrides = [
        Override("a", decision, "documents", "Seen.", by, "2026-11-27T08:00:00+00:00", "decline", 0.2, 2, None)
        for decision, by in (("approve", "Ann"), ("decline", "Bob"))
    ]
    first, second = decision_table(rows, overrides).rows
    assert first[0].href == "/decisions/a"
    assert (first[5], first[7]) == ("declined by Bob", "anna")
    assert (second[5], second[7]) == (None, "portal")


@pytest.mark.integration
def test_a_decision_is_in_the_list_and_in_its_csv_as_soon_as_it_is_made(
    trained: Settings, scoring_pages: TestClient
) -> None:
    decision_id = score_applicant(trained, CONTRACT, application(), person="carla").decision_id
    path = "/decisions?by=Carla&decision=decline"
    assert within(20, lambda: f"/decisions/{decision_id}" in scoring_pages.get(path).text), "the journal is written to"
    send_form(
        scoring_pages,
        f"/decisions/{decision_id}",
        f"/decisions/{decision_id}/override",
        **{"decision": "approve", "reason": "documents", "words": "Payslips.", "by": "Ann"},
    )
    text = scoring_pages.get(path).text
    assert "approved by Ann" in text
    assert "Decided otherwise by a person" in text
    assert "No decision matches." in scoring_pages.get("/decisions?by=carla&decision=approve").text
    csv = scoring_pages.get(f"{path}&csv=decisions").content.decode("utf-8-sig").splitlines()
    assert csv[0] == '"when, UTC",application,PD,score,decision,decided otherwise,version,asked by'
    assert [line.split(",")[4:] for line in csv[1:]] == [["decline", "approved by Ann", "1", "carla"]]


@pytest.mark.integration
def test_a_viewer_sees_no_decision(trained: Settings) -> None:
    viewer = User("vera", "viewer", ANNA.password_hash)
    client = client_of(create_app(trained, People({"vera": viewer})))
    send_form(client, "/sign-in", "/sign-in", name="vera", password=PASSWORD)
    assert client.get("/").status_code == 200
    assert client.get("/decisions").status_code == 403
    assert "/decisions" not in client.get("/").text
