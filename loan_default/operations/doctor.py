"""What is wrong with an installation, and what to do about it: the looks, one after the other.

A look is a small function that yields findings, and stands in `LOOKS`. Measuring is `adapters.probes`'s, Dagster is
asked by `defs.instance_status`, a finding is printed by `console`. Nothing is changed but for a probe file in storage.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import yaml
from upath import UPath

from loan_default.adapters import inbox, probes
from loan_default.adapters.alerts import Channels, send
from loan_default.adapters.gcs import BucketError, check
from loan_default.adapters.layout import Layout
from loan_default.adapters.scoring_server import ScoringServer, ServerError
from loan_default.adapters.storage import is_remote
from loan_default.adapters.tracking import PRODUCTION, Tracking, TrackingError, load_environment
from loan_default.risk.errors import BadInput
from loan_default.settings import (
    ADMIN_TOKENS,
    API_TOKENS,
    DAGSTER_STORAGE,
    JOURNAL,
    SLACK,
    SMTP_PASSWORD,
    STUDY_STORAGE,
    Settings,
    dagster_yaml,
    load_settings,
    missing_variables,
    prepare_environment,
    unknown_variables,
)

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.defs.instance_status import InstanceStatus

Mark = Literal["ok", "note", "wrong"]

_GB = 1_000_000_000
# Besides loans: a training keeps 10 MB and a batch 7 MB, mostly Evidently's page; this is months of both.
_LEAST_FREE, _LEAST_FREE_TEMPORARY = _GB, _GB // 2  # packages pass through the temporary folder
_LEAST_FILES = 10_000  # a run makes tens
_ASK_SECONDS = 5.0  # of one question to a server
_SLOW_SECONDS = 3.0
_SILENT = timedelta(minutes=5)  # daemons tell that they live every 30 s
_LONG_QUEUED = timedelta(hours=1)
_SKEW = timedelta(seconds=10)
# MLflow would ask a dead server again and again.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": f"{_ASK_SECONDS:.0f}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and where something is to be done, what."""

    look: str
    mark: Mark
    found: str
    remedy: str = ""


@dataclass
class Case:
    """The settings, and what one look leaves for the next."""

    settings: Settings
    production: ModelVersion | None = None
    clocks: list[tuple[str, datetime, datetime]] = field(default_factory=list)  # whose, what it said, ours then
    written: list[tuple[str, datetime]] = field(default_factory=list)  # what should lie in the past


@dataclass(frozen=True)
class Look:
    """`remedy`: what to do where it fails in a way that it does not know, or gets no answer within `seconds`."""

    name: str
    does: Callable[[Case], Iterator[Finding]]
    remedy: str
    seconds: float = 20.0


def examine(*, send_test_alert: bool = False, looks: Sequence[Look] | None = None) -> Iterator[Finding]:
    """Every look, as it ends; secrets are left out of what is found."""
    try:
        settings = load_settings()
    except BadInput as error:
        yield Finding("settings", "wrong", str(error), "Correct it in the environment or in .env.")
        return
    prepare_environment(settings)
    case, tried = Case(settings), [TEST_ALERT] if send_test_alert else []
    for look in [*(LOOKS if looks is None else looks), *tried]:
        for finding in _within_its_time(look, case):
            yield _without_secrets(finding, settings)


def _within_its_time(look: Look, case: Case) -> Iterator[Finding]:
    """The findings of a look; what hangs is left behind, what fails is a finding too."""
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for finding in look.does(case):
                found.put(finding)
        except Exception as error:  # noqa: BLE001 - whatever it is, a person reads a line and the next look follows
            told = (str(error).strip().splitlines() or ["without a word"])[0].rstrip(".")
            found.put(Finding(look.name, "wrong", f"Looking failed: {type(error).__name__}: {told}.", look.remedy))
        found.put(None)

    threading.Thread(target=run, name=f"look at {look.name}", daemon=True).start()
    deadline = time.monotonic() + look.seconds
    while True:
        try:
            finding = found.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            yield Finding(look.name, "wrong", f"There was no answer within {look.seconds:g} s.", look.remedy)
            return
        if finding is None:
            return
        yield finding


