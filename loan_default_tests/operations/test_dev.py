"""Development servers: planned with ports that all links follow, run until one ends, and ended together."""

import sys
import time
from pathlib import Path

import pytest

from loan_default.operations.dev import DevPlan, DevServer, plan_dev, run_dev
from loan_default.settings import Settings, load_settings
from loan_default_tests.stores import free_port

LISTENS = "import http.server as h; server = h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler)"
LASTS = f"{LISTENS}; server.serve_forever()"
LEAVES = f"{LISTENS}; import os, time, pathlib; time.sleep(1.5); pathlib.Path(os.environ['SIGN']).touch()"


def test_every_link_leads_to_the_ports_that_were_asked_for(tmp_path: Path) -> None:
    plan = plan_dev(Settings(home=tmp_path), 3100, 5160)
    assert [(server.name, server.url) for server in plan.servers] == [
        ("Dagster", "http://127.0.0.1:3100"),
        ("MLflow", "http://127.0.0.1:5160"),
    ]
    assert load_settings(plan.variables).mlflow_ui == "http://127.0.0.1:5160"
    for server in plan.servers:
        assert server.arguments[server.arguments.index("--port") + 1] == str(server.port)
        assert server.arguments[server.arguments.index("--host") + 1] == "127.0.0.1"


@pytest.mark.integration
def test_ready_is_said_once_all_answer_and_all_end_with_the_first(tmp_path: Path) -> None:
    def server(name: str, script: str, port: int) -> DevServer:
        return DevServer(name, f"http://127.0.0.1:{port}", port, (sys.executable, "-c", script.format(port=port)))

    lasting, short = free_port(), free_port()
    variables = {"SIGN": str(tmp_path / "sign")}
    plan = DevPlan((server("lasting", LASTS, lasting), server("short", LEAVES, short)), variables)
    ready: list[float] = []
    run_dev(plan, lambda: ready.append(time.monotonic()))
    assert len(ready) == 1
    assert (tmp_path / "sign").exists(), "the variables of the plan reach the processes"
    again: list[float] = []
    run_dev(DevPlan((server("short", LEAVES, lasting),), variables), lambda: again.append(time.monotonic()))
    assert again, "the port of the one that was lasting is free again"
