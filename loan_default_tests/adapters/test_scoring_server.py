"""The process of the scoring server, spoken with as it is: a small stand-in on loopback, in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loan_default.adapters.processes import is_alive
from loan_default.adapters.scoring_server import (
    OtherModel,
    ScoringServer,
    ServerError,
    Unreachable,
    record_process,
    recorded_url,
)
from loan_default_tests.stores import free_port, serving
from loan_default_tests.waiting import within

URL = "http://127.0.0.1:5002"

pytestmark = pytest.mark.integration

WAIT = 15.0
# Speaks as the scoring server does. The folder's file `version` is the alias; connections go to the workers in turn,
# a reload moves the worker that it reaches.
STAND_IN = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

mode, port, folder, workers = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
with (folder / "pids").open("a") as pids:
    pids.write(f"{os.getpid()}\\n")
print("starting", flush=True)
if mode == "dies":
    sys.exit("no version\\n  is in production\\n")
if mode == "silent":
    time.sleep(600)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "slow":
    time.sleep(0.5)

def alias():
    return json.loads((folder / "version").read_text())

versions, turn = [alias()] * workers, count()

class Worker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.index = next(turn) % workers if mode != "lopsided" else 0
        super().setup()

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Model-Version", str(versions[self.index]))
        self.end_headers()
        self.wfile.write(body)

    def health(self):
        version, trouble = versions[self.index], None if mode != "stuck" else "The canary failed."
        content = {"status": "ready" if version else "not ready", "model": "loan_default_model", "alias": "production"}
        content |= {"version": version, "pid": os.getpid() + self.index, "workers": workers}
        content |= {"trouble": trouble, "trees": ""}
        self.answer(200 if version and not trouble else 503, content)

    def do_GET(self):
        self.health() if self.path == "/health" else self.answer(200, "pong")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        if mode == "guarded" and self.headers["Authorization"] != "Bearer " + self.path.strip("/").split("/")[0]:
            self.answer(401, {"error_code": "UNAUTHENTICATED", "message": "No."})
        elif self.path == "/admin/reload":
            versions[self.index] = versions[self.index] if mode == "stuck" else alias()
            self.health()
        elif (split := request["dataframe_split"])["columns"] != ["loan_amnt", "grade"]:
            self.answer(400, {"error_code": "BAD_REQUEST", "message": "Row 0: grade is missing."})
        else:
            self.answer(200, {"predictions": [{"pd": row[0] / 1e6, "grade": row[1]} for row in split["data"]]})

    def log_message(self, *_): pass

ThreadingHTTPServer(("127.0.0.1", port), Worker).serve_forever()
"""


