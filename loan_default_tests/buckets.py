"""Buckets for tests: Google's API by an emulator on loopback, and a proxy before it that fails as it is told to.

The emulator keeps objects in memory and enforces neither permissions nor preconditions.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

from upath import UPath

from loan_default.adapters import gcs
from loan_default.defs.resources import gcs_client
from loan_default_tests.stores import free_port, serving

Headers = Mapping[str, str] | http.client.HTTPMessage
_JSON = {"Content-Type": "application/json"}
_METADATA = "google.cloud.storage._bucket_metadata_cache.BucketMetadataCache"
HOST = "STORAGE_EMULATOR_HOST"  # read by google-cloud-storage, and so by dagster-gcp and MLflow


@contextmanager
def started_emulator() -> Iterator[str]:
    """Start an emulator in a process of its own; yield its address."""
    port = free_port()
    started = ["-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port), "-q", "--in-memory"]
    process = subprocess.Popen([sys.executable, *started], stderr=subprocess.DEVNULL)  # it tells of each small answer
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(timeout=20)


@contextmanager
def asked_at(address: str) -> Iterator[None]:
    """Have every client of Google's ask there meanwhile."""
    before = os.environ.get(HOST)
    os.environ[HOST] = address
    _forget()
    try:
        # For telemetry it asks after each bucket in a thread, whose retries would outlive the test.
        with mock.patch(f"{_METADATA}.get_or_queue_fetch", return_value=None):
            yield
    finally:
        os.environ.pop(HOST)
        if before is not None:
            os.environ[HOST] = before
        _forget()


def _forget() -> None:
    gcs.connect.cache_clear()
    gcs_client.cache_clear()


def new_bucket() -> UPath:
    """Make an empty bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    gcs.connect().create_bucket(name, project="tests")
    return UPath(f"gs://{name}")


def objects_in(root: UPath) -> dict[str, bytes]:
    """Read all that lies below, by the rest of its name."""
    prefix = root.path.removeprefix(root.drive).strip("/")
    prefix = f"{prefix}/" if prefix else ""
    blobs = gcs.connect().list_blobs(root.drive, prefix=prefix)
    return {blob.name.removeprefix(prefix): blob.download_as_bytes() for blob in blobs}


@dataclass
class Faults:
    """What a proxy does instead of passing a request on; `requests` are those that it met."""

    address: str
    status: int = 0  # answered at once
    message: str = ""
    cut_after: int | None = None  # bytes of a body, then the connection ends
    times: int = 1_000_000
    only: str = ""  # begins the method and path of requests that are met
    body: object = None  # of an answer, in the place of Google's with the message
    token: str = ""  # given to whoever brings a key
    authorized: set[str] = field(default_factory=set)  # what requests were authorized by
    requests: list[str] = field(default_factory=list)

    def meets(self, request: str) -> bool:
        if not request.startswith(self.only) or len(self.requests) >= self.times or not (self.status or self.cut_after):
            return False
        if not self.only and re.match(r"GET /storage/v1/b/[^/]+\?projection", request):  # Google's client, by the way
            return False
        self.requests.append(request)
        return True

    def heal(self) -> None:
        """Pass everything on."""
        self.status, self.cut_after = 0, None


@contextmanager
def faulty(emulator: str) -> Iterator[Faults]:
    """Put a proxy before the emulator, which every client asks meanwhile; it passes on what it need not fail."""
    upstream = emulator.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if faults.token and self.path == "/token":
                self.rfile.read(length)
                self.answer(200, {"access_token": faults.token, "expires_in": 3600, "token_type": "Bearer"})
                return
            faults.authorized.add(self.headers.get("Authorization", ""))
            if faults.meets(f"{self.command} {self.path}"):
                if faults.cut_after is not None and length > faults.cut_after:
                    self.rfile.read(faults.cut_after)
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                if faults.status:
                    self.rfile.read(length)
                    content = {"error": {"code": faults.status, "message": faults.message}}
                    self.answer(faults.status, content if faults.body is None else faults.body)
                    return
            body = self.rfile.read(length)
            with_emulator = http.client.HTTPConnection(upstream, timeout=60)
            with_emulator.request(self.command, self.path, body, dict(self.headers))
            response = with_emulator.getresponse()
            self.answer(response.status, response.read(), response.headers)
            with_emulator.close()

        def answer(self, status: int, content: object, headers: Headers = _JSON) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                if name not in ("Content-Length", "Server", "Date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    faults = Faults(f"http://127.0.0.1:{server.server_port}")
    with serving(server), asked_at(faults.address):
        yield faults
