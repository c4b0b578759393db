"""Alerts by a Slack webhook and e-mail, both optional: one message for all that happened.

Sending never raises: a channel that is dead is a sentence for the log. What is worth an alert, and that no applicant's
data is in it, is the caller's business.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial

_SECONDS = 10.0
_MOST_LINES = 20  # of one message; a storm is counted
_TLS_PORT, _START_TLS_PORT = 465, 587


@dataclass(frozen=True)
class Channels:
    """The channels of alerts: Slack's address is a secret; mail goes by `smtp_host`."""

    slack: str = field(default="", repr=False)
    emails: tuple[str, ...] = ()
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 25
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    sender: str = "loan-default@localhost"

    def __bool__(self) -> bool:
        return bool(self.slack or self.emails)


def send(channels: Channels, subject: str, lines: Sequence[str]) -> tuple[int, list[str]]:
    """Send one message by every channel; return how many took it, and a sentence for each that did not."""
    senders: dict[str, Callable[[str, str], None]] = {}
    if channels.slack:
        senders["Slack"] = partial(_post, channels.slack)
    if channels.emails:
        senders[f"The mail server at {channels.smtp_host}:{channels.smtp_port}"] = partial(_mail, channels)
    troubles = []
    for name, deliver in senders.items():
        try:
            deliver(subject, _text(lines))
        except Exception as error:  # noqa: BLE001 - each library has errors of its own; their texts may hold a secret
            troubles.append(f"{name} did not take the message ({type(error).__name__}).")
    return len(senders) - len(troubles), troubles


def _text(lines: Sequence[str]) -> str:
    more = [f"… and {len(lines) - _MOST_LINES} more."] if len(lines) > _MOST_LINES else []
    return "\n".join(f"• {line}" for line in [*lines[:_MOST_LINES], *more])


def _post(url: str, subject: str, text: str) -> None:
    import httpx

    httpx.post(url, json={"text": f"*{subject}*\n{text}"}, timeout=_SECONDS).raise_for_status()


def _mail(channels: Channels, subject: str, text: str) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, channels.sender, ", ".join(channels.emails)
    message.set_content(text)
    secure = smtplib.SMTP_SSL if channels.smtp_port == _TLS_PORT else smtplib.SMTP
    with secure(channels.smtp_host, channels.smtp_port, timeout=_SECONDS) as server:
        if channels.smtp_port == _START_TLS_PORT:
            server.starttls()
        if channels.smtp_user:
            server.login(channels.smtp_user, channels.smtp_password)
        server.send_message(message)
