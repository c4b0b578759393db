"""A home in which `dagster dev` runs, daemon and UI: files are dropped and records are read."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from loan_default.adapters.scoring_server import ScoringServer
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.settings import Settings
from loan_default_tests.homes import allow_any_promotion, dagster_of, environment_of, write_outcomes
from loan_default_tests.stores import free_port

log = logging.getLogger(__name__)

MONTH = date(2014, 8, 1)


@dataclass
class Loop:
    """A home in which a daemon runs; `log` is what the daemon prints, `port` the UI's."""

    settings: Settings
    daemon: subprocess.Popen[bytes]
    log: Path
    port: int
    began: float = field(default_factory=time.monotonic)

    @property
    def storage(self) -> Path:
        return Path(self.settings.storage)

    def drop(self, name: str, **options: Any) -> None:
        """Write a batch into the inbox, as a person copies a file."""
        (self.storage / "applications").mkdir(parents=True, exist_ok=True)
        write_csv(make_applications(400, month=MONTH, **options), self.storage / "applications" / name)

    def drop_outcomes(self, seed: int) -> None:
        """Write how the applications of `drop` ended, as a person copies a file years later."""
        write_outcomes(self.storage / "outcomes", make_loans(400, seed=seed, first_month=MONTH, last_month=MONTH))

    def record(self, *parts: str) -> Any:
        path = self.storage.joinpath(*parts).with_suffix(".json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def runs(self, job: str) -> list[dg.DagsterRun]:
        with dagster_of(self.settings) as instance:
            return list(instance.get_runs(dg.RunsFilter(job_name=job)))

    def wait_for(self, condition: Callable[[], Any], event: str, seconds: float = 150) -> Any:
        """Return the condition's first value that is true; log when the event came."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert self.daemon.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {event}\n{self.log.read_text()[-6000:]}"
            time.sleep(0.5)
        log.warning("%5.0f s  %s", time.monotonic() - self.began, event)
        return value


def train_by_command(settings: Settings, environment: dict[str, str]) -> None:
    """Train version 1 as a user does, where no trained home can be copied."""
    command = [sys.executable, "-m", "loan_default.cli", "run", "--trials", "2"]
    subprocess.run(command, env=environment, cwd=settings.home.parent, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def started_loop(settings: Settings, environment: dict[str, str] | None = None) -> Iterator[Loop]:
    """Start `dagster dev` in a home that has a version in production, with the server at an address of its own."""
    settings = replace(settings, serving_url=f"http://127.0.0.1:{free_port()}")
    environment = {**environment_of(settings), **(environment or {})}
    allow_any_promotion(settings)
    folder, port = settings.home.parent, free_port()
    output = folder / "daemon.log"
    options = ["-h", "127.0.0.1", "-p", str(port), "-m", "loan_default.definitions"]
    with output.open("w") as stream:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", *options],
            env=environment,
            cwd=folder,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        yield Loop(settings, daemon, output, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(timeout=30)
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)  # what it started
        ScoringServer(settings.serving_url, settings.serving).stop(wait=20)