def _without_secrets(finding: Finding, settings: Settings) -> Finding:
    known = {*settings.secrets.values(), *settings.tokens(API_TOKENS), *settings.tokens(ADMIN_TOKENS)}
    for address in (settings.dagster_storage, settings.study_storage):
        if password := urlsplit(address).password:
            known |= {address, password, unquote(password)}

    def cleaned(text: str) -> str:
        for secret in sorted(known, key=len, reverse=True):
            text = text.replace(secret, "•••")
        return re.sub(r"//[^/@\s]+@", "//", text)

    return Finding(finding.look, finding.mark, cleaned(finding.found), cleaned(finding.remedy))


# --- settings and reviewed files ------------------------------------------------------------------------------


def look_at_settings(case: Case) -> Iterator[Finding]:
    """The environment holds no setting that nobody reads, and the reviewed files can be read."""
    from loan_default.risk.contract import load_contract
    from loan_default.risk.model.search_space import load_search_space
    from loan_default.risk.policy import load_policy

    settings = case.settings
    unknown = unknown_variables()
    for name, meant in sorted(unknown.items()):
        if meant:
            yield Finding("settings", "wrong", f"{name} is set and is no setting.", f"Call it {meant}, or unset it.")
        else:
            yield Finding(
                "settings", "note", f"{name} is set and is no setting.", "Unset it, if nothing else needs it."
            )
    if missing := missing_variables():
        told = f"Environment {settings.environment} leaves nothing to a default, and {', '.join(missing)} is not set."
        yield Finding("settings", "wrong", told, "Set what it names; until then no job runs.")
    if not unknown and not missing:
        yield Finding("settings", "ok", f"Environment {settings.environment}, home {settings.home}.")
    for name, load, file in (
        ("CONTRACT", load_contract, settings.contract),
        ("POLICY", load_policy, settings.policy),
        ("SEARCH_SPACE", load_search_space, settings.search_space),
    ):
        what = name.lower().replace("_", " ")
        try:
            load(file)
        except (BadInput, OSError, ValueError) as error:
            remedy = f"Correct the file, or unset LOAN_DEFAULT_{name} for the one that is shipped."
            yield Finding("reviewed files", "wrong", str(error), remedy)
        else:
            yield Finding("reviewed files", "ok", f"The {what} is {file or 'the one that is shipped'}.")


def look_at_data(case: Case) -> Iterator[Finding]:
    """LOAN_DEFAULT_DATA names files that exist; scoring works without."""
    spec = case.settings.data
    if not spec:
        remedy = "Set LOAN_DEFAULT_DATA to train without --data, as schedules and retrainings do."
        yield Finding("loan data", "note", "LOAN_DEFAULT_DATA is not set.", remedy)
        return
    remedy = "Correct LOAN_DEFAULT_DATA, or put the file there; nothing can be retrained until then."
    try:
        files = inbox.named_files(spec, patience=_ASK_SECONDS)
    except BucketError as error:
        yield _wrong("loan data", error, remedy)
        return
    if files:
        size = _size(sum(file.size for file in files))
        yield Finding("loan data", "ok", f"{spec} names {_count(len(files), 'file')} of {size}.")
    else:
        yield Finding("loan data", "wrong", f"{spec} names no file.", remedy)


# --- storage and disk -----------------------------------------------------------------------------------------


def look_at_storage(case: Case) -> Iterator[Finding]:
    """The storage can be written, listed and read; what dead runs left behind is counted."""
    settings = case.settings
    root = settings.storage
    if not is_remote(root) and not Path(root).exists():
        yield _absent(settings)
    else:
        try:
            probe = probes.probe_storage(root, patience=_ASK_SECONDS)
        except BucketError as error:
            yield _wrong("storage", error, "Correct LOAN_DEFAULT_STORAGE.")
        except OSError as error:
            remedy = "See that it is a folder that this user may write to, or correct LOAN_DEFAULT_STORAGE."
            yield Finding("storage", "wrong", f"{root} cannot be used: {error.strerror or error}.", remedy)
        else:
            case.clocks.append(("the storage", probe.changed_at, probe.written_at))
            yield judge_probe(root, probe)
            case.written += _newest_files(root)
    left = probes.count_leftovers(root, settings.staging, settings.models, datetime.now(UTC))
    if left.files:
        told = f"{_count(left.files, 'half-written file')} ({_size(left.size)}) of runs that died, older than a day."
        remedy = "Nothing: a run that starts sweeps away what is older than a week."
        yield Finding("leftovers", "note", told, remedy)
    else:
        yield Finding("leftovers", "ok", "No run that died left files behind.")


