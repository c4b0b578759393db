"""Faults do no harm: runs that die at any instant, a full disk, a read-only disk, a registry that is away.

It takes minutes: `make test-faults` runs it and dies at every instant of every step; LOAN_DEFAULT_TEST_FAULTS=one, at a
single drawn one.
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
from collections.abc import Iterator, Mapping
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
from loan_default.defs import sensors
from loan_default.defs.resources import build_resources
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.settings import Settings
from loan_default_tests.homes import FIRST_MONTH, LAST_MONTH, QUICK, dagster_of, definitions_of, new_home
from loan_default_tests.stores import client_of, free_port

log = logging.getLogger("faults")

ASKED = {name for name in os.environ.get("LOAN_DEFAULT_TEST_FAULTS", "").split(",") if name}  # "all", or some steps
WALK = ASKED - {"one"}
pytestmark = [pytest.mark.long, pytest.mark.skipif(not ASKED, reason="make test-faults runs it")]

BATCH, MONTH = "2014-08", date(2014, 8, 1)
DISK = 64_000_000
_FEW = 4  # instants
READ_ONLY = " cannot be written to (Read-only file system); let this user write there, then run again."
LATER = 9 * 24 * 3600  # seconds after which what a dead run left is cleared away


@dataclass
class Home:
    """A small home in which jobs are run by processes of their own."""

    folder: Path
    settings: Settings
    mounted: bool  # whether its storage is a disk of its own
    # Of (job, step), in the last whole run: the instant at which each change can be struck.
    changes: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of each step in it

    @property
    def storage(self) -> Path:
        return Path(self.settings.storage)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LOAN_DEFAULT_HOME": str(self.settings.home),
            "LOAN_DEFAULT_STORAGE": self.settings.storage,
            "LOAN_DEFAULT_DATA": self.settings.data,
            "LOAN_DEFAULT_POLICY": str(self.settings.policy),
            "LOAN_DEFAULT_SEARCH_SPACE": str(self.settings.search_space),
            "LOAN_DEFAULT_SERVING_URL": self.settings.serving_url,
            "DAGSTER_HOME": str(self.settings.dagster_home),
            "MLFLOW_TRACKING_URI": self.settings.tracking_uri,
        }

    # --- what comes in

    def deliver(self, seed: int, rows: int) -> None:
        """Loans, a batch, and how its loans ended; whatever else a job is made of is delivered here."""
        loans = make_loans(6_000, seed=seed, first_month=FIRST_MONTH, last_month=LAST_MONTH)
        write_csv(loans, Path(self.settings.data), footer=True)
        inbox = self.storage / "applications"
        inbox.mkdir(parents=True, exist_ok=True)
        write_csv(make_applications(rows, month=MONTH, seed=seed), inbox / f"{BATCH}.csv")
        outcomes = self.storage / "outcomes"
        outcomes.mkdir(exist_ok=True)
        ended = make_loans(rows, seed=seed, first_month=MONTH, last_month=MONTH).select("id", "loan_status")
        ended.with_columns(pl.lit("2019-09").alias("month")).write_csv(outcomes / "2019-09.csv")
        with dagster_of(self.settings) as instance:
            instance.add_dynamic_partitions("batch", [BATCH])

    # --- what is run

    def jobs(self) -> dict[str, list[str]]:
        """The fewest jobs that hold every step, and the steps that each adds, in their order."""
        covered: set[str] = set()
        found: dict[str, list[str]] = {}
        jobs = [job for job in definitions_of(self.settings).resolve_all_job_defs() if not job.name.startswith("__")]
        for job in sorted(jobs, key=lambda job: (-len(job.nodes_in_topological_order), job.name)):
            if new := [node.name for node in job.nodes_in_topological_order if node.name not in covered]:
                found[job.name] = new
                covered |= set(new)
        every = {asset.op.name for asset in definitions_of(self.settings).assets or [] if hasattr(asset, "op")}
        assert covered == every, "an asset is in no job"
        return found

    def command(self, job: str) -> list[str]:
        definition = definitions_of(self.settings).resolve_job_def(job)
        steps = {node.name for node in definition.nodes}
        config = {"ops": {step: {"config": values} for step, values in QUICK.items() if step in steps}}
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        tags = ["--tags", json.dumps({"dagster/partition": BATCH})] if definition.partitions_def else []
        named = ["-m", "loan_default.definitions", "-j", job, "-c", str(self.folder / "run.yaml"), *tags]
        return ["job", "execute", *named]

    def run(self, job: str, step: str = "none", instant: str = "never") -> bool:
        """Whether the run died; otherwise it has ended well."""
        changes, said = self.folder / "changes.log", self.folder / "said.log"
        changes.unlink(missing_ok=True)
        with said.open("w") as output:
            ended = subprocess.run(
                [
                    sys.executable,
                    str(Path(__file__).with_name("dying.py")),
                    str(changes),
                    step,
                    instant,
                    *self.command(job),
                ],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                check=False,
            )
        died = ended.returncode == -signal.SIGKILL
        assert died or ended.returncode == 0, said.read_text()[-6000:]
        if not died and instant == "never":
            self._note(job, changes.read_text().splitlines() if changes.exists() else [])
        return died

    def _note(self, job: str, changes: list[str]) -> None:
        for known in [known for known in self.changes if known[0] == job]:
            del self.changes[known]
        for line in changes:
            step, instant, name = line.split("\t")
            self.changes.setdefault((job, step), {})[instant] = name
        with dagster_of(self.settings) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
            for stats in instance.get_run_step_stats(run.run_id):
                self.seconds[stats.step_key] = (stats.end_time or 0) - (stats.start_time or 0)

    def stop_server(self) -> None:
        ScoringServer(self.settings.serving_url, self.settings.serving).stop(wait=20)

    def keep(self) -> None:
        """As it is now."""
        for folder in (self.settings.home, self.storage):
            shutil.copytree(folder, self.folder / "kept" / folder.name)

    def put_back(self) -> None:
        """As it was then."""
        self.stop_server()
        for folder in (self.settings.home, self.storage):
            shutil.rmtree(folder)
            shutil.copytree(self.folder / "kept" / folder.name, folder)

    @contextmanager
    def filled(self, free: int) -> Iterator[None]:
        """Meanwhile its disk has room for `free` bytes."""
        ballast = self.storage.parent / "ballast"
        room = os.statvfs(ballast.parent)
        ballast.write_bytes(b"0" * (room.f_bavail * room.f_frsize - free))
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Meanwhile nobody may write to its disk."""
        assert _mount("-o", "remount,ro", str(self.storage.parent))
        try:
            yield
        finally:
            assert _mount("-o", "remount,rw", str(self.storage.parent))

    def told(self, *arguments: str, **environment: str) -> str:
        """The one sentence in which a command ends that fails."""
        ended = subprocess.run(
            [sys.executable, "-m", "loan_default.cli", *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 1, ended.stdout + ended.stderr
        (sentence,) = ended.stderr.splitlines()
        assert sentence.startswith("loan-default: ")
        assert sentence.endswith(".")
        return sentence.removeprefix("loan-default: ")

    def failure(self) -> str:
        """What Dagster shows of the last run: why its step failed, or why no step began."""
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
        """What a user or the platform reads, apart from what came in and MLflow's."""
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
        """The registry, read from a copy: this process must not keep a file open that is put back later."""
        copy = self.folder / f"registry-{time.monotonic_ns()}.db"
        shutil.copy(self.settings.home / "mlflow" / "mlflow.db", copy)
        return Tracking(f"sqlite:///{copy}", self.settings.artifacts)


def result_of(home: Home) -> dict[str, Any]:
    """What a run is to come to, whatever happened before it: counts, verdicts and measures, no times and no numbers."""
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


def assert_whole(home: Home, before: Mapping[str, bytes], after: Mapping[str, bytes] | None = None) -> None:
    """All can be read, is the value from before or a new one like that in `after`, and points to what is there."""
    files = home.files()
    assert not before.keys() - files.keys() - {f"predictions/{BATCH}.csv"}, "something is gone"
    for name, data in files.items():
        if data != before.get(name):
            assert_like(name, data, (after or {}).get(name, data))
    csv = files.get(f"predictions/{BATCH}.csv")
    if csv is not None:
        mine = ("id", "model_version", "input_fingerprint")
        told = pl.read_csv(csv, columns=mine, schema_overrides={"id": pl.String}).select(mine)
        kept = pl.read_parquet(files[f"predictions/{BATCH}.parquet"], columns=mine).select(mine)
        assert told.rows() == kept.rows(), "the CSV is of other predictions"
    assert_registered(home, files)


def assert_like(name: str, data: bytes, like: bytes) -> None:
    if name.endswith(".parquet"):
        found, wanted = pl.read_parquet(data), pl.read_parquet(like)
        assert (found.height, found.schema) == (wanted.height, wanted.schema), name
    elif name.endswith(".json"):
        found, wanted = json.loads(data), json.loads(like)
        assert found.keys() == wanted.keys(), name
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
    decided = [record for name, record in records.items() if name.startswith(("promoted_model", "history"))]
    pointed = [record["candidate"] for record in decided]
    pointed += [record["version"] for name, record in records.items() if name.startswith("model_evaluation")]
    pointed += [record["model_version"] for name, record in records.items() if "model_version" in record]
    assert versions.keys() >= set(pointed), "a record points to a version that is absent"


def assert_nothing_is_left(home: Home) -> None:
    """No scratch file of a dead run, and no run that seems to be under way."""
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
    """What dead runs left becomes old."""
    for folder in (home.storage, home.settings.staging, home.settings.models):
        for path in folder.rglob("*"):
            old = path.stat().st_mtime - LATER
            os.utime(path, (old, old))


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """A small disk at `folder`, if this user may mount one."""
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder))
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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home in which every job has run once, and, for the walk, other loans and another batch have come in since."""
    folder = tmp_path_factory.mktemp("faults")
    settings = replace(
        new_home(folder), serving_url=f"http://127.0.0.1:{free_port()}", storage=str(folder / "disk" / "storage")
    )
    policy = yaml.safe_load(settings.policy.read_text())  # type: ignore[union-attr]
    policy["promotion"] |= {"auc_gain_at_least": -1.0, "auc_gain_low_at_least": -1.0, "brier_rise_at_most": 1.0}
    settings.policy.write_text(yaml.safe_dump(policy), encoding="utf-8")  # type: ignore[union-attr]
    with disk(folder / "disk") as mounted:
        home = Home(folder, settings, mounted)
        home.deliver(seed=7, rows=400)
        try:
            for job in home.jobs():
                home.run(job)
            home.stop_server()
            if WALK:
                home.deliver(seed=8, rows=500)
            home.keep()
            yield home
        finally:
            home.stop_server()


@pytest.fixture
def small_disk(home: Home) -> Home:
    if not home.mounted:
        pytest.skip("this user may not mount a disk of its own (mount -t tmpfs)")
    return home


# --- disks and registries


@pytest.mark.parametrize("free", [40_000, 700_000, 1_100_000, 1_500_000] if WALK else [300_000])
def test_a_full_disk_is_told_and_leaves_all_whole(small_disk: Home, free: int) -> None:
    home = small_disk
    before, began = home.files(), time.monotonic()
    with home.filled(free):
        sentence = home.told("run", "--trials", "1")
        assert sentence.startswith(f"There is no room left at {home.storage}")
        assert sentence.endswith("make some (LOAN_DEFAULT_HOME and LOAN_DEFAULT_STORAGE), then run again.")
        assert home.failure() == sentence
        assert_whole(home, before)
    log.warning("%d bytes free: %s %.0f s", free, sentence, time.monotonic() - began)


def test_a_disk_that_is_too_full_for_dagster_is_told(home: Home, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk of its own (mount -t tmpfs)")
        (tmp_path / "disk" / "ballast").write_bytes(b"0" * (DISK - 200_000))
        records = tmp_path / "disk" / "dagster"
        sentence = home.told("run", "--trials", "1", DAGSTER_HOME=str(records))
    assert sentence.startswith(f"Dagster cannot keep its records in {records} (")
    assert "make room there" in sentence
    log.warning("a full disk of Dagster's: %s", sentence)


def test_a_read_only_disk_is_told_and_loses_nothing(small_disk: Home) -> None:
    home = small_disk
    before, began = home.files(), time.monotonic()
    with home.read_only():
        sentence = home.told("run", "--trials", "1")
        assert sentence.startswith(str(home.storage))
        assert sentence.endswith(READ_ONLY)
        assert home.failure() == sentence
        if WALK:
            assert home.told("score", str(home.storage / "applications" / f"{BATCH}.csv")).endswith(READ_ONLY)
    assert home.files() == before
    log.warning("read only: %s %.0f s", sentence, time.monotonic() - began)


@pytest.mark.parametrize("command", ["score", "run"] if WALK else ["score"])
def test_a_registry_that_is_away_is_told(home: Home, command: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    arguments = {"score": [str(home.storage / "applications" / f"{BATCH}.csv")], "run": ["--trials", "1"]}[command]
    before, began = home.files(), time.monotonic()
    sentence = home.told(command, *arguments, MLFLOW_TRACKING_URI=away)
    assert re.search(f"MLflow at {away} cannot be reached to .*: start it or correct MLFLOW_TRACKING_URI.$", sentence)
    assert sentence.endswith(home.failure())
    assert_whole(home, before)
    log.warning("%s without a registry: %s %.0f s", command, sentence, time.monotonic() - began)


def test_sensors_wait_for_a_registry_that_is_away(home: Home) -> None:
    away, here = Tracking(f"http://127.0.0.1:{free_port()}", home.settings.artifacts), home.tracking()
    resources, cursors = build_resources(home.settings), {}
    new = home.storage / "applications" / "new.csv"
    write_csv(make_applications(10, month=MONTH, seed=1), new)

    def tick(name: str, tracking: Tracking) -> str:
        does = getattr(sensors, name)
        given = {key: resources[key] for key in inspect.signature(does).parameters if key in resources}
        given["model_registry"] = SimpleNamespace(tracking=tracking)
        with (
            dagster_of(home.settings) as instance,
            dg.build_sensor_context(instance, cursor=cursors.get(name)) as context,
        ):
            result = does(context, **given)
        cursors[name] = getattr(result, "cursor", None) or cursors.get(name)
        asked = getattr(result, "run_requests", None)
        return f"asks for {asked}" if asked else str(getattr(result, "skip_message", None) or result.skip_reason)

    tick("new_batches", here)  # the first look at a file
    for name in ("new_batches", "production", "lost_runs"):
        assert f"MLflow at {away.tracking_uri} cannot be reached" in tick(name, away), name
        after = tick(name, here)
        assert "cannot be reached" not in after
        log.warning("%s without a registry says so; with it again: %.80s", name, after)
    new.unlink()


# --- deaths


def undisturbed(home: Home, job: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the job comes to where nothing dies; it has run already where nothing has come in since."""
    if WALK:
        home.put_back()
        home.run(job)
        home.stop_server()
    return result_of(home), home.files()


