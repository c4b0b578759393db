"""Pages on versions: metrics with intervals, why one was held, its card, and two side by side."""

import csv
import io
import os
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.homes import prepare_process
from loan_default.operations import promotion
from loan_default.operations.version_comparison import VersionComparison
from loan_default.risk.contract.loading import load_contract
from loan_default.web.app import create_app
from loan_default.web.pages.versions import comparison_tables, findings_table
from loan_default.web.people import People
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.web.clients import client_of
from loan_default_tests.web.home import pages_home

pytestmark = pytest.mark.integration


def test_versions_are_listed_newest_first_with_their_decisions(pages: TestClient) -> None:
    text = unescape(pages.get("/versions").text)
    assert text.index('href="/versions/2"') < text.index('href="/versions/1"')
    assert text.count("<svg role=") == 3
    assert "AUC of version 2" in text
    assert "lower end at least 0.55" in text
    rows = list(csv.DictReader(io.StringIO(pages.get("/versions?csv=versions").content.decode("utf-8-sig"))))
    assert [(row["version"], row["in use as"], row["decision"]) for row in rows] == [
        ("2", "staging", "hold"),
        ("1", "production", "promote"),
    ]
    assert 0.5 < float(rows[0]["AUC"]) < 0.8


def test_a_version_that_was_held_shows_why_first(pages: TestClient) -> None:
    text = unescape(pages.get("/versions/2").text)
    findings = text[text.index("What the gate found") :]
    assert findings.index("gains enough") < findings.index("enough loans")
    assert "Version 2 gains no AUC over version 1." in text
    for part in (
        "Within each term",
        "The segments whose PDs are furthest off",
        "What the cut-offs do",
        "Number of monthly payments: 36 months",
    ):
        assert part in text
    assert text.count("<svg role=") == 1


def test_what_a_person_decided_is_shown(tmp_path: Path) -> None:
    settings = pages_home(tmp_path / "home")
    with own_environment():
        os.environ |= environment_of(settings)
        prepare_process(settings)
        client = client_of(create_app(settings, People()))
        assert "Version 1 has degraded" in client.get("/").text
        promotion.promote_by_hand(settings, 2, "A trial of the second.")
        assert "has degraded" not in client.get("/").text, "which is of a version that was in production"
        assert "Version 1, in production when it was measured" in client.get("/promised").text
        by_hand = client.get("/versions/2").text
        assert "A trial of the second." in by_hand and "Before that the policy decided" in by_hand
        assert "Version 2 gains no AUC over version 1." in by_hand[by_hand.index("What the gate found") :]
        assert "rules passed" not in by_hand and "<dt>calibrate</dt>" in by_hand
        promotion.roll_back(settings, "It was no better.")
        assert "It was no better." in client.get("/versions/1").text
        assert {client.get(address).status_code for address in ("/", "/versions", "/versions/2", "/history")} == {200}


def test_what_spoke_against_a_version_stands_first() -> None:
    findings = [
        {"rule": "auc_floor", "passed": True, "sentence": "It is high enough."},
        {"rule": "looks_counted", "passed": False, "sentence": "Looked at too often."},
    ]
    table = findings_table({"findings": findings})
    assert [row[:2] for row in table.rows] == [("hold", "looks counted"), ("pass", "AUC floor")]
    assert findings_table({}).empty == "The gate has not judged it yet. Run loan-default promote."


def test_decisions_of_the_first_version_are_rows_and_those_of_the_second_columns() -> None:
    counts = {("approve", "decline"): 3, ("review", "review"): 5, ("decline", "approve"): 2}
    comparison = VersionComparison(4, 5, "b", 10, 10, (), {}, counts, (0.1, 0.2), (0.15, 0.3))
    changes, _ = comparison_tables(comparison, load_contract())
    assert [column.heading for column in changes.columns[1:]] == [
        "approve by version 5",
        "review by version 5",
        "decline by version 5",
    ]
    assert [*changes.rows] == [
        ("approve by version 4", 0, 0, 3),
        ("review by version 4", 0, 5, 0),
        ("decline by version 4", 2, 0, 0),
    ]


def test_the_card_is_a_page(pages: TestClient) -> None:
    text = pages.get("/versions/1/card").text
    assert text.count("<h1>") == 1
    assert '<a href="#section-1">In short</a>' in text
    assert '<h2 id="section-1">In short</h2>' in text
    assert '<div class="table" tabindex="0"' in text
    assert "style=" not in text


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/versions/3", "There is no version 3"),
        ("/versions/x1", "'x1' is no version"),
        ("/versions/compare?a=1&b=9&batch=2014-07", "There is no version 9"),
        ("/versions/compare?a=1&b=2&batch=2031-01", "No applications of batch 2031-01"),
        ("/versions/compare?a=1&b=2&batch=../loans", "a batch's name may hold"),
    ],
)
def test_what_is_not_there_is_one_sentence(pages: TestClient, address: str, sentence: str) -> None:
    response = pages.get(address)
    assert response.status_code == 400
    assert sentence in unescape(response.text)


def test_two_versions_of_one_package_decide_alike(pages: TestClient) -> None:
    text = unescape(pages.get("/versions/compare?a=1&b=2&batch=2014-07").text)
    assert "0 decisions would change" in text
    assert text.count("<svg role=") == 2
    importance = pages.get("/versions/compare?a=1&b=2&batch=2014-07&csv=importance")
    assert importance.headers["content-type"].startswith("text/csv")
    changes = pages.get("/versions/compare?a=1&b=2&batch=2014-07&csv=changes").content.decode("utf-8-sig")
    counts = [[int(count) for count in row[1:]] for row in list(csv.reader(io.StringIO(changes)))[1:]]
    assert sum(map(sum, counts)) == 300
    assert all(count == 0 for row, line in enumerate(counts) for column, count in enumerate(line) if row != column)


def test_comparing_begins_with_a_choice(pages: TestClient, empty_pages: TestClient) -> None:
    assert 'name="batch"' in pages.get("/versions/compare").text
    assert "Two versions and a batch" in empty_pages.get("/versions/compare").text
    assert "No version is registered in MLflow" in empty_pages.get("/versions").text