def _absent(settings: Settings) -> Finding:
    if settings.storage == Settings(settings.home).storage:
        return Finding("storage", "note", f"{settings.storage} does not exist yet.", "The first run makes it.")
    remedy = "Mount or make it, or correct LOAN_DEFAULT_STORAGE; a run would make an empty one."
    return Finding("storage", "wrong", f"{settings.storage} does not exist.", remedy)


def judge_probe(root: str, probe: probes.Probe) -> Finding:
    """What was written must be listed, read back as it was, and gone again."""
    failed = [
        what
        for good, what in (
            (probe.listed, "does not list what was just written"),
            (probe.same, "does not give back what was written"),
            (probe.removed, "does not remove files"),
        )
        if not good
    ]
    if failed:
        remedy = "Use a file system or bucket that shows at once what was written."
        return Finding("storage", "wrong", f"{root} {' and '.join(failed)}.", remedy)
    return Finding("storage", "ok", f"{root} was listed, written to and read back in {probe.seconds:.2f} s.")


def _newest_files(root: str) -> Iterator[tuple[str, datetime]]:
    layout = Layout(UPath(root))
    for folder in (layout.decisions, layout.predictions, layout.drift_reports):
        if files := inbox.list_files(folder):
            yield f"{folder.name}/{files[-1].name}", files[-1].changed_at


def look_at_disk(case: Case) -> Iterator[Finding]:
    """There is room for the next runs: cleaned loans may be as large as the loan file."""
    settings = case.settings
    loans = 0
    with suppress(BucketError):  # said of the loan data
        loans = sum(file.size for file in inbox.named_files(settings.data, patience=_ASK_SECONDS))
    copies = 2 if is_remote(settings.data) else 1  # a remote file is copied here before it is cleaned
    yield judge_space("home", settings.home, probes.free_space(settings.home), _LEAST_FREE + copies * loans)
    folder = Path(settings.storage)
    if not is_remote(settings.storage) and folder.exists():
        yield judge_space("storage", folder, probes.free_space(folder), _LEAST_FREE + loans)
    temporary = Path(gettempdir())
    yield judge_space("temporary folder", temporary, probes.free_space(temporary), _LEAST_FREE_TEMPORARY)


def judge_space(what: str, folder: Path, space: probes.Space, least: int) -> Finding:
    """Enough bytes and enough files must be free."""
    name, free = f"disk: {what}", f"{_size(space.free)} are free in {folder}"
    if space.free < least:
        remedy = f"Free or add space until {_size(least)} are free: the next runs need it."
        return Finding(name, "wrong", f"{free}.", remedy)
    if space.files is not None and space.files < _LEAST_FILES:
        remedy = "Remove small files, such as old runs of Dagster, or use a file system with more inodes."
        return Finding(name, "wrong", f"{folder} has room for {space.files:,} more files only (inodes).", remedy)
    return Finding(name, "ok", f"{free}, {_size(least)} are needed.")


# --- registry and server --------------------------------------------------------------------------------------


