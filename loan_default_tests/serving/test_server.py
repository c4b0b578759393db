"""The real server: a process on loopback, a real registry, versions that are promoted while it answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pytest

from loan_default.adapters.tracking import PRODUCTION, STAGING, Tracking
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ServingPolicy
from loan_default.risk.reviewed_file import CONF
from loan_default.serving.server import ServerConfig
from loan_default_tests.packages import applications
from loan_default_tests.serving.test_registry_client import gone, helper_of, helpers
from loan_default_tests.stores import free_port, log_model, new_run, new_tracking
from loan_default_tests.traces import receiver
from loan_default_tests.waiting import within

pytestmark = pytest.mark.integration

# A worker in a process of its own: the seconds of a thread's turn, and pages that the system gives to work done again.
WORKER = """
import json, resource, sys
from pathlib import Path
import numpy as np
from loan_default.adapters.tracking import Tracking
from loan_default.risk.policy import ServingPolicy
from loan_default.serving.server import ServerConfig, WorkerComponents

home, policy = Path(sys.argv[1]), ServingPolicy(challenger_share=0, shadow_share=0)
WorkerComponents(ServerConfig("127.0.0.1", 1, 1, home, home, "", Tracking("", ""), policy, 1), registry=object())

def work():
    return [np.ones(1_000_000 // 8) for _ in range(8)] and resource.getrusage(resource.RUSAGE_SELF).ru_minflt

work()
print(json.dumps([sys.getswitchinterval(), -work() + work()]))
"""
# A server whose worker fails as it starts: there is nothing that asks a registry.
BROKEN = """
import socket, sys
from pathlib import Path
from loan_default.adapters.tracking import Tracking
from loan_default.risk.policy import ServingPolicy
from loan_default.serving.server import ServerConfig, serve

home, policy = Path(sys.argv[1]), ServingPolicy(challenger_share=0, shadow_share=0)
config = ServerConfig("127.0.0.1", 1, 1, home, home, str(home), Tracking("", ""), policy, 1)
serve(config, socket.create_server(("127.0.0.1", 0)), registry=object())
"""
SAMPLE = Path(__file__).parents[2] / "data" / "sample_input.json"


@dataclass
class Running:
    """A scoring server's process."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx.Client  # each that is made reads the certificates, which takes longer than an answer

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.client.get("/health").json()
        return health

    def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(httpx.TransportError):
                if true(health := self.health()):
                    return health
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def score(self, body: Any, **headers: str) -> httpx.Response:
        return self.client.post("/invocations", json=body, headers=headers)


@contextmanager
def running(tracking: Tracking, home: Path, *arguments: str, poll: float = 0.3, **env: str) -> Iterator[Running]:
    port, log = free_port(), home / "out.log"
    home.mkdir(exist_ok=True)
    serve = [sys.executable, "-m", "loan_default.cli", "serve", "--port", str(port), "--poll", str(poll)]
    environment = {**os.environ, "LOAN_DEFAULT_HOME": str(home), "MLFLOW_TRACKING_URI": tracking.tracking_uri, **env}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*serve, *arguments], env=environment, stdout=output, stderr=output, cwd=home, start_new_session=True
        )
    # Workers answer in turn only where connections are not kept.
    url, limits = f"http://127.0.0.1:{port}", httpx.Limits(max_keepalive_connections=0)
    try:
        with httpx.Client(base_url=url, timeout=30, limits=limits) as client:
            yield Running(url, home, process, log, client)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)


def descendants(pid: int) -> set[int]:
    """List every process below this one."""
    children = {
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    }
    return children.union(*map(descendants, children))


def mapped(pid: int) -> str:
    """Return what the system says of the files that the process has loaded."""
    return Path(f"/proc/{pid}/maps").read_text()


def promoted(tracking: Tracking, kind: str = "xgboost") -> int:
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_model(tracking, run_id, kind), {}).version
    tracking.promote(version, {})
    return version


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return new_tracking(tmp_path_factory.mktemp("registry") / "store")


@pytest.fixture(scope="module")
def versions(tracking: Tracking) -> Sequence[int]:
    return [promoted(tracking), promoted(tracking, "logistic_regression")]


