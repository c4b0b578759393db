"""The servers of a development machine: Dagster's UI with its daemon, MLflow and others, started and ended together.

What they print goes to the terminal, but for ticks, requests and warnings on which nobody here can act. Showing the
addresses is the caller's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import urlopen

from loan_default.defs.instance import open_instance
from loan_default.risk.errors import BadInput
from loan_default.settings import DAGSTER_UI, MLFLOW_UI, WEB_PORT, Settings

_LOOPBACK = "127.0.0.1"
_PAUSE_SECONDS, _ASK_SECONDS = 0.3, 5.0
_END_SECONDS = 30.0  # the daemon waits for its threads
# Of our dependencies' own use of each other: `dagster dev` recommends another command, MLflow an older middleware.
_WARNINGS = r"ignore:Function `dev_command` is superseded,ignore:starlette.middleware.wsgi is deprecated"


@dataclass(frozen=True)
class DevServer:
    """A server: its name, its address for a browser, a path that answers once it is ready, and its process."""

    name: str
    port: int
    ready_path: str
    arguments: tuple[str, ...]

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{_LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class DevPlan:
    """The servers, and the variables that their processes have beside those of this one."""

    servers: tuple[DevServer, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class EndedServer:
    """A server that ended by itself, and its exit code."""

    name: str
    exit_code: int


def plan_dev(settings: Settings, port: int, mlflow_port: int, evidently_port: int | None = None) -> DevPlan:
    """Plan the Dagster UI, MLflow, to which all links lead, the pages, and Evidently's UI where it has a port.

    Raises:
        BadInput: two ports are the same, or something listens on one of them already.
    """
    own = {"--port": port, "--mlflow-port": mlflow_port, WEB_PORT: settings.web_port}
    ports = {**own, "--evidently-port": evidently_port}
    options: dict[int, str] = {}
    for option, number in ports.items():
        if number is None:
            continue
        if number in options:
            raise BadInput(f"Port {number} cannot be two servers'; give {options[number]} or {option} another one.")
        options[number] = option
        _require_free(number, option)
    address, start = ("--host", _LOOPBACK, "--port"), (sys.executable, "-m")
    dagster = DevServer(
        "Dagster",
        port,
        "/server_info",  # once the code location is loaded
        (*start, "dagster", "dev", *address, str(port), "--log-level", "warning", "-m", "loan_default.definitions"),
    )
    mlflow = DevServer(
        "MLflow",
        mlflow_port,
        "/health",
        (
            *(*start, "mlflow", "server", *address, str(mlflow_port)),
            *("--backend-store-uri", settings.tracking_uri, "--registry-store-uri", settings.tracking_uri),
            *("--default-artifact-root", settings.artifacts),
            *("--workers", "1", "--uvicorn-opts", "--log-level warning"),  # four take 0.9 GB more, for one person
        ),
    )
    web = (*start, "loan_default.cli", "web", *address, str(settings.web_port), "--quiet")
    pages = DevServer("Pages", settings.web_port, "/ping", web)
    servers = [dagster, mlflow, pages]
    if evidently_port is not None:
        arguments = (*start, "loan_default.cli", "evidently", "--port", str(evidently_port), "--quiet")
        servers.append(DevServer("Evidently", evidently_port, "/api/version", arguments))
    return DevPlan(tuple(servers), {DAGSTER_UI: dagster.url, MLFLOW_UI: mlflow.url, "PYTHONWARNINGS": _WARNINGS})


def _require_free(port: int, option: str) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_LOOPBACK, port))
        except OSError:
            raise BadInput(f"Port {port} is in use; end what listens there, or give {option} another one.") from None


def run_dev(settings: Settings, plan: DevPlan, on_answer: Callable[[DevServer], None]) -> EndedServer:
    """Run the servers until one of them ends, or this process is asked to end; then end them all.

    SIGTERM of a supervisor and a closed terminal end them as Ctrl-C does, also where a shell that started this in the
    background has it ignore Ctrl-C.

    Args:
        settings: of the home, which has been made.
        plan: the servers.
        on_answer: called with each server once, as soon as it answers.

    Raises:
        BadInput: Dagster's records cannot be written.
        KeyboardInterrupt: Ctrl-C or one of these signals, once the servers have ended.
    """
    from loan_default.adapters.tracking import PRODUCTION, load_environment

    with open_instance(settings):
        pass  # its tables are there before daemon and webserver meet at them
    load_environment()
    settings.tracking.version_of(PRODUCTION)  # and so are the registry's, where MLflow and the pages meet
    stops = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    handlers = {stop: signal.signal(stop, signal.default_int_handler) for stop in stops}
    environment = {**os.environ, **plan.variables}
    # In sessions of their own, as a terminal sends Ctrl-C to every process of its own.
    processes = [subprocess.Popen(server.arguments, env=environment, start_new_session=True) for server in plan.servers]
    try:
        return _watch(plan, processes, on_answer)
    finally:
        _end(processes)
        for stop, handler in handlers.items():
            signal.signal(stop, handler)


def _watch(
    plan: DevPlan, processes: Sequence[subprocess.Popen[bytes]], on_answer: Callable[[DevServer], None]
) -> EndedServer:
    waiting = list(plan.servers)
    while True:
        for server, process in zip(plan.servers, processes, strict=True):
            if (exit_code := process.poll()) is not None:
                return EndedServer(server.name, exit_code)
        for server in [server for server in waiting if _answers(server)]:
            waiting.remove(server)
            on_answer(server)
        time.sleep(_PAUSE_SECONDS)


def _answers(server: DevServer) -> bool:
    try:
        with urlopen(f"{server.url}{server.ready_path}", timeout=_ASK_SECONDS):
            return True
    except (URLError, OSError):
        return False


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the processes to end, and end those that do not, with what they started."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