def look_at_registry(case: Case) -> Iterator[Finding]:
    """MLflow answers, its database is of this release, and the version in production can be loaded and answers."""
    uri, file = case.settings.tracking_uri, probes.database_file(case.settings.tracking_uri)
    if file is not None and not file.exists():
        yield Finding("registry", "note", f"{file} does not exist yet.", "The first training makes it.")
        return
    for name, value in _IMPATIENT.items():
        os.environ.setdefault(name, value)
    load_environment()
    if uri.startswith("http"):
        if server := probes.ask_tracking_server(uri, seconds=_ASK_SECONDS):
            if server.told_at:
                case.clocks.append(("MLflow's server", server.told_at, server.at))
            yield Finding("registry", "ok", f"MLflow {server.version} runs at {uri}.")
    else:
        try:
            wrong = judge_schema(uri, probes.read_schema(uri))
        except ConnectionError as error:
            wrong = _unasked("registry", uri, error, "MLFLOW_TRACKING_URI")
        if wrong is not None:
            yield wrong
            return
    tracking = Tracking(uri, case.settings.artifacts)
    try:
        began = time.monotonic()
        case.production = tracking.version_of(PRODUCTION)
        seconds = time.monotonic() - began
        yield judge_answer(uri, seconds)
        if other := tracking.other_location():
            remedy = "That is right only if the storage was moved; else correct LOAN_DEFAULT_STORAGE."
            yield Finding("registry", "note", f"Models are kept in {other}, not under the storage.", remedy)
        yield from _try_production(case.production, tracking)
    except TrackingError as error:
        yield _wrong("registry", error, "Start MLflow, or correct MLFLOW_TRACKING_URI.")


def _unasked(look: str, what: str, error: ConnectionError, variable: str) -> Finding:
    told = f"The database at {what} cannot be asked: {str(error).rstrip('.')}."
    return Finding(look, "wrong", told, f"Start it, or correct {variable}.")


def look_at_studies(case: Case) -> Iterator[Finding]:
    """A database of tuning studies that is no file takes this user."""
    storage = case.settings.study_storage
    if storage.startswith(("sqlite:", JOURNAL)):
        return
    where = _place(storage)
    try:
        tables = probes.read_tables(storage)
    except ConnectionError as error:
        yield _unasked("tuning studies", where, error, STUDY_STORAGE)
    else:
        told = "holds studies" if "studies" in tables else "is empty yet"
        yield Finding("tuning studies", "ok", f"The database at {where} answers and {told}.")


def look_at_workers(case: Case) -> Iterator[Finding]:
    """Where work is left to Dask, its scheduler answers and has workers."""
    address = case.settings.dask_address
    if case.settings.engine == "local":
        return
    from loan_default.adapters.dask_engine import DaskEngine, WorkersError

    try:
        engine = DaskEngine(address, patience=1)
        if not address:
            yield Finding("workers", "ok", f"Each run starts Dask workers of this machine, {os.cpu_count()} of them.")
            return
        workers = engine.workers
        memory = _size(sum(worker["memory_limit"] for worker in workers))
        told = f"The Dask scheduler at {address} has {_count(len(workers), 'worker')} with {memory} of memory"
        yield Finding("workers", "ok", f"{told}; watch them at {engine.dashboard}.")
        engine.close()
    except (BadInput, WorkersError) as error:
        found, _, remedy = str(error).partition("; ")
        yield Finding("workers", "wrong", f"{found}.", remedy[:1].upper() + remedy[1:])


def _place(url: str) -> str:
    """A database without whoever logs in."""
    return re.sub(r"//.*@", "//", url).partition("?")[0]


def judge_schema(uri: str, schema: probes.Schema) -> Finding | None:
    """The database must be of the revision that the installed MLflow asks for."""
    if schema.found == schema.expected:
        return None
    if schema.found is None:
        remedy = "Correct MLFLOW_TRACKING_URI, if there should be one; the first training fills an empty database."
        return Finding("registry", "note", f"{uri} holds no database of MLflow yet.", remedy)
    if schema.older:
        remedy = f"Back it up, then run mlflow db upgrade {uri}."
        return Finding("registry", "wrong", f"The database at {uri} is of an older MLflow.", remedy)
    remedy = "Install the release of MLflow that made it."
    return Finding("registry", "wrong", f"The database at {uri} is of another, newer MLflow.", remedy)


def judge_answer(uri: str, seconds: float) -> Finding:
    """A registry that is slow is slow for everybody who waits for it."""
    if seconds > _SLOW_SECONDS:
        told = f"MLflow at {uri} took {seconds:.1f} s to answer."
        return Finding("registry", "note", told, "See what keeps its database or its server busy.")
    return Finding("registry", "ok", f"MLflow at {uri} answers.")


