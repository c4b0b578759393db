"""A request and a reply as they are made, and which names are this machine's."""

import pytest

from loan_default.serving.http import Reply, Request, is_loopback, is_loopback_url


def test_a_reply_is_json_unless_it_says_so() -> None:
    assert Reply(200, b"{}").headers == ((b"content-type", b"application/json"),)
    assert Reply(200, b"", ()).headers == ()


def test_a_request_is_named_when_it_is_admitted() -> None:
    request = Request("GET", "/ping", b"", {}, "127.0.0.1")
    assert (request.body, request.id, request.caller) == (b"", "", "")


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("192.0.2.1", "0.0.0.0", "localhost.example", "")))


@pytest.mark.parametrize(
    ("url", "local"),
    [
        (b"//localhost", True),
        (b"//localhost:5001", True),
        (b"//LOCALHOST:5001", True),
        (b"//[::1]:5001", True),
        (b"http://127.0.0.1:3000", True),
        (b"//evil.example:5001", False),
        (b"//localhost.evil.example", False),
        (b"//localhost@evil.example", False),
        (b"https://evil.example", False),
        (b"null", False),
        (b"//", False),
        (b"//[", False),
        (b"//\xff", False),
    ],
)
def test_a_browser_tells_by_which_name_it_came(url: bytes, local: bool) -> None:
    assert is_loopback_url(url) is local
