"""People are told by real servers on loopback: what arrives, and that a dead channel neither raises nor tells."""

import json
import socketserver
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loan_default.adapters.alerts import Channels, send
from loan_default_tests.stores import free_port, serving


@pytest.fixture
def slack() -> Iterator[tuple[str, list[str]]]:
    """A webhook and what it was told; a path with `down` is out of order."""
    messages: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.append(json.loads(body)["text"])
            self.send_response(500 if "down" in self.path else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/services/T0/secret", messages


@pytest.fixture
def mail() -> Iterator[tuple[int, list[str]]]:
    """The port of a mail server and the messages that it took."""
    messages: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    messages.append(b"".join(lines).decode())
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
                if word == b"QUIT":
                    return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    with serving(server):
        yield server.server_address[1], messages


@pytest.mark.integration
def test_slack_and_mail_are_told_the_same(slack: tuple[str, list[str]], mail: tuple[int, list[str]]) -> None:
    (url, slack_messages), (port, mail_messages) = slack, mail
    channels = Channels(slack=url, emails=("ann@bank", "bob@bank"), smtp_port=port, sender="platform@bank")
    assert send(channels, "2 news", ["Batch a drifted.", "Version 2 is promoted."]) == (2, [])
    assert slack_messages == ["*2 news*\n• Batch a drifted.\n• Version 2 is promoted."]
    (message,) = mail_messages
    assert "Subject: 2 news" in message
    assert "To: ann@bank, bob@bank" in message
    assert "From: platform@bank" in message


@pytest.mark.integration
def test_a_storm_is_one_message_of_a_few_lines(slack: tuple[str, list[str]]) -> None:
    url, messages = slack
    send(Channels(slack=url), "500 news", [f"Run {number} failed." for number in range(500)])
    (text,) = messages
    assert text.count("\n") == 21
    assert text.endswith("• … and 480 more.")


@pytest.mark.integration
def test_a_dead_channel_is_a_sentence_without_its_address(slack: tuple[str, list[str]]) -> None:
    url, _ = slack
    port = free_port()
    for dead in (f"http://127.0.0.1:{port}/services/T0/secret", f"{url}/down", "no address"):
        channels = Channels(slack=dead, emails=("ann@bank",), smtp_port=port, smtp_password="secret")
        sent, troubles = send(channels, "1 news", ["x"])
        assert (sent, len(troubles)) == (0, 2)
        assert "secret" not in " ".join(troubles) + repr(channels).replace("smtp_password", "")
        assert troubles[0].startswith("Slack did not take the message")
        assert f"127.0.0.1:{port}" in troubles[1]
    assert send(Channels(slack=url, emails=("ann@bank",), smtp_port=port), "1 news", ["x"])[0] == 1


def test_without_channels_nobody_is_told() -> None:
    assert not Channels()
    assert send(Channels(), "1 news", ["x"]) == (0, [])