def _try_production(version: ModelVersion | None, tracking: Tracking) -> Iterator[Finding]:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.serving.served import ServedModel

    if version is None:
        yield Finding("production", "note", "No version is in production.", "Run loan-default run, or promote one.")
        return
    with TemporaryDirectory() as folder:  # not from the cache: it must come from the registry
        try:
            check(tracking.artifact_root, patience=_ASK_SECONDS)  # MLflow would ask a dead bucket for minutes
            ServedModel.load(ModelStore(tracking, Path(folder)).package(version), version.version)
        except (BadInput, TrackingError, OSError) as error:
            remedy = "Restore the artifacts, or run loan-default rollback."
            yield _wrong("production", error, remedy, f"Version {version.version} is in production and fails: ")
            return
    yield Finding("production", "ok", f"Version {version.version} is in production, loads and answers its canary.")


def look_at_server(case: Case) -> Iterator[Finding]:
    """The scoring server answers by the version in production, and nothing else holds its port."""
    settings = case.settings
    server = ScoringServer(settings.serving_url, settings.serving)
    try:
        health = server.health()
    except ServerError as error:
        yield _wrong("scoring server", error, "Correct LOAN_DEFAULT_SERVING_URL.")
        return
    if health is None:
        yield _silent_server(settings)
        return
    if health.trouble or health.version is None:
        told = f"It says: {health.trouble or 'no version is loaded.'}"
        yield Finding("scoring server", "wrong", told, f"See {server.log}, or the log of the service that runs it.")
    elif case.production is None:
        told = f"Version {health.version} answers at {settings.serving_url}; which is in production is not known."
        yield Finding("scoring server", "note", told, "See what is said of the registry.")
    elif health.version != case.production.version:
        told = f"Version {health.version} answers, and version {case.production.version} is in production."
        yield Finding("scoring server", "wrong", told, "Run serving_job; if it fails, its log says why.")
    else:
        told = f"Version {health.version}, which is in production, answers at {settings.serving_url}."
        yield Finding("scoring server", "ok", told)


def _silent_server(settings: Settings) -> Finding:
    url, where = settings.serving_url, urlsplit(settings.serving_url)
    port = where.port or (443 if where.scheme == "https" else 80)
    if probes.accepts(where.hostname or "127.0.0.1", port, seconds=_ASK_SECONDS):
        told = f"The port of {url} is taken by something that does not answer."
        return Finding("scoring server", "wrong", told, "Stop what holds it, or serve on another port.")
    if settings.serving_supervised:
        told = f"Nothing answers at {url}, where another service is to run it."
        return Finding("scoring server", "wrong", told, "Start that service.")
    if (settings.serving / "server.pid").exists():  # a server that is stopped takes it along
        told = f"Nothing answers at {url}, where a server ran that was not stopped."
        log = settings.serving / "server.log"
        return Finding("scoring server", "wrong", told, f"See {log}, then start it: loan-default serve.")
    told = f"Nothing answers at {url}."
    return Finding("scoring server", "note", told, "loan-default serve starts one, and so does the running daemon.")


# --- Dagster --------------------------------------------------------------------------------------------------


def look_at_dagster(case: Case) -> Iterator[Finding]:
    """Dagster's records open, its daemon lives, its sensors tick, nothing waits in vain, and its limits are set."""
    from loan_default.defs.instance_status import is_new, read_instance_status

    home = case.settings.dagster_home or case.settings.home / "dagster"
    file = home / "dagster.yaml"
    yield from judge_sections(file, case.settings)
    is_used = file.exists() and DAGSTER_STORAGE in file.read_text(encoding="utf-8")
    url = case.settings.dagster_storage if is_used else ""
    place = _place(url) if url else home
    try:
        if "runs" not in probes.read_tables(url) if url else is_new(home):
            yield Finding("dagster", "note", f"Nothing has run from {place} yet.", "Run loan-default demo or run.")
            return
        condition, now = read_instance_status(case.settings), datetime.now(UTC)
    except ConnectionError as error:
        yield _unasked("dagster", str(place), error, DAGSTER_STORAGE)
        return
    except BucketError as error:
        yield _wrong("dagster", error, "Correct LOAN_DEFAULT_STORAGE.", "Its logs have no place, so no run begins: ")
        return
    except BadInput as error:
        yield _wrong("dagster", error, "Correct it, or see that its database answers.")
        return
    if condition.newest_run_at:
        case.written.append(("Dagster's newest run", condition.newest_run_at))
    yield Finding(
        "dagster", "ok", f"The records in {place} can be read; {_count(condition.runs_under_way, 'run')} under way."
    )
    yield from judge_daemons(condition, now)
    yield from judge_instigators(condition, sensors=case.settings.sensors)
    yield from judge_runs(condition, now)
    yield from judge_limits(condition, file)


