"""Who would be told, and a test message."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loan_default.operations.doctor import examine
from loan_default.operations.doctor.alerts import check_alerts
from loan_default_tests.operations.doctor.conftest import Installation, diagnoses_of, wrong
from loan_default_tests.stores import free_port, serving

pytestmark = pytest.mark.integration


def test_whether_anybody_would_be_told(install: Installation) -> None:
    assert [diagnosis.mark for diagnosis in diagnoses_of(check_alerts, install())] == ["note"]
    settings = install(ALERT_EMAILS="ann@bank, bob@bank", SMTP_PORT=(port := free_port()))
    assert wrong(diagnoses_of(check_alerts, settings)).message == (
        f"The mail server at 127.0.0.1:{port} takes no connection."
    )
    with serving(HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)):
        (diagnosis,) = diagnoses_of(check_alerts, settings)
    assert (diagnosis.mark, "for 2 addresses" in diagnosis.message) == ("ok", True)


def test_a_test_alert_is_sent_only_when_asked_for(install: Installation) -> None:
    messages: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with serving(server := HTTPServer(("127.0.0.1", 0), Hook)):
        install(
            SLACK_WEBHOOK_URL=f"http://127.0.0.1:{server.server_port}/hush", ALERT_EMAILS="a@b", SMTP_PORT=free_port()
        )
        assert [*examine(checks=[])] == []
        assert messages == []
        diagnoses = [*examine(checks=[], send_test_alert=True)]
    assert len(messages) == 1
    assert "loan-default doctor" in messages[0]
    assert [diagnosis.mark for diagnosis in diagnoses] == ["wrong", "ok"]
    assert "The mail server at" in diagnoses[0].message
    assert diagnoses[1].message == "1 channel took the message."
    assert "hush" not in str(diagnoses)


def test_a_test_alert_without_channels_is_wrong(install: Installation) -> None:
    install()
    assert wrong([*examine(checks=[], send_test_alert=True)]).message == "There is no channel to send by."
