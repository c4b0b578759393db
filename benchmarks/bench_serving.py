"""The scoring server against MLflow's own, the least that any server does, and its own earlier code, by `wrk`.

All in one run on one machine, one worker each, servers one after the other, so that none takes time from another;
in rounds, of which medians count, as a shared machine is not equally fast all the time.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.bench_score import fit_package
from benchmarks.figures import Figure
from benchmarks.fresh import ROOT, fresh, fresh_in, source_tree
from benchmarks.loans import cleaned_loans

TREES = 300
MANY = 1_000
IDLE, HALF_OPEN, STALLED = 1_000, 200, 64
CROWD = f"{IDLE:,} idle, {HALF_OPEN} half-open and {STALLED} stalled connections"
_STILL_SECONDS = 3.0  # so long nothing happens to a server before it is loaded; ours starts a helper after two
_STILL_TURNS = 10  # at most
_TICKS = os.sysconf("SC_CLK_TCK")
_STOCK, _BARE = "mlflow models serve", "bare ASGI, orjson, ONNX Runtime"
_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  local form = 'REPORT {"requests": %d, "micro": %d, "p50": %f, "p99": %f, "failed": %d}\\n'
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  io.write(string.format(form, summary.requests, summary.duration, p50, p99, failed))
end
"""


@dataclass(frozen=True)
class Load:
    """What `wrk` measured: requests a second, median and 99th percentile in ms, requests that failed.

    `micros` is the processor time of the server and its helpers for each request, in µs.
    """

    rate: float
    p50: float
    p99: float
    requests: int
    failed: int
    micros: float = 0.0


