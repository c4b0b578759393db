"""The time line: every decision with its reasons, newest first, and the same as CSV."""

import csv
import io
import re

import pytest
from starlette.testclient import TestClient

pytestmark = pytest.mark.integration


def test_decisions_stand_newest_first_with_who_and_why(pages: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(pages.get("/history?csv=history").content.decode("utf-8-sig"))))
    times = [row["when, UTC"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert {(row["event"], row["version"]) for row in rows} == {("hold", "2"), ("promote", "1")}
    text = pages.get("/history").text
    assert text.count('<ol class="timeline">') == 1
    assert 'href="/versions/2"' in text
    assert re.search(
        r'policy, run <a class="mono" href="http://127.0.0.1:3000/runs/([0-9a-f]{8})[0-9a-f-]{28}">\1</a>', text
    )
    assert "Version 2 gains no AUC over version 1." in text


def test_without_decisions_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "Nothing has been decided yet" in empty_pages.get("/history").text
