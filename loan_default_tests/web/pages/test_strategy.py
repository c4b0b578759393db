"""The page on strategy: what cut-offs earn, with both sides of it, or why nothing is said."""

import csv
import io
from html import unescape

import pytest
from starlette.testclient import TestClient

from loan_default.web.pages.strategy import strategy_content
from loan_default.web.rendering import environment

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
    last = [row for row in rows if float(row["of all"]) == 1]
    assert len({round(float(row["NPV"]), 4) for row in last}) == 1


def test_without_a_report_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "loan-default run" in empty_pages.get("/strategy").text


def test_a_version_without_a_value_says_why() -> None:
    content = strategy_content({"version": 1, "problem": "The policy has no section value."})
    assert (content["report"], content["problem"], content["tables"]) == (None, "The policy has no section value.", [])
    text = environment().get_template("strategy_body.html").render(content)
    assert "The policy has no section value." in text
    assert "nothing is said of provisions" in text
    assert "loan-default provision" not in text, "which could not say anything either"
