"""The doctor's looks: a sound home, each kind of trouble made real, and looks that hang or fail themselves."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._daemon.types import DaemonHeartbeat

from loan_default.adapters import decision_log, probes, scoring_server
from loan_default.adapters.probes import Probe, Space
from loan_default.adapters.tracking import PRODUCTION, ModelVersion
from loan_default.cli import main
from loan_default.defs.instance_status import Daemon, InstanceStatus
from loan_default.operations import doctor
from loan_default.operations.doctor import Case, Finding, Look, examine
from loan_default.settings import Settings, load_settings, prepare_process
from loan_default_tests.adapters.test_alerts import serving
from loan_default_tests.adapters.test_probes import read_only
from loan_default_tests.engines import Cluster
from loan_default_tests.homes import own_environment
from loan_default_tests.stores import free_port, log_model, new_run, new_tracking

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Place = Callable[..., Settings]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An installation by its environment: settings are given by name, the home is `home`."""
    monkeypatch.chdir(tmp_path)

    def of(**given: Any) -> Settings:
        os.environ |= {name: str(value) for name, value in given.items()}
        return load_settings()

    with own_environment():
        for name in list(os.environ):
            if name.startswith(("LOAN_DEFAULT_", "DAGSTER_", "MLFLOW_", "SLACK_", "ALERT_", "SMTP_")):
                del os.environ[name]
        url = f"http://127.0.0.1:{free_port()}"
        of(LOAN_DEFAULT_HOME=tmp_path / "home", LOAN_DEFAULT_SERVING_URL=url)
        yield of


def found(look: Callable[[Case], Iterator[Finding]], case: Case | Settings) -> list[Finding]:
    return [*look(case if isinstance(case, Case) else Case(case))]


def wrong(findings: list[Finding]) -> Finding:
    """The only one that is wrong; it says what to do."""
    (finding,) = [finding for finding in findings if finding.mark == "wrong"]
    assert finding.remedy
    return finding


