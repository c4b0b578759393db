"""What one caller does costs another nothing: the real server, in a process of its own, attacked by its sockets."""

import asyncio
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import IO, Any

import httpx
import polars as pl
import pytest

from loan_default.adapters.tracking import PRODUCTION, Tracking
from loan_default_tests.packages import applications
from loan_default_tests.serving.test_registry_client import helper_of
from loan_default_tests.serving.test_server import promoted
from loan_default_tests.stores import free_port, new_tracking
from loan_default_tests.waiting import within

pytestmark = pytest.mark.integration

KIND = {"content-type": "application/json"}
ONE = {name: value for name, value in applications()[0][0].items() if value is not None}
BODY = json.dumps({"dataframe_records": [{**ONE, "id": "GOOD-1"}]}).encode()


def as_csv(application: dict[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(application))
    writer.writeheader()
    writer.writerow(application)
    return text.getvalue().rstrip().encode()


def post(body: bytes, *lines: bytes, kind: bytes = b"application/json", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = [b"POST /invocations HTTP/1.1", b"Host: localhost", b"Content-Type: " + kind, b"Content-Length: %d" % size]
    return b"\r\n".join([*head, *lines, b"", body])


@dataclass
class Server:
    """A scoring server's process, and a client that means well."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    client: httpx.Client

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def send(self, data: bytes) -> bytes:
        """Send bytes over a connection of their own; return the first part of the answer, or nothing."""
        with self.connect() as connection, suppress(ConnectionError):
            connection.sendall(data)
            return connection.recv(65_536)
        return b""

    def score(self) -> int:
        return self.client.post("/invocations", content=BODY, headers=KIND).status_code

    def score_csv(self) -> int:
        return self.client.post("/invocations", content=as_csv(ONE), headers={"content-type": "text/csv"}).status_code

    def count(self, counter: str) -> float:
        """Return what a counter of `/metrics` stands at."""
        lines = self.client.get("/metrics").text.splitlines()
        (value,) = [float(line.split()[1]) for line in lines if line.startswith(f"{counter} ")]
        return value

    @property
    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def logged(self) -> pl.DataFrame:
        files = [*(self.home / "storage" / "prediction_log").rglob("*.parquet")]
        return pl.concat(map(pl.read_parquet, files)) if files else pl.DataFrame({"id": []})


@contextmanager
def serving(
    tracking: Tracking,
    home: Path,
    *arguments: str,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    files: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Serve as a user does, until a version answers; with at most so many open files."""
    port = free_port()
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "loan_default.cli", "serve", "--port", str(port), "--poll", "0.5", *arguments]
    environment = {**os.environ, "LOAN_DEFAULT_HOME": str(home), "MLFLOW_TRACKING_URI": tracking.tracking_uri}
    environment |= variables or {}

    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    with ExitStack() as stack:
        log = stack.enter_context((home / "out.log").open("wb"))
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log if stdout is None else stdout,
            stderr=log if stderr is None else stderr,
            cwd=home,
            start_new_session=True,
        )
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20))
        server = Server(process, port, home, client)
        try:

            def ready() -> bool:
                with suppress(httpx.TransportError):
                    return client.get("/health").status_code == 200
                return False

            assert within(60, ready), (home / "out.log").read_text()
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=40)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    tracking = new_tracking(tmp_path_factory.mktemp("registry") / "store")
    tracking.move_alias(PRODUCTION, promoted(tracking))
    return tracking


