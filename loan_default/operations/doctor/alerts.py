"""Checks that somebody would be told of a failure, and sends a test message where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from loan_default.adapters import probes
from loan_default.adapters.alerts import Channels, send
from loan_default.operations.doctor.check import ASK_SECONDS, CheckContext, Diagnosis
from loan_default.risk.text import plural
from loan_default.settings import SLACK, SMTP_PASSWORD, Settings


def check_alerts(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that somebody would be told of a failure; nothing is sent."""
    channels = _channels(context.settings)
    if not channels:
        remedy = "Set SLACK_WEBHOOK_URL or ALERT_EMAILS."
        yield Diagnosis("alerts", "note", "Nobody would be told of a failure.", remedy)
        return
    if channels.slack:
        yield Diagnosis("alerts", "ok", "Slack is set; --send-test-alert tells whether it takes a message.")
    if channels.emails:
        server = f"{channels.smtp_host}:{channels.smtp_port}"
        if probes.accepts(channels.smtp_host, channels.smtp_port, seconds=ASK_SECONDS):
            addresses = plural(len(channels.emails), "address", "addresses")
            message = f"The mail server at {server} takes connections, for {addresses}."
            yield Diagnosis("alerts", "ok", message)
        else:
            message = f"The mail server at {server} takes no connection."
            yield Diagnosis("alerts", "wrong", message, "Start it, or correct SMTP_HOST and SMTP_PORT.")


def send_test_message(context: CheckContext) -> Iterator[Diagnosis]:
    """Send a line through all channels."""
    channels = _channels(context.settings)
    sent, troubles = send(channels, "loan-default: a test", ["Asked for by loan-default doctor; nothing has happened."])
    for trouble in troubles:
        yield Diagnosis("test alert", "wrong", trouble, "Correct the address or the token of this channel.")
    if not channels:
        yield Diagnosis(
            "test alert", "wrong", "There is no channel to send by.", "Set SLACK_WEBHOOK_URL or ALERT_EMAILS."
        )
    elif sent:
        yield Diagnosis("test alert", "ok", f"{plural(sent, 'channel')} took the message.")


def _channels(settings: Settings) -> Channels:
    return Channels(
        slack=settings.secrets.get(SLACK, ""),
        emails=settings.alert_emails,
        smtp_host=settings.smtp_host,
        smtp_port=settings.smtp_port,
        smtp_user=settings.smtp_user,
        smtp_password=settings.secrets.get(SMTP_PASSWORD, ""),
        sender=settings.smtp_sender,
    )
