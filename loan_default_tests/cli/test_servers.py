"""Commands that run servers: started and ended as a shell and a supervisor do it."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from loan_default_tests.stores import free_port

DEV_ENDS_SECONDS = 30.0
# A shell has what it starts in the background with `&` ignore Ctrl-C, and exec hands that on.
IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


def until_answering(process: subprocess.Popen[str], *ports: int) -> None:
    deadline, waiting = time.monotonic() + 90, [*ports]
    while waiting:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"nothing answers on {waiting}"
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", waiting[0])) == 0:
                waiting.pop(0)
                continue
        time.sleep(0.1)


@pytest.mark.long
def test_dev_ends_by_sigterm_with_all_that_it_started_in_the_background(folder: Path) -> None:
    port, mlflow_port = free_port(), free_port()
    dev = [sys.executable, "-m", "loan_default.cli", "dev", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    process = subprocess.Popen(
        [*IN_THE_BACKGROUND, *dev],
        env={**os.environ, "MLFLOW_WORKERS": "1"},  # four only slow the start
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        until_answering(process, port, mlflow_port)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=DEV_ENDS_SECONDS)  # returns when the last that inherited the pipe is gone
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, told
    assert "Stopped." in told