@pytest.fixture(scope="module")
def server(tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that outlives each attack on it."""
    with serving(tracking, tmp_path_factory.mktemp("server") / "home") as server:
        yield server


# --- what every client may do


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0, HTTP/2.0"])
def test_an_offer_to_upgrade_does_not_lose_the_body(server: Server, offer: str) -> None:
    lines = b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer.encode(), b"HTTP2-Settings: AAEAAEAA"
    assert server.send(post(BODY, *lines)).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_that_would_rather_speak_http_2_is_answered(server: Server) -> None:
    url, kind = f"http://localhost:{server.port}/invocations", "Content-Type: application/json"
    command = ["curl", "-s", "-w", " %{http_code}", "--http2", url, "-H", kind, "--data-binary", "@-"]
    done = subprocess.run(command, input=BODY, capture_output=True, timeout=60, check=True)
    assert done.stdout.endswith(b" 200"), done.stdout


JAVA = """
import java.net.URI;
import java.net.http.*;

public class Score {
  public static void main(String[] a) throws Exception {
    var old = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    for (var client : new HttpClient[] {HttpClient.newHttpClient(), old})
      for (int i = 0; i < 3; i++) {
        var request = HttpRequest.newBuilder(URI.create(a[0])).header("Content-Type", "application/json")
          .POST(HttpRequest.BodyPublishers.ofString(a[1])).build();
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
      }
  }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_javas_own_client_is_answered(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Score.java").write_text(JAVA)
    command = ["java", str(tmp_path / "Score.java"), f"http://127.0.0.1:{server.port}/invocations", BODY.decode()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["200"] * 6


def test_head_is_answered_without_a_body(server: Server) -> None:
    for path in ("/ping", "/health", "/version", "/metrics"):
        answer = server.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert server.client.head("/invocations").status_code == 405


def test_a_token_counts_with_its_scheme_in_any_case_and_never_from_a_trailer(
    tracking: Tracking, tmp_path: Path
) -> None:
    tokens = {"LOAN_DEFAULT_API_TOKENS": "branch:one,two", "LOAN_DEFAULT_ADMIN_TOKENS": "risk:chief"}
    with serving(tracking, tmp_path / "home", variables=tokens) as server:
        statuses = {"Bearer one": 200, "bearer two": 200, "BEARER one": 200, "one": 401, "Basic one": 401, "": 401}
        for authorization, status in statuses.items():
            headers = {**KIND, "authorization": authorization}
            answer = server.client.post("/invocations", content=BODY, headers=headers)
            assert (authorization, answer.status_code) == (authorization, status)
            assert ("www-authenticate" in answer.headers) == (status == 401)
        chunked = b"Host: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n"
        trailer = b"Authorization: Bearer one\r\nX-Request-Id: from-trailer\r\n\r\n"
        refused = server.send(b"POST /invocations HTTP/1.1\r\n" + chunked % (len(BODY), BODY) + trailer)
        assert refused.startswith(b"HTTP/1.1 401")
        assert b"from-trailer" not in refused


def test_tokens_that_let_nobody_in_are_refused_at_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loan_default.cli", "serve", "--port", str(free_port())]
    environment = {**os.environ, "LOAN_DEFAULT_HOME": str(tmp_path), "LOAN_DEFAULT_API_TOKENS": ","}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "LOAN_DEFAULT_API_TOKENS is set and holds no token" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example:5001"}, {"origin": "https://evil.example"}, {"origin": "null"}]
)
def test_a_page_of_the_web_can_neither_reload_nor_score(server: Server, headers: dict[str, str]) -> None:
    assert server.client.post("/invocations", content=BODY, headers={**KIND, **headers}).status_code == 403
    assert server.client.post("/admin/reload", content=b"x", headers=headers).status_code == 403
    assert server.client.get("/health", headers=headers).status_code == 403
    assert server.client.post("/admin/reload", headers={"origin": "http://localhost:3000"}).status_code == 200


def test_what_is_no_http_is_counted_and_logged_with_its_client(server: Server) -> None:
    name = "loan_default_malformed_requests_total"
    before = server.count(name)
    assert server.send(b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert within(5, lambda: server.count(name) == before + 1)

    def refused() -> list[tuple[int, str]]:
        lines = (server.home / "out.log").read_text().splitlines()
        logged = map(json.loads, filter(lambda line: line.startswith("{"), lines))
        return [(line["status"], line["client"]) for line in logged if not line["path"]]

    assert within(5, lambda: refused()[-1:] == [(400, "127.0.0.1")]), "a thread writes it"


# --- bodies and heads that never come


def test_a_body_that_broke_off_is_never_scored(tracking: Tracking, tmp_path: Path) -> None:
    body = as_csv(
        {**{name: value for name, value in ONE.items() if name != "loan_amnt"}, "id": "TRUNC", "loan_amnt": 24_000}
    )
    with serving(tracking, tmp_path / "home") as server:
        with server.connect() as connection:
            connection.sendall(post(body[:-1], kind=b"text/csv", length=len(body)))
            time.sleep(0.3)
        assert server.score() == 200
        assert server.stop() == 0
        assert server.logged()["id"].to_list() == ["GOOD-1"]


def test_bodies_that_never_come_take_nobodys_place(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(64):
            connection = stack.enter_context(server.connect())
            connection.sendall(post(b"", length=500))
        assert [server.score_csv() for _ in range(4)] == [200] * 4
        with server.connect() as two_segments:
            two_segments.sendall(post(BODY)[:-10])
            time.sleep(0.1)
            two_segments.sendall(BODY[-10:])
            assert two_segments.recv(100).startswith(b"HTTP/1.1 200")


def test_a_head_and_a_body_have_their_time(server: Server) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(2)]
        silent[0].sendall(b"POST /invocations HTTP/1.1\r\nHost: lo")
        silent[1].sendall(post(b"{", length=500))
        for connection in silent:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_heads_without_an_end_take_no_memory(server: Server) -> None:
    """100 connections would send 6 MB of header lines each."""
    assert server.score() == 200
    before = server.memory_mb

    def send(_: int) -> bytes:
        with server.connect() as connection, suppress(ConnectionError, TimeoutError):
            connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\n")
            for number in range(6_000):
                connection.sendall(b"X-%d: " % number + b"x" * 990 + b"\r\n")
            return connection.recv(100)
        return b""

    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(send, range(100))]
    assert all(answer.startswith(b"HTTP/1.1 431") for answer in answers if answer)
    assert server.memory_mb < before + 40
    assert server.score() == 200


def test_idle_connections_lock_nobody_out(tracking: Tracking, tmp_path: Path) -> None:
    with serving(tracking, tmp_path / "home", files=256) as server, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(server.connect())
        for _ in range(20):
            with httpx.Client(base_url=server.client.base_url, timeout=5) as client:
                assert client.post("/invocations", content=BODY, headers=KIND).status_code == 200
        assert within(5, lambda: "the oldest idle one is closed" in (server.home / "out.log").read_text())


# --- logs that block or fail


def test_a_full_disk_under_the_access_log_loses_no_decision(tracking: Tracking, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, serving(tracking, tmp_path / "home", stdout=full) as server:
        assert [server.score() for _ in range(30)] == [200] * 30
        assert within(5, lambda: server.count("loan_default_access_log_dropped_lines_total") >= 30)
        assert server.stop() == 0
        assert len(server.logged()) == 30


@pytest.mark.long
def test_a_pipe_that_nobody_reads_blocks_nothing(tracking: Tracking, tmp_path: Path) -> None:
    end, full = os.pipe()
    try:
        with serving(tracking, tmp_path / "home", stdout=full, stderr=full) as server:
            for _ in range(2_000):  # 300 kB of lines
                assert server.client.get("/ping").status_code == 200
            for _ in range(200):
                assert server.send(b"no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
            assert server.score() == 200
            assert server.stop() == 0
            assert server.logged()["id"].to_list() == ["GOOD-1"]
    finally:
        os.close(end)
        os.close(full)


# --- signals, the registry, workers


@pytest.fixture
def hangups() -> Iterator[None]:
    """Hand hangups on to processes that are started, also where this one is told to outlive its terminal (nohup)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_a_hangup_loses_no_decision_and_a_user_signal_is_harmless(
    tracking: Tracking, tmp_path: Path, workers: str
) -> None:
    with serving(tracking, tmp_path / "home", "--workers", workers) as server:
        while server.score() != 200:  # the other worker may be later
            time.sleep(0.1)
        os.killpg(server.process.pid, signal.SIGUSR1)
        os.killpg(server.process.pid, signal.SIGUSR2)
        time.sleep(0.3)
        assert server.score() == 200
        os.killpg(server.process.pid, signal.SIGHUP)  # as a terminal does that closes
        assert server.process.wait(timeout=40) == 0
        assert server.logged()["id"].to_list() == ["GOOD-1"] * 2


@pytest.mark.long
def test_reloads_against_a_registry_that_hangs_take_no_scoring_thread(tracking: Tracking, tmp_path: Path) -> None:
    with serving(tracking, tmp_path / "home") as server, ThreadPoolExecutor(12) as pool:
        helper = helper_of(server.process.pid)
        os.kill(helper, signal.SIGSTOP)
        try:
            url = f"{server.client.base_url}/admin/reload"
            reloads = [pool.submit(httpx.post, url, timeout=60) for _ in range(12)]
            time.sleep(1)
            assert [server.score_csv() for _ in range(4)] == [200] * 4
            assert within(20, lambda: "The registry has not answered for" in trouble(server))
            assert {reload.result().status_code for reload in reloads} == {503}
        finally:
            os.kill(helper, signal.SIGCONT)
        assert within(20, lambda: not trouble(server))


def trouble(server: Server) -> str:
    return server.client.get("/health").json()["trouble"] or ""


def test_a_worker_that_was_killed_leaves_no_gauge(tracking: Tracking, tmp_path: Path) -> None:
    with serving(tracking, tmp_path / "home", "--workers", "2") as server:

        def pid() -> int:
            with httpx.Client(base_url=server.client.base_url) as client:
                return int(client.get("/health").json()["pid"])

        def gauges(pid: int) -> Sequence[Path]:
            return [*Path(gettempdir()).glob(f"loan-default-metrics-*/gauge*_{pid}.db")]

        worker = pid()
        assert server.client.get("/metrics").status_code == 200
        assert within(10, lambda: bool(server.client.get("/metrics")) and bool(gauges(worker)))
        os.kill(worker, signal.SIGKILL)
        client = httpx.Client(base_url=server.client.base_url)

        def cleared() -> bool:
            with suppress(httpx.TransportError):
                client.get("/metrics")
            return not gauges(worker)

        assert within(20, cleared)


# --- many at once


@pytest.mark.parametrize(
    ("body", "kind"),
    [(BODY, "application/json"), pytest.param(as_csv(ONE), "text/csv", marks=pytest.mark.long)],
    ids=["json", "csv"],
)
def test_three_hundred_at_once_are_all_answered(server: Server, body: bytes, kind: str) -> None:
    async def ask(body: bytes, kind: str) -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=server.client.base_url, limits=limits, timeout=60) as client:
            headers = {"content-type": kind}
            asking = [client.post("/invocations", content=body, headers=headers) for _ in range(300)]
            return [answer.status_code for answer in await asyncio.gather(*asking)]

    assert asyncio.run(ask(body, kind)) == [200] * 300
