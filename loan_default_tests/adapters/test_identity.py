"""ID tokens from a metadata server on loopback, and what MLflow's client and ours then send to a service."""

import base64
import json
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from loan_default.adapters import identity
from loan_default.adapters.probes import ask_tracking_server
from loan_default.adapters.scoring_server import ScoringServer, ServerError, connect
from loan_default.adapters.tracking import Tracking, TrackingError
from loan_default_tests.stores import free_port, serving


def token(audience: str, seconds: int, number: int) -> str:
    """Make an ID token as Google does, but for the signature."""
    claims = {"aud": audience, "exp": int(time.time()) + seconds, "number": number}
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": "RS256"}, claims, {})
    )


class Metadata(BaseHTTPRequestHandler):
    """Google's metadata server, as far as tokens go."""

    seconds = 3600
    audiences: list[str] = []  # noqa: RUF012 - one server a test

    def do_GET(self) -> None:
        answer = ""
        if "/identity" in self.path:
            audience = parse_qs(urlsplit(self.path).query)["audience"][0]
            self.audiences.append(audience)
            answer = token(audience, self.seconds, len(self.audiences))
        elif "/service-accounts/default/" in self.path:
            answer = json.dumps(
                {"email": "scoring@example.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}
            )
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json" if answer.startswith("{") else "text/plain")
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        pass


class Service(BaseHTTPRequestHandler):
    """Keeps what it was sent."""

    sent: list[Message] = []  # noqa: RUF012 - one server a test

    def do_GET(self) -> None:
        self.sent.append(self.headers)
        body = b"3.17.0" if self.path == "/version" else b'{"registered_model": {"name": "loan_default_model"}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.sent.append(self.headers)
        body = json.dumps({"echo": self.rfile.read(int(self.headers["Content-Length"])).decode()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Metadata]]:
    """This process runs as a service account, and what listens on loopback is on Cloud Run."""
    from google.auth.compute_engine import _metadata

    handler = type("Metadata", (Metadata,), {"audiences": []})
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setattr(identity, "_CLOUD_RUN", "127.0.0.1")
    identity._credentials.cache_clear()
    server = HTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{server.server_port}")
    with serving(server):
        yield handler
    identity._credentials.cache_clear()


@pytest.fixture
def service() -> Iterator[tuple[str, list[Message]]]:
    class EmptyService(Service):
        sent: list[Message] = []  # noqa: RUF012

    server = HTTPServer(("127.0.0.1", 0), EmptyService)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}", EmptyService.sent


def test_other_addresses_are_shown_nothing() -> None:
    for url in (
        "http://127.0.0.1:5001",
        "http://scoring:5001",
        "sqlite:///mlflow.db",
        "https://run.app.example.com",
        "",
    ):
        assert identity.identity_header(url) == {}


@pytest.mark.integration
def test_mlflow_is_shown_who_asks_beside_the_log_in(
    metadata: type[Metadata], service: tuple[str, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, sent = service
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "password")
    assert Tracking(url, "").version_of("production") is None
    assert ask_tracking_server(url, seconds=5)
    assert sent[0]["Authorization"] == "Basic " + base64.b64encode(b"admin:password").decode()
    for headers in sent:
        claims = headers[identity.HEADER].removeprefix("Bearer ").split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(claims))["aud"] == "https://127.0.0.1"
    assert len(metadata.audiences) == 1, "a token serves many requests"


@pytest.mark.integration
def test_the_scoring_server_is_shown_who_asks_beside_its_token(
    metadata: type[Metadata], service: tuple[str, list[Message]]
) -> None:
    url, sent = service
    with connect(url, "secret") as client:
        client.get("/health")
    assert sent[0]["Authorization"] == "Bearer secret"
    assert sent[0][identity.HEADER].startswith("Bearer ey")


@pytest.mark.integration
def test_a_token_is_asked_for_anew_before_it_ends(metadata: type[Metadata]) -> None:
    metadata.seconds = 60  # within the minutes that Google's library keeps free for clocks that differ
    first, second = (identity.identity_header("https://127.0.0.1") for _ in range(2))
    assert first != second
    assert len(metadata.audiences) == 2


@pytest.mark.integration
def test_without_a_service_account_each_client_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_CLOUD_RUN", "127.0.0.1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    identity._credentials.cache_clear()
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match=rf"{url} asks who is calling, and this process has no service account"):
        Tracking(url, "").version_of("production")
    with pytest.raises(ServerError, match="run it as one that may invoke the service"):
        ScoringServer(url, tmp_path).health()
    assert ask_tracking_server(url, seconds=1) is None