def judge_daemons(condition: InstanceStatus, now: datetime) -> Iterator[Finding]:
    """Every daemon that is needed must have been heard of lately, and without an error."""
    start = "Start it: make dev, or dagster-daemon run -m loan_default.definitions."
    if all(daemon.last_heartbeat_at is None for daemon in condition.daemons):
        yield Finding("daemon", "note", "The daemon never ran here; nothing happens by itself.", start)
        return
    silent = {
        daemon.name: f"{_ago(now - daemon.last_heartbeat_at)} ago" if daemon.last_heartbeat_at else "never"
        for daemon in condition.daemons
        if daemon.last_heartbeat_at is None or now - daemon.last_heartbeat_at > _SILENT
    }
    if silent:
        when = sorted(set(silent.values()))
        told = f"{len(silent)} of {len(condition.daemons)} daemons are silent ({', '.join(silent)})"
        yield Finding("daemon", "wrong", f"{told}; last heard of {', '.join(when)}.", start)
    for daemon in condition.daemons:
        if daemon.error and daemon.name not in silent:
            remedy = "See the log of the process that runs the daemon."
            yield Finding("daemon", "wrong", f"{daemon.name} reports: {daemon.error.rstrip('.')}.", remedy)
    if not silent and not any(daemon.error for daemon in condition.daemons):
        last = min(daemon.last_heartbeat_at for daemon in condition.daemons if daemon.last_heartbeat_at)
        told = f"All {len(condition.daemons)} daemons live; each was heard of in the last {_ago(now - last)}."
        yield Finding("daemon", "ok", told)


def judge_instigators(condition: InstanceStatus, *, sensors: bool) -> Iterator[Finding]:
    """Sensors that a person switched off are told; the last tick of each must not have failed."""
    if not sensors:
        remedy = "Switch on what you want in the UI, or unset it."
        yield Finding("sensors", "note", "LOAN_DEFAULT_SENSORS leaves them switched off.", remedy)
    if off := [instigator.name for instigator in condition.instigators if instigator.on is False]:
        told = f"{', '.join(off)}: switched off by hand."
        yield Finding("sensors", "note", told, "Switch them on in the UI, under Automation, if that was not meant.")
    failed = [instigator for instigator in condition.instigators if instigator.error and instigator.on is not False]
    for instigator in failed:
        remedy = "Mend what it names; its ticks in the UI tell more."
        yield Finding("sensors", "wrong", f"The last tick of {instigator.name} failed: {instigator.error}.", remedy)
    if sensors and condition.instigators and not off and not failed:
        names = ", ".join(instigator.name for instigator in condition.instigators)
        yield Finding("sensors", "ok", f"No last tick failed: {names}.")


def judge_runs(condition: InstanceStatus, now: datetime) -> Iterator[Finding]:
    """No run waits in vain, and none is held for running that is not."""
    for run in condition.lost_runs:
        remedy = "Start the daemon, whose lost_run_sensor ends it; until then it may keep others waiting."
        yield Finding("runs", "wrong", f"{run} has begun, and its process is gone.", remedy)
    since = now - condition.queued_since if condition.queued_since else timedelta()
    if since > _LONG_QUEUED and not condition.runs_under_way:
        told = f"A run has been queued for {_ago(since)}, and none runs that it could wait for."
        yield Finding("runs", "wrong", told, "Start the daemon, or terminate the run in the UI.")
    elif since > _LONG_QUEUED:
        told = f"A run has been queued for {_ago(since)} behind others."
        yield Finding("runs", "note", told, "See in the UI whether the run before it still gets on.")
    elif not condition.lost_runs:
        yield Finding("runs", "ok", "None waits in vain, none has lost its process.")


