"""The command `loan-default`: a subcommand runs a Dagster job, or prints what one recorded.

Arguments, errors and exit codes live here; what is printed is `console`'s. A user's mistake ends with one sentence
and exit code 1, a wrong argument with 2.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dotenv import load_dotenv
from rich.console import Console
from upath import UPath

from loan_default import console as shown
from loan_default.adapters import decision_log, storage
from loan_default.adapters.layout import BATCH_SUFFIXES, BatchRecord, Record, batch_name, is_verdict
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.risk.errors import BadInput
from loan_default.settings import (
    ADMIN_TOKENS,
    API_TOKENS,
    PLATFORM_NEEDS,
    SERVING_NEEDS,
    Settings,
    load_settings,
    prepare_process,
    require,
)

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

    from loan_default.adapters.inbox import File
    from loan_default.adapters.model_store import ModelStore

_TRACKING_ERROR = "loan_default.adapters.tracking.TrackingError: "
_WIDTH = 110  # where there is no terminal to ask
_STOP_SECONDS = 40.0  # longer than the server waits for what is in flight
_SCORING = "scoring"  # the group
_INTERRUPTED = "UNEXPECTED_TERMINATION"  # Dagster's word for a run that Ctrl-C ended
_AGAIN_TAG = "loan_default/again"  # of the runs that one score-again made
_LOOP_JOBS = ("batch_prediction_job", "retraining_job", "serving_job")
_RUNS_SHOWN, _BATCHES_SHOWN = 50, 10
_DEMO_ROWS = 60_000
_DEMO_TRIALS = 6
_DEMO_BATCH_ROWS = 2_000
_DEMO_MONTH = date(2018, 10, 1)


class StepFailed(Exception):
    """A job failed; the message is what a person should read."""


# --- running ---------------------------------------------------------------------------------------------------


def run_job(
    settings: Settings,
    console: Console,
    job: str,
    *,
    config: Mapping[str, Any] | None = None,
    batch: str | None = None,
    only: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job, or the assets of one group `only`, in this process and show its progress.

    Raises:
        StepFailed: a step failed; says which and why.
        BadInput: Dagster cannot keep its records.
        KeyboardInterrupt: Ctrl-C, once Dagster knows the run as failed.
    """
    import dagster as dg

    from loan_default.definitions import build_definitions
    from loan_default.defs.instance import open_instance
    from loan_default.defs.logger import PROGRESS

    logger = logging.getLogger(PROGRESS)
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [shown.ProgressHandler(console)]
    with open_instance(settings) as instance:
        if batch is not None:
            instance.add_dynamic_partitions("batch", [batch])
        definitions = build_definitions(settings, patient=False)
        keys = only and dg.AssetSelection.groups(only).resolve(definitions.resolve_asset_graph())
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={"ops": dict(config or {}), "loggers": {"progress": {}}},
            instance=instance,
            partition_key=batch,
            raise_on_error=False,
            asset_selection=sorted(keys) if keys else None,
            tags=dict(tags or {}),
        )
    if not result.success:
        if _is_interrupted(result):
            raise KeyboardInterrupt
        raise StepFailed(_failure(result))
    return result


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    failures = [event.job_failure_data for event in result.all_events if event.is_job_failure]
    reasons = [failure.failure_reason for failure in failures]
    return any(reason is not None and reason.value == _INTERRUPTED for reason in reasons)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The sentence of the first step that failed."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            return f"{event.step_key} failed: {_reason(data.error)}"
    failure = next((event.job_failure_data for event in result.all_events if event.is_job_failure), None)
    return f"The run failed before its first step: {_reason(failure.error if failure else None)}"


def _reason(error: SerializableErrorInfo | None) -> str:
    """What the platform itself said of the error, else what lies at its bottom."""
    while error and error.cause and error.cls_name != "TrackingError":
        error = error.cause
    return error.message.strip().removeprefix(_TRACKING_ERROR) if error else "no reason was recorded."


