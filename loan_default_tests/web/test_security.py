"""Security: no page of another site reaches these, by its name, its form or its frame."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.people import People, User
from loan_default.web.security import TOKEN, read_form, safe_path
from loan_default_tests.web.clients import client_of, send_form
from loan_default_tests.web.test_people import ANNA, PASSWORD


@pytest.fixture
def signed_in(tmp_path: Path) -> TestClient:
    """A client of pages with users, as anna."""
    client = client_of(
        create_app(Settings(tmp_path), People({"anna": ANNA, "bob": User("bob", "viewer", ANNA.password_hash)}))
    )
    answer = send_form(client, "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    assert answer.status_code == 303
    return client


@pytest.mark.parametrize("path", ["/score", "/static/style.css", "/absent", "/sign-in"])
def test_each_reply_says_what_a_browser_may_load(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_name_of_this_machine_is_refused_where_nobody_signs_in(client: TestClient, host: str) -> None:
    answer = client.get("/score", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.text.startswith(f"Host is '{host}'; without users only this machine is answered")
    assert client.get("/score", headers={"Host": "localhost:5002"}).status_code == 200


def test_a_signed_in_person_is_answered_by_any_name(signed_in: TestClient) -> None:
    assert signed_in.get("/score", headers={"Host": "pages.bank"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_not_taken(signed_in: TestClient, headers: dict[str, str]) -> None:
    answer = signed_in.post("/sign-out", headers=headers)
    assert (answer.status_code, answer.text) == (403, "A form of another site is not taken.")


def test_a_form_without_its_token_is_not_taken(signed_in: TestClient) -> None:
    answer = signed_in.post("/sign-out", data={TOKEN: "x"})
    assert answer.status_code == 403
    assert "<h1>Nothing was done</h1>" in answer.text
    assert "This form is too old, or of another page" in answer.text
    assert signed_in.get("/score").status_code == 200


def test_the_token_of_somebody_else_is_not_taken(signed_in: TestClient) -> None:
    other = client_of(signed_in.app)  # type: ignore[arg-type]
    assert send_form(other, "/sign-in", "/sign-in", name="bob", password=PASSWORD).status_code == 303
    (token,) = re.findall(rf'name="{TOKEN}" value="([^"]*)"', other.get("/sign-in").text)[:1]
    assert signed_in.post("/sign-out", data={TOKEN: token}).status_code == 403


def test_who_has_not_signed_in_is_led_there_and_back(tmp_path: Path) -> None:
    client = client_of(create_app(Settings(tmp_path), People({"anna": ANNA})))
    answer = client.get("/score?row=3")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=%2Fscore%3Frow%3D3")
    assert client.post("/score").headers["Location"] == "/sign-in"
    assert client.get("/static/style.css").status_code == 200
    assert client.get("/ping").text == "ok"


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\\b"])
def test_only_paths_of_ours_are_led_to(path: str) -> None:
    assert safe_path(path) == "/"
    assert safe_path("/score?row=3") == "/score?row=3"


def test_a_form_is_read_without_blanks_around_its_values() -> None:
    assert read_form(b"name=+anna+&empty=&name=bob") == {"name": "bob", "empty": ""}


@pytest.mark.slow
def test_a_body_that_is_too_long_is_refused(client: TestClient) -> None:
    assert client.post("/sign-out", content=b"x" * 1_000_001).status_code == 413
