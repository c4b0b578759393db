"""Faults do no harm: runs that die at any instant, a full disk, a read-only disk, a registry that is away.

A sample is part of the usual tests. All of it takes minutes: `make test-faults` kills a run at every instant of every
step, or with STEPS="predictions drift_report" of these.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from loan_default.adapters.model_store import ModelStore
from loan_default.adapters.scoring_server import ScoringServer
from loan_default.adapters.tracking import Tracking
from loan_default.defs.resources import build_resources
from loan_default.defs.sensors.build import SENSORS
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.settings import Settings
from loan_default_tests.homes import (
    FIRST_MONTH,
    LAST_MONTH,
    QUICK,
    allow_any_promotion,
    dagster_of,
    definitions_of,
    environment_of,
    with_storage,
    write_outcomes,
)
from loan_default_tests.stores import client_of, free_port

log = logging.getLogger("faults")

STEPS = set(os.environ.get("LOAN_DEFAULT_TEST_STEPS", "").split())  # all where none is named
SAMPLE_JOB = "batch_prediction_job"
BATCH, MONTH = "2014-08", date(2014, 8, 1)
DISK_BYTES = 64_000_000
FEW_INSTANTS = 4
READ_ONLY = " cannot be used (Read-only file system); let this user read and write there, then run again."
LATER_SECONDS = 9 * 24 * 3600  # after which what a dead run left is cleared away

TrainedHome = Callable[[Path], Settings]


@dataclass
class Home:
    """A small home in which jobs are run by processes of their own."""

    folder: Path
    settings: Settings
    mounted: bool  # whether its storage is a disk of its own
    # Of (job, step), in the last run that lived: the instant at which each change can be struck.
    changes: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of each step in it

    @property
    def storage(self) -> Path:
        return Path(self.settings.storage)

    @property
    def environment(self) -> dict[str, str]:
        return {**environment_of(self.settings), "MLFLOW_TRACKING_URI": self.settings.tracking_uri}

    # --- what comes in

    def deliver(self, seed: int, rows: int) -> None:
        """Write loans, a batch, and how its loans ended; whatever else a job is made of is delivered here."""
        loans = make_loans(6_000, seed=seed, first_month=FIRST_MONTH, last_month=LAST_MONTH)
        write_csv(loans, Path(self.settings.data), footer=True)
        inbox = self.storage / "applications"
        inbox.mkdir(parents=True, exist_ok=True)
        write_csv(make_applications(rows, month=MONTH, seed=seed), inbox / f"{BATCH}.csv")
        write_outcomes(self.storage / "outcomes", make_loans(rows, seed=seed, first_month=MONTH, last_month=MONTH))
        with dagster_of(self.settings) as instance:
            instance.add_dynamic_partitions("batch", [BATCH])

    # --- what is run

    def jobs(self) -> dict[str, list[str]]:
        """List the fewest jobs that hold every step, and the steps that each adds, in their order."""
        covered: set[str] = set()
        steps_of: dict[str, list[str]] = {}
        jobs = [job for job in definitions_of(self.settings).resolve_all_job_defs() if not job.name.startswith("__")]
        for job in sorted(jobs, key=lambda job: (-len(job.nodes_in_topological_order), job.name)):
            if new := [node.name for node in job.nodes_in_topological_order if node.name not in covered]:
                steps_of[job.name] = new
                covered |= set(new)
        assets = definitions_of(self.settings).assets or []
        steps = {asset.op.name for asset in assets if isinstance(asset, dg.AssetsDefinition) and asset.is_executable}
        assert covered == steps, "an asset is in no job"
        return steps_of

    def command(self, job: str) -> list[str]:
        definition = definitions_of(self.settings).resolve_job_def(job)
        steps = {node.name for node in definition.nodes}
        config = {"ops": {step: {"config": values} for step, values in QUICK.items() if step in steps}}
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        tags = ["--tags", json.dumps({"dagster/partition": BATCH})] if definition.partitions_def else []
        options = ["-m", "loan_default.definitions", "-j", job, "-c", str(self.folder / "run.yaml"), *tags]
        return ["job", "execute", *options]

    def run(self, job: str, step: str = "none", instant: str = "never") -> bool:
        """Run the job; return whether it died at the instant, which else must end well."""
        changes, output = self.folder / "changes.log", self.folder / "output.log"
        changes.unlink(missing_ok=True)
        script = str(Path(__file__).with_name("dying.py"))
        with output.open("w") as stream:
            process = subprocess.run(
                [sys.executable, script, str(changes), step, instant, *self.command(job)],
                env=self.environment,
                cwd=self.folder,
                stdout=stream,
                stderr=stream,
                check=False,
            )
        died = process.returncode == -signal.SIGKILL
        assert died or process.returncode == 0, output.read_text()[-6000:]
        if not died and instant == "never":
            self._record_changes(job, changes.read_text().splitlines() if changes.exists() else [])
        return died

    def _record_changes(self, job: str, changes: list[str]) -> None:
        for key in [key for key in self.changes if key[0] == job]:
            del self.changes[key]
        for line in changes:
            step, instant, name = line.split("\t")
            self.changes.setdefault((job, step), {})[instant] = name
        with dagster_of(self.settings) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
            for stats in instance.get_run_step_stats(run.run_id):
                self.seconds[stats.step_key] = (stats.end_time or 0) - (stats.start_time or 0)

    def stop_server(self) -> None:
        ScoringServer(self.settings.serving_url, self.settings.serving).stop(wait=20)

    def save(self) -> None:
        """Copy the home as it is now."""
        for folder in (self.settings.home, self.storage):
            shutil.copytree(folder, self.folder / "saved" / folder.name)

    def restore(self) -> None:
        """Put the home back as it was saved."""
        self.stop_server()
        for folder in (self.settings.home, self.storage):
            shutil.rmtree(folder)
            shutil.copytree(self.folder / "saved" / folder.name, folder)

    @contextmanager
    def full_disk(self, free: int) -> Iterator[None]:
        """Leave `free` bytes on its disk meanwhile."""
        ballast = self.storage.parent / "ballast"
        space = os.statvfs(ballast.parent)
        ballast.write_bytes(b"0" * (space.f_bavail * space.f_frsize - free))
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only_disk(self) -> Iterator[None]:
        """Let nobody write to its disk meanwhile."""
        assert _mount("-o", "remount,ro", str(self.storage.parent))
        try:
            yield
        finally:
            assert _mount("-o", "remount,rw", str(self.storage.parent))

    def error_of(self, *arguments: str, **environment: str) -> str:
        """Return the one sentence in which a command ends that fails."""
        process = subprocess.run(
            [sys.executable, "-m", "loan_default.cli", *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 1, process.stdout + process.stderr
        (sentence,) = process.stderr.splitlines()
        assert sentence.startswith("loan-default: ")
        assert sentence.endswith(".")
        return sentence.removeprefix("loan-default: ")

    def failure(self) -> str:
        """Return what Dagster shows of the last run: why its step failed, or why no step began."""
        with dagster_of(self.settings) as instance:
            (run,) = instance.get_runs(limit=1)
            assert run.status is dg.DagsterRunStatus.FAILURE
            events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
        for event in events:
            if event.is_step_failure:
                assert event.step_failure_data.user_failure_data, event.step_failure_data.error
                return event.step_failure_data.user_failure_data.description or ""
        error = next(event.job_failure_data.error for event in events if event.is_job_failure)
        while error and error.cause and error.cls_name != "TrackingError":
            error = error.cause
        assert error
        return error.message.strip().rpartition("TrackingError: ")[2]

    # --- what is there

    def files(self) -> dict[str, bytes]:
        """Read what a user or the platform reads, apart from what came in and MLflow's."""
        return {
            str(path.relative_to(self.storage)): path.read_bytes()
            for path in sorted(self.storage.rglob("*"))
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self.storage).parts)
            and path.relative_to(self.storage).parts[0] not in ("applications", "mlflow")
        }

    def record(self, name: str) -> Any:
        return json.loads((self.storage / f"{name}.json").read_text(encoding="utf-8"))

    def tracking(self) -> Tracking:
        """Open a copy of the registry: this process must not keep a file open that is put back later."""
        copy = self.folder / f"registry-{time.monotonic_ns()}.db"
        shutil.copy(self.settings.home / "mlflow" / "mlflow.db", copy)
        return Tracking(f"sqlite:///{copy}", self.settings.artifacts)


