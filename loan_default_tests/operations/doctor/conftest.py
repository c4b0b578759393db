"""An installation by its environment, servers that answer or are silent, and the diagnoses of a check."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from loan_default.adapters.tracking import MODEL_NAME, PRODUCTION, ModelVersion
from loan_default.operations.doctor import CheckContext, Diagnosis
from loan_default.settings import Settings, load_settings
from loan_default_tests.homes import unset_environment
from loan_default_tests.stores import free_port, serving

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Installation = Callable[..., Settings]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation by its environment: settings are given by name, the home is `home`."""
    monkeypatch.chdir(tmp_path)

    def of(**variables: Any) -> Settings:
        os.environ |= {name: str(value) for name, value in variables.items()}
        return load_settings()

    with unset_environment():
        url = f"http://127.0.0.1:{free_port()}"
        of(LOAN_DEFAULT_HOME=tmp_path / "home", LOAN_DEFAULT_SERVING_URL=url)
        yield of


def diagnoses_of(
    check: Callable[[CheckContext], Iterator[Diagnosis]], context: CheckContext | Settings
) -> list[Diagnosis]:
    return [*check(context if isinstance(context, CheckContext) else CheckContext(context))]


def wrong(diagnoses: list[Diagnosis]) -> Diagnosis:
    """The only one that is wrong; it says what to do."""
    (diagnosis,) = [diagnosis for diagnosis in diagnoses if diagnosis.mark == "wrong"]
    assert diagnosis.remedy
    return diagnosis


@contextmanager
def answering(text: Mapping[str, tuple[int, bytes]], headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server that answers so by path."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = text.get(self.path, (404, b"who?"))
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with serving(server := ThreadingHTTPServer(("127.0.0.1", 0), Server)):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def silent() -> Iterator[str]:
    """The address of something that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def health(version: int | None, trouble: str | None = None, model: str = MODEL_NAME) -> dict[str, tuple[int, bytes]]:
    status = "ready" if version else "not ready"
    text = {"status": status, "model": model, "alias": PRODUCTION, "version": version, "pid": 7, "workers": 1}
    return {"/health": (200, json.dumps({**text, "trouble": trouble}).encode())}


def production(version: int = 3) -> ModelVersion:
    return ModelVersion("m", version, "run", NOW)


def heartbeats(settings: Settings, time: datetime) -> None:
    with dg.DagsterInstance.get() as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.timestamp(), name, None))
