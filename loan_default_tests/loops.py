"""A home in which `dagster dev` runs, daemon and UI: trained once, then files are dropped and records are read."""

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
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

from loan_default.adapters.scoring_server import ScoringServer
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.settings import Settings
from loan_default_tests.databases import Postgres
from loan_default_tests.homes import dagster_of, environment_of, new_home
from loan_default_tests.stores import free_port

log = logging.getLogger(__name__)

MONTH = date(2014, 8, 1)


class Loop:
    """A home in which a daemon runs."""

    def __init__(
        self, settings: Settings, environment: dict[str, str], daemon: subprocess.Popen[bytes], said: Path, port: int
    ) -> None:
        self.settings, self.environment, self.daemon, self.said, self.port = settings, environment, daemon, said, port
        self.storage = Path(settings.storage)
        self.began = time.monotonic()

    def drop(self, name: str, **how: Any) -> None:
        """As a person copies a file."""
        (self.storage / "applications").mkdir(parents=True, exist_ok=True)
        write_csv(make_applications(400, month=MONTH, **how), self.storage / "applications" / name)

    def tell(self, name: str, **how: Any) -> None:
        """How the applications of `drop` ended, as a person copies a file years later."""
        (self.storage / "outcomes").mkdir(parents=True, exist_ok=True)
        loans = make_loans(400, first_month=MONTH, last_month=MONTH, **how).select("id", "loan_status")
        loans.with_columns(pl.lit("2019-09").alias("month")).write_csv(self.storage / "outcomes" / name)

    def record(self, *parts: str) -> Any:
        place = self.storage.joinpath(*parts).with_suffix(".json")
        return json.loads(place.read_text(encoding="utf-8")) if place.exists() else None

    def runs(self, job: str) -> list[dg.DagsterRun]:
        with dagster_of(self.settings) as instance:
            return list(instance.get_runs(dg.RunsFilter(job_name=job)))

    def until(self, seen: Callable[[], Any], what: str, seconds: float = 150) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := seen()):
            assert self.daemon.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.said.read_text()[-6000:]}"
            time.sleep(0.5)
        log.warning("%5.0f s  %s", time.monotonic() - self.began, what)
        return found


@contextmanager
def started_loop(folder: Path, postgres: Postgres | None = None) -> Iterator[Loop]:
    """Records are in files, or all in this Postgres."""
    settings = replace(new_home(folder), serving_url=f"http://127.0.0.1:{free_port()}")
    if postgres:
        settings = postgres.kept(settings, "loop")
    environment = {**environment_of(settings), **(postgres.environment(settings) if postgres else {})}
    policy = yaml.safe_load(settings.policy.read_text())  # type: ignore[union-attr]
    policy["promotion"] |= {"auc_gain_at_least": -1.0, "auc_gain_low_at_least": -1.0, "brier_rise_at_most": 1.0}
    settings.policy.write_text(yaml.safe_dump(policy), encoding="utf-8")  # type: ignore[union-attr]
    train = [sys.executable, "-m", "loan_default.cli", "run", "--trials", "2"]
    subprocess.run(train, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    said, port = folder / "daemon.log", free_port()
    with said.open("w") as output:
        daemon = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dagster",
                "dev",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-m",
                "loan_default.definitions",
            ],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Loop(settings, environment, daemon, said, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(timeout=30)
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)  # what it started
        ScoringServer(settings.serving_url, settings.serving).stop(wait=20)
