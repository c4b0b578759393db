"""MLflow for tests, fresh stores, registered models and real servers; and any server of a test on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import loan_default
from loan_default.adapters.tracking import (
    MLFLOW_ENVIRONMENT,
    Tracking,
    load_environment,
    serving_requirements,
    signature_fields,
)
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default_tests.packages import applications, contract, package
from loan_default_tests.shared import made_once

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _make_empty_store(folder: Path) -> None:
    """Create an SQLite store, in a folder that does not exist yet; its migrations take seconds."""
    assert Tracking(f"sqlite:///{folder}/not/there/mlflow.db", str(folder)).versions() == ()


def new_tracking(folder: Path) -> Tracking:
    """Make a fresh store in `folder`, a copy of one that is made once for all processes of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made_once("empty_store", _make_empty_store) / "not" / "there" / "mlflow.db", folder / "mlflow.db")
    return Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))


def client_of(tracking: Tracking) -> MlflowClient:
    load_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking.tracking_uri)


def new_run(tracking: Tracking) -> str:
    run_id: str = client_of(tracking).create_run(tracking.ensure_experiment()).info.run_id
    return run_id


def log_model(tracking: Tracking, run_id: str, kind: str = "xgboost") -> str:
    """Log a small trained model as a training run does; return its URI."""
    with TemporaryDirectory() as folder:
        package(Path(folder), kind)
        return tracking.log_model_package(
            run_id,
            Path(folder),
            input_example=applications()[0][0],
            fields=signature_fields(contract()),
            requirements=serving_requirements(candidate_class(kind).requirements),
            code=Path(loan_default.__file__).parent,
        )


@dataclass(frozen=True)
class Server:
    """A started server and where it writes what went wrong."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Return as soon as the server answers its health check."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())


@contextmanager
def started_server(arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start `mlflow ARGUMENTS` in an empty folder, on a port of its own; `wait` for it before asking."""
    folder.mkdir()
    port, log = free_port(), folder.with_suffix(".log")
    command = [sys.executable, "-P", "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": path, "HOME": str(folder), **MLFLOW_ENVIRONMENT, **(env or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log)
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself, and says why in its log
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread meanwhile."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
