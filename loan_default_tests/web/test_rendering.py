"""Rendering: how numbers, shares and times are written, and what stands on each page."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People, User
from loan_default.web.rendering import environment, moment, number, short_moment, times
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.test_people import ANNA, PASSWORD


def test_numbers_are_written_as_people_do() -> None:
    assert (number(12345.678), number(12345.678, 2), number(None)) == ("12,346", "12,345.68", "–")
    assert [times(count) for count in (1, 2, 0)] == ["once", "2 times", "0 times"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 27, 6, 48, 5, tzinfo=UTC), "27 November 2026, 06:48 UTC"),
        (datetime(2026, 11, 27, 6, 48, 5, tzinfo=timezone(timedelta(hours=2))), "27 November 2026, 04:48 UTC"),
        ("2026-11-07T06:48:05+00:00", "7 November 2026, 06:48 UTC"),
        (date(2026, 11, 7), "7 November 2026"),
    ],
)
def test_times_are_written_in_utc(value: datetime | date | str, text: str) -> None:
    assert f">{text}</time>" in moment(value)
    assert moment(None) == "–"


def test_times_of_tables_are_short() -> None:
    assert ">2026-11-27 04:48</time>" in short_moment("2026-11-27T06:48:05+02:00")
    assert short_moment(None) == "–"


def test_what_a_person_writes_is_shown_as_it_is() -> None:
    page = environment().from_string("{{ text }}").render(text="<script>")
    assert page == "&lt;script&gt;"


def test_each_page_says_where_one_is_and_when_its_data_was_read(client: TestClient) -> None:
    page = client.get("/score").text
    assert '<a href="/score" aria-current="page">Score</a>' in page
    assert "Data read on <time datetime=" in page
    assert "Sign out" not in page


def test_the_navigation_has_the_pages_that_a_person_may_see(tmp_path: Path) -> None:
    viewer = User("vera", "viewer", ANNA.password_hash)
    client = client_of(create_app(Settings(tmp_path), People({"anna": ANNA, "vera": viewer})))
    for name, may in (("anna", True), ("vera", False)):
        send_form(client, "/sign-in", "/sign-in", name=name, password=PASSWORD)
        page = client.get("/sign-in").text
        assert ('href="/score"' in page) == may
        assert f"{name}, {'officer' if may else 'viewer'}" in page
        assert "Sign out" in page