class Sandbox:
    """A folder with the stand-in, a free port, and every process that was started there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.server = ScoringServer(f"http://127.0.0.1:{self.port}", folder / "home")
        self.script = folder / "stand_in.py"
        self.script.write_text(STAND_IN)
        self.point_alias(3)

    def point_alias(self, version: int | None) -> None:
        (self.folder / "version").write_text("null" if version is None else str(version))

    def command(self, mode: str = "ready", workers: int = 1) -> Sequence[str]:
        return [sys.executable, str(self.script), mode, str(self.port), str(self.folder), str(workers)]

    def start(self, mode: str = "ready") -> int:
        return self.server.start(self.command(mode), wait=WAIT)

    @property
    def pids(self) -> list[int]:
        pids = self.folder / "pids"
        return [int(line) for line in pids.read_text().split()] if pids.exists() else []

    @property
    def record(self) -> Path:
        return self.server.home / "server.pid"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path)
    yield sandbox
    for pid in sandbox.pids:
        if is_alive(pid) and str(sandbox.script) in command_line(pid):
            os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


# --- start, stop, find ------------------------------------------------------------------------------------------


def test_a_server_is_started_asked_made_to_reload_and_stopped(sandbox: Sandbox) -> None:
    server = sandbox.server
    assert (server.health(), server.running_pid()) == (None, None)
    pid = sandbox.start()
    assert (server.running_pid(), sandbox.pids) == (pid, [pid])
    health = server.health()
    assert health
    assert (health.status, health.version, health.pid, health.workers) == ("ready", 3, pid, 1)
    assert (health.model, health.alias, health.trouble) == ("loan_default_model", "production", None)
    sandbox.point_alias(4)
    assert server.health() == health
    reloaded = server.reload()
    assert reloaded == server.health()
    assert reloaded.version == 4
    assert server.log.read_text() == "starting\n"
    assert server.stop(wait=WAIT) == pid
    assert (server.health(), server.running_pid(), sandbox.record.exists()) == (None, None, False)
    assert server.stop(wait=WAIT) is None


def test_a_server_without_a_version_is_unready_not_absent(sandbox: Sandbox) -> None:
    sandbox.point_alias(None)
    sandbox.start()
    health = sandbox.server.health()
    assert health
    assert (health.status, health.version, health.serves(3)) == ("not ready", None, False)


def test_a_second_start_finds_the_first(sandbox: Sandbox) -> None:
    first = sandbox.start()
    assert sandbox.start() == first
    assert sandbox.pids == [first]


def test_starts_at_once_start_one_server(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(4) as pool:
        pids = list(pool.map(lambda _: sandbox.start("slow"), range(4)))
    assert sandbox.pids == pids[:1]
    assert set(pids) == {*sandbox.pids}


def test_a_stop_waits_for_a_start(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(sandbox.start, "slow")
        assert within(5, lambda: bool(sandbox.pids))
        stopped = sandbox.server.stop(wait=WAIT)
        assert [stopped] == [starting.result()] == sandbox.pids


def test_a_server_outlives_the_process_that_started_it(sandbox: Sandbox) -> None:
    starter = "from pathlib import Path; from loan_default.adapters.scoring_server import ScoringServer\n"
    starter += f"home, url = Path({str(sandbox.server.home)!r}), {sandbox.server.url!r}\n"
    starter += f"ScoringServer(url, home).start({sandbox.command()!r}, wait={WAIT})"
    subprocess.run([sys.executable, "-c", starter], check=True, timeout=60, start_new_session=True)
    (pid,) = sandbox.pids
    assert sandbox.server.running_pid() == pid
    assert sandbox.server.health()
    assert os.getpgid(pid) == pid  # what is sent to the starter's group, Ctrl-C for one, does not reach it
    assert sandbox.server.stop(wait=WAIT) == pid


def test_a_server_that_was_killed_is_gone_at_once(sandbox: Sandbox) -> None:
    pid = sandbox.start()
    os.kill(pid, signal.SIGKILL)
    assert within(5, lambda: not is_alive(pid)), "it stays as a zombie of the process that started it"
    assert sandbox.server.running_pid() is None
    assert sandbox.record.exists()
    assert sandbox.start() == sandbox.pids[1] != pid


def test_a_server_that_ignores_a_polite_end_is_killed(sandbox: Sandbox) -> None:
    pid = sandbox.start("stubborn")
    began = time.monotonic()
    assert sandbox.server.stop(wait=0.3) == pid
    assert 0.3 < time.monotonic() - began < WAIT
    assert within(5, lambda: not is_alive(pid))


# --- the record of the process ----------------------------------------------------------------------------------


def test_the_record_of_a_dead_process_counts_for_nothing(sandbox: Sandbox) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    sandbox.server.home.mkdir()
    for record in (f"{dead.pid}\nserve\n", "", "garbage", f"{os.getpid()}\n", f"{os.getpid()}\n\n"):
        sandbox.record.write_text(record)
        assert sandbox.server.running_pid() is None
    assert sandbox.server.stop(wait=WAIT) is None
    assert not sandbox.record.exists()
    sandbox.record.write_text(f"{dead.pid}\nserve\n")
    assert sandbox.start() == sandbox.server.running_pid()


def test_another_process_of_the_recorded_number_is_not_killed(sandbox: Sandbox) -> None:
    pid = sandbox.start()
    _, arguments, _ = sandbox.record.read_text().splitlines()
    os.kill(pid, signal.SIGKILL)
    other = subprocess.Popen(["sleep", "60"])
    try:
        sandbox.record.write_text(f"{other.pid}\n{arguments}\n")
        assert sandbox.server.running_pid() is None
        assert sandbox.server.stop(wait=0) is None
        assert other.poll() is None
        sandbox.record.write_text(f"{other.pid}\n60\n")  # the record does find a process of these arguments
        assert sandbox.server.stop(wait=WAIT) == other.pid
        assert other.wait(5) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()


def test_processes_are_known_without_proc_too(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: not str(path).startswith("/proc") and there(path))
    pid = sandbox.start()
    assert sandbox.server.running_pid() == pid
    assert sandbox.server.stop(wait=WAIT) == pid
    assert sandbox.server.running_pid() is None


def test_a_server_started_by_hand_is_recorded_while_it_serves(sandbox: Sandbox) -> None:
    with record_process(sandbox.server.home, URL):
        assert sandbox.server.running_pid() == os.getpid()
        assert recorded_url(sandbox.server.home) == URL
        with record_process(sandbox.server.home, URL):  # as where `start` recorded it before it did so itself
            pass
        assert not sandbox.record.exists()
    assert recorded_url(sandbox.server.home) is None
    pid = sandbox.start()
    assert recorded_url(sandbox.server.home) == sandbox.server.url
    with pytest.raises(ServerError, match=rf"runs from .*home already \(process {pid}\); stop it"):
        record_process(sandbox.server.home, URL).__enter__()
    assert sandbox.server.running_pid() == pid
    with pytest.raises(KeyboardInterrupt), record_process(sandbox.folder / "another", URL):
        raise KeyboardInterrupt
    assert not (sandbox.folder / "another" / "server.pid").exists()


def test_the_record_of_another_server_is_left_alone(sandbox: Sandbox) -> None:
    with record_process(sandbox.server.home, URL):
        sandbox.record.unlink()
        pid = sandbox.start()
    assert sandbox.server.running_pid() == pid


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_a_server_that_ends_at_once_is_quoted(sandbox: Sandbox) -> None:
    sandbox.server.home.mkdir()
    sandbox.server.log.write_text("what an earlier server said\n")
    with pytest.raises(ServerError, match=r"ended before it answered; .*server\.log ends with: is in production$"):
        sandbox.start("dies")
    assert sandbox.server.log.read_text().startswith("what an earlier server said\nstarting\nno version")
    assert not sandbox.record.exists()


def test_only_what_this_start_wrote_is_quoted(sandbox: Sandbox) -> None:
    sandbox.server.home.mkdir()
    sandbox.server.log.write_text("what an earlier server said\n")
    with pytest.raises(ServerError, match="ends with: nothing"):
        sandbox.server.start([sys.executable, "-c", "pass"], wait=WAIT)


def test_a_server_that_never_answers_is_ended(sandbox: Sandbox) -> None:
    with pytest.raises(ServerError, match=r"did not answer within 2 s; .*server\.log ends with: starting"):
        sandbox.server.start(sandbox.command("silent"), wait=2)
    (pid,) = sandbox.pids
    assert within(5, lambda: not is_alive(pid))
    assert not sandbox.record.exists()


def test_a_server_that_runs_but_does_not_answer_is_not_started_again(sandbox: Sandbox) -> None:
    with record_process(sandbox.server.home, URL):
        with pytest.raises(ServerError, match=r"did not answer within 0.2 s; .*server\.log ends with: nothing"):
            sandbox.server.start(sandbox.command(), wait=0.2)
        assert sandbox.server.running_pid() == os.getpid()
    assert sandbox.pids == []


def test_a_command_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(ServerError, match=r"cannot be started: .*no-such-program"):
        sandbox.server.start(["no-such-program"], wait=WAIT)
    assert not sandbox.record.exists()


class Other(BaseHTTPRequestHandler):
    """Another program: it knows no path of ours, or says 200 to all of them."""

    status = 404

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b'"other"')

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Welcoming(Other):
    status = 200


class Mute(Other):
    """It speaks no HTTP."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")