@pytest.fixture(scope="module")
def started(tracking: Tracking, versions: Sequence[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server of this file, started by the first test that takes it."""
    tracking.move_alias(PRODUCTION, versions[0])
    with running(tracking, tmp_path_factory.mktemp("server") / "home") as server:
        yield server


@pytest.fixture
def server(started: Running, tracking: Tracking, versions: Sequence[int]) -> Running:
    """A server at the first version."""
    tracking.move_alias(PRODUCTION, versions[0])
    started.until(lambda health: health["version"] == versions[0])
    return started


def test_it_becomes_ready_when_a_version_is_promoted_and_outlives_its_registry(tmp_path: Path) -> None:
    tracking = new_tracking(tmp_path / "store")
    body = {"dataframe_records": applications()[0][:1]}
    with running(tracking, tmp_path / "home", "--workers", "2") as started:
        health = started.until(lambda health: health["trouble"] is not None)
        assert (health["status"], health["version"]) == ("not ready", None)
        assert started.client.get("/ping").status_code == 200
        assert started.score({"dataframe_records": [{}]}).status_code == 503
        version = promoted(tracking)
        assert within(60, lambda: started.score(body).status_code == 200)
        # one of the workers may not be ready yet
        assert {started.score(body).status_code for _ in range(20)} == {200}
        health = started.until(lambda health: health["version"] == version and health["trouble"] is None)
        assert health["status"] == "ready"
        os.kill(health["pid"], signal.SIGKILL)
        assert within(10, partial(gone, health["pid"]))
        answers, again = set[int](), set[int]()
        while len(again) < 2:  # until the one that replaces it answers too
            answers.add(started.score(body).status_code)
            again.add(started.health()["pid"])
        assert answers == {200}
        (tmp_path / "store" / "mlflow.db").write_bytes(b"no database any more, " * 100)
        health = started.until(lambda health: health["trouble"] is not None)
        assert (health["status"], health["version"]) == ("ready", version)
        answer = started.score(body)
        assert (answer.status_code, answer.headers["x-model-version"]) == (200, str(version))
        below = descendants(started.process.pid)
        started.process.kill()
        assert within(20, lambda: all(map(gone, below))), "nobody would replace a worker"


@pytest.mark.long
def test_where_uvloop_is_not_installed_asyncio_serves(
    server: Running, tracking: Tracking, versions: Sequence[int], tmp_path: Path
) -> None:
    assert "/uvloop/" in mapped(server.process.pid)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text("raise ImportError\n")  # as on Windows
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    with running(tracking, tmp_path / "other", PYTHONPATH=path) as started:
        started.until(lambda health: health["version"] == versions[0])
        assert "/uvloop/" not in mapped(started.process.pid)
        assert started.score(json.loads(SAMPLE.read_text())).status_code == 200


def test_it_answers_as_the_registered_model_does_under_mlflow(
    server: Running, tracking: Tracking, versions: Sequence[int]
) -> None:
    sent, _ = applications()
    ours = server.score({"dataframe_records": sent}).json()["predictions"]
    with tracking.as_default():
        import mlflow

        model = mlflow.pyfunc.load_model(f"models:/{tracking.model_name}/{versions[0]}")
        theirs = model.predict(pd.DataFrame(sent))
    assert [prediction["pd"] for prediction in ours] == pytest.approx(
        [prediction["pd"] for prediction in theirs], abs=1e-6
    )
    for name in ("score", "decision", "reasons"):
        assert [prediction[name] for prediction in ours] == [prediction[name] for prediction in theirs]


def test_versions_are_swapped_under_load_without_a_failed_request(
    server: Running, tracking: Tracking, versions: Sequence[int]
) -> None:
    body = json.dumps({"dataframe_records": applications()[0][:1]})
    kind = {"content-type": "application/json"}
    responses: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            while not stop.is_set():
                answer = client.post(f"{server.url}/invocations", content=body, headers=kind)
                responses.append((answer.status_code, answer.headers.get("x-model-version", "")))

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for version in (versions[1], versions[0], versions[1]):
            tracking.move_alias(PRODUCTION, version)
            health = server.client.post("/admin/reload")
            assert (health.status_code, health.json()["version"]) == (200, version)
    finally:
        stop.set()
        for thread in asking:
            thread.join()
    assert {status for status, _ in responses} == {200}
    assert {version for _, version in responses} == {str(version) for version in versions}


def test_every_worker_swaps_and_the_counts_are_those_of_all(
    tracking: Tracking, versions: Sequence[int], tmp_path: Path
) -> None:
    again = promoted(tracking)  # of the same kind: another's library takes each worker seconds
    tracking.move_alias(PRODUCTION, versions[0])
    with running(tracking, tmp_path / "home", "--workers", "2", poll=1000) as started:

        def all_at(version: int) -> None:
            agreed: set[int] = set()

            def agree(health: dict[str, Any]) -> bool:
                agreed.add(health["pid"]) if health["version"] == version else agreed.discard(health["pid"])
                return len(agreed) == 2

            started.until(agree)

        all_at(versions[0])
        for _ in range(20):
            assert started.score({"dataframe_records": applications()[0][:1]}).status_code == 200
        counted = f'loan_default_rows_total{{version="{versions[0]}"}} 20.0'  # a moment after the answer
        assert within(10, lambda: counted in started.client.get("/metrics").text)
        tracking.move_alias(PRODUCTION, again)
        started.client.post("/admin/reload")
        all_at(again)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=40) == 0


@pytest.mark.long
def test_a_worker_that_does_not_get_on_for_some_seconds_is_not_replaced(
    tracking: Tracking, versions: Sequence[int], tmp_path: Path
) -> None:
    """As one that starts on a machine with much to do."""
    tracking.move_alias(PRODUCTION, versions[0])
    with running(tracking, tmp_path / "home", "--workers", "2") as started:
        started.until(lambda health: health["version"] == versions[0])
        worker = started.health()["pid"]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(8)
        os.kill(worker, signal.SIGCONT)
        time.sleep(1)
        assert worker in descendants(started.process.pid)
        assert not gone(worker)


def test_a_trace_goes_from_the_caller_through_answer_and_logs_to_the_receiver(
    tracking: Tracking, versions: Sequence[int], tmp_path: Path
) -> None:
    tracking.move_alias(PRODUCTION, versions[0])
    trace, home = "0af7651916cd43dd8448eb211c80319c", tmp_path / "home"
    with (
        receiver() as received,
        running(tracking, home, OTEL_EXPORTER_OTLP_ENDPOINT=received.url) as started,
    ):
        started.until(lambda health: health["version"] == versions[0])
        body = {"dataframe_records": [{**applications()[0][0], "id": "loan-1"}]}
        answer = started.score(body, traceparent=f"00-{trace}-b7ad6b7169203331-01")
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=40) == 0
    spans = [span for span in received.spans if span.trace_id == trace]
    (root,) = [span for span in spans if span.name == "POST /invocations"]
    assert (root.service, root.parent_id) == ("loan-default-scoring", "b7ad6b7169203331")
    assert answer.headers["traceresponse"] == f"00-{trace}-{root.span_id}-01"
    steps = sorted((span for span in spans if span is not root), key=lambda span: span.began)
    assert [span.name for span in steps] == ["read", "score", "explain", "log"]
    assert {span.parent_id for span in steps} == {root.span_id}
    lines = [json.loads(line) for line in started.log.read_text().splitlines() if line.startswith("{")]
    assert {line["trace_id"] for line in lines if line["path"] == "/invocations"} == {trace}
    rows = pl.read_parquet([*home.rglob("prediction_log/**/*.parquet")])
    assert rows["trace_id"].to_list() == [trace]


def logged_in(home: Path, column: str = "decision_id") -> list[str]:
    """Return a column of the log's files, by default the ids of all decisions."""
    files = [*(home / "storage" / "prediction_log").rglob("*.parquet")]
    return [value for file in files for value in pl.read_parquet(file)[column]]


@pytest.mark.parametrize(
    ("fsync", "lost_seconds", "keys"),
    [
        pytest.param("decision", 0.0, False, marks=pytest.mark.long),
        ("second", 1.0, False),
        pytest.param("second", 0.0, True, marks=pytest.mark.long),
    ],
)
def test_what_was_answered_before_a_kill_is_in_the_log(
    tracking: Tracking, versions: Sequence[int], tmp_path: Path, fsync: str, lost_seconds: float, keys: bool
) -> None:
    tracking.move_alias(PRODUCTION, versions[0])
    application, home = applications()[0][0], tmp_path / "home"
    answered: list[tuple[float, str]] = []
    sent: dict[str, Any] = {}  # bodies by their keys
    decided: dict[str, str] = {}
    killed = threading.Event()

    def ask(number: int, url: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as client, suppress(httpx.TransportError):
            for turn in range(100_000):
                body = {"inputs": [{**application, "id": f"{number}-{turn}"}], "params": {"output": "pd"}}
                key = f"{number}-{turn}"
                sent[key] = body
                headers = {"idempotency-key": key} if keys else {}
                answer = client.post("/invocations", json=body, headers=headers)
                if answer.status_code == 200:
                    decided[key] = answer.headers["x-decision-id"]
                    answered.append((time.monotonic(), decided[key]))
                if killed.is_set():
                    return

    with running(tracking, home, "--workers", "2", LOAN_DEFAULT_LOG_FSYNC=fsync) as started:
        started.until(lambda health: health["version"] == versions[0])
        asking = [threading.Thread(target=ask, args=(number, started.url)) for number in range(6)]
        for thread in asking:
            thread.start()
        assert within(60, lambda: len(answered) > 300)
        time.sleep(1.5)
        workers = descendants(started.process.pid)
        os.killpg(started.process.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        killed.set()
        for thread in asking:
            thread.join()
        assert within(10, lambda: all(map(gone, workers)))
    durable = {decision_id for moment, decision_id in answered if moment <= killed_at - lost_seconds}
    assert len(durable) > 50
    with running(tracking, home, LOAN_DEFAULT_LOG_FSYNC=fsync) as again:
        again.until(lambda health: health["version"] == versions[0])
        assert within(30, lambda: not durable - {*logged_in(home)})
        for key in [*sent][-60:] if keys else ():  # answered or not
            answer = again.score(sent[key], **{"idempotency-key": key})
            assert answer.headers["x-decision-id"] == decided.get(key, answer.headers["x-decision-id"])
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(timeout=40) == 0
    for column in ("decision_id", "id") if keys else ("decision_id",):
        logged = logged_in(home, column)
        assert len(logged) == len({*logged}), "none stands there twice"


def test_a_challenger_answers_for_its_share_and_the_rest_is_scored_by_it_unseen(
    tracking: Tracking, versions: Sequence[int], tmp_path: Path
) -> None:
    tracking.move_alias(PRODUCTION, versions[0])
    tracking.move_alias(STAGING, versions[1])
    policy = tmp_path / "policy.yaml"
    shared = (CONF / "policy.yaml").read_text().replace("challenger_share: 0.0", "challenger_share: 0.5")
    policy.write_text(shared.replace("shadow_share: 0.0", "shadow_share: 1.0"))
    sent = [{**applications()[0][0], "id": f"loan-{number}"} for number in range(40)]
    with running(tracking, tmp_path / "home", LOAN_DEFAULT_POLICY=str(policy)) as started:

        def score_each() -> dict[str, tuple[int, float]]:
            """Score each application by itself; return the version and PD by loan."""
            responses = [started.score({"inputs": [application], "params": {"output": "pd"}}) for application in sent]
            scores = [(int(answer.headers["x-model-version"]), answer.json()["predictions"][0]) for answer in responses]
            return dict(zip((application["id"] for application in sent), scores, strict=True))

        started.until(lambda health: health["version"] == versions[0])
        # the challenger is loaded after the version in production
        started.until(lambda _: {version for version, _ in score_each().values()} == set(versions))
        answers = score_each()
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=40) == 0
    by = {version: sum(answer[0] == version for answer in answers.values()) for version in versions}
    assert min(by.values()) > 8
    logged = pl.read_parquet([*(tmp_path / "home").rglob("prediction_log/**/*.parquet")]).tail(len(sent))
    for loan_id, version, pd_given, shadow in logged.select("id", "model_version", "pd", "shadow_version").iter_rows():
        assert answers[loan_id] == (version, pd_given)
        assert shadow == (versions[1] if version == versions[0] else None)
    challenged = {loan_id: logged.filter(pl.col("id") == loan_id)["shadow_pd"][0] for loan_id in answers}
    (pd_of_challenger,) = {pd_given for version, pd_given in answers.values() if version == versions[1]}
    assert {value for value in challenged.values() if value is not None} == {pd_of_challenger}


def test_only_a_helper_imports_mlflow_and_its_death_is_survived(server: Running, versions: Sequence[int]) -> None:
    worker = server.process.pid
    helper = helper_of(worker)
    assert "/sqlalchemy/" in mapped(helper)
    assert "/sqlalchemy/" not in mapped(worker), "MLflow brings it along"
    os.kill(helper, signal.SIGKILL)
    assert server.score({"dataframe_records": applications()[0][:1]}).status_code == 200
    server.until(lambda health: bool(helpers(worker) - {helper}) and health["trouble"] is None)
    assert server.health()["version"] == versions[0]


def test_the_sample_is_answered_and_kept_and_sigterm_is_no_failure(server: Running, tracking: Tracking) -> None:
    answer = server.score(json.loads(SAMPLE.read_text()))
    decisions = [prediction["decision"] for prediction in answer.json()["predictions"]]
    assert len(decisions) == 2
    first, second = (prediction["decision_id"] for prediction in answer.json()["predictions"])
    assert answer.headers["x-decision-id"] == first
    record = server.client.get(f"/decisions/{first}").json()
    assert (record["row"]["id"], record["verdict"]) == ("A-1001", "same"), record
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=40) == 0
    rows = pl.concat(map(pl.read_parquet, (server.home / "storage" / "prediction_log").rglob("*.parquet")))
    rows = rows.filter(pl.col("id").is_not_null())
    assert rows["decision"].to_list() == decisions
    assert rows["id"].to_list() == ["A-1001", "A-1002"]
    assert rows["decision_id"].to_list() == [first, second]
    environment = {
        **os.environ,
        **{"LOAN_DEFAULT_HOME": str(server.home), "MLFLOW_TRACKING_URI": tracking.tracking_uri},
    }
    command = [sys.executable, "-m", "loan_default.cli", "decision", second]
    done = subprocess.run(command, env=environment, cwd=server.home, capture_output=True, text=True, check=True)
    assert "A-1002" in done.stdout
    assert "says the same to the bit." in done.stdout
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["request_id"] == answer.headers["x-request-id"]]
    assert (line["path"], line["status"], line["rows"]) == ("/invocations", 200, 2)


@pytest.mark.parametrize(
    ("workers", "stops"),
    [("1", (signal.SIGTERM,)), pytest.param("2", (signal.SIGINT,) * 40, marks=pytest.mark.long)],
    ids=["stop", "impatience"],
)
def test_a_registry_that_never_answers_does_not_keep_it_from_stopping(
    tmp_path: Path, stops: Sequence[signal.Signals], workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracking = Tracking(f"http://127.0.0.1:{silent.getsockname()[1]}", "")
        with running(tracking, tmp_path / "home", "--workers", workers) as started:
            silent.accept()
            started.until(lambda health: health["status"] == "not ready")
            below = descendants(started.process.pid)
            began = time.monotonic()
            for stop in stops:
                if started.process.poll() is None:
                    os.killpg(started.process.pid, stop)  # as a terminal does
                    time.sleep(0.05)
            assert started.process.wait(timeout=40) == 0
            assert time.monotonic() - began < 20  # it waits for requests as long as 30
            assert within(20, lambda: all(map(gone, below)))
        assert "Traceback" not in started.log.read_text()


def test_what_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BROKEN, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert "AttributeError: 'object' object has no attribute 'version_of'" in ended.stderr


def test_another_address_asks_for_tokens(tracking: Tracking, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loan_default.cli", "serve", "--host", "0.0.0.0", "--port", str(free_port())]
    env = {**os.environ, "LOAN_DEFAULT_HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "0.0.0.0 can be reached by other machines; set LOAN_DEFAULT_API_TOKENS" in done.stderr


def test_tokens_are_shown_nowhere(tmp_path: Path) -> None:
    config = ServerConfig(
        host="192.0.2.1",
        port=1,
        workers=1,
        home=tmp_path,
        models=tmp_path,
        storage="",
        tracking=Tracking("", ""),
        policy=ServingPolicy(challenger_share=0, shadow_share=0),
        seconds=1,
        tokens={"hidden-one": "web"},
        admin_tokens={"hidden-two": "risk"},
    )
    assert "hidden" not in repr(config)
    with pytest.raises(BadInput, match="can be reached by other machines"):
        ServerConfig(**{**vars(config), "admin_tokens": {}})


def test_a_worker_keeps_its_memory_and_takes_short_turns(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WORKER, str(tmp_path)], capture_output=True, text=True, check=True)
    turn_seconds, faults = json.loads(done.stdout)
    assert turn_seconds < 0.001  # 0.005 by default
    assert faults < 100  # 2,000 where each array is new to the system