def dies(home: Home, job: str, step: str, instant: str, like: Mapping[str, bytes]) -> None:
    before, began = home.files(), time.monotonic()
    died = home.run(job, step, instant)
    assert_whole(home, before, like)
    name = home.changes.get((job, step), {}).get(instant, "") if died else ""
    how = "died, all whole" if died else "had ended before"
    log.warning("%-22s %-24s %-9s %-64s %s, %.0f s", job, step, instant, name, how, time.monotonic() - began)


def runs_again(home: Home, job: str, wanted: Mapping[str, Any], *, alike: bool) -> None:
    let_time_pass(home)
    before, began = home.files(), time.monotonic()
    home.run(job)
    found = result_of(home)
    if not alike:  # a search that was broken off draws other parameters
        for kind, auc in found.pop("auc").items():
            assert auc == pytest.approx(wanted["auc"][kind], abs=0.03)
        wanted = {name: value for name, value in wanted.items() if name != "auc"}
    assert found == wanted
    assert_whole(home, before, home.files())
    assert_nothing_is_left(home)
    home.stop_server()
    log.warning("%-24s run again: ended as if nothing had died, %.0f s", job, time.monotonic() - began)


def instants(home: Home, job: str, step: str, rng: random.Random) -> list[str]:
    """While it computes, and around each of its changes."""
    changes = [*home.changes.get((job, step), {})]
    return [f"{rng.uniform(0, home.seconds[step]):.2f}s", *(["before 1"] if changes else []), *changes]


def test_after_a_run_died_anywhere_all_is_whole_and_the_next_ends_well(home: Home, subtests: pytest.Subtests) -> None:
    rng = random.Random()
    jobs = home.jobs()
    if not WALK:
        job = rng.choice([*jobs])
        jobs = {job: [rng.choice(jobs[job])]}
    for job, steps in jobs.items():
        if WALK and not WALK & {"all", *steps}:
            continue
        wanted, like = undisturbed(home, job)
        for step in steps:
            if WALK and not WALK & {"all", step}:
                continue
            with subtests.test(job=job, step=step):
                home.put_back()
                at = instants(home, job, step, rng)
                chosen = at if WALK else [rng.choice(at)]
                for instant in chosen:
                    dies(home, job, step, instant, like)
                    # At once where that takes little time: a server that was being started is still on its way.
                    if len(at) < _FEW or instant == chosen[-1]:
                        runs_again(home, job, wanted, alike=step != "tuned_params")
