"""Addresses: one sentence where one cannot be bound, the same of each command that listens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loan_default.adapters.sockets import bind
from loan_default.risk.errors import BadInput

pytestmark = pytest.mark.integration


def test_an_address_is_bound_once() -> None:
    with bind("127.0.0.1", 0) as bound:
        host, port = bound.getsockname()
        bound.listen()
        with pytest.raises(BadInput, match=f"^{host}:{port} cannot be bound, .* choose another --port.$"):
            bind(host, port)
    bind(host, port).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^192\.0\.2\.1:80 cannot be bound"):
        bind("192.0.2.1", 80)


@pytest.mark.parametrize("command", ["metrics", "web", "serve"])
def test_commands_refuse_an_address_that_is_taken_by_one_sentence_alone(tmp_path: Path, command: str) -> None:
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        arguments = [sys.executable, "-m", "loan_default.cli", command, "--port", str(port)]
        env = {**os.environ, "LOAN_DEFAULT_HOME": str(tmp_path)}
        done = subprocess.run(arguments, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"loan-default: 127.0.0.1:{port} cannot be bound, perhaps because")
    assert "Errno" not in done.stderr
    assert "Ctrl-C" not in done.stderr  # nothing answers there that could be stopped