@dataclass(frozen=True)
class Side:
    """A running server: where it answers, its process, and the seconds from its start to its first answer."""

    url: str
    pid: int
    first_answer: float

    def load(self, body: Path, *, connections: int, seconds: int) -> Load:
        """Post the body over and over."""
        before = self._processor_seconds
        with self.loading(body, connections=connections, seconds=seconds) as wrk:
            load = _reported(wrk.communicate()[0])
        requests = max(load.requests, 1)  # on a busy machine a server of earlier code may answer none
        return replace(load, micros=1e6 * (self._processor_seconds - before) / requests)

    @contextmanager
    def loading(self, body: Path, *, connections: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
        """Post meanwhile; an interrupt makes `wrk` stop and report."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(body), f"{self.url}/invocations"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
            yield wrk

    def settle(self) -> None:
        """Wait until it and its helpers do nothing: what they do at their start is no part of a load."""
        for _ in range(_STILL_TURNS):
            before = self._processor_seconds
            time.sleep(_STILL_SECONDS)
            if self._processor_seconds - before < _STILL_SECONDS / 100:
                return

    @property
    def _processor_seconds(self) -> float:
        """Return the processor time of all its threads, and of the processes below it."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in _family(self.pid)]
        return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / _TICKS

    @property
    def memory_mb(self) -> float:
        """Return the resident memory, 10⁶ bytes."""
        return _resident_mb(self.pid)

    @property
    def family_memory_mb(self) -> float:
        """Return the same of the process and all below it; what they share counts in each."""
        return sum(map(_resident_mb, _family(self.pid)))


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _reported(output: str) -> Load:
    line = next((line for line in output.splitlines() if line.startswith("REPORT ")), None)
    if line is None:
        raise SystemExit("The server ended under the load: wrk could not connect to it.")
    report = json.loads(line.removeprefix("REPORT "))
    rate = report["requests"] / report["micro"] * 1e6
    return Load(rate, report["p50"] / 1e3, report["p99"] / 1e3, report["requests"], report["failed"])


@dataclass(frozen=True)
class Round:
    """What one round measured: loads of each server by the body, seconds from start to first answer, 10⁶ bytes."""

    ours: Mapping[str, Load]
    before: Mapping[str, Load]
    bare: Load
    stock: Mapping[str, Load]
    start: float
    again: float
    stock_start: float
    memory: float
    family_memory: float
    stock_memory: float


def figures(
    folder: Path,
    *,
    against: str | None = None,
    rows: int = 100_000,
    seconds: int = 4,
    swaps: int = 50,
    rounds: int = 5,
) -> list[Figure]:
    """Serve the same trees in three ways, and by the code of a folder or commit, the last tag by default."""
    require_wrk()
    against, loans, package = against or last_tag(), cleaned_loans(folder, rows), folder / "package"
    with source_tree(against, folder) as before:
        fresh(fit_package, loans=str(loans), package=str(package), trees=TREES)
        bodies = write_bodies(loans, package, folder)
        fresh(save_stock, package=str(package), folder=str(folder))
        versions = fresh(register_versions, package=str(package), folder=str(folder)).answer
        (folder / "before").mkdir()
        shutil.copy(folder / "canary.json", folder / "before")
        theirs = {"package": str(folder / "before" / "package")}
        fresh_in(before, fit_package, loans=str(loans), trees=TREES, **theirs)
        fresh_in(before, register_versions, folder=str(folder / "before"), **theirs)
        measured = [_round(folder, package, before, bodies, seconds, number) for number in range(rounds)]
    with served_here(folder, "home-0", bodies["approved"]) as side:
        before_swaps = side.load(bodies["approved"], connections=4, seconds=2 * seconds)
        during = _swapped(side, bodies["approved"], folder, versions, swaps)
    return [*_figures_of(measured, against), *_figures_of_swaps(before_swaps, during, swaps)]


def last_tag() -> str:
    """Return the last tag of git before this commit."""
    command = ["git", "-C", str(ROOT), "describe", "--tags", "--abbrev=0"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    if described.returncode:
        raise SystemExit("There is no tag to compare with; name a commit: make bench-serving REF=COMMIT")
    return described.stdout.strip()


def _figures_of(measured: Sequence[Round], against: str) -> list[Figure]:
    ours, before, stock = (
        {body: median_load([getattr(of_round, side)[body] for of_round in measured]) for body in getattr(first, side)}
        for first in measured[:1]
        for side in ("ours", "before", "stock")
    )
    bare = median_load([of_round.bare for of_round in measured])
    approved, beside, stock_p99 = ours["approved"], ours["crowded"], stock["stock"].p99
    percent, without = 100 * approved.rate / bare.rate, f"without {approved.p99:.2f} ms"
    rows, p99 = f"{MANY:,} rows a request", f"{approved.p99:.2f} ms"
    return [
        _faster("one approved row, 4 connections", approved, _STOCK, stock["stock"], 40),
        _at_least("its 99th percentile", p99, f"{stock_p99:.1f} ms", stock_p99 / approved.p99, 30, "×"),
        _at_least("validated, logged, counted", _words_for(approved), f"{_BARE} {_words_for(bare)}", percent, 60, "%"),
        _faster("one approved row against earlier code", approved, against, before["approved"], 1),
        _faster("one row of CSV, 4 connections", ours["csv"], against, before["csv"], 5),
        _at_most("one declined row, 1 connection", _words_for(ours["declined"]), "", ours["declined"].p50, 2, "ms"),
        _faster(rows, ours["many"], _STOCK, stock["stock_many"], 6),
        _faster(f"{rows} against earlier code", ours["many"], against, before["many"], 1),
        _at_most(f"99th percentile beside {CROWD}", f"{beside.p99:.2f} ms", without, beside.p99 / approved.p99, 3, "×"),
        *_figures_of_processes(measured),
    ]


def _figures_of_processes(measured: Sequence[Round]) -> list[Figure]:
    start, again, stock_start, memory, family_memory, stock_memory = (
        median(getattr(of_round, name) for of_round in measured)
        for name in ("start", "again", "stock_start", "memory", "family_memory", "stock_memory")
    )
    return [
        _at_most(
            "start to first answer", f"{start:.1f} s", f"{_STOCK} {stock_start:.1f} s", start / stock_start, 0.35, "×"
        ),
        _at_most("the same, started again", f"{again:.1f} s", f"{stock_start:.1f} s", again / stock_start, None, "×"),
        _at_most(
            "resident memory of the worker",
            f"{memory:.0f} MB",
            f"{stock_memory:.0f} MB",
            memory / stock_memory,
            None,
            "×",
        ),
        _at_most(
            "with the processes for registry and log",
            f"{family_memory:.0f} MB",
            f"{stock_memory:.0f} MB",
            family_memory / stock_memory,
            None,
            "×",
        ),
    ]


def _figures_of_swaps(before: Load, during: Load, swaps: int) -> list[Figure]:
    swapped, p99 = f"of {during.requests:,}", f"{during.p99:.2f} ms"
    return [
        _at_most(f"failed requests in {swaps} swaps", swapped, "", during.failed, 0, ""),
        _at_most("99th percentile while swapping", p99, f"before {before.p99:.2f} ms", during.p99 / before.p99, 5, "×"),
    ]


def require_wrk() -> None:
    """Stop where there is no load generator."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed to load the servers; install it, on Debian with: apt-get install wrk")


def _round(folder: Path, package: Path, before: Path, bodies: Mapping[str, Path], seconds: int, number: int) -> Round:
    """Run each server once; which of ours and of earlier code comes first alternates."""
    loads: dict[str, dict[str, Load]] = {}
    starts: dict[str, float] = {}
    for name, tree, home in sorted([("ours", ROOT, folder), ("before", before, folder / "before")])[
        :: 1 - number % 2 * 2
    ]:
        with served_here(home, f"home-{number}", bodies["approved"], tree) as side:
            loads[name] = {
                body: side.load(bodies[body], connections=4, seconds=seconds) for body in ("approved", "csv")
            }
            loads[name]["many"] = side.load(bodies["many"], connections=1, seconds=seconds)
            starts[name] = side.first_answer
    with served_here(folder, f"home-{number}", bodies["approved"]) as side:
        again = side.first_answer
        loads["ours"]["declined"] = side.load(bodies["declined"], connections=1, seconds=seconds)
        with crowd(side.url):
            loads["ours"]["crowded"] = side.load(bodies["approved"], connections=4, seconds=seconds)
        memory, family_memory = side.memory_mb, side.family_memory_mb
    with _bare(folder, package, bodies["encoded"]) as side:
        bare = side.load(bodies["encoded"], connections=4, seconds=seconds)
    with _stock(folder, bodies["stock"]) as side:
        stock = {"stock": side.load(bodies["stock"], connections=4, seconds=seconds)}
        stock["stock_many"] = side.load(bodies["stock_many"], connections=1, seconds=seconds)
        return Round(
            loads["ours"],
            loads["before"],
            bare,
            stock,
            starts["ours"],
            again,
            side.first_answer,
            memory,
            family_memory,
            side.memory_mb,
        )


@contextmanager
def crowd(url: str) -> Iterator[None]:
    """Hold connections meanwhile that send nothing, half a head, or half a body."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    head = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    address = urlsplit(url)
    with ExitStack() as stack:
        for count, sent in ((IDLE, b""), (HALF_OPEN, head[:40]), (STALLED, head + b"\r\n" + b"x" * 50)):
            for _ in range(count):
                connection = stack.enter_context(socket.create_connection((address.hostname, address.port)))
                connection.sendall(sent)
        yield


def median_load(loads: Sequence[Load]) -> Load:
    """Return the median of each number, and the sum of what failed."""
    rate, p50, p99, requests, _, micros = (median(values) for values in zip(*map(astuple, loads), strict=True))
    return Load(rate, p50, p99, int(requests), sum(load.failed for load in loads), micros)


def _faster(what: str, load: Load, name: str, other: Load, limit: float) -> Figure:
    return _at_least(what, _words_for(load), f"{name} {_words_for(other)}", load.rate / other.rate, limit, "×")


def _at_least(what: str, measured: str, against: str, value: float, limit: float, unit: str) -> Figure:
    return Figure(what, measured, against, value, limit, "least", f"{{:.1f}} {unit}")


def _at_most(what: str, measured: str, against: str, value: float, limit: float | None, unit: str) -> Figure:
    return Figure(what, measured, against, value, limit, "most", f"{{:.2f}} {unit}")


def _words_for(load: Load) -> str:
    rate, median, p99, micros = load.rate, load.p50, load.p99, load.micros
    return f"{rate:,.0f} requests/s, {median:.2f} ms median, {p99:.2f} ms 99th, {micros:.0f} µs processor each"


# --- bodies ----------------------------------------------------------------------------------------------------


def write_bodies(loans: Path, package: Path, folder: Path) -> dict[str, Path]:
    """Write requests to score loans as scripts of `wrk`, each body as JSON beside it; return the scripts by name."""
    import polars as pl

    from loan_default.risk.model.scorer import Scorer

    scorer = Scorer.load(package)
    names = list(scorer.contract.feature_names)
    sample = pl.scan_parquet(loans).select(names).head(5_000).collect()
    decisions = scorer.score(sample, with_reasons=False)["decision"]
    sent = [name for name in names if scorer.contract.by_name[name].derived is None]
    approved, declined = (sample.filter(decisions == decision)[:1] for decision in ("approve", "decline"))
    other = sample.filter(decisions == "approve")[1:2]  # a canary is not logged, so it must be none of those sent
    many = sample.head(MANY)

    def records(frame: pl.DataFrame) -> Any:
        rows = [{k: v for k, v in row.items() if v is not None} for row in frame.select(sent).to_dicts()]
        return {"dataframe_records": rows}

    def labels_of(frame: pl.DataFrame) -> Any:
        """Ask in the form of the other side, and for its answer."""
        data = frame.select(sent).rows()
        return {"dataframe_split": {"columns": sent, "data": data}, "params": {"output": "label"}}

    def encoded(frame: pl.DataFrame) -> list[list[float | None]]:
        return [[None if np.isnan(v) else float(v) for v in row] for row in scorer.space.matrix(frame)]

    def split(frame: pl.DataFrame) -> Any:
        """Write 0 for null, on which MLflow's server fails; the trees take as long for it."""
        data = [[value or 0.0 for value in row] for row in encoded(frame)]
        return {"dataframe_split": {"columns": list(scorer.space.columns), "data": data}}

    bodies = {
        "approved": records(approved),
        "canary": records(other),
        "declined": records(declined),
        "many": labels_of(many),
        "encoded": {"instances": encoded(approved)},
        "stock": split(approved),
        "stock_many": split(many),
    }
    scripts = {name: _script(folder / f"{name}.lua", json.dumps(body)) for name, body in bodies.items()}
    return {**scripts, "csv": _script(folder / "csv.lua", approved.select(sent).write_csv(), "text/csv")}


def _script(path: Path, body: str, content_type: str = "application/json") -> Path:
    path.with_suffix(".json").write_text(body, encoding="utf-8")
    path.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{content_type}"\nwrk.body = [==[{body}]==]\n{_REPORT}',
        encoding="utf-8",
    )
    return path


# --- servers ---------------------------------------------------------------------------------------------------


def register_versions(package: str, folder: str) -> Any:
    """Register the package twice, in a store of its own; the answer is the versions."""
    import loan_default
    from loan_default.adapters.tracking import PRODUCTION, serving_requirements, signature_fields
    from loan_default.risk.model import canary
    from loan_default.risk.model.candidates.registry import candidate_class
    from loan_default.risk.model.scorer import Scorer

    tracking, scorer = _tracking(Path(folder)), Scorer.load(Path(package))
    example = json.loads(Path(folder, "canary.json").read_text(encoding="utf-8"))["dataframe_records"][0]
    canary.write(Path(package), scorer, example)

    def work() -> list[int]:
        versions = []
        for _ in range(2):
            from mlflow import MlflowClient

            run_id = MlflowClient(tracking.tracking_uri).create_run(tracking.ensure_experiment()).info.run_id
            uri = tracking.log_model_package(
                run_id,
                Path(package),
                input_example=example,
                fields=signature_fields(scorer.contract),
                requirements=serving_requirements(candidate_class(scorer.kind).requirements),
                code=Path(loan_default.__file__).parent,
            )
            versions.append(tracking.register(run_id, uri, {}).version)
        tracking.move_alias(PRODUCTION, versions[0])
        return versions

    return work


def _tracking(folder: Path) -> Any:
    from loan_default.adapters.tracking import Tracking

    return Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))


