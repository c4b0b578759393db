"""MLflow's pages for people, where MLflow is on Cloud Run: a browser has no service account to show, this process has.

    python -m loan_default.adapters.mlflow_proxy URL HOST PORT

Requests are passed on with that proof and nothing else changed: whoever reaches the port still has to log in to MLflow.
What reaches the port is the business of `docker/compose.cloud.yaml`.
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from loan_default.adapters.identity import NoIdentity, proof

if TYPE_CHECKING:
    import httpx

_SECONDS = 60.0
# Of one connection, which are two here; and what would have the answer in a form that this does not pass on.
_OF_A_CONNECTION = {"host", "connection", "keep-alive", "transfer-encoding", "upgrade", "te", "accept-encoding"}
_OF_THE_ANSWER = {*_OF_A_CONNECTION, "content-length", "content-encoding", "date", "server"}


class Door(BaseHTTPRequestHandler):
    """One connection of a browser."""

    protocol_version = "HTTP/1.1"

    def __init__(self, url: str, client: httpx.Client, *given: Any) -> None:
        self._url, self._client = url, client
        super().__init__(*given)

    def pass_on(self) -> None:
        """Ask MLflow the same, and give its answer."""
        import httpx

        asked = {name: value for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            asked |= {**proof(self._url), "Accept-Encoding": "identity"}
            answer = self._client.request(self.command, f"{self._url}{self.path}", headers=asked, content=body)
        except (httpx.HTTPError, NoIdentity) as error:
            self.send_error(502, explain=str(error))
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _OF_THE_ANSWER:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """MLflow keeps a log of its own."""


def open_door(url: str, host: str, port: int) -> ThreadingHTTPServer:
    """A server that stands for MLflow at `url`; port 0 takes a free one."""
    import httpx

    client = httpx.Client(timeout=_SECONDS, follow_redirects=False)
    return ThreadingHTTPServer((host, port), partial(Door, url.rstrip("/"), client))


if __name__ == "__main__":
    open_door(sys.argv[1], sys.argv[2], int(sys.argv[3])).serve_forever()
