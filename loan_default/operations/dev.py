"""The servers of a development machine: Dagster's UI with its daemon, and MLflow, started and ended together.

What they print passes through here line by line; showing it is the caller's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loan_default.settings import MLFLOW_UI, Settings

_LOOPBACK = "127.0.0.1"
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class DevServer:
    """A server: its name, its address for a browser, its port on loopback, and the arguments of its process."""

    name: str
    url: str
    port: int
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class DevPlan:
    """The servers, and the variables that their processes have beside those of this one."""

    servers: tuple[DevServer, ...]
    variables: Mapping[str, str]


def plan_dev(settings: Settings, port: int, mlflow_port: int) -> DevPlan:
    """Plan the Dagster UI with its daemon on `port`, and MLflow on `mlflow_port`, to which all links lead."""
    address = ("--host", _LOOPBACK, "--port")
    dagster = _server("Dagster", port, "dagster", "dev", *address, str(port), "-m", "loan_default.definitions")
    mlflow = _server(
        *("MLflow", mlflow_port, "mlflow", "server", *address, str(mlflow_port)),
        *("--backend-store-uri", settings.tracking_uri, "--default-artifact-root", settings.artifacts),
    )
    return DevPlan((dagster, mlflow), {MLFLOW_UI: mlflow.url})


def _server(name: str, port: int, *arguments: str) -> DevServer:
    return DevServer(name, f"http://{_LOOPBACK}:{port}", port, (sys.executable, "-m", *arguments))


def run_dev(plan: DevPlan, on_ready: Callable[[], None]) -> None:
    """Run the servers until one of them ends, or this process is asked to end; then end them all.

    A supervisor's SIGTERM ends them as Ctrl-C does. A shell that starts this in the background has it ignore Ctrl-C,
    which is undone here.

    Args:
        plan: what `plan_dev` returned.
        on_ready: called once, when every server answers.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the servers have ended.
    """
    from loan_default.adapters.tracking import load_environment

    load_environment()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)
    environment = {**os.environ, **plan.variables}
    processes = [subprocess.Popen(server.arguments, env=environment) for server in plan.servers]
    try:
        _watch(plan, processes, on_ready)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _watch(plan: DevPlan, processes: Sequence[subprocess.Popen[bytes]], on_ready: Callable[[], None]) -> None:
    ready = False
    while all(process.poll() is None for process in processes):
        if not ready and all(_listens(server.port) for server in plan.servers):
            ready = True
            on_ready()
        time.sleep(_PAUSE_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((_LOOPBACK, port)) == 0