@pytest.mark.parametrize("handler", [Other, Welcoming, Mute])
def test_another_program_at_the_address_is_told_from_the_server(sandbox: Sandbox, handler: type[Other]) -> None:
    message = "speaks no HTTP" if handler is Mute else rf"Another program .* \(HTTP {handler.status}\)"
    server = sandbox.server
    with serving(ThreadingHTTPServer(("127.0.0.1", sandbox.port), handler)):
        for ask in (
            server.health,
            server.reload,
            lambda: server.score({"loan_amnt": 1}),
            sandbox.start,
            lambda: server.ensure(sandbox.command(), 3, wait=WAIT),
        ):
            with pytest.raises(ServerError, match=message) as raised:
                ask()
            assert server.url in str(raised.value)
    assert sandbox.pids == []


def test_a_server_that_others_started_is_not_started_again(sandbox: Sandbox) -> None:
    pid = sandbox.start()
    elsewhere = ScoringServer(sandbox.server.url, sandbox.folder / "elsewhere")
    with pytest.raises(ServerError, match=f"Process {pid}, which was not started from .*elsewhere, answers"):
        elsewhere.start(sandbox.command(), wait=WAIT)
    assert elsewhere.ensure(sandbox.command(), 3, wait=WAIT).pid == pid
    assert elsewhere.stop(wait=WAIT) is None
    assert sandbox.pids == [pid]
    assert sandbox.server.health()


def test_a_supervised_server_is_never_started(sandbox: Sandbox) -> None:
    supervised = ScoringServer(sandbox.server.url, sandbox.server.home, supervised=True)
    for begin in (supervised.start, lambda command, wait: supervised.ensure(command, 3, wait=wait)):
        with pytest.raises(ServerError, match="another service is said to run it; start that service"):
            begin(sandbox.command(), wait=WAIT)
    assert sandbox.pids == []
    pid = sandbox.start()
    sandbox.point_alias(4)
    served = supervised.ensure(sandbox.command(), 4, wait=WAIT)
    assert (served.version, served.pid, served.started) == (4, pid, False)
    assert sandbox.pids == [pid]


