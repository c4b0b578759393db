"""Clients of the pages that work as a browser does: they fill in the hidden fields of a form that was shown."""

from __future__ import annotations

import re
from html import unescape

from httpx import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient


def client_of(app: Starlette) -> TestClient:
    """Return a client that calls the pages by the name that a browser of this machine does."""
    return TestClient(app, base_url="http://127.0.0.1:5002", follow_redirects=False)


def send_form(client: TestClient, page: str, action: str, **fields: str) -> Response:
    """Load a page, and send its first form with its hidden fields and these."""
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', client.get(page).text)
    values = {name: unescape(value) for name, value in hidden}
    answer: Response = client.post(
        action, data={**values, **fields}, headers={"Origin": str(client.base_url).rstrip("/")}
    )
    return answer