_OUTSIDE = {
    "storage": f"keeps runs on this machine, and not where {DAGSTER_STORAGE} says",
    "compute_logs": "keeps what steps print on this machine, and not in the bucket of LOAN_DEFAULT_STORAGE",
}


def judge_sections(file: Path, settings: Settings) -> Iterator[Finding]:
    """A `dagster.yaml` that is older than the settings does not use the outside stores that they name."""
    told = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else None
    wanted = yaml.safe_load(dagster_yaml(settings))
    for section, what in _OUTSIDE.items():
        if told is not None and section in wanted and not _holds(told.get(section), wanted[section]):
            line = _in_one_line(section, wanted[section])
            yield Finding("dagster.yaml", "wrong", f"{file} {what}.", f"Have it say: {line}")


def _holds(told: Any, wanted: Any) -> bool:
    if isinstance(told, Mapping) and isinstance(wanted, Mapping):
        return all(_holds(told.get(key), value) for key, value in wanted.items())
    return bool(told == wanted)


def _in_one_line(section: str, content: Any) -> str:
    lines = yaml.safe_dump({section: content}, default_flow_style=True, sort_keys=False, width=1000)
    return f"{section}: {lines.strip()[1:-1].partition(': ')[2]}"


def judge_limits(condition: InstanceStatus, file: Path) -> Iterator[Finding]:
    """An old `dagster.yaml` lacks what a new home has."""
    new_home = yaml.safe_load(dagster_yaml(Settings(Path())))
    lacking = [
        (condition.limits_runs, "concurrency", "lets runs go at a time that write the same records"),
        (condition.monitors_runs, "run_monitoring", "does not notice a run that never ends"),
        (condition.retries_runs, "run_retries", "does not start a batch again whose run was killed"),
    ]
    for has, section, told in lacking:
        if not has:
            line = _in_one_line(section, new_home[section])
            yield Finding("limits", "wrong", f"{file} {told}.", f"Add to it: {line}")
    if all(has for has, _, _ in lacking):
        yield Finding("limits", "ok", "Runs that write the same records wait for each other, and none runs for ever.")


# --- clock and people -----------------------------------------------------------------------------------------


def look_at_clock(case: Case) -> Iterator[Finding]:
    """This machine's clock agrees with others', and nothing was written in the future; comes last but one."""
    now = datetime.now(UTC)
    wrong = [*judge_clocks(case.clocks), *judge_written(case.written, now)]
    yield from wrong
    if not wrong:
        others = f" and agrees with {' and '.join(whose for whose, _, _ in case.clocks)}" if case.clocks else ""
        yield Finding("clock", "ok", f"It is {now:%Y-%m-%d %H:%M:%S} UTC here{others}.")
    here = datetime.now().astimezone().tzname()
    yield Finding("time zone", "ok", f"Schedules count in {case.settings.time_zone}; this machine's zone is {here}.")


_SET_CLOCK = "Have this machine and the other keep their clocks by NTP."


def judge_clocks(clocks: Sequence[tuple[str, datetime, datetime]]) -> Iterator[Finding]:
    """Whoever tells a time must tell ours."""
    for whose, theirs, ours in clocks:
        if abs(theirs - ours) > _SKEW:
            where = "behind" if theirs > ours else "ahead of"
            told = f"This machine's clock is {_ago(abs(theirs - ours))} {where} that of {whose}."
            yield Finding("clock", "wrong", told, _SET_CLOCK)


def judge_written(written: Sequence[tuple[str, datetime]], now: datetime) -> Iterator[Finding]:
    """What exists was made in the past."""
    for what, at in written:
        if at - now > _SKEW:
            told = f"{what} is from {at:%Y-%m-%d %H:%M:%S} UTC, {_ago(at - now)} from now."
            yield Finding("clock", "wrong", told, _SET_CLOCK)