def result_of(home: Home) -> dict[str, Any]:
    """Return what a run is to come to, whatever happened before it: counts, verdicts and measures."""
    files = home.files()
    result: dict[str, Any] = {name: pl.read_parquet(data).height for name, data in files.items() if ".parquet" in name}
    result["promoted"] = home.record("promoted_model")["verdict"]
    result["windows"] = home.record("loan_splits")
    leaders = home.record("model_evaluation")["judgement"]["leaderboard"]
    result["auc"] = {kind: round(metrics["auc"]["value"], 6) for kind, metrics in leaders.items()}
    if f"drift_report/{BATCH}.json" in files:
        result["drift"] = home.record(f"drift_report/{BATCH}")["verdict"]
        scored = pl.read_parquet(files[f"predictions/{BATCH}.parquet"])
        result["decisions"] = dict(scored["decision"].value_counts().sort("decision").iter_rows())
        result["inputs"] = scored["input_fingerprint"].unique().to_list()
    return result


def assert_intact(home: Home, before: Mapping[str, bytes], after: Mapping[str, bytes] | None = None) -> None:
    """Assert that all can be read, is the value from before or one like that in `after`, and points to what exists."""
    files = home.files()
    removed_first = {
        f"predictions/{BATCH}.csv",
        f"prediction_report/{BATCH}.json",
    }  # of other predictions they say nothing
    assert not before.keys() - files.keys() - removed_first, "something is gone"
    for name, data in files.items():
        if data != before.get(name):
            assert_like(name, data, (after or {}).get(name, data))
    csv = files.get(f"predictions/{BATCH}.csv")
    if csv is not None:
        columns = ["id", "model_version", "input_fingerprint"]
        copied = pl.read_csv(csv, columns=columns, schema_overrides={"id": pl.String}).select(columns)
        stored = pl.read_parquet(files[f"predictions/{BATCH}.parquet"], columns=columns).select(columns)
        assert copied.rows() == stored.rows(), "the CSV is of other predictions"
    assert_registered(home, files)


