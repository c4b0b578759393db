"""Signing in and out: a session in a cookie that no script reads, and no endless guessing."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import SESSION, People
from loan_default.web.security import TOKEN
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.test_people import ANNA, PASSWORD


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A client of pages with the user anna."""
    return client_of(create_app(Settings(tmp_path), People({"anna": ANNA})))


def test_who_signs_in_is_led_back_and_stays_signed_in_until_the_end(client: TestClient) -> None:
    answer = send_form(client, "/sign-in?next=/decisions", "/sign-in", name="anna", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/decisions")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{SESSION}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert client.get("/decisions").status_code == 200
    copy = client.cookies[SESSION]
    assert send_form(client, "/decisions", "/sign-out").status_code == 303
    assert client.get("/decisions").status_code == 303
    client.cookies.set(SESSION, copy)
    assert client.get("/decisions").status_code == 303, "a copy of the cookie has ended with it"


def test_a_session_of_https_is_sent_by_https_alone(tmp_path: Path) -> None:
    app = create_app(Settings(tmp_path), People({"anna": ANNA}))
    client = TestClient(app, base_url="http://pages.bank", follow_redirects=False)  # as from a proxy that brings TLS
    page = client.get("/sign-in").text
    (token,) = re.findall(rf'name="{TOKEN}" value="([^"]*)"', page)
    fields = {TOKEN: token, "name": "anna", "password": PASSWORD}
    answer = client.post("/sign-in", data=fields, headers={"Origin": "https://pages.bank"})
    assert "Secure" in answer.headers["Set-Cookie"].split("; ")


def test_a_wrong_password_is_said_and_too_many_have_to_wait(client: TestClient) -> None:
    for _ in range(5):
        answer = send_form(client, "/sign-in", "/sign-in", name="anna", password="wrong")
        assert answer.status_code == 401
        assert "The name or the password is wrong." in answer.text
        assert 'value="anna"' in answer.text
    answer = send_form(client, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert SESSION not in answer.cookies


def test_signing_in_leads_to_no_other_site(client: TestClient) -> None:
    answer = send_form(client, "/sign-in?next=https://evil.example", "/sign-in", name="anna", password=PASSWORD)
    assert answer.headers["Location"] == "/"


def test_there_is_no_form_where_nobody_signs_in_by_a_password(tmp_path: Path) -> None:
    client = client_of(create_app(Settings(tmp_path), People()))
    answer = client.get("/sign-in?next=/versions")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/versions")
