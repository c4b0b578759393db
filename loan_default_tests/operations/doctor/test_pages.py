"""The pages: they answer, or something else holds their port, or nothing does."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loan_default.operations.doctor.check import CheckContext
from loan_default.operations.doctor.pages import check_pages
from loan_default.settings import Settings
from loan_default_tests.stores import free_port

pytestmark = pytest.mark.integration


@contextmanager
def answering(headers: dict[str, str]) -> Iterator[int]:
    """Answer every request on a port with these headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def diagnosis(folder: Path, port: int) -> tuple[str, str]:
    (single,) = check_pages(CheckContext(Settings(folder, web_port=port)))
    return single.mark, single.message


def test_the_port_is_ours_taken_or_free(tmp_path: Path) -> None:
    with answering({"X-Application": "loan-default"}) as port:
        assert diagnosis(tmp_path, port) == ("ok", f"They answer at http://127.0.0.1:{port}.")
    with answering({}) as port:
        assert diagnosis(tmp_path, port) == ("wrong", f"Port {port} is taken by something else.")
    port = free_port()
    assert diagnosis(tmp_path, port) == ("ok", f"Port {port} is free; loan-default web shows them there.")
