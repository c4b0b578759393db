"""MLflow's pages for people, where MLflow is on Cloud Run: a browser has no service account to show, this process has.

    python -m loan_default.adapters.mlflow_proxy URL HOST PORT

Requests are passed on with that identity and nothing else changed: whoever reaches the port still has to log in to
MLflow. What reaches the port is the business of `docker/compose.cloud.yaml`.
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from loan_default.adapters.identity import NoIdentity, identity_header

if TYPE_CHECKING:
    import httpx

_SECONDS = 60.0
# Of one connection, which are two here; and what would have the answer in a form that this does not pass on.
_HOP_BY_HOP = {"host", "connection", "keep-alive", "transfer-encoding", "upgrade", "te", "accept-encoding"}
_NOT_PASSED_BACK = {*_HOP_BY_HOP, "content-length", "content-encoding", "date", "server"}


class ProxyHandler(BaseHTTPRequestHandler):
    """The proxy's side of a connection of a browser."""

    protocol_version = "HTTP/1.1"

    def __init__(self, url: str, client: httpx.Client, *arguments: Any) -> None:
        self._url, self._client = url, client
        super().__init__(*arguments)

    def pass_on(self) -> None:
        """Ask MLflow the same, and give its answer."""
        import httpx

        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            headers |= {**identity_header(self._url), "Accept-Encoding": "identity"}
            answer = self._client.request(self.command, f"{self._url}{self.path}", headers=headers, content=body)
        except (httpx.HTTPError, NoIdentity) as error:
            self.send_error(502, explain=str(error))
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _NOT_PASSED_BACK:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing: MLflow keeps a log of its own."""


def build_proxy(url: str, host: str, port: int) -> ThreadingHTTPServer:
    """Build a server that stands for MLflow at `url`; port 0 takes a free one."""
    import httpx

    client = httpx.Client(timeout=_SECONDS, follow_redirects=False)
    return ThreadingHTTPServer((host, port), partial(ProxyHandler, url.rstrip("/"), client))


if __name__ == "__main__":
    build_proxy(sys.argv[1], sys.argv[2], int(sys.argv[3])).serve_forever()
