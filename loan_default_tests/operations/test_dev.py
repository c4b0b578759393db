"""Development servers: planned with ports that all links follow, run until one ends, and ended together."""

import socket
import sys
from pathlib import Path

import pytest

from loan_default.homes import prepare_process
from loan_default.operations.dev import DevPlan, DevServer, EndedServer, plan_dev, run_dev
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings, load_settings
from loan_default_tests.homes import own_environment
from loan_default_tests.stores import free_port

# Servers that answer each request; one of them leaves once it has answered.
ANSWERS = """
import http.server, os, pathlib

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", {port}), Handler)
"""
LASTS = f"{ANSWERS}server.serve_forever()"
WAITS = "import os, pathlib, time\nwhile not pathlib.Path(os.environ['START']).exists(): time.sleep(0.05)\n"
LEAVES = f"{WAITS}{ANSWERS}server.handle_request()\npathlib.Path(os.environ['SIGN']).touch()\nos._exit(3)"


@pytest.mark.integration
def test_every_link_leads_to_the_ports_that_were_asked_for(tmp_path: Path) -> None:
    port, mlflow_port = free_port(), free_port()
    evidently_port = free_port()
    settings = Settings(home=tmp_path, web_port=free_port())
    plan = plan_dev(settings, port, mlflow_port, evidently_port)
    dagster, mlflow, pages, evidently = plan.servers
    assert pages.url == f"http://127.0.0.1:{settings.web_port}"
    assert (dagster.url, mlflow.url) == (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mlflow_port}")
    assert load_settings(plan.variables).mlflow_ui == mlflow.url
    assert evidently.arguments[-4:-1] == ("evidently", "--port", str(evidently_port)), "on loopback: no host"
    names = [server.name for server in plan_dev(settings, port, mlflow_port).servers]
    assert names == ["Dagster", "MLflow", "Pages"]
    for server in (dagster, mlflow, pages):
        assert server.arguments[server.arguments.index("--port") + 1] == str(server.port)
        assert server.arguments[server.arguments.index("--host") + 1] == "127.0.0.1"


@pytest.mark.integration
def test_a_port_that_is_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(BadInput, match=rf"^Port {port} is in use; .* give --mlflow-port another one\.$"):
            plan_dev(Settings(home=tmp_path, web_port=free_port()), free_port(), port)
    with pytest.raises(BadInput, match=r"give --mlflow-port or LOAN_DEFAULT_WEB_PORT another one"):
        plan_dev(Settings(home=tmp_path, web_port=port), free_port(), port)
    with pytest.raises(BadInput, match=r"cannot be two servers'; give --port or --evidently-port another one\.$"):
        plan_dev(Settings(home=tmp_path, web_port=free_port()), port, free_port(), port)


@pytest.mark.integration
def test_each_is_said_to_answer_once_and_all_end_with_the_first(tmp_path: Path) -> None:
    def server(name: str, script: str, port: int) -> DevServer:
        return DevServer(name, port, "/", (sys.executable, "-c", script.format(port=port)))

    lasting, short = free_port(), free_port()
    start = tmp_path / "start"
    variables = {"SIGN": str(tmp_path / "sign"), "START": str(start)}
    plan = DevPlan((server("lasting", LASTS, lasting), server("short", LEAVES, short)), variables)
    answered: list[str] = []

    def note(server: DevServer) -> None:
        answered.append(server.name)
        start.touch()

    settings = Settings(tmp_path / "home")
    with own_environment():
        prepare_process(settings)
        assert run_dev(settings, plan, note) == EndedServer("short", 3)
    assert (settings.home / "dagster" / "history" / "runs.db").exists(), "before the servers could meet at them"
    assert answered == ["lasting", "short"]
    assert (tmp_path / "sign").exists(), "the variables of the plan reach the processes"
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", lasting)) != 0, "the other one has ended too"