@pytest.mark.parametrize("url", ["127.0.0.1:5001", "localhost", "ftp://localhost", ""])
def test_what_is_no_address_is_refused(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(ServerError, match="is no address of a scoring server; write it as http://host:port"):
        ScoringServer(url, sandbox.server.home).health()


# --- ensure, score ----------------------------------------------------------------------------------------------


def test_a_version_is_served_by_a_server_that_is_started_once(sandbox: Sandbox) -> None:
    first = sandbox.server.ensure(sandbox.command(), 3, wait=WAIT)
    assert (first.url, first.version, [first.pid], first.started) == (sandbox.server.url, 3, sandbox.pids, True)
    sandbox.point_alias(4)
    second = sandbox.server.ensure(sandbox.command(), 4, wait=WAIT)
    assert (second.version, [second.pid], second.started) == (4, sandbox.pids, False)


def test_every_worker_must_serve_the_version(sandbox: Sandbox) -> None:
    sandbox.server.ensure(sandbox.command(workers=3), 3, wait=WAIT)
    sandbox.point_alias(4)
    served = sandbox.server.ensure(sandbox.command(), 4, wait=WAIT)
    assert (served.pid, served.started) == (sandbox.pids[0], False)
    answers = [sandbox.server.health() for _ in range(3)]
    assert {(health.pid - served.pid, health.version) for health in answers if health} == {(0, 4), (1, 4), (2, 4)}


def test_a_version_that_is_not_served_in_time_is_an_error(sandbox: Sandbox) -> None:
    sandbox.start("stuck")
    trouble = r"answers by version 3, not by version 4, after 0.5 s \(The canary failed\); see .*server\.log\."
    with pytest.raises(ServerError, match=trouble):
        sandbox.server.ensure(sandbox.command(), 4, wait=0.5)
    assert sandbox.server.health()  # it goes on with the version that it has


def test_a_worker_that_never_answers_is_missed(sandbox: Sandbox) -> None:
    sandbox.server.start(sandbox.command("lopsided", workers=2), wait=WAIT)
    with pytest.raises(ServerError, match="has only 1 of 2 workers that answer by version 3, after 1 s; see"):
        sandbox.server.ensure(sandbox.command(), 3, wait=1)


def test_an_application_is_scored(sandbox: Sandbox) -> None:
    sandbox.start()
    answer, version, milliseconds = sandbox.server.score({"loan_amnt": 5000, "grade": None})
    assert answer == {"pd": 0.005, "grade": None}
    assert version == 3
    assert 0 < milliseconds < 5000
    with pytest.raises(ServerError, match=r"refused to score: Row 0: grade is missing\."):
        sandbox.server.score({"loan_amnt": 5000})


def test_each_route_has_its_token(sandbox: Sandbox) -> None:
    sandbox.start("guarded")
    right = ScoringServer(sandbox.server.url, sandbox.server.home, token="invocations", admin_token="admin")
    assert right.score({"loan_amnt": 5000, "grade": "A"})[1] == right.reload().version == 3
    swapped = ScoringServer(sandbox.server.url, sandbox.server.home, token="admin", admin_token="invocations")
    assert "invocations" not in repr(swapped)
    for server in (sandbox.server, swapped):
        with pytest.raises(ServerError, match="refused the token to score; set LOAN_DEFAULT_API_TOKENS"):
            server.score({"loan_amnt": 5000, "grade": "A"})
        with pytest.raises(ServerError, match="refused the token to reload; set LOAN_DEFAULT_ADMIN_TOKENS"):
            server.reload()


def test_the_server_of_another_book_is_asked_for_nothing(sandbox: Sandbox) -> None:
    sandbox.start()
    server = ScoringServer(sandbox.server.url, sandbox.folder / "elsewhere", "homes_model")
    for ask in (
        server.health,
        lambda: server.decide([{"loan_amnt": 5000, "grade": "A"}]),
        lambda: server.decision("018f"),
        lambda: server.ensure(sandbox.command(), 3, wait=WAIT),
    ):
        with pytest.raises(OtherModel, match="answers by loan_default_model, and the model of this loan book is homes"):
            ask()
    assert replace(server, model="loan_default_model").health()


def test_a_proxy_is_not_asked_for_a_server_beside_us(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    sandbox.start()
    assert sandbox.server.health()


def test_where_nothing_answers_the_address_is_named(sandbox: Sandbox) -> None:
    for ask in (sandbox.server.reload, lambda: sandbox.server.score({"loan_amnt": 5000})):
        with pytest.raises(
            Unreachable, match=rf"{sandbox.server.url} .*Connection refused.*; start it with loan-default"
        ):
            ask()


def test_the_module_loads_no_http_library() -> None:
    script = "import sys, loan_default.adapters.scoring_server; print({'httpx', 'requests'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
