"""The process of the scoring server: started detached, found again, questioned, reloaded, stopped.

Every error of this conversation is a `ServerError` of one sentence. What the server answers is `serving`; which
version it should answer by is the registry's, in `tracking`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loan_default.adapters.identity import NoIdentity, identity_header
from loan_default.adapters.storage import lock_folder
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.risk.policy import CUT_OFFS

if TYPE_CHECKING:
    import httpx

_PID_FILE = "server.pid"
_PAUSE, _RELOAD_PAUSE = 0.05, 0.25
_KILL_SECONDS = 5.0
_HEALTH_SECONDS, _ANSWER_SECONDS, _RELOAD_SECONDS = 5.0, 60.0, 120.0
_LAST_BYTES, _LAST_LETTERS = 8192, 300


class ServerError(RuntimeError):
    """The scoring server cannot be started, reached or used: names its address, the wish and what to do."""


class Unreachable(ServerError):
    """An address at which nothing answers."""


class OtherModel(ServerError):
    """An address at which the server of another model answers, as of another loan book."""


@dataclass(frozen=True)
class Health:
    """The health that one worker of the server reports; `pid` is that worker's."""

    status: str
    model: str
    alias: str
    version: int | None
    pid: int
    workers: int
    trouble: str | None

    def serves(self, version: int) -> bool:
        """Tell whether the worker answers by this version now."""
        return self.status == "ready" and self.version == version


@dataclass(frozen=True)
class ReadyServer:
    """A server whose workers all answer by `version`; `started` where it was not running before."""

    url: str
    version: int
    pid: int
    started: bool


class Answers(NamedTuple):
    """The answers to applications, in their order, and the version that gave them (several, with commas)."""

    answers: Sequence[Mapping[str, Any]]
    version: str