def assert_like(name: str, data: bytes, like: bytes) -> None:
    if name.endswith(".parquet"):
        table, model = pl.read_parquet(data), pl.read_parquet(like)
        assert (table.height, table.schema) == (model.height, model.schema), name
    elif name.endswith(".json"):
        assert json.loads(data).keys() == json.loads(like).keys(), name
    else:
        assert len(data) > 0.9 * len(like), f"{name} is half"


def assert_registered(home: Home, files: Mapping[str, bytes]) -> None:
    tracking = home.tracking()
    store = ModelStore(tracking, home.folder / "downloads")
    shutil.rmtree(store.cache, ignore_errors=True)
    versions = {version.version: version for version in tracking.versions()}
    for version in versions.values():
        if version.aliases:
            assert store.scorer(version).contract.features
            assert store.reference(version).sample.height
    records = {name: json.loads(data) for name, data in files.items() if name.endswith(".json")}
    if trained := records.get("trained_model.json"):
        assert versions[trained["version"]].run_id == trained["run_id"]
        for kind in trained["candidates"]:
            assert store.candidate(trained["run_id"], kind).contract.features
    decisions = [record for name, record in records.items() if name.startswith(("promoted_model", "history"))]
    named = [record["candidate"] for record in decisions]
    named += [record["version"] for name, record in records.items() if name.startswith("model_evaluation")]
    named += [record["model_version"] for name, record in records.items() if "model_version" in record]
    assert versions.keys() >= set(named), "a record points to a version that is absent"


def assert_nothing_is_left(home: Home) -> None:
    """Assert that no scratch file of a dead run is there, and no run that seems to be under way."""
    hidden = [path for path in home.storage.rglob(".*") if path.is_file()]
    staged = [path for path in home.settings.staging.rglob("*") if path.is_file()]
    cached = list(home.settings.models.rglob("tmp*"))
    assert not [*hidden, *staged, *cached]
    with dagster_of(home.settings) as instance:
        assert {run.status for run in instance.get_runs()} <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    client = client_of(home.tracking())
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    with dagster_of(home.settings) as instance:
        for run in runs:
            record = instance.get_run_by_id(run.data.tags["dagster_run_id"])
            assert record is not None
            well = record.status is dg.DagsterRunStatus.SUCCESS
            assert run.info.status == ("FINISHED" if well else "FAILED"), "MLflow says otherwise than Dagster"