@contextmanager
def served_here(folder: Path, home: str, body: Path, tree: Path = ROOT) -> Iterator[Side]:
    """Serve what `register_versions` registered in the folder, by the code of a tree, until the body is answered."""
    env = {"LOAN_DEFAULT_HOME": str(folder / home), "MLFLOW_TRACKING_URI": _tracking(folder).tracking_uri}
    command = [sys.executable, "-m", "loan_default.cli", "serve", "--port", "{port}"]
    with _served(command, env, body, tree) as side:  # Python looks for modules first where it is started
        yield side


@contextmanager
def _stock(folder: Path, body: Path) -> Iterator[Side]:
    command = ["mlflow", "models", "serve", "-m", str(folder / "stock"), "--env-manager", "local", "-p", "{port}"]
    here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # it runs `uvicorn` by its name
    with _served([sys.executable, "-m", *command], here, body) as side:
        yield side


def save_stock(package: str, folder: str) -> Any:
    """Save the same trees as MLflow saves an `XGBClassifier`."""
    import mlflow
    import xgboost

    model = xgboost.XGBClassifier()
    model.load_model(Path(package, "model.ubj"))
    return lambda: mlflow.xgboost.save_model(model, Path(folder, "stock"), model_format="ubj")


@contextmanager
def _bare(folder: Path, package: Path, body: Path) -> Iterator[Side]:
    command = [sys.executable, "-m", "benchmarks.bare_server", str(package / "model.onnx"), "{port}"]
    with _served(command, {}, body) as side:
        yield side


