"""The containers by a real engine: built from a clean copy, started, used, killed, and taken down with all they kept.

`make integration-tests` runs this; it needs root, Docker or Podman, and the base images or a way to them. A sample
without containers reads the answers of a script that stands in for the engine.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default_tests.stores import free_port, serving

log = logging.getLogger(__name__)

PROJECT_FOLDER = Path(__file__).parents[1]
BUILT_FROM = (
    "Makefile",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    ".dockerignore",
    "requirements",
    "loan_default",
    "docker",
)
SERVICES = ("postgres", "mlflow", "code-server", "webserver", "daemon", "scoring")
OURS = ("mlflow", "code-server", "webserver", "daemon", "scoring")
IMAGES = ("platform", "mlflow", "scoring")
MODEL = "loan_default_model"
SCORING_MEGABYTES = 700
QUICK = json.dumps({"ops": {"tuned_params": {"config": {"trials": 2}}}})
SAMPLE = json.loads((PROJECT_FOLDER / "data" / "sample_input.json").read_text(encoding="utf-8"))
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"


@dataclass
class Stack:
    """The stack of one copy of the project, under a name and ports of its own."""

    folder: Path
    project: str
    ports: Mapping[str, int]
    took: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ports = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LOAN_DEFAULT", "MLFLOW"))}
        return {**ours, **ports, "DISABLE_HC_SYSTEMD": "true"}  # without systemd podman has no clock for checks

    def run(self, *command: str, stdin: Path | None = None) -> tuple[int, str]:
        """Return the exit code of a command in the copy's folder, and all that it printed."""
        with (stdin or Path(os.devnull)).open("rb") as source:
            process = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        return process.returncode, process.stdout

    def must(self, *command: str) -> str:
        code, output = self.run(*command)
        assert code == 0, f"{' '.join(command)}: {output[-6000:]}"
        return output

    def make(self, target: str, *variables: str) -> str:
        return self.must("make", "--no-print-directory", target, f"PROJECT={self.project}", *variables)

    @cached_property
    def engine(self) -> str:
        return self.make("engine").strip()

    def ask(self, *arguments: str) -> str:
        """Return the engine's answer; what it only remarks on stderr goes with the test's."""
        command = (self.engine, *arguments)
        return subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    @cached_property
    def secrets(self) -> dict[str, str]:
        lines = (self.folder / "docker" / ".env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    # --- containers

    def containers(self, *filters: str) -> list[str]:
        labels = [f"label=com.docker.compose.project={self.project}", *filters]
        return self.ask("ps", "--all", "--quiet", *(word for name in labels for word in ("--filter", name))).split()

    def container(self, service: str) -> str:
        (container,) = self.containers(f"label=com.docker.compose.service={service}")
        return container

    def volumes(self) -> list[str]:
        label = f"label=com.docker.compose.project={self.project}"
        return self.ask("volume", "ls", "--quiet", "--filter", label).split()

    def inspect(self, service: str) -> dict[str, Any]:
        (state,) = json.loads(self.ask("inspect", self.container(service)))
        return dict(state)

    def inside(self, service: str, *command: str, stdin: Path | None = None) -> tuple[int, str]:
        return self.run(self.engine, "exec", "-i", self.container(service), *command, stdin=stdin)

    def trouble(self, service: str) -> str:
        """Run the service's own health check and return what it finds; empty where the service is healthy."""
        state = self.inspect(service)
        if state["State"]["Status"] != "running":
            return str(state["State"]["Status"])
        code, output = self.inside(service, "sh", "-c", state["Config"]["Healthcheck"]["Test"][1])
        return "" if code == 0 else output.strip()[-500:] or f"exit code {code}"

    def is_healthy(self, service: str) -> bool:
        return not self.trouble(service)

    def wait_until_healthy(self, *services: str, seconds: float = 180) -> None:
        for service in services:
            wait_for(partial(self.is_healthy, service), seconds, partial(self.describe, service))

    def logs(self, service: str, *options: str) -> str:
        return self.must(self.engine, "logs", *options, self.container(service))

    def describe(self, service: str) -> str:
        return f"{service} is not healthy: {self.trouble(service)}\n{self.logs(service, '--tail', '40')}"

    # --- what it keeps, as the host sees it

    def url(self, service: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def mlflow(self, path: str, **parameters: str) -> Any:
        login = self.secrets["MLFLOW_AUTH_ADMIN_USERNAME"], self.secrets["MLFLOW_AUTH_ADMIN_PASSWORD"]
        return (
            httpx.get(self.url("mlflow", f"/api/2.0/mlflow/{path}"), params=parameters, auth=login)
            .raise_for_status()
            .json()
        )

    def score(self) -> httpx.Response:
        token = self.secrets["LOAN_DEFAULT_API_TOKENS"].split(",")[0]
        return httpx.post(
            self.url("scoring", "/invocations"), json=SAMPLE, headers={"Authorization": f"Bearer {token}"}, timeout=10
        )

    def answer(self) -> str:
        """Return what is told of the sample, but for the id that each decision has of its own."""
        predictions = self.score().raise_for_status().json()["predictions"]
        return json.dumps([{**prediction, "decision_id": None} for prediction in predictions])

    def serves(self, version: int) -> bool:
        """Tell whether the scoring server answers by this version."""
        health = httpx.get(self.url("scoring", "/health"), timeout=10).json()
        return bool(health["version"] == version)

    def runs(self) -> dict[str, tuple[str, str]]:
        answer = httpx.post(self.url("webserver", "/graphql"), json={"query": RUNS}, timeout=20).raise_for_status()
        runs = answer.json()["data"]["runsOrError"]["results"]
        return {run["runId"]: (run["jobName"], run["status"]) for run in runs}

    def state(self) -> dict[str, set[Any]]:
        """Read all that must outlive any death: ended runs, versions and aliases, files, and what the model answers."""
        versions = self.mlflow("model-versions/search", filter=f"name='{MODEL}'")["model_versions"]
        model = self.mlflow("registered-models/get", name=MODEL)["registered_model"]
        files = self.inside("code-server", "find", "/storage", "-type", "f", "-printf", "%p %s\n")[1].splitlines()
        return {
            "runs": {run for run, (_, status) in self.runs().items() if status in ("SUCCESS", "FAILURE")},
            "versions": {version["version"] for version in versions},
            "aliases": {(alias["alias"], alias["version"]) for alias in model["aliases"]},
            "files": {line for line in files if "/prediction_log/" not in line and "/.doctor-" not in line},
            "answers": {self.answer()},
        }

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took[what] = f"{time.monotonic() - began:.0f} s"
        log.warning("%8s  %s", self.took[what], what)


def wait_for(condition: Callable[[], Any], seconds: float, describe: Callable[[], str] = lambda: "") -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError, AssertionError, KeyError):  # what is asked is just starting
            if value := condition():
                return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s. {describe()}"
        time.sleep(1)


def copy_project(folder: Path) -> None:
    """Copy what images are built from."""
    for name in BUILT_FROM:
        source = PROJECT_FOLDER / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".env"))
        else:
            shutil.copy(source, folder / name)