def let_time_pass(home: Home) -> None:
    """Make old what dead runs left."""
    for folder in (home.storage, home.settings.staging, home.settings.models):
        for path in folder.rglob("*"):
            old = path.stat().st_mtime - LATER_SECONDS
            os.utime(path, (old, old))


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk at `folder`, if this user may."""
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> bool:
    try:
        return not subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


@contextmanager
def new_home(folder: Path, trained_home: TrainedHome) -> Iterator[Home]:
    """Make a home with a version in production, whose storage is a disk of its own, and batch and outcomes."""
    settings = replace(trained_home(folder), serving_url=f"http://127.0.0.1:{free_port()}")
    allow_any_promotion(settings)
    with disk(folder / "disk") as mounted:
        home = Home(folder, with_storage(settings, folder / "disk" / "storage"), mounted)
        home.deliver(seed=7, rows=400)
        try:
            yield home
        finally:
            home.stop_server()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, trained_home: TrainedHome) -> Iterator[Home]:
    """A home in which the sample's job has run once."""
    with new_home(tmp_path_factory.mktemp("faults"), trained_home) as home:
        home.run(SAMPLE_JOB)
        home.save()
        yield home


@pytest.fixture(scope="module")
def home_with_news(tmp_path_factory: pytest.TempPathFactory, trained_home: TrainedHome) -> Iterator[Home]:
    """A home in which every job has run once, and other loans and another batch have come in since."""
    with new_home(tmp_path_factory.mktemp("all_faults"), trained_home) as home:
        for job in home.jobs():
            home.run(job)
        home.stop_server()
        home.deliver(seed=8, rows=500)
        home.save()
        yield home


@pytest.fixture
def small_disk(home: Home) -> Home:
    if not home.mounted:
        pytest.skip("this user may not mount a disk of its own (mount -t tmpfs)")
    return home


# --- disks and registries


@pytest.mark.long
@pytest.mark.parametrize("free", [40_000, 300_000, 700_000, 1_100_000, 1_500_000])
def test_a_full_disk_is_one_sentence_and_leaves_all_intact(small_disk: Home, free: int) -> None:
    home = small_disk
    before, began = home.files(), time.monotonic()
    with home.full_disk(free):
        sentence = home.error_of("run", "--trials", "1")
        assert sentence.startswith(f"There is no room left at {home.storage}")
        assert sentence.endswith("make some (LOAN_DEFAULT_HOME and LOAN_DEFAULT_STORAGE), then run again.")
        assert home.failure() == sentence
        assert_intact(home, before)
    log.warning("%d bytes free: %s %.0f s", free, sentence, time.monotonic() - began)


