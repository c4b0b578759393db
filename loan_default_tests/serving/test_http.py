"""A request and a reply as they are made."""

from loan_default.serving.http import Reply, Request


def test_a_reply_is_json_unless_it_says_so() -> None:
    assert Reply(200, b"{}").headers == ((b"content-type", b"application/json"),)
    assert Reply(200, b"", ()).headers == ()


def test_a_request_is_named_when_it_is_admitted() -> None:
    request = Request("GET", "/ping", b"", {}, "127.0.0.1")
    assert (request.body, request.id, request.caller) == (b"", "", "")