@dataclass(frozen=True)
class ScoringServer:
    """The scoring server at `url`; `home` holds its process number and its log.

    It is asked for nothing where it answers by another registered model than `model`, if that is named. Where it is
    `supervised`, something else (a container, a service manager) starts it. Every method raises `ServerError`.
    """

    url: str
    home: Path
    model: str = ""
    supervised: bool = False
    token: str = field(default="", repr=False)
    admin_token: str = field(default="", repr=False)

    @property
    def log(self) -> Path:
        """The log of a server that was started from here."""
        return self.home / "server.log"

    # --- asking

    def health(self) -> Health | None:
        """Ask the server for its health; None where nothing answers.

        Every call opens a connection of its own, so that another worker may answer the next.
        """
        try:
            with connect(self.url, seconds=_HEALTH_SECONDS) as client:
                return self._own_health(client)
        except Unreachable:
            return None

    def reload(self) -> Health:
        """Make the server follow its alias now, and return its health after that."""
        with connect(self.url, self.admin_token, seconds=_RELOAD_SECONDS) as client:
            return _health(self.url, client.post("/admin/reload"), "reload")

    def score(self, application: Mapping[str, Any]) -> tuple[Mapping[str, Any], int, float]:
        """Score one application; return the answer, its version, and milliseconds with the connection's."""
        body = scoring_request(list(application), [list(application.values())])
        with connect(self.url, self.token) as client:
            began = time.perf_counter()
            response = client.post("/invocations", json=body)
            milliseconds = 1000 * (time.perf_counter() - began)
        (answer,), version = read_answers(self.url, response, 1)
        return answer, int(version), milliseconds

    def decide(
        self, applications: Sequence[Mapping[str, Any]], *, person: str = "", key: str = "", what_if: bool = False
    ) -> Answers:
        """Have applications decided on, for a person; `what_if` decides on nobody.

        The same applications with the same `key` have the same decisions for a day.

        Raises:
            BadInput: the server refuses an application; its sentence says why.
        """
        sent = {"X-On-Behalf-Of": person, "Idempotency-Key": key, "X-Purpose": "what-if" if what_if else ""}
        headers = {name: value for name, value in sent.items() if value}
        with connect(self.url, self.token) as client:
            self._own_health(client)
            response = client.post("/invocations", json={"dataframe_records": [*applications]}, headers=headers)
        if response.status_code == 400 and (message := server_message(response)):
            raise BadInput(message)
        return Answers(*read_answers(self.url, response, len(applications)))

    def cut_offs(self) -> Mapping[str, Any]:
        """Return by what the version that answers decides, and its cut-offs, as its policy has them."""
        with connect(self.url) as client:
            response = client.get("/openapi.json")
        try:
            policy = response.json()["info"]["x-policy"]
            return {name: policy[name] for name in CUT_OFFS}
        except (ValueError, KeyError, TypeError) as error:
            raise refusal_error(self.url, response, "describe itself") from error

    def decision(self, decision_id: str) -> Mapping[str, Any]:
        """Return a decision of the log, scored again: `row`, `verdict`, `sentence` and `again`.

        Raises:
            BadInput: it is no id, or there is no such decision.
        """
        with connect(self.url, self.admin_token) as client:
            self._own_health(client)
            response = client.get(f"/decisions/{decision_id}")
        if response.status_code in (400, 404) and (message := server_message(response)):
            raise BadInput(message)
        if response.status_code != 200:
            raise refusal_error(self.url, response, "tell of a decision")
        decision: Mapping[str, Any] = response.json()
        return decision

    def _own_health(self, client: httpx.Client) -> Health:
        health = _health(self.url, client.get("/health"), "tell its health")
        if self.model and health.model != self.model:
            raise OtherModel(
                f"The scoring server at {self.url} answers by {health.model}, and the model of this loan book is "
                f"{self.model}; have its own server answer on another port, and name that in LOAN_DEFAULT_SERVING_URL."
            )
        return health

    # --- the process

    def running_pid(self) -> int | None:
        """Return the recorded process, if it still lives and is the one that was recorded."""
        return _recorded_pid(self.home)

    def start(self, command: Sequence[str], *, wait: float) -> int:
        """Start the server by `command`, unless it runs, and return its process once it answers.

        It outlives this process. If it ends, or does not answer within `wait` seconds, nothing of it is left.
        """
        return self._start(command, wait)[0]

    def stop(self, *, wait: float) -> int | None:
        """End the recorded process, by force after `wait` seconds; None where none runs."""
        with self._alone():
            return self._end(wait)

    def ensure(self, command: Sequence[str], version: int, *, wait: float) -> ReadyServer:
        """Have every worker answer by `version` within `wait` seconds, starting the server where none answers."""
        deadline = time.monotonic() + wait
        started = self.health() is None and self._start(command, wait)[1]
        agreed: set[int] = set()
        while True:
            health, pause = self._follow(version, max(deadline - time.monotonic(), 1)), _RELOAD_PAUSE
            if health and health.serves(version):
                agreed.add(health.pid)
                pause = _PAUSE
                if len(agreed) >= health.workers:
                    return ReadyServer(self.url, version, self.running_pid() or health.pid, started)
            if time.monotonic() > deadline:
                raise ServerError(self._disagreement(health, version, len(agreed), wait))
            time.sleep(pause)

    def _follow(self, version: int, seconds: float) -> Health | None:
        """Return the health of some worker, made to reload before if it answers by another version."""
        try:
            with connect(self.url, self.admin_token, seconds=seconds) as client:
                health = self._own_health(client)
                if health.version != version:  # the same connection leads to the same worker
                    health = _health(self.url, client.post("/admin/reload"), "reload")
                return health
        except Unreachable:
            return None

    def _disagreement(self, health: Health | None, version: int, agreed: int, wait: float) -> str:
        log = "its log" if self.supervised else str(self.log)
        if health is None:
            return f"The scoring server at {self.url} stopped answering while it loaded version {version}; see {log}."
        if agreed:
            state = f"has only {agreed} of {health.workers} workers that answer by version {version}"
        else:
            state = f"answers by {_version(health.version)}, not by version {version}"
        why = f" ({health.trouble.rstrip('.')})" if health.trouble else ""
        return f"The scoring server at {self.url} {state}, after {wait:g} s{why}; see {log}."

    def _start(self, command: Sequence[str], wait: float) -> tuple[int, bool]:
        """Start the server unless it runs; return the process, and whether it was started now."""
        if self.supervised:
            raise ServerError(
                f"No scoring server answers at {self.url}, and another service is said to run it; start that service."
            )
        with self._alone():
            running = self.running_pid()
            if running is None:
                return self._start_new(command, wait), True
            self._await_ping(lambda: self.running_pid() is None, wait, log_offset=0)
            return running, False

    def _start_new(self, command: Sequence[str], wait: float) -> int:
        if other := self.health():
            raise ServerError(
                f"Process {other.pid}, which was not started from {self.home}, answers at {self.url} already; "
                "stop it, or serve on another port."
            )
        log_offset = self.log.stat().st_size if self.log.exists() else 0
        process = self._spawn(command)
        try:
            # Not by its record: for a moment after the call the system shows no command of a new process.
            self._await_ping(lambda: process.poll() is not None, wait, log_offset)
        except BaseException:  # Ctrl-C too: no half-started server stays behind
            self._end(_KILL_SECONDS)
            raise
        return process.pid

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        try:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            raise ServerError(f"The scoring server for {self.url} cannot be started: {error}.") from error
        # Where it ends before this process does, somebody has to take note, or it stays as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()
        _record(self.home, process.pid, command, self.url)
        return process

    def _await_ping(self, ended: Callable[[], bool], wait: float, log_offset: int) -> None:
        deadline = time.monotonic() + wait
        while not self._pings():
            if (gone := ended()) or time.monotonic() > deadline:
                trouble = "ended before it answered" if gone else f"did not answer within {wait:g} s"
                raise ServerError(
                    f"The scoring server for {self.url} {trouble}; {self.log} ends with: "
                    f"{_last_line(self.log, log_offset)}"
                )
            time.sleep(_PAUSE)

    def _pings(self) -> bool:
        try:
            with connect(self.url, seconds=_HEALTH_SECONDS) as client:
                return client.get("/ping").status_code == 200
        except Unreachable:
            return False

    def _end(self, wait: float) -> int | None:
        pid = self.running_pid()
        if pid is not None:
            with suppress(ProcessLookupError):  # it ended by itself in between
                os.kill(pid, signal.SIGTERM)
            if not self._ends_within(wait):
                with suppress(ProcessLookupError):  # its workers belong to its group
                    (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
                if not self._ends_within(_KILL_SECONDS):
                    raise ServerError(
                        f"The scoring server at {self.url} (process {pid}) does not end; kill it by hand."
                    )
        (self.home / _PID_FILE).unlink(missing_ok=True)
        return pid

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running_pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make whoever else starts or stops this server wait meanwhile."""
        self.home.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.home):
            yield


# --- the record of the process ----------------------------------------------------------------------------------


def recorded_url(home: Path) -> str | None:
    """Return where the recorded process answers, if it lives."""
    _, url = _read_record(home)
    return url


@contextmanager
def record_process(home: Path, url: str) -> Iterator[None]:
    """Record this process as the server of `home` that answers at `url` while it serves, however it was started.

    Raises:
        ServerError: another process is.
    """
    mine, other = os.getpid(), _recorded_pid(home)
    if other not in (None, mine):
        raise ServerError(f"A scoring server runs from {home} already (process {other}); stop it first.")
    _record(home, mine, sys.orig_argv, url)
    try:
        yield
    finally:
        if _recorded_pid(home) == mine:
            (home / _PID_FILE).unlink(missing_ok=True)


def _record(home: Path, pid: int, command: Sequence[str], url: str) -> None:
    """Record the process number, the arguments that tell this process from a later one of the same number, the address.

    The program itself is left out: macOS shows another path than the one that was called.
    """
    with write_atomically(home / _PID_FILE) as part:
        part.write_text(f"{pid}\n{' '.join(command[1:] or command)}\n{url}\n", encoding="utf-8")


def _read_record(home: Path) -> tuple[int | None, str | None]:
    """Read the process and its address, if it lives; nothing where there is no record, or none of ours."""
    try:
        number, arguments, *url = (home / _PID_FILE).read_text(encoding="utf-8").splitlines()
        pid = int(number)
    except (FileNotFoundError, ValueError):
        return None, None
    return (pid, next(iter(url), None)) if arguments and arguments in _command_line(pid) else (None, None)


def _recorded_pid(home: Path) -> int | None:
    pid, _ = _read_record(home)
    return pid


def _command_line(pid: int) -> str:
    """Return the command of a process as the system shows it; empty where none lives, or only its zombie."""
    if Path("/proc/self/cmdline").exists():  # a slim image of Linux has no ps
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def _last_line(log: Path, since: int) -> str:
    """Return the last line that was written after the first `since` bytes."""
    if not log.exists():  # of a server that was started by hand
        return "nothing."
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - _LAST_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[-_LAST_LETTERS:] for line in reversed(lines) if line.strip()), "nothing.")


# --- the conversation -------------------------------------------------------------------------------------------


@contextmanager
def connect(
    url: str, token: str = "", *, seconds: float = _ANSWER_SECONDS, connections: int = 1
) -> Iterator[httpx.Client]:
    """Lend an HTTP client for the server at `url`; what goes wrong on the way becomes one sentence.

    Args:
        url: as http://host:port.
        token: sent with every request, if there is one.
        seconds: how long one answer may take.
        connections: how many are kept open at once.

    Raises:
        Unreachable: nothing answers, or not in time.
        ServerError: `url` is no address, or what answers does not speak HTTP.
    """
    import httpx

    tls = url.startswith("https:")
    try:
        with httpx.Client(
            base_url=url,
            headers={**identity_header(url), **({"Authorization": f"Bearer {token}"} if token else {})},
            timeout=seconds,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # Without TLS the server is beside us: no proxy knows it, and certificates take 20 ms to load.
            trust_env=tls,
            verify=tls,
        ) as client:
            yield client
    except NoIdentity as error:
        raise ServerError(str(error)) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ServerError(f"{url!r} is no address of a scoring server; write it as http://host:port.") from error
    except httpx.RemoteProtocolError as error:
        raise ServerError(
            f"What answers at {url} breaks off or speaks no HTTP ({str(error).rstrip('.')}); see whether another "
            "program holds the port, else the server's log."
        ) from error
    except httpx.TransportError as error:
        raise Unreachable(
            f"No scoring server answers at {url} ({error}); start it with loan-default serve, or correct the address."
        ) from error


def scoring_request(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Build the body of a request to score applications, as MLflow's protocol has it."""
    return {"dataframe_split": {"columns": columns, "data": rows}, "params": {"output": "full"}}


def read_answers(url: str, response: httpx.Response, rows: int) -> tuple[list[Mapping[str, Any]], str]:
    """Read the answers to `rows` applications, and their version (several, with commas, if it was split)."""
    if response.status_code != 200:
        raise refusal_error(url, response, "score")
    try:
        answers, version = response.json()["predictions"], response.headers["X-Model-Version"]
    except (ValueError, KeyError, TypeError) as error:
        raise refusal_error(url, response, "score") from error
    if len(answers) != rows:
        raise ServerError(f"The scoring server at {url} gave {len(answers)} answers to {rows} applications.")
    return answers, version


def refusal_error(url: str, response: httpx.Response, wish: str) -> ServerError:
    """Say why the server did not do what was wished, in its own words where it has any."""
    message = server_message(response)
    if response.status_code in (401, 403):
        name = "LOAN_DEFAULT_API_TOKENS" if wish == "score" else "LOAN_DEFAULT_ADMIN_TOKENS"
        return ServerError(f"The scoring server at {url} refused the token to {wish}; set {name} to one that it knows.")
    if message:
        return ServerError(f"The scoring server at {url} refused to {wish}: {message}")
    return ServerError(
        f"Another program than the scoring server answers at {url} (HTTP {response.status_code}); stop it, or serve "
        "on another port."
    )


def server_message(response: httpx.Response) -> str:
    """Return the server's own sentence; empty where the answer is none of the scoring server's."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _health(url: str, response: httpx.Response, wish: str) -> Health:
    try:
        record = response.json()
        return Health(**{field.name: record[field.name] for field in fields(Health)})
    except (ValueError, KeyError, TypeError) as error:
        raise refusal_error(url, response, wish) from error


def _version(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