@pytest.mark.long
def test_a_disk_that_is_too_full_for_dagster_is_one_sentence(home: Home, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk of its own (mount -t tmpfs)")
        (tmp_path / "disk" / "ballast").write_bytes(b"0" * (DISK_BYTES - 200_000))
        records = tmp_path / "disk" / "dagster"
        sentence = home.error_of("run", "--trials", "1", DAGSTER_HOME=str(records))
    assert sentence.startswith(f"Dagster cannot keep its records in {records} (")
    assert "make room there" in sentence
    log.warning("a full disk of Dagster's: %s", sentence)


@pytest.mark.long
def test_a_read_only_disk_is_one_sentence_and_loses_nothing(small_disk: Home) -> None:
    home = small_disk
    before, began = home.files(), time.monotonic()
    with home.read_only_disk():
        sentence = home.error_of("run", "--trials", "1")
        assert sentence.startswith(str(home.storage))
        assert sentence.endswith(READ_ONLY)
        assert home.failure() == sentence
        assert home.error_of("score", str(home.storage / "applications" / f"{BATCH}.csv")).endswith(READ_ONLY)
    assert home.files() == before
    log.warning("read only: %s %.0f s", sentence, time.monotonic() - began)


@pytest.mark.long
@pytest.mark.parametrize("command", ["score", "run"])
def test_a_registry_that_is_away_is_one_sentence(home: Home, command: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    arguments = {"score": [str(home.storage / "applications" / f"{BATCH}.csv")], "run": ["--trials", "1"]}[command]
    before, began = home.files(), time.monotonic()
    sentence = home.error_of(command, *arguments, MLFLOW_TRACKING_URI=away)
    assert re.search(f"MLflow at {away} cannot be reached to .*: start it or correct MLFLOW_TRACKING_URI.$", sentence)
    assert sentence.endswith(home.failure())
    assert_intact(home, before)
    log.warning("%s without a registry: %s %.0f s", command, sentence, time.monotonic() - began)


@pytest.mark.integration
def test_sensors_wait_for_a_registry_that_is_away(home: Home) -> None:
    away, here = Tracking(f"http://127.0.0.1:{free_port()}", home.settings.artifacts), home.tracking()
    resources: Mapping[str, Any] = build_resources(home.settings)
    cursors: dict[str, str | None] = {}
    batch = home.storage / "applications" / "new.csv"
    write_csv(make_applications(10, month=MONTH, seed=1), batch)

    def tick(name: str, tracking: Tracking) -> str:
        sensor = SENSORS[name].evaluate
        arguments = {key: resources[key] for key in inspect.signature(sensor).parameters if key in resources}
        arguments["model_registry"] = SimpleNamespace(tracking=tracking)
        with (
            dagster_of(home.settings) as instance,
            dg.build_sensor_context(instance, cursor=cursors.get(name)) as context,
        ):
            result: Any = sensor(context, **arguments)
        cursors[name] = getattr(result, "cursor", None) or cursors.get(name)
        requests = getattr(result, "run_requests", None)
        return f"asks for {requests}" if requests else str(getattr(result, "skip_message", None) or result.skip_reason)

    tick("new_batch_sensor", here)  # the first look at a file
    for name in ("new_batch_sensor", "production_sensor", "lost_run_sensor"):
        assert f"MLflow at {away.tracking_uri} cannot be reached" in tick(name, away), name
        after = tick(name, here)
        assert "cannot be reached" not in after
        log.warning("%s without a registry says so; with it again: %.80s", name, after)
    batch.unlink()


# --- deaths


def die(home: Home, job: str, step: str, instant: str, like: Mapping[str, bytes]) -> None:
    before, began = home.files(), time.monotonic()
    died = home.run(job, step, instant)
    assert_intact(home, before, like)
    name = home.changes.get((job, step), {}).get(instant, "") if died else ""
    end = "died, all intact" if died else "had ended before"
    log.warning("%-22s %-24s %-9s %-64s %s, %.0f s", job, step, instant, name, end, time.monotonic() - began)


def run_again(home: Home, job: str, expected: dict[str, Any], *, alike: bool) -> None:
    """Run the job after a death; a search that was broken off draws other parameters, so that AUCs are not `alike`."""
    let_time_pass(home)
    before, began = home.files(), time.monotonic()
    home.run(job)
    result = result_of(home)
    if not alike:
        for kind, auc in result.pop("auc").items():
            assert auc == pytest.approx(expected["auc"][kind], abs=0.03)
        expected = {name: value for name, value in expected.items() if name != "auc"}
    assert result == expected
    assert_intact(home, before, home.files())
    assert_nothing_is_left(home)
    home.stop_server()
    log.warning("%-24s run again: ended as if nothing had died, %.0f s", job, time.monotonic() - began)


def instants(home: Home, job: str, step: str, rng: random.Random) -> list[str]:
    """List an instant while it computes, and those around each of its changes."""
    changes = [*home.changes.get((job, step), {})]
    return [f"{rng.uniform(0, home.seconds[step]):.2f}s", *(["before 1"] if changes else []), *changes]


@pytest.mark.integration
def test_after_a_run_died_somewhere_all_is_intact_and_the_next_ends_well(home: Home) -> None:
    rng = random.Random(3)  # the same death in each run; all of them, and others, are the long test's
    step = rng.choice([step for job, step in home.changes if job == SAMPLE_JOB])
    home.restore()
    expected, like = result_of(home), home.files()
    die(home, SAMPLE_JOB, step, rng.choice(instants(home, SAMPLE_JOB, step, rng)), like)
    run_again(home, SAMPLE_JOB, expected, alike=True)


@pytest.mark.long
def test_after_a_run_died_anywhere_all_is_intact_and_the_next_ends_well(
    home_with_news: Home, subtests: pytest.Subtests
) -> None:
    home, rng = home_with_news, random.Random()
    for job, steps in home.jobs().items():
        steps = [step for step in steps if not STEPS or step in STEPS]
        if not steps:
            continue
        home.restore()
        home.run(job)  # undisturbed
        home.stop_server()
        expected, like = result_of(home), home.files()
        for step in steps:
            with subtests.test(job=job, step=step):
                home.restore()
                struck = instants(home, job, step, rng)
                for instant in struck:
                    die(home, job, step, instant, like)
                    # At once where that takes little time: a server that was being started is still on its way.
                    if len(struck) < FEW_INSTANTS or instant == struck[-1]:
                        run_again(home, job, expected, alike=step != "tuned_params")
