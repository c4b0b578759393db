"""Promised and realised: what versions said beside what came, with estimates in brackets."""

import csv
import io
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from loan_default.web.pages.promised import default_chart, group_table

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
    for asked in ("2", "x", "9999999999999"):
        assert "Version 1 promised " in unescape(pages.get(f"/promised?version={asked}").text)


def test_without_a_report_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "loan-default performance FILE" in empty_pages.get("/promised").text


def _vintage(**figures: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("loans", "matured", "known", "defaults"), 10)
    metrics = {f"{kind}{name}": None for kind in ("", "estimated_") for name in ("auc", "ks", "brier")}
    return {"vintage": "2016-Q1", **counts, "mean_pd": 0.2, "default_rate": None, **metrics, **figures}


def test_estimates_are_in_brackets_and_measures_are_not() -> None:
    table = group_table("vintages", "vintage", [_vintage(auc=0.7), _vintage(estimated_auc=0.68)], 1)
    assert [row[7] for row in table.rows] == ["0.7000", "[0.6800]"]


def test_the_title_states_what_was_promised_and_what_came() -> None:
    rows = [
        _vintage(default_rate=0.3, known=10, defaults=3),
        _vintage(default_rate=0.1, known=30, defaults=3, mean_pd=0.1),
    ]
    chart = default_chart(rows, 4)
    assert chart is not None
    assert chart.title == "Version 4 promised 12.5\N{NO-BREAK SPACE}% defaults, 15.0\N{NO-BREAK SPACE}% came"
    none_known = default_chart([_vintage()], 4)
    assert none_known is not None
    assert none_known.title == "Version 4: no outcome is known yet"
