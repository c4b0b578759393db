"""A Dask cluster for tests: a scheduler with workers, processes of their own, which a test may kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from loan_default.adapters.dask_engine import DaskEngine
from loan_default_tests.stores import free_port


class Cluster:
    """A Dask scheduler and two workers of one thread each, whose nannies start those that die again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, f"tcp://127.0.0.1:{free_port()}"
        self.started: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        port = self.address.rpartition(":")[2]
        self._start("scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0")

    def start(self) -> None:
        self.start_scheduler()
        self.start_workers()

    def start_workers(self) -> None:
        for _ in range(2):
            self._start("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard")

    def _start(self, *command: str) -> None:
        environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
        with (self.folder / "dask.log").open("ab") as output:
            self.started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *command],
                    stdout=output,
                    stderr=output,
                    cwd=self.folder,
                    env=environment,
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        for process in reversed(self.started):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    dask = Cluster(folder)
    dask.start()
    try:
        yield dask
    finally:
        dask.stop()


@contextmanager
def kill_worker(engine: DaskEngine, task: str, after: float = 0.0) -> Iterator[list[str]]:
    """Kill a worker that is at a task of this name, so many seconds after it began; yield the addresses of victims."""
    victims: list[str] = []

    def strike() -> None:
        victim = _wait_for_worker(engine, task)
        time.sleep(after)
        pids = engine.client.run(os.getpid)
        if victim in pids:
            os.kill(pids[victim], signal.SIGKILL)
            victims.append(victim)

    striker = Thread(target=strike, daemon=True)
    striker.start()
    yield victims
    striker.join(10)


def _worker_at(engine: DaskEngine, task: str) -> str | None:
    """Return the address of a worker that has a task of this name."""
    client: Any = engine.client  # which has no types
    for worker, keys in client.processing().items():
        if any(str(key).startswith(task) and "itself" not in str(key) for key in keys):
            return str(worker)
    return None


def _wait_for_worker(engine: DaskEngine, task: str) -> str:
    """Return the address of the first worker that comes to a task of this name."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if worker := _worker_at(engine, task):
            return worker
        time.sleep(0.02)
    raise AssertionError("no worker came to such a task")
