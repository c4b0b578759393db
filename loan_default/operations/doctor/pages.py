"""Checks that the pages answer, or that the port on which they would is free."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

from loan_default.adapters import probes
from loan_default.operations.doctor.check import ASK_SECONDS, CheckContext, Diagnosis

_HOST, _SUBJECT = "127.0.0.1", "pages"


def check_pages(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that the pages answer on their port, or that nothing else does."""
    port = context.settings.web_port
    url = f"http://{_HOST}:{port}"
    if _is_ours(f"{url}/ping"):
        yield Diagnosis(_SUBJECT, "ok", f"They answer at {url}.")
    elif probes.accepts(_HOST, port, seconds=ASK_SECONDS):
        message = f"Port {port} is taken by something else."
        yield Diagnosis(_SUBJECT, "wrong", message, "Stop what holds it, or set LOAN_DEFAULT_WEB_PORT to another port.")
    else:
        yield Diagnosis(_SUBJECT, "ok", f"Port {port} is free; loan-default web shows them there.")


def _is_ours(url: str) -> bool:
    try:
        with urlopen(url, timeout=ASK_SECONDS) as answer:
            return bool(answer.headers["X-Application"] == "loan-default")
    except (URLError, OSError):
        return False