def look_at_alerts(case: Case) -> Iterator[Finding]:
    """Somebody would be told; nothing is sent."""
    channels = _channels(case.settings)
    if not channels:
        remedy = "Set SLACK_WEBHOOK_URL or ALERT_EMAILS."
        yield Finding("alerts", "note", "Nobody would be told of a failure.", remedy)
        return
    if channels.slack:
        yield Finding("alerts", "ok", "Slack is set; --send-test-alert tells whether it takes a message.")
    if channels.emails:
        server = f"{channels.smtp_host}:{channels.smtp_port}"
        if probes.accepts(channels.smtp_host, channels.smtp_port, seconds=_ASK_SECONDS):
            told = f"The mail server at {server} takes connections, for {_count(len(channels.emails), 'address')}."
            yield Finding("alerts", "ok", told)
        else:
            told = f"The mail server at {server} takes no connection."
            yield Finding("alerts", "wrong", told, "Start it, or correct SMTP_HOST and SMTP_PORT.")


def send_one(case: Case) -> Iterator[Finding]:
    """One line through all channels."""
    channels = _channels(case.settings)
    sent, troubles = send(channels, "loan-default: a test", ["Asked for by loan-default doctor; nothing has happened."])
    for trouble in troubles:
        yield Finding("test alert", "wrong", trouble, "Correct the address or the token of this channel.")
    if not channels:
        yield Finding(
            "test alert", "wrong", "There is no channel to send by.", "Set SLACK_WEBHOOK_URL or ALERT_EMAILS."
        )
    elif sent:
        yield Finding("test alert", "ok", f"{_count(sent, 'channel')} took the message.")


def _channels(settings: Settings) -> Channels:
    return Channels(
        slack=settings.secrets.get(SLACK, ""),
        emails=settings.alert_emails,
        smtp_host=settings.smtp_host,
        smtp_port=settings.smtp_port,
        smtp_user=settings.smtp_user,
        smtp_password=settings.secrets.get(SMTP_PASSWORD, ""),
        sender=settings.smtp_sender,
    )


# --- words ----------------------------------------------------------------------------------------------------


def _wrong(look: str, error: Exception, remedy: str, before: str = "") -> Finding:
    """A sentence of the platform that may end with what to do; `remedy` where it does not."""
    found, *do = re.split(r"; |: (?=start )", str(error), maxsplit=1)
    return Finding(look, "wrong", f"{before}{found.rstrip('.')}.", do[0][0].upper() + do[0][1:] if do else remedy)


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _size(size: int) -> str:
    return f"{size / _GB:,.1f} GB" if size >= _GB // 10 else f"{size / 1_000_000:,.1f} MB"


def _ago(span: timedelta) -> str:
    """Roughly."""
    seconds = span.total_seconds()
    for length, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}s"
    return f"{seconds:.0f} s"


LOOKS = (
    Look("settings", look_at_settings, "Correct what it names."),
    Look("loan data", look_at_data, "See whether what LOAN_DEFAULT_DATA names can be reached."),
    Look("storage", look_at_storage, "See whether what LOAN_DEFAULT_STORAGE names can be reached, and by whom."),
    Look("disk", look_at_disk, "See whether the file systems answer."),
    Look("registry", look_at_registry, "See whether what MLFLOW_TRACKING_URI names can be reached.", seconds=60),
    Look("tuning studies", look_at_studies, f"See whether the database that {STUDY_STORAGE} names answers."),
    Look("workers", look_at_workers, "See what answers at LOAN_DEFAULT_DASK_ADDRESS.", seconds=40),
    Look("scoring server", look_at_server, "See what answers at LOAN_DEFAULT_SERVING_URL."),
    Look(
        "dagster",
        look_at_dagster,
        "See whether dagster.yaml in its home is sound, and its database answers.",
        seconds=30,
    ),
    Look("clock", look_at_clock, "See what time it is."),
    Look("alerts", look_at_alerts, "Correct the settings of mail."),
)
TEST_ALERT = Look("test alert", send_one, "Correct the settings of mail and Slack.", seconds=40)