@contextmanager
def _served(command: Sequence[str], env: Mapping[str, str], body: Path, tree: Path = ROOT) -> Iterator[Side]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, sent = f"http://127.0.0.1:{port}", body.with_suffix(".json").read_bytes()
    began = time.perf_counter()
    process = subprocess.Popen(
        [part.format(port=port) for part in command],
        env={**os.environ, **env},
        cwd=tree,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _answers(url, sent):
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.02)
        side = Side(url, _listener(process.pid, port), time.perf_counter() - began)
        side.settle()
        yield side
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _answers(url: str, body: bytes) -> bool:
    try:
        answer = httpx.post(f"{url}/invocations", content=body, headers={"content-type": "application/json"})
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def _listener(pid: int, port: int) -> int:
    """Return the process that serves: of the started one and all below it, the last that holds the socket."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    return [process_id for process_id in _family(pid) if listening & _open_files(process_id)][-1]


def _family(pid: int) -> list[int]:
    children = [int(text) for task in Path(f"/proc/{pid}/task").glob("*/children") for text in task.read_text().split()]
    return [pid, *(descendant for child in children for descendant in _family(child))]


def _open_files(pid: int) -> set[str]:
    links = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(file.readlink()))
    return links


def _swapped(side: Side, body: Path, folder: Path, versions: Sequence[int], swaps: int) -> Load:
    """Load while the alias moves back and forth."""
    from loan_default.adapters.tracking import PRODUCTION

    tracking = _tracking(folder)
    with side.loading(body, connections=4, seconds=600) as wrk:
        for swap in range(1, swaps + 1):
            tracking.move_alias(PRODUCTION, versions[swap % 2])
            health = httpx.post(f"{side.url}/admin/reload", timeout=60).json()
            if health["version"] != versions[swap % 2]:
                raise RuntimeError(f"the server did not follow: {health}")
        wrk.send_signal(signal.SIGINT)
        return _reported(wrk.communicate()[0])