def _record(settings: Settings, asset: Record) -> Any:
    return storage.read_json(settings.layout.record(asset))


def _batch_record(settings: Settings, asset: BatchRecord, batch: str) -> Any:
    return storage.read_json(settings.layout.batch_record(asset, batch))


def _config(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run config from the arguments that were given."""
    given = {
        "clean_raw_loans": {"snapshot_month": arguments.snapshot},
        "loan_splits": {"calibrate_from": arguments.calibrate_from, "test_from": arguments.test_from},
        "tuned_params": {"trials": arguments.trials},
    }
    config = {op: {name: value for name, value in values.items() if value} for op, values in given.items()}
    return {op: {"config": values} for op, values in config.items() if values}


# --- subcommands -----------------------------------------------------------------------------------------------


def run(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """From a loan file to a decision on a new version, and its tables."""
    began = time.monotonic()
    run_job(settings, console, "full_pipeline_job", config=_config(arguments))
    _show_training(settings, console)
    shown.show_places(console, _places(settings))
    console.print(f"Done in {time.monotonic() - began:.0f} s. Next: loan-default score FILE, or make dev.")


def _show_training(settings: Settings, console: Console) -> None:
    shown.show_cleaning(console, _record(settings, "cleaning_report"))
    shown.show_windows(console, _record(settings, "loan_splits"))
    evaluation, training = _record(settings, "model_evaluation"), _record(settings, "trained_model")
    shown.show_evaluation(console, evaluation, training)
    shown.show_decision(console, _record(settings, "promoted_model"))


def _places(settings: Settings) -> dict[str, str]:
    return {
        "assets": settings.storage,
        "model card": str(settings.layout.model_card),
        "models and plots": f"{settings.artifacts}, by {settings.tracking_uri}",
        "runs and events": str(settings.dagster_home),
    }


def clean(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Clean the loan file and cut it into windows."""
    run_job(settings, console, "cleaning_job", config=_config(arguments))
    shown.show_cleaning(console, _record(settings, "cleaning_report"))
    shown.show_windows(console, _record(settings, "loan_splits"))


def tune(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Clean, split and search for parameters."""
    run_job(settings, console, "tuning_job", config=_config(arguments))
    console.print_json(data=_record(settings, "tuned_params"))


def train(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """From the loan file to a new version (staging)."""
    run_job(settings, console, "training_job", config=_config(arguments))
    shown.show_cleaning(console, _record(settings, "cleaning_report"))
    shown.show_windows(console, _record(settings, "loan_splits"))
    training = _record(settings, "trained_model")
    console.print(f"Version {training['version']} ({training['kind']}) is staged. Next: loan-default promote.")


def promote(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Measure the newest version and decide on it by policy; or, with --force, promote one whatever the policy says."""
    newest = _record(settings, "trained_model")
    if arguments.force:
        version = arguments.version or (newest or {}).get("version")
        if version is None or not arguments.reason:
            raise BadInput("--force promotes against the policy: give --version N and --reason TEXT.")
        _show_by_hand(settings, console, _store(settings).promote_by_hand(version, **_by_hand(arguments)))
        return
    if newest is None:
        raise BadInput("There is no trained model to decide on; run loan-default train first.")
    if arguments.version not in (None, newest["version"]):
        raise BadInput(
            f"The policy decides on the newest version, {newest['version']}, which can be measured on the test window; "
            f"version {arguments.version} is promoted with --force and --reason TEXT only."
        )
    run_job(settings, console, "promotion_job")
    _show_training(settings, console)


def rollback(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Put the version back into production that was there before."""
    _show_by_hand(settings, console, _store(settings).roll_back(**_by_hand(arguments)))


def _store(settings: Settings) -> ModelStore:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import Tracking

    return ModelStore(Tracking(settings.tracking_uri, settings.artifacts), settings.models)


def _by_hand(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"reason": arguments.reason, "by": f"{getpass.getuser()}, by hand", "now": datetime.now(UTC)}


def _show_by_hand(settings: Settings, console: Console, record: Mapping[str, Any]) -> None:
    decision_log.add(settings.layout, record)
    shown.show_decision(console, record)
    console.print("A scoring server that runs follows by itself; loan-default status shows whether it does.")


def show_history(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Every promotion, hold, rollback and retraining, with its reasons."""
    from loan_default.defs.sensors import REASON_TAG

    decided = [
        (record["decided_at"], record["verdict"], str(record["candidate"]), record["decided_by"], record["reasons"])
        for record in decision_log.read(settings.layout)
    ]
    asked = [
        (
            run.create_timestamp.astimezone(UTC).isoformat(timespec="seconds"),
            f"retraining {run.dagster_run.status.value.lower()}",
            "",
            f"run {run.dagster_run.run_id}",
            [run.dagster_run.tags.get(REASON_TAG, "started by hand")],
        )
        for run in _runs(settings, "retraining_job")
    ]
    shown.show_history(console, sorted([*decided, *asked]))


def _runs(settings: Settings, *jobs: str) -> list[dg.RunRecord]:
    """The newest runs of each job."""
    import dagster as dg

    from loan_default.defs.instance import open_instance

    with open_instance(settings) as instance:
        return [run for job in jobs for run in instance.get_run_records(dg.RunsFilter(job_name=job), limit=_RUNS_SHOWN)]


def status(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """What is in production and why, the last batches, what waits, and whether the server answers by it."""
    from loan_default.adapters import inbox
    from loan_default.adapters.scoring_server import ScoringServer
    from loan_default.adapters.tracking import PREVIOUS, PRODUCTION, STAGING
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    tracking, layout = _store(settings).tracking, settings.layout
    versions = {alias: tracking.version_of(alias) for alias in (PRODUCTION, PREVIOUS, STAGING)}
    shown.show_versions(console, versions)
    reports = [file for file in inbox.list_files(layout.drift_reports) if is_verdict(file.name)]
    shown.show_drift(
        console, [with_current_verdict(storage.read_json(file.place)) for file in reports[-_BATCHES_SHOWN:]]
    )
    production, proved = versions[PRODUCTION], _record(settings, "performance_report")
    health = ScoringServer(settings.serving_url, settings.serving).health()
    server = f"{health.status}, version {health.version}, process {health.pid}" if health else "does not answer"
    says = f" ({health.trouble})" if health and health.trouble else ""
    scored = {file.name for file in inbox.list_files(layout.predictions)}
    waiting = [file.name for file in inbox.list_files(layout.inbox) if not _is_scored(scored, file.name)]
    runs = [record.dagster_run for record in _runs(settings, *_LOOP_JOBS)]
    under_way = [run for run in runs if not run.is_finished]
    shown.show_places(
        console,
        {
            "in production because": production.tags.get("decision_reasons", "") if production else "none is",
            "scoring server": f"{settings.serving_url}: {server}{says}",
            "performance": _performance(proved) if proved else "not measured yet",
            "batches that wait": ", ".join(waiting) or "none",
            "runs under way": ", ".join(f"{run.job_name} {run.status.value.lower()}" for run in under_way) or "none",
        },
        title="Now",
    )


def _performance(report: Mapping[str, Any]) -> str:
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    report = with_current_verdict(report)
    told = f"outcomes until {report['told_until']}" if report["told_until"] else "no outcomes yet"
    return f"version {report['model_version']}: {report['verdict']} ({told}; measured {report['measured_at'][:10]})"


def _is_scored(scored: Container[str], file_name: str) -> bool:
    try:
        return f"{batch_name(file_name)}.parquet" in scored
    except BadInput:  # no batch; the sensor says so
        return False


def score(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Put a batch file into the inbox and score it; then compare it with the training population."""
    batch = _deliver(settings, Path(arguments.file))
    run_job(settings, console, "batch_prediction_job", batch=batch, only=_SCORING if arguments.without_drift else None)
    _show_batch(settings, console, batch)
    if not arguments.without_drift:
        shown.show_drift(console, [_batch_record(settings, "drift_report", batch)])


def _deliver(settings: Settings, file: Path) -> str:
    """Copy a batch file into the inbox under its own name; return the batch's name.

    Raises:
        BadInput: the file cannot be scored; what the inbox held of its name stays.
    """
    from loan_default.risk.contract import load_contract
    from loan_default.risk.data.cleaning import clean_application_file

    if not file.is_file():
        raise BadInput(f"{file} is not a file; give the path of a CSV, CSV.GZ or Parquet file of applications.")
    batch = batch_name(file.name)
    with TemporaryDirectory(dir=settings.staging) as tried:
        cleaned, rejected = Path(tried, "cleaned.parquet"), Path(tried, "rejected.parquet")
        clean_application_file(file, load_contract(settings.contract), cleaned=cleaned, rejected=rejected)
    place = _copy_in(settings, file, settings.layout.inbox)
    for other in settings.layout.batch_files(batch):  # the same batch in another form would shadow this one
        if other != place:
            storage.remove(other)
    return batch


def _copy_in(settings: Settings, file: Path, folder: UPath) -> UPath:
    """Copy a file, whole or not at all, into a folder of the storage, under its own name."""
    import shutil

    place = folder / file.name
    copy = settings.staging / f"delivery-{file.name}"
    shutil.copyfile(file, copy)
    storage.store(copy, place)
    return place


def _show_batch(settings: Settings, console: Console, batch: str) -> None:
    import polars as pl

    place = settings.layout.batch_table("predictions", batch)
    scored = pl.scan_parquet(storage.fetch(place, settings.staging))
    counts = scored.group_by("decision").agg(pl.len(), pl.col("pd").mean()).sort("pd")
    shown.show_predictions(console, batch, counts.collect().rows())
    shown.show_places(console, {"Parquet": str(place), "CSV": str(settings.layout.predictions_csv(batch))})
    rejected = _batch_record(settings, "application_report", batch)["rejected"]
    if rejected:
        reasons = settings.layout.batch_table("rejected_applications", batch)
        console.print(f"{rejected:,} rows could not be scored; {reasons.parent.name}/{reasons.name} says why.")


def score_again(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Score batches of the inbox again, one run each; those that production's version scored already are left out."""
    from loan_default.adapters.tracking import PRODUCTION
    from loan_default.defs.sensors import REASON_TAG

    chosen = _chosen(_inbox_batches(settings.layout.inbox), arguments)
    version = _store(settings).tracking.version_of(PRODUCTION)
    if version is None:
        raise BadInput("No version is in production; run loan-default run first.")
    done = [] if arguments.force else _done(settings, chosen, version.version)
    if done:
        console.print(f"Scored by version {version.version} already; --force scores again: {', '.join(done)}.")
    todo, failed = [name for name in chosen if name not in done], {}
    began = datetime.now(UTC).isoformat(timespec="seconds")
    tags = {_AGAIN_TAG: began, REASON_TAG: f"scored again by {getpass.getuser()}, by hand"}
    for at, name in enumerate(todo):
        console.print(f"Batch {name}, {at + 1} of {len(todo)}", style="bold")
        try:
            run_job(settings, console, "batch_prediction_job", batch=name, tags=tags)
        except StepFailed as error:
            failed[name] = str(error)
        except KeyboardInterrupt:
            left = f"left are {', '.join(todo[at:])}" if arguments.force else "the same command goes on there"
            raise StepFailed(f"Interrupted at batch {name}, {at + 1} of {len(todo)}; {left}.") from None
    scored = [name for name in todo if name not in failed]
    if scored:
        shown.show_drift(console, [_batch_record(settings, "drift_report", name) for name in scored])
    if todo:
        console.print(f"In the Dagster UI these runs have the tag {_AGAIN_TAG}: {began}.")
    if failed:
        told = " ".join(f"{name}: {why}" for name, why in failed.items())
        raise StepFailed(f"{len(failed)} of {len(todo)} batches failed. {told}")


def _inbox_batches(folder: UPath) -> dict[str, File]:
    """The batches of the inbox in the order of their names, each with the file that is scored."""
    from loan_default.adapters import inbox

    files, found = inbox.list_files(folder), {}
    for suffix in reversed(BATCH_SUFFIXES):  # of several forms the first is scored
        for file in files:
            if file.name.endswith(suffix):
                with suppress(BadInput):  # no batch; the sensor says so
                    found[batch_name(file.name)] = file
    return dict(sorted(found.items()))


def _chosen(files: Mapping[str, File], arguments: argparse.Namespace) -> dict[str, File]:
    """The batches that the arguments name, in the order of their names.

    Raises:
        BadInput: one of them is not in the inbox, or none lies in the range.
    """
    first, last = arguments.first, arguments.last
    if last and not first:
        raise BadInput(f"--to {last} needs a --from; give both, or name the batches.")
    named = {*arguments.batches, first, last} - {""}
    if unknown := sorted(named - files.keys()):
        raise BadInput(f"The inbox holds no batch {', '.join(unknown)}; correct the name, or put its file there.")
    if last and last < first:
        raise BadInput(f"{last} comes before {first}; exchange --from and --to.")
    if arguments.batches:
        return {name: file for name, file in files.items() if name in named}
    return {name: file for name, file in files.items() if name >= first and (not last or name <= last)}


def _done(settings: Settings, files: Mapping[str, File], version: int) -> list[str]:
    """The batches whose files this version scored as they are now, and that were compared with its population since."""
    from loan_default.adapters import inbox, prediction_history

    layout = settings.layout
    scored, compared = (
        {file.name: file.changed_at for file in inbox.list_files(folder)}
        for folder in (layout.predictions, layout.drift_reports)
    )
    done = []
    for batch, file in files.items():
        predictions, report = layout.batch_table("predictions", batch), layout.batch_record("drift_report", batch)
        scored_at, compared_at = scored.get(predictions.name), compared.get(report.name)
        if scored_at and compared_at and scored_at <= compared_at:
            content = storage.fetch(file.place, settings.staging, file.generation)
            made_of = version, inbox.fingerprint_of(content)
            if prediction_history.origin_of(predictions, settings.staging) == made_of:
                done.append(batch)
    return done


def drift(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Compare a scored batch with the training population."""
    if not storage.exists(settings.layout.batch_table("predictions", arguments.batch)):
        raise BadInput(f"Batch {arguments.batch} is not scored yet; run loan-default score FILE first.")
    run_job(settings, console, "monitoring_job", batch=arguments.batch)
    shown.show_drift(console, [_batch_record(settings, "drift_report", arguments.batch)])
    shown.show_places(console, {"Evidently's page": str(settings.layout.drift_page(arguments.batch))})


def performance(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Hold what every version predicted against the outcome files, and show how good each proved to be."""
    from loan_default.risk.contract import load_contract
    from loan_default.risk.data.outcomes import check_outcome_file

    files, contract = [Path(file) for file in arguments.files], load_contract(settings.contract)
    for file in files:
        check_outcome_file(file, contract)
    for file in files:
        _copy_in(settings, file, settings.layout.outcomes)
    run_job(settings, console, "performance_job")
    shown.show_performance(console, _record(settings, "performance_report"))
    if rejected := _record(settings, "outcomes_report")["rejected"]:
        reasons = settings.layout.table("rejected_outcomes").name
        console.print(f"{rejected:,} lines of outcome files could not be used; {reasons} says why.")


def sample_data(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Write seeded synthetic loans in the published layout, or a batch of applications."""
    from loan_default.risk.data.synthetic import make_applications, write_csv, write_loans

    target = Path(arguments.out)
    if not target.name.endswith((".csv", ".csv.gz")) or target.is_dir():
        raise BadInput(f"{target} cannot be written; name a file that ends in .csv or .csv.gz.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if arguments.batch:
        batch = make_applications(arguments.rows, seed=arguments.seed, month=arguments.month, shift=arguments.shift)
        write_csv(batch, target)
    else:
        write_loans(target, arguments.rows, seed=arguments.seed, footer=True, shift=arguments.shift)
    console.print(f"{arguments.rows:,} rows written to {target}.")


def demo(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """The whole platform on synthetic loans: train, decide, score a normal and a shifted batch."""
    from loan_default.risk.data.synthetic import make_applications, write_csv, write_loans

    began = time.monotonic()
    folder = settings.home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]▸ {_DEMO_ROWS:,} synthetic loans[/bold] → {folder}")
    write_loans(folder / "loans.csv", _DEMO_ROWS, seed=arguments.seed, footer=True)
    batches = {"2018-10": 0.0, "2018-10-shifted": 1.0}
    for at, (batch, shift) in enumerate(batches.items(), 1):
        applications = make_applications(_DEMO_BATCH_ROWS, seed=arguments.seed + at, month=_DEMO_MONTH, shift=shift)
        write_csv(applications, folder / f"{batch}.csv")
    settings = replace(settings, data=str(folder / "loans.csv"))
    run_job(settings, console, "full_pipeline_job", config={"tuned_params": {"config": {"trials": _DEMO_TRIALS}}})
    for batch in batches:
        _deliver(settings, folder / f"{batch}.csv")
        run_job(settings, console, "batch_prediction_job", batch=batch)
    console.rule("Result")
    _show_training(settings, console)
    shown.show_drift(console, [_batch_record(settings, "drift_report", batch) for batch in batches])
    shown.show_places(console, {"synthetic loans": str(folder), **_places(settings)})
    console.print(f"Done in {time.monotonic() - began:.0f} s. Next:")
    for command, what in _NEXT.items():
        console.print(f"  {command:<40} [dim]{what}[/dim]", highlight=False)


_NEXT = {
    "make dev": "the Dagster UI on port 3000, MLflow on 5000",
    ".venv/bin/loan-default run --data FILE": "your own loans",
    ".venv/bin/loan-default score FILE": "a batch of applications",
}


def dev(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Start the Dagster UI and daemon (port 3000) and MLflow (port 5000) on this machine; Ctrl-C stops both."""
    from loan_default.adapters.tracking import load_environment

    load_environment()
    here = ["--host", "127.0.0.1", "--port"]
    commands = {
        "Dagster": ["dagster", "dev", *here, str(arguments.port), "-m", "loan_default.definitions"],
        "MLflow": [
            *("mlflow", "server", *here, str(arguments.mlflow_port)),
            *("--backend-store-uri", settings.tracking_uri, "--default-artifact-root", settings.artifacts),
        ],
    }
    # A supervisor's stop ends both servers as Ctrl-C does; a shell that starts this in the background has them ignore
    # Ctrl-C, and Dagster takes SIGTERM for the same.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)
    servers = [subprocess.Popen([sys.executable, "-m", *command]) for command in commands.values()]
    console.print(f"Dagster: http://127.0.0.1:{arguments.port}   MLflow: http://127.0.0.1:{arguments.mlflow_port}")
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


def serve(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Answer POST /invocations by the version in production, and follow it; --stop ends a server that runs."""
    from loan_default.adapters.scoring_server import ScoringServer, recorded
    from loan_default.risk.policy import load_policy
    from loan_default.serving.server import ServerConfig
    from loan_default.serving.server import serve as run_server

    if arguments.stop:
        pid = ScoringServer(settings.serving_url, settings.serving).stop(wait=_STOP_SECONDS)
        console.print("No scoring server runs." if pid is None else f"The scoring server (process {pid}) has stopped.")
        return
    config = ServerConfig(
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        home=settings.serving,
        models=settings.models,
        storage=settings.storage,
        tracking_uri=settings.tracking_uri,
        artifacts=settings.artifacts,
        policy=load_policy(settings.policy).serving,
        seconds=arguments.poll,
        tokens=settings.tokens(API_TOKENS),
        admin_tokens=settings.tokens(ADMIN_TOKENS),
    )
    errors = Console(stderr=True, highlight=False)
    errors.print(f"Scoring: http://{arguments.host}:{arguments.port}/invocations   Ctrl-C stops it.")
    with recorded(settings.serving):
        run_server(config)


def score_rest(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Send a file of applications through the scoring server and write its answers."""
    from loan_default.risk.contract import load_contract
    from loan_default.serving.client import score_file

    file = Path(arguments.file)
    name = Path(file.name.removesuffix(".gz")).stem
    output = Path(arguments.out) if arguments.out else file.parent / f"{name}-scored.csv"
    tokens = settings.tokens(API_TOKENS)
    report = score_file(
        file,
        arguments.url or settings.serving_url,
        output,
        contract=load_contract(settings.contract),
        token=tokens[0] if tokens else "",
    )
    shown.show_rest(console, report, str(output))


def init(settings: Settings, console: Console, arguments: argparse.Namespace) -> None:
    """Make the home folders, and a .env that tells Dagster's own commands where they are."""
    env = Path(".env")
    told = env.read_text(encoding="utf-8") if env.exists() else ""
    if not re.search(r"^DAGSTER_HOME=", told, re.MULTILINE):
        env.write_text(f"{told}DAGSTER_HOME={settings.dagster_home}\n", encoding="utf-8")
    console.print(f"Ready: {settings.home}")


def examine(console: Console, arguments: argparse.Namespace) -> int:
    """What is wrong with this installation and what to do about it; exit code 1 where something is."""
    from loan_default.operations import doctor

    diagnoses = []
    for diagnosis in doctor.examine(send_test_alert=arguments.send_test_alert):
        diagnoses.append(diagnosis)
        if not arguments.json:
            shown.show_diagnosis(console, diagnosis)
    wrong = sum(diagnosis.mark == "wrong" for diagnosis in diagnoses)
    if arguments.json:
        console.print_json(data={"wrong": wrong, "diagnoses": [asdict(diagnosis) for diagnosis in diagnoses]})
    else:
        console.print(f"{wrong} wrong." if wrong else "Nothing is wrong.")
    return 1 if wrong else 0


# --- arguments -------------------------------------------------------------------------------------------------


def _month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no month; write it as YYYY-MM") from None


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return whole


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "loan-default", description="Train, promote, score and watch a loan-default model."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, does: Callable[..., Any], needs: Sequence[str] = PLATFORM_NEEDS) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=(does.__doc__ or "").strip().rstrip("."))
        command.set_defaults(does=does, needs=needs)
        return command

    for name, does in {"run": run, "clean": clean, "tune": tune, "train": train}.items():
        command = add(name, does)
        command.add_argument("--data", default="", help="CSV, CSV.GZ or Parquet file, a glob, or gs://… of loans")
        command.add_argument("--snapshot", default="", metavar="YYYY-MM", help="month in which the file was taken")
        command.add_argument("--calibrate-from", default="", metavar="YYYY-MM", help="first month that calibrates")
        command.add_argument("--test-from", default="", metavar="YYYY-MM", help="first month that tests")
        command.add_argument("--trials", type=_at_least(1), help="how many tuning trials the study is to hold")
    command = add("promote", promote)
    command.add_argument("--version", type=_at_least(1), help="default: the newest")
    command.add_argument("--force", action="store_true", help="whatever the policy says; needs --reason")
    command.add_argument("--reason", default="", metavar="TEXT", help="kept with the version and in the history")
    command = add("rollback", rollback)
    command.add_argument("--reason", required=True, metavar="TEXT", help="kept with the version and in the history")
    add("status", status)
    add("history", show_history)
    command = add("score", score)
    command.add_argument(
        "file", metavar="FILE", help="CSV, CSV.GZ or Parquet file of applications; its name is the batch"
    )
    command.add_argument("--without-drift", action="store_true", help="score only")
    command = add("score-again", score_again)
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("batches", nargs="*", default=[], metavar="BATCH", help="batches of the inbox")
    which.add_argument("--from", dest="first", default="", metavar="BATCH", help="this one and all after it by name")
    which.add_argument("--all", action="store_true", help="all of the inbox")
    command.add_argument("--to", dest="last", default="", metavar="BATCH", help="with --from: none after this one")
    command.add_argument("--force", action="store_true", help="also what production's version scored already")
    add("drift", drift).add_argument("batch", metavar="BATCH", help="a scored batch")
    command = add("performance", performance)
    command.add_argument(
        "files", nargs="*", metavar="FILE", help="outcomes to add first: CSV, CSV.GZ or Parquet of id, status and month"
    )
    command = add("sample-data", sample_data, needs=())
    command.add_argument("--rows", type=_at_least(1), default=_DEMO_ROWS)
    command.add_argument("--seed", type=_at_least(0), default=7)
    command.add_argument("--out", default="var/sample/loans.csv", help="file to write (.csv or .csv.gz)")
    command.add_argument(
        "--batch", action="store_true", help="applications of one month instead of loans with outcomes"
    )
    command.add_argument("--month", type=_month, default=_DEMO_MONTH, metavar="YYYY-MM", help="month of a batch")
    command.add_argument("--shift", type=float, default=0.0, help="0: the usual population; 1: plainly another")
    add("demo", demo).add_argument("--seed", type=_at_least(0), default=7)
    command = add("dev", dev)
    command.add_argument("--port", type=int, default=3000, help="of the Dagster UI")
    command.add_argument("--mlflow-port", type=int, default=5000)
    command = add("serve", serve, needs=SERVING_NEEDS)
    command.add_argument("--host", default="127.0.0.1", help="another address asks for tokens")
    command.add_argument("--port", type=int, default=5001)
    command.add_argument("--workers", type=_at_least(1), default=1, help="processes that share the port")
    command.add_argument("--poll", type=float, default=5.0, metavar="SECONDS", help="between looks at the registry")
    command.add_argument("--stop", action="store_true", help="stop the server that runs")
    command = add("score-rest", score_rest, needs=())
    command.add_argument("file", metavar="FILE", help="CSV, CSV.GZ or Parquet file of applications")
    command.add_argument("--url", default="", help="of the server; default: LOAN_DEFAULT_SERVING_URL")
    command.add_argument("--out", default="", help="CSV to write; default: NAME-scored.csv beside FILE")
    add("init", init, needs=())
    command = add("doctor", examine)
    command.add_argument("--json", action="store_true", help="for a monitoring system")
    command.add_argument("--send-test-alert", action="store_true", help="send one line to Slack and by mail")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    errors = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        stack.callback(console.file.flush)
        try:
            load_dotenv(".env")
            if arguments.does is examine:  # it makes nothing, and says itself what is wrong with the settings
                return examine(console, arguments)
            settings = load_settings()
            require(arguments.needs)
            if getattr(arguments, "data", ""):
                settings = replace(settings, data=arguments.data)
            prepare_process(settings)
            arguments.does(settings, console, arguments)
        except (BadInput, StepFailed, ServerError, TrackingError, OSError) as error:
            told = storage.trouble(error) if isinstance(error, OSError) else error
            errors.print(f"loan-default: {told}", markup=False, soft_wrap=True)
            return 1
        except KeyboardInterrupt:
            errors.print("loan-default: Interrupted.", markup=False)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