@contextmanager
def answering(told: Mapping[str, tuple[int, bytes]], headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server that answers so by path."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = told.get(self.path, (404, b"who?"))
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with serving(server := ThreadingHTTPServer(("127.0.0.1", 0), Server)):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def silent() -> Iterator[str]:
    """The address of something that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def health(version: int | None, trouble: str | None = None) -> dict[str, tuple[int, bytes]]:
    status = "ready" if version else "not ready"
    told = {"status": status, "model": "m", "alias": PRODUCTION, "version": version, "pid": 7, "workers": 1}
    return {"/health": (200, json.dumps({**told, "trouble": trouble}).encode())}


def production(version: int = 3) -> ModelVersion:
    return ModelVersion("m", version, "run", NOW)


# --- the whole ------------------------------------------------------------------------------------------------


def heartbeats(settings: Settings, at: datetime) -> None:
    with dg.DagsterInstance.get() as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), name, None))


def test_a_sound_home_ends_with_zero_and_each_trouble_with_one(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loans.csv").write_text("id\n1\n")
    settings = place(LOAN_DEFAULT_DATA=tmp_path / "loans.csv")
    prepare_process(settings)
    Path(settings.storage).mkdir()
    (settings.home / "mlflow").mkdir()
    tracking = replace(new_tracking(settings.home / "mlflow"), artifact_root=settings.artifacts)
    run = new_run(tracking)
    version = tracking.register(run, log_model(tracking, run), {})
    tracking.promote(version.version, {})
    heartbeats(settings, datetime.now(UTC))
    before = {str(path): path.stat().st_mtime_ns for path in settings.home.rglob("*") if path.is_file()}
    with answering(health(1)) as url:
        place(LOAN_DEFAULT_SERVING_URL=url, SLACK_WEBHOOK_URL="http://127.0.0.1:9/hush")
        code = main(["doctor", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert (code, told["wrong"]) == (0, 0)
    assert [one["look"] for one in told["findings"] if one["mark"] != "ok"] == []
    assert {path for path in before if not Path(path).exists()} == set()
    assert {str(path) for path in settings.home.rglob("*") if path.is_file()} == set(before)
    said = " ".join(one["found"] for one in told["findings"])
    assert "Version 1 is in production, loads and answers its canary." in said
    assert "hush" not in said

    heartbeats(settings, datetime.now(UTC) - timedelta(hours=5))
    assert main(["doctor"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert len([line for line in lines if " wrong " in line and "daemons are silent" in line]) == 1
    assert lines[-1] == "1 wrong."
    assert "last heard of 5 hours ago. → Start it: make dev" in "\n".join(lines)

    for file in Path(settings.artifacts).rglob("canary.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "pd": 0.9}))
    changed = wrong(found(doctor.look_at_registry, settings))
    assert "Version 1 gives its canary the PD" in changed.found
    assert changed.remedy == "Register it again."

    shutil.rmtree(settings.artifacts)
    (lost,) = [finding for finding in found(doctor.look_at_registry, settings) if finding.mark == "wrong"]
    assert lost.look == "production"
    assert lost.found.startswith("Version 1 is in production and fails: ")


def test_a_new_home_has_nothing_wrong_and_stays_new(place: Place, tmp_path: Path) -> None:
    settings = place()
    assert {finding.mark for finding in examine()} == {"ok", "note"}
    assert not settings.home.exists()
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be_read_are_a_finding(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "weird"
    assert main(["doctor", "--json"]) == 1
    (told,) = json.loads(capfd.readouterr().out)["findings"]
    assert told["found"] == "LOAN_DEFAULT_ENV is 'weird'; it must be one of local, staging, prod."


def test_a_look_that_hangs_or_fails_is_a_line_and_the_next_follows(place: Place) -> None:
    never = threading.Event()

    def hangs(_: Case) -> Iterator[Finding]:
        yield Finding("hangs", "ok", "So far.")
        never.wait(20)

    def fails(_: Case) -> Iterator[Finding]:
        raise KeyError("//ann:hush@bank and T0/secret\nmore")
        yield

    def answers(_: Case) -> Iterator[Finding]:
        yield Finding("answers", "ok", "Yes.", "T0/secret")

    place(SLACK_WEBHOOK_URL="T0/secret", LOAN_DEFAULT_API_TOKENS="more, T0/secret-2")
    looks = [Look("hangs", hangs, "Wake it.", 0.2), Look("fails", fails, "Mend it."), Look("answers", answers, "")]
    try:
        assert [*examine(looks=looks)] == [
            Finding("hangs", "ok", "So far."),
            Finding("hangs", "wrong", "There was no answer within 0.2 s.", "Wake it."),
            Finding("fails", "wrong", "Looking failed: KeyError: '//bank and •••\\n•••'.", "Mend it."),
            Finding("answers", "ok", "Yes.", "•••"),
        ]
    finally:
        never.set()


HANGS = """
import threading
from loan_default.operations.doctor import Look, examine
print([finding.found for finding in examine(looks=[Look("x", lambda case: threading.Event().wait(), "", 0.1)])])
"""


def test_a_look_that_hangs_does_not_keep_the_process(place: Place) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "['There was no answer within 0.1 s.']\n"


# --- settings and reviewed files ------------------------------------------------------------------------------


def test_a_typo_is_named_and_its_value_is_not(place: Place) -> None:
    settings = place(LOAN_DEFAULT_POLCY="hush", LOAN_DEFAULT_WEATHER="rain")
    findings = found(doctor.look_at_settings, settings)
    finding = wrong(findings)
    assert finding.found == "LOAN_DEFAULT_POLCY is set and is no setting."
    assert finding.remedy == "Call it LOAN_DEFAULT_POLICY, or unset it."
    assert [one.found for one in findings if one.mark == "note"] == ["LOAN_DEFAULT_WEATHER is set and is no setting."]
    assert "hush" not in str(findings)


@pytest.mark.parametrize("name", ["CONTRACT", "POLICY", "SEARCH_SPACE"])
@pytest.mark.parametrize("text", ["promotion: [", "promotion: 3", None], ids=["no YAML", "no policy", "no file"])
def test_a_corrupt_reviewed_file_is_named(place: Place, tmp_path: Path, name: str, text: str | None) -> None:
    file = tmp_path / "reviewed.yaml"
    if text is not None:
        file.write_text(text)
    finding = wrong(found(doctor.look_at_settings, place(**{f"LOAN_DEFAULT_{name}": file})))
    assert finding.found.startswith(str(file))
    assert f"LOAN_DEFAULT_{name}" in finding.remedy


def test_loan_data_must_exist_if_it_is_named(place: Place, tmp_path: Path) -> None:
    assert [finding.mark for finding in found(doctor.look_at_data, place())] == ["note"]
    settings = place(LOAN_DEFAULT_DATA=tmp_path / "*.csv")
    assert wrong(found(doctor.look_at_data, settings)).found == f"{tmp_path}/*.csv names no file."
    (tmp_path / "loans.csv").write_text("id")
    assert [finding.mark for finding in found(doctor.look_at_data, settings)] == ["ok"]


# --- storage and disk -----------------------------------------------------------------------------------------


def test_a_storage_that_is_away_or_refuses_is_wrong(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = {}
    for name, root in {"away": tmp_path / "none", "file": tmp_path / "file", "shut": read_only(tmp_path)}.items():
        told[name] = wrong(found(doctor.look_at_storage, place(LOAN_DEFAULT_STORAGE=root))).found
    assert told["away"] == f"{tmp_path}/none does not exist."
    assert told["file"] == f"{tmp_path}/file cannot be used: Not a directory."
    assert "cannot be used" in told["shut"]


def test_leftovers_are_counted_with_what_they_take(place: Place) -> None:
    settings = place()
    prepare_process(settings)
    (settings.staging / "cleaned.parquet").write_bytes(b"0" * 2_000_000)
    long_ago = time.time() - 3 * 86_400
    os.utime(settings.staging / "cleaned.parquet", (long_ago, long_ago))
    left = next(finding for finding in found(doctor.look_at_storage, settings) if finding.look == "leftovers")
    assert (left.mark, left.found) == ("note", "1 half-written file (2.0 MB) of runs that died, older than a day.")
    assert left.remedy == "Nothing: a run that starts sweeps away what is older than a week."


@pytest.mark.parametrize(
    ("listed", "same", "removed", "told"),
    [
        (True, True, True, None),
        (False, True, True, "does not list what was just written"),
        (True, False, True, "does not give back what was written"),
        (False, True, False, "does not list what was just written and does not remove files"),
    ],
)
def test_a_probe_is_judged(listed: bool, same: bool, removed: bool, told: str | None) -> None:
    finding = doctor.judge_probe("gs://b", Probe(listed, same, removed, NOW, NOW, 0.1))
    assert finding.mark == ("wrong" if told else "ok")
    assert told is None or finding.found == f"gs://b {told}."


@pytest.mark.parametrize(
    ("space", "mark", "told"),
    [
        (Space(10**9, None), "ok", "1.0 GB are free"),
        (Space(10**9 - 10**8, None), "wrong", "0.9 GB are free in /home."),
        (Space(10**12, 9_999), "wrong", "room for 9,999 more files only (inodes)"),
        (Space(10**12, 10_000), "ok", "1,000.0 GB are free"),
    ],
)
def test_space_is_judged_by_bytes_and_by_files(space: Space, mark: str, told: str) -> None:
    finding = doctor.judge_space("home", Path("/home"), space, 10**9)
    assert (finding.mark, told in finding.found) == (mark, True)


def test_the_loan_file_says_how_much_must_be_free(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "loans.csv").open("wb") as file:
        file.truncate(3 * 10**9)  # sparse: it takes no room
    monkeypatch.setattr(probes, "free_space", lambda folder: Space(2 * 10**9, None))
    Path(place().storage).mkdir(parents=True)
    assert {finding.mark for finding in found(doctor.look_at_disk, place())} == {"ok"}
    findings = found(doctor.look_at_disk, place(LOAN_DEFAULT_DATA=tmp_path / "loans.csv"))
    assert [(one.look, one.mark) for one in findings] == [
        ("disk: home", "wrong"),
        ("disk: storage", "wrong"),
        ("disk: temporary folder", "ok"),
    ]
    assert "until 4.0 GB are free" in findings[0].remedy


# --- registry and server --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "told", "remedy"),
    [("451aebb31d03", "of an older MLflow", "mlflow db upgrade"), ("f00000000000", "newer MLflow", "Install")],
    ids=["older", "newer"],
)
def test_a_database_of_another_release_is_one_clear_sentence(
    place: Place, revision: str, told: str, remedy: str
) -> None:
    settings = place()
    (settings.home).mkdir()
    new_tracking(settings.home / "mlflow")
    with sqlite3.connect(settings.home / "mlflow" / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = ?", [revision])
    finding = wrong(found(doctor.look_at_registry, settings))
    assert told in finding.found
    assert remedy in finding.remedy


def test_a_registry_that_is_new_has_nothing_in_production(place: Place) -> None:
    settings = place()
    settings.home.mkdir()
    new_tracking(settings.home / "mlflow")
    findings = found(doctor.look_at_registry, settings)
    assert [(one.look, one.mark) for one in findings] == [("registry", "ok"), ("production", "note")]


def test_a_registry_at_a_closed_port_is_said_without_its_password(place: Place) -> None:
    place(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}", MLFLOW_TRACKING_PASSWORD="hush")
    finding = wrong([*examine(looks=[Look("registry", doctor.look_at_registry, "", 60)])])
    assert "cannot be reached to read the alias production." in finding.found
    assert finding.remedy == "Start it or correct MLFLOW_TRACKING_URI."
    assert "hush" not in str(finding)


def test_a_slow_registry_is_noted() -> None:
    assert doctor.judge_answer("sqlite:///x", 0.1).mark == "ok"
    assert doctor.judge_answer("sqlite:///x", 4.2).found == "MLflow at sqlite:///x took 4.2 s to answer."


@pytest.mark.parametrize(
    ("answer", "known", "mark", "told"),
    [
        (health(3), production(), "ok", "Version 3, which is in production, answers"),
        (health(2), production(), "wrong", "Version 2 answers, and version 3 is in production."),
        (health(3, "The registry is away."), production(), "wrong", "It says: The registry is away."),
        (health(None), production(), "wrong", "It says: no version is loaded."),
        (health(3), None, "note", "which is in production is not known"),
        ({}, production(), "wrong", "Another program than the scoring server answers"),
    ],
    ids=["right", "other version", "trouble", "no version", "registry unknown", "foreign"],
)
def test_what_answers_at_the_servers_address_is_told(
    place: Place, answer: Mapping[str, tuple[int, bytes]], known: ModelVersion | None, mark: str, told: str
) -> None:
    with answering(answer) as url:
        case = Case(place(LOAN_DEFAULT_SERVING_URL=url), production=known)
        (finding,) = found(doctor.look_at_server, case)
    assert (finding.mark, told in finding.found) == (mark, True), finding
    assert finding.mark != "wrong" or finding.remedy


def test_a_port_that_is_taken_by_something_silent_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_server, "_HEALTH_SECONDS", 0.2)
    with silent() as url:
        finding = wrong(found(doctor.look_at_server, place(LOAN_DEFAULT_SERVING_URL=url)))
    assert finding.found == f"The port of {url} is taken by something that does not answer."


def test_no_server_is_a_note_unless_one_should_run(place: Place) -> None:
    settings = place()
    assert [finding.mark for finding in found(doctor.look_at_server, settings)] == ["note"]
    settings.serving.mkdir(parents=True)
    (settings.serving / "server.pid").write_text("1\n")
    assert "a server ran that was not stopped" in wrong(found(doctor.look_at_server, settings)).found
    supervised = place(LOAN_DEFAULT_SERVING_SUPERVISED="true")
    assert "another service is to run it" in wrong(found(doctor.look_at_server, supervised)).found


# --- Dagster: what a real instance leaves is in defs/test_instance_status.py ----------------------------------------


SOUND = InstanceStatus(
    (Daemon("SENSOR", NOW, None),), (), None, 0, (), NOW, monitors_runs=True, retries_runs=True, limits_runs=True
)


def test_an_error_that_a_daemon_reports_is_told() -> None:
    failing = replace(SOUND, daemons=(Daemon("SENSOR", NOW, "The database is locked."), *SOUND.daemons))
    finding = wrong([*doctor.judge_daemons(failing, NOW)])
    assert finding.found == "SENSOR reports: The database is locked."


@pytest.mark.parametrize(
    ("minutes", "under_way", "mark"), [(59, 0, "ok"), (61, 0, "wrong"), (61, 1, "note"), (300, 0, "wrong")]
)
def test_a_run_that_waits_long_is_told(minutes: int, under_way: int, mark: str) -> None:
    waits = replace(SOUND, queued_since=NOW - timedelta(minutes=minutes), runs_under_way=under_way)
    (finding,) = doctor.judge_runs(waits, NOW)
    assert finding.mark == mark


def test_a_run_without_its_process_is_told() -> None:
    finding = wrong([*doctor.judge_runs(replace(SOUND, lost_runs=("training_job 0a1b2c3d",), runs_under_way=1), NOW)])
    assert finding.found == "training_job 0a1b2c3d has begun, and its process is gone."


def test_the_lines_that_an_old_home_lacks_make_it_sound(place: Place) -> None:
    settings = place()
    home = settings.home / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (home / "history").mkdir()
    os.environ["DAGSTER_HOME"] = str(home)
    lacking = [finding for finding in found(doctor.look_at_dagster, settings) if finding.mark == "wrong"]
    assert [finding.look for finding in lacking] == ["limits"] * 3
    with (home / "dagster.yaml").open("a") as file:
        file.writelines(f"{finding.remedy.removeprefix('Add to it: ')}\n" for finding in lacking)
    assert yaml.safe_load((home / "dagster.yaml").read_text())["concurrency"]["runs"]["max_concurrent_runs"] == 2
    assert [finding for finding in found(doctor.look_at_dagster, settings) if finding.mark == "wrong"] == []


def test_what_prod_misses_is_a_line_and_the_other_looks_follow(place: Place) -> None:
    place(LOAN_DEFAULT_ENV="prod", LOAN_DEFAULT_API_TOKENS="hush-1", LOAN_DEFAULT_ADMIN_TOKENS="hush-2")
    findings = [*examine(looks=doctor.LOOKS[:2])]
    assert wrong(findings).found == (
        "Environment prod leaves nothing to a default, and LOAN_DEFAULT_STORAGE, MLFLOW_TRACKING_URI, "
        "LOAN_DEFAULT_DAGSTER_STORAGE, LOAN_DEFAULT_STUDY_STORAGE is not set."
    )
    assert findings[-1].look == "loan data"


def test_a_home_that_is_older_than_the_settings_is_told_what_to_say(place: Place) -> None:
    prepare_process(place())
    settings = place(LOAN_DEFAULT_DAGSTER_STORAGE="postgresql://ann:hush@127.0.0.1/dagster")
    file = settings.home / "dagster" / "dagster.yaml"
    findings = found(doctor.look_at_dagster, settings)
    assert findings[-1].found == f"Nothing has run from {settings.dagster_home} yet.", "the records are still there"
    finding = wrong(findings)
    assert finding.found == f"{file} keeps runs on this machine, and not where LOAN_DEFAULT_DAGSTER_STORAGE says."
    assert "hush" not in str(finding)
    with file.open("a") as lines:
        lines.write(f"{finding.remedy.removeprefix('Have it say: ')}\n")
    assert not [*doctor.judge_sections(file, settings)]
    file.unlink()
    prepare_process(settings)
    assert not [*doctor.judge_sections(file, settings)]
    assert "hush" not in file.read_text()


def test_a_home_that_is_older_than_its_bucket_is_told_what_to_say(place: Place) -> None:
    prepare_process(place())
    settings = place(LOAN_DEFAULT_STORAGE="gs://bucket/prefix")
    file = settings.home / "dagster" / "dagster.yaml"
    finding = wrong([*doctor.judge_sections(file, settings)])
    assert finding.found.startswith(f"{file} keeps what steps print on this machine, and not in the bucket")
    with file.open("a") as lines:
        lines.write(f"{finding.remedy.removeprefix('Have it say: ')}\n")
    assert not [*doctor.judge_sections(file, settings)]


def test_a_broken_dagster_yaml_is_a_line(place: Place) -> None:
    settings = place()
    prepare_process(settings)
    (settings.home / "dagster" / "history").mkdir()
    (settings.home / "dagster" / "dagster.yaml").write_text("concurrency: [")
    finding = wrong([*examine(looks=[look for look in doctor.LOOKS if look.name == "dagster"])])
    assert finding.found.startswith("Looking failed: ")
    assert "dagster.yaml" in finding.remedy


# --- clock and people -----------------------------------------------------------------------------------------


def test_a_file_from_the_future_tells_of_the_clock(place: Place) -> None:
    case = Case(place())
    record = {"verdict": "promote", "candidate": 1, "decided_at": "2026-11-24T12:00:00+00:00"}
    decision_log.add(case.settings.layout, record)
    (file,) = Path(case.settings.storage, "history").iterdir()
    ahead = time.time() + 3 * 3600
    os.utime(file, (ahead, ahead))
    found(doctor.look_at_storage, case)
    finding = wrong(found(doctor.look_at_clock, case))
    assert finding.found.startswith(f"history/{file.name} is from ")
    assert "3 hours from now" in finding.found


def test_a_tracking_server_with_another_time_tells_of_the_clock(place: Place) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
    with answering({"/version": (200, b"3.17.2")}, {"Date": date}) as url:
        case = Case(place(MLFLOW_TRACKING_URI=url))
        assert wrong(found(doctor.look_at_registry, case)).look == "registry"  # it is no MLflow, but for its version
    finding = wrong(found(doctor.look_at_clock, case))
    assert finding.found == "This machine's clock is 3 hours behind that of MLflow's server."


@pytest.mark.parametrize(("seconds", "where"), [(9, None), (-9, None), (11, "behind"), (-11, "ahead of")])
def test_clocks_may_differ_by_a_little(seconds: int, where: str | None) -> None:
    findings = [*doctor.judge_clocks([("the storage", NOW + timedelta(seconds=seconds), NOW)])]
    assert [finding.found for finding in findings] == (
        [f"This machine's clock is 11 s {where} that of the storage."] if where else []
    )


def test_whether_anybody_would_be_told(place: Place) -> None:
    assert [finding.mark for finding in found(doctor.look_at_alerts, place())] == ["note"]
    settings = place(ALERT_EMAILS="ann@bank, bob@bank", SMTP_PORT=(port := free_port()))
    assert wrong(found(doctor.look_at_alerts, settings)).found == (
        f"The mail server at 127.0.0.1:{port} takes no connection."
    )
    with serving(HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)):
        (finding,) = found(doctor.look_at_alerts, settings)
    assert (finding.mark, "for 2 addresses" in finding.found) == ("ok", True)


def test_workers_are_counted_where_there_are_any_to_be(place: Place, tmp_path: Path) -> None:
    assert found(doctor.look_at_workers, place()) == []
    (own,) = found(doctor.look_at_workers, place(LOAN_DEFAULT_ENGINE="dask"))
    assert (own.mark, own.found) == ("ok", f"Each run starts Dask workers of this machine, {os.cpu_count()} of them.")
    assert found(doctor.look_at_studies, place()) == []  # they lie in a journal file
    silent = wrong(found(doctor.look_at_workers, place(LOAN_DEFAULT_DASK_ADDRESS="nonsense://here")))
    assert silent.found == "No Dask scheduler answers at nonsense://here (LOAN_DEFAULT_DASK_ADDRESS)."
    assert silent.remedy.startswith("Start one with dask scheduler, or leave")


def test_a_scheduler_without_workers_is_wrong(place: Place, tmp_path: Path) -> None:
    running = Cluster(tmp_path)
    running.start_scheduler()
    settings = place(LOAN_DEFAULT_ENGINE="dask", LOAN_DEFAULT_DASK_ADDRESS=running.address)
    try:
        idle = wrong(found(doctor.look_at_workers, settings))
        assert idle.found == f"The Dask scheduler at {running.address} has had no worker for 1 seconds."
        running.start_workers()
        deadline = time.monotonic() + 60
        while (finding := found(doctor.look_at_workers, settings)[0]).mark == "wrong":
            assert time.monotonic() < deadline
        assert "worker" in finding.found
        assert "GB of memory; watch them at http://127.0.0.1:" in finding.found
    finally:
        running.stop()


def test_a_test_alert_is_sent_only_when_asked_for(place: Place) -> None:
    taken: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with serving(server := HTTPServer(("127.0.0.1", 0), Hook)):
        place(
            SLACK_WEBHOOK_URL=f"http://127.0.0.1:{server.server_port}/hush", ALERT_EMAILS="a@b", SMTP_PORT=free_port()
        )
        assert [*examine(looks=[])] == []
        assert taken == []
        findings = [*examine(looks=[], send_test_alert=True)]
    assert len(taken) == 1
    assert "loan-default doctor" in taken[0]
    assert [finding.mark for finding in findings] == ["wrong", "ok"]
    assert "The mail server at" in findings[0].found
    assert findings[1].found == "1 channel took the message."
    assert "hush" not in str(findings)


def test_a_test_alert_without_channels_is_wrong(place: Place) -> None:
    place()
    assert wrong([*examine(looks=[], send_test_alert=True)]).found == "There is no channel to send by."