def require_engine(stack: Stack) -> None:
    """Skip where this user has no engine to start containers with."""
    composes = stack.engine != "podman" or shutil.which("podman-compose")
    if os.geteuid() or not composes or not shutil.which(stack.engine) or stack.run(stack.engine, "info")[0]:
        pytest.skip("containers need root, and Docker with its compose plugin or Podman with podman-compose")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Build a copy of the project, start it by `make start`, train by `make pipeline`."""
    folder = tmp_path_factory.mktemp("copy")
    copy_project(folder)
    ports = {name: free_port() for name in ("webserver", "mlflow", "scoring")}
    stack = Stack(folder, f"loan-default-test-{os.getpid()}", ports)
    require_engine(stack)
    stack.make("secrets")
    for name in IMAGES:
        with stack.timed(f"build the {name} image"):
            stack.make("images", f"IMAGES={name}")
    try:
        with stack.timed("make start, until all but the scoring server are healthy"):
            stack.make("start", "IMAGES=")
            stack.wait_until_healthy(*SERVICES[:-1])
        # It answers already, and is not called healthy: there is no version that it could score by.
        wait_for(lambda: httpx.get(stack.url("scoring", "/ping")).status_code == 200, 60)
        assert "503" in stack.trouble("scoring")
        with stack.timed("make pipeline: 60,000 synthetic loans, 2 trials, through the queue"):
            stack.make("pipeline", f"ARGS=--config-json '{QUICK}'")
        with stack.timed("from the decision to a healthy scoring server"):
            stack.wait_until_healthy("scoring", seconds=60)
        yield stack
    finally:
        with stack.timed("make stop"):
            stack.make("stop")
        volumes = stack.volumes()
        assert volumes, "the volumes outlive make stop"
        stack.ask("volume", "rm", *volumes)
        assert not stack.containers()


# --- images


@pytest.mark.container
def test_the_scoring_image_is_small_and_holds_what_serving_needs_only(stack: Stack) -> None:
    size_of = ("image", "inspect", "--format", "{{.Size}}")
    sizes = {name: int(stack.ask(*size_of, f"loan-default-{name}:local")) for name in IMAGES}
    for name, size in sizes.items():
        log.warning("%5.0f MB  image %s", size / 1e6, name)
    assert sizes["scoring"] <= SCORING_MEGABYTES * 1e6
    packages = stack.inside("scoring", "sh", "-c", "ls -d /*/*/lib/python3*/site-packages/* /usr/lib/python3/*/*")[1]
    installed = {Path(line).name.lower() for line in packages.splitlines()}
    assert "mlflow" in installed
    assert not [name for name in installed if name.startswith(("dagster", "nvidia", "pip", "setuptools"))]
    assert not stack.inside("scoring", "sh", "-c", "find / -xdev -name '*nccl*' 2>/dev/null")[1]


@pytest.mark.container
@pytest.mark.parametrize("service", OURS)
def test_an_image_holds_no_build_tools(stack: Stack, service: str) -> None:
    for tool in ("gcc", "cc", "make", "uv", "git"):
        assert stack.inside(service, "sh", "-c", f"command -v {tool}")[0], tool


@pytest.mark.container
def test_no_secret_lies_in_an_image_or_its_history(stack: Stack) -> None:
    secrets = [value for name, value in stack.secrets.items() if len(value) > 8]
    assert len(secrets) >= 5
    for name in IMAGES:
        image = f"loan-default-{name}:local"
        described = stack.ask("history", "--no-trunc", image) + stack.ask("image", "inspect", image)
        assert not [secret for secret in secrets if secret in described]
    for service in OURS:
        assert not stack.inside(service, "find", "/opt", "-name", ".env*")[1]


# --- confinement


@pytest.mark.container
@pytest.mark.parametrize("service", OURS)
def test_a_service_is_confined(stack: Stack, service: str) -> None:
    def inside(command: str) -> str:
        return stack.inside(service, "sh", "-c", command)[1]

    assert inside("id -u").strip() == "10001"
    assert inside("touch /x /opt/x /usr/x /etc/x").count("Read-only file system") == 4
    assert not inside("touch /tmp/x && rm /tmp/x")
    status = inside("cat /proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


@pytest.mark.container
def test_postgres_is_confined_as_far_as_its_image_lets(stack: Stack) -> None:
    output = stack.inside("postgres", "sh", "-c", "touch /x /usr/x; stat -c %U /proc/1")[1]
    assert output.count("Read-only file system") == 2
    assert "postgres" in output.splitlines()  # before or after what the shell says on its other output


@pytest.mark.container
def test_ports_are_bound_to_loopback_only(stack: Stack) -> None:
    published = {
        service: [bound["HostIp"] for bindings in ports.values() for bound in bindings or ()]
        for service in SERVICES
        if (ports := stack.inspect(service)["NetworkSettings"]["Ports"])
    }
    assert {service for service, hosts in published.items() if hosts} == {"mlflow", "webserver", "scoring"}
    assert {host for hosts in published.values() for host in hosts} == {"127.0.0.1"}


@pytest.mark.container
def test_nothing_starts_without_secrets(stack: Stack) -> None:
    env = stack.folder / "docker" / ".env"
    content = env.read_text(encoding="utf-8")
    try:
        for name in stack.secrets:
            others = [line for line in content.splitlines(keepends=True) if not line.startswith(f"{name}=")]
            env.write_text("".join(others), encoding="utf-8")
            with pytest.raises(AssertionError, match="run make secrets"):
                stack.make("start", "IMAGES=")
    finally:
        env.write_text(content, encoding="utf-8")


@pytest.mark.container
def test_mlflow_asks_for_a_log_in_and_answers_its_own_hosts_only(stack: Stack) -> None:
    url = stack.url("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1")
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, auth=("admin", "password1234")).status_code == 401
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403


# --- what it is for


@pytest.mark.container
def test_the_host_gets_a_score_for_its_token_only(stack: Stack) -> None:
    assert httpx.post(stack.url("scoring", "/invocations"), json=SAMPLE).status_code == 401
    answer = stack.score()
    assert answer.status_code == 200, answer.text
    assert all(0 < prediction["pd"] < 1 for prediction in answer.json()["predictions"])
    assert answer.headers["X-Model-Version"] == "1"


@pytest.mark.container
def test_the_pipeline_ran_in_the_code_server_through_the_queue(stack: Stack) -> None:
    (run_id,) = [run for run, (job, _) in stack.runs().items() if job == "full_pipeline_job"]
    query = f'{{ logsForRun(runId: "{run_id}") {{ ... on EventConnection {{ events {{ __typename }} }} }} }}'
    answer = httpx.post(stack.url("webserver", "/graphql"), json={"query": query}, timeout=20).json()
    events = {event["__typename"] for event in answer["data"]["logsForRun"]["events"]}
    assert {"RunEnqueuedEvent", "RunStartEvent", "RunSuccessEvent"} <= events
    assert run_id in stack.inside("code-server", "ls", "/var/lib/loan-default/dagster/storage")[1]


@pytest.mark.container
def test_forms_of_requests_that_mlflow_reads_are_answered_without_the_rest_of_mlflow(stack: Stack) -> None:
    token = stack.secrets["LOAN_DEFAULT_API_TOKENS"].split(",")[0]
    rows = SAMPLE["dataframe_records"]
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    for form in ("inputs", "instances"):
        answer = httpx.post(
            stack.url("scoring", "/invocations"), json={form: columns}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.container
def test_the_server_follows_the_alias(stack: Stack) -> None:
    with stack.timed("make pipeline again, to have a second version"):
        stack.make("pipeline", f"ARGS=--config-json '{QUICK}'")
    assert stack.serves(1), "the policy promotes no version that is no better"
    for command, version in (
        (("promote", "--version", "2", "--force", "--reason", "to see who follows"), 2),
        (("rollback", "--reason", "enough seen"), 1),
    ):
        with stack.timed(f"{command[0]}: from the command to the server's new version"):
            code, output = stack.inside("code-server", "loan-default", *command)
            assert code == 0, output
            wait_for(partial(stack.serves, version), 30)
        assert stack.score().headers["X-Model-Version"] == str(version)


# --- deaths


@contextmanager
def answering(stack: Stack) -> Iterator[list[str]]:
    """Ask the scoring server ten times a second meanwhile; collect what went wrong with that."""
    over = threading.Event()
    failures: list[str] = []

    def run() -> None:
        while not over.wait(0.1):
            try:
                answer = stack.score()
                if answer.status_code != 200:
                    failures.append(f"{answer.status_code}: {answer.text}")
            except httpx.HTTPError as error:
                failures.append(repr(error))

    asking = threading.Thread(target=run)
    asking.start()
    try:
        yield failures
    finally:
        over.set()
        asking.join()


def lost(before: Mapping[str, set[Any]], after: Mapping[str, set[Any]]) -> dict[str, set[Any]]:
    return {what: absent for what in before if (absent := before[what] - after[what])}


@pytest.mark.container
@pytest.mark.parametrize("how", ["restart", "kill -9"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_comes_back_with_nothing_lost(stack: Stack, service: str, how: str) -> None:
    before, pid = stack.state(), stack.inspect(service)["State"]["Pid"]
    with answering(stack) as failures, stack.timed(f"{how} {service}, until all are healthy again"):
        if how == "restart":
            stack.ask("restart", stack.container(service))
        else:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: stack.inspect(service)["State"]["Pid"] not in (0, pid), 60, lambda: stack.describe(service))
        stack.wait_until_healthy(service, *SERVICES)
    after = wait_for(stack.state, 60)
    assert not lost(before, after)
    if service != "scoring":
        assert not failures, f"scoring needs none of the others: {failures[:3]}"


@pytest.mark.container
def test_a_batch_is_scored_though_the_code_server_is_killed_in_its_run(stack: Stack) -> None:
    batch = stack.folder / "2018-10.csv"
    write_csv(make_applications(2_000, seed=3, month=date(2018, 10, 1)), batch)
    with stack.timed("a batch is dropped, and the code server killed in its run: until it is scored"):
        inbox = "/storage/applications"
        drop = f"mkdir -p {inbox} && cat > {inbox}/.part && mv {inbox}/.part {inbox}/{batch.name}"
        assert stack.inside("code-server", "sh", "-c", drop, stdin=batch) == (0, "")
        wait_for(lambda: ("batch_prediction_job", "STARTED") in stack.runs().values(), 90)
        os.kill(stack.inspect("code-server")["State"]["Pid"], signal.SIGKILL)
        wait_for(lambda: ("batch_prediction_job", "SUCCESS") in stack.runs().values(), 180)
    assert ("batch_prediction_job", "FAILURE") in stack.runs().values()
    assert stack.inside("code-server", "test", "-s", "/storage/predictions/2018-10.parquet") == (0, "")


@pytest.mark.container
def test_serving_stops_and_starts_by_itself(stack: Stack) -> None:
    stack.make("stop-serve")
    with pytest.raises(httpx.HTTPError):
        stack.score()
    with stack.timed("make start-serve, until it is healthy"):
        stack.make("start-serve")
        stack.wait_until_healthy("scoring")
    assert stack.score().status_code == 200


@pytest.mark.container
def test_what_was_kept_outlives_the_containers(stack: Stack) -> None:
    before = stack.state()
    with stack.timed("make stop and make start, until all are healthy"):
        stack.make("stop")
        assert not stack.containers()
        stack.make("start", "IMAGES=")
        stack.wait_until_healthy(*SERVICES)
    assert not lost(before, wait_for(stack.state, 60))


@pytest.mark.container
def test_a_backup_is_restored_where_nothing_is_left(stack: Stack) -> None:
    backup, env, before = stack.folder / "backup", stack.folder / "docker" / ".env", stack.state()
    with stack.timed("make backup"):
        stack.make("backup", f"TO={backup}")
    assert {path.stat().st_mode & 0o077 for path in (backup, *backup.iterdir())} == {0}
    for target, folder, message in (
        ("backup", f"TO={backup}", "is there already"),
        ("restore", f"FROM={backup}", "REPLACE=true replaces them"),
    ):
        code, output = stack.run("make", target, f"PROJECT={stack.project}", folder)
        assert code, output
        assert message in output
    stack.make("stop")
    stack.ask("volume", "rm", *stack.volumes())
    env.unlink()
    with stack.timed("make restore, without volumes and secrets, until all are healthy"):
        stack.make("restore", f"FROM={backup}")
        stack.wait_until_healthy(*SERVICES)
    assert env.read_bytes() == (backup / "env").read_bytes()
    after = wait_for(stack.state, 60)
    assert not lost(before, after)
    assert after["answers"] == before["answers"]


@pytest.mark.container
def test_a_backup_replaces_what_came_after_it(stack: Stack) -> None:
    backup, before = stack.folder / "backup-before", stack.state()
    stack.make("backup", f"TO={backup}")
    assert stack.inside("code-server", "touch", "/storage/later") == (0, "")
    env = stack.folder / "docker" / ".env"
    env.write_text(env.read_text(encoding="utf-8").replace("POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=other"))
    stack.make("restore", f"FROM={backup}", "REPLACE=true")
    stack.wait_until_healthy(*SERVICES)
    assert stack.inside("code-server", "test", "-e", "/storage/later")[0]
    assert not lost(before, wait_for(stack.state, 60))


@pytest.mark.container
def test_troubleshoot_shows_each_service_and_asks_the_doctor(stack: Stack) -> None:
    outputs = [""]

    def is_well() -> bool:
        code, output = stack.run("make", "--no-print-directory", "troubleshoot", f"PROJECT={stack.project}")
        outputs.append(output)
        return code == 0

    # A run that was under way when the backup was made has no process now, until lost_run_sensor ends it.
    wait_for(is_well, 120, lambda: outputs[-1])
    for service in SERVICES:
        assert f"== {service}: running" in outputs[-1], outputs[-1]
    assert "NOT HEALTHY" not in outputs[-1]
    assert "Nothing is wrong." in outputs[-1]


@pytest.mark.container
def test_no_secret_was_logged(stack: Stack) -> None:
    secrets = [value for value in stack.secrets.values() if len(value) > 8]
    for service in SERVICES:
        log_lines = stack.logs(service)
        assert log_lines
        assert not [secret for secret in secrets if secret in log_lines], service


# --- a sample without containers -------------------------------------------------------------------------------

# `exec` runs the command here; services have one container each, of their name.
ENGINE = """#!/bin/sh
case "$1" in
ps) for word in "$@"; do case $word in *service=*) echo "${word##*=}" ;; esac; done ;;
inspect) cat "$(dirname "$0")/$2.json" ;;
exec) shift 3; exec "$@" ;;
logs) echo "a line" ;;
esac
"""
ANSWERS = {
    "/health": {"version": 3},
    "/graphql": {"data": {"runsOrError": {"results": [{"runId": "r", "jobName": "j", "status": "SUCCESS"}]}}},
    "/api/2.0/mlflow/model-versions/search": {"model_versions": [{"version": "3"}]},
    "/api/2.0/mlflow/registered-models/get": {
        "registered_model": {"aliases": [{"alias": "production", "version": "3"}]}
    },
}


@pytest.fixture
def imitation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A copy of the project whose engine is a script, and whose services are one server with prepared answers."""
    copy_project(tmp_path)
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE, encoding="utf-8")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{engine.parent}:{os.environ['PATH']}")

    class Services(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            decided = {"predictions": [{"pd": 0.1, "decision_id": uuid.uuid4().hex}]}
            body = json.dumps({**ANSWERS, "/invocations": decided}[self.path.partition("?")[0]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with serving(server := ThreadingHTTPServer(("127.0.0.1", 0), Services)):
        ports = dict.fromkeys(("webserver", "mlflow", "scoring"), server.server_port)
        yield Stack(tmp_path, "imitation", ports)


@pytest.mark.integration
def test_the_scoring_image_is_given_all_modules_that_it_imports(tmp_path: Path) -> None:
    dockerfile = (PROJECT_FOLDER / "docker" / "scoring.Dockerfile").read_text(encoding="utf-8")
    copies = re.findall(r"^COPY (loan_default/\S+) /opt/scoring/(\S+)$", dockerfile, re.M)
    assert len(copies) > 5
    (tmp_path / "loan_default").mkdir()
    for pattern, target in copies:
        for source in PROJECT_FOLDER.glob(pattern):
            folder = tmp_path / target
            shutil.copytree(source, folder) if source.is_dir() else shutil.copy(source, folder)
    (tmp_path / "dagster.py").write_text("raise ImportError('Dagster is not in the image')", encoding="utf-8")
    # Of an editable installation the finder would find here what is not copied.
    begin = "import runpy, sys; sys.meta_path = [it for it in sys.meta_path if 'Editable' not in str(it)]"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{begin}; runpy.run_path({str(PROJECT_FOLDER / 'docker' / 'scoring.py')!r})"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
def test_secrets_and_the_engine_are_the_makefiles(imitation: Stack) -> None:
    imitation.make("secrets")
    assert {"LOAN_DEFAULT_API_TOKENS", "MLFLOW_AUTH_ADMIN_PASSWORD"} < imitation.secrets.keys()
    assert all(imitation.secrets.values())
    assert imitation.engine == "docker"


@pytest.mark.integration
def test_health_is_what_the_engine_says_and_the_services_own_check(imitation: Stack) -> None:
    def trouble(status: str, check: str) -> str:
        state = {"State": {"Status": status}, "Config": {"Healthcheck": {"Test": ["CMD-SHELL", check]}}}
        (imitation.folder / "bin" / "mlflow.json").write_text(json.dumps([state]), encoding="utf-8")
        return imitation.trouble("mlflow")

    assert trouble("exited", "true") == "exited"
    assert trouble("running", "echo no answer; exit 1") == "no answer"
    with pytest.raises(AssertionError, match=r"mlflow is not healthy: no answer\n\s*a line"):
        imitation.wait_until_healthy("mlflow", seconds=0)
    assert trouble("running", "true") == ""
    imitation.wait_until_healthy("mlflow")


@pytest.mark.integration
def test_what_must_outlive_a_death_is_read_and_compared(imitation: Stack) -> None:
    imitation.make("secrets")
    before = imitation.state()
    assert (before["runs"], before["versions"], before["aliases"]) == ({"r"}, {"3"}, {("production", "3")})
    assert imitation.serves(3)
    assert not lost(before, imitation.state())
    assert lost(before, {**before, "runs": set()}) == {"runs": {"r"}}
    with answering(imitation) as failures:
        time.sleep(0.3)
    assert failures == []
