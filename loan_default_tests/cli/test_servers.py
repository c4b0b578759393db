"""Commands that run servers: started and ended as a shell and a supervisor do it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from loan_default_tests.cli.conftest import Run, sentence
from loan_default_tests.stores import free_port

DEV_ENDS_SECONDS = 60.0
# A shell has what it starts in the background with `&` ignore Ctrl-C, and exec hands that on.
IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


NOISE = ("SensorDaemon", "QueuedRunCoordinatorDaemon", "DEBUG", "superseded", "deprecated", "Traceback", "refused to")


@pytest.mark.long
def test_dev_says_where_each_answers_and_ends_by_sigterm_in_the_background(folder: Path) -> None:
    port, mlflow_port, evidently_port, web_port = free_port(), free_port(), free_port(), free_port()
    ports = ("--port", str(port), "--mlflow-port", str(mlflow_port), "--evidently-port", str(evidently_port))
    dev = [sys.executable, "-m", "loan_default.cli", "dev", *ports, "--evidently"]
    process = subprocess.Popen(
        [*IN_THE_BACKGROUND, *dev],
        env={**os.environ, "PYTHONUNBUFFERED": "1", "LOAN_DEFAULT_WEB_PORT": str(web_port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("All answer."):
                break
        ready = {port: "server_info", mlflow_port: "health", evidently_port: "api/version", web_port: "ping"}
        for path in (f":{number}/{name}" for number, name in ready.items()):
            urllib.request.urlopen(f"http://127.0.0.1{path}", timeout=10)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=DEV_ENDS_SECONDS)  # returns when the last that inherited the pipe is gone
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    output = "".join(lines) + rest
    assert process.returncode == 0, output
    ports_by_name = {"Dagster": port, "MLflow": mlflow_port, "Pages": web_port, "Evidently": evidently_port}
    assert lines[0] == "Starting Dagster, MLflow, Pages, Evidently.\n"
    addresses = {f"{f'{name}:':12}http://127.0.0.1:{number}\n" for name, number in ports_by_name.items()}
    assert addresses <= {*lines[1:-1]}, output  # between notices of MLflow and of Dagster's daemon
    assert lines[-1] == "All answer. Ctrl-C stops them.\n"
    assert output.endswith("Stopped.\n")
    assert not [word for word in NOISE if word in output], output


@pytest.mark.integration
def test_dev_refuses_a_port_that_is_in_use(command: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        expected = f"Port {port} is in use; end what listens there, or give --port another one."
        assert sentence(command("dev", "--port", str(port))) == expected
