"""Checks MLflow, the version in production, the database of tuning studies and Dask's workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from loan_default.adapters import gcs, probes
from loan_default.adapters.tracking import PRODUCTION, TrackingError, load_environment
from loan_default.operations.doctor.check import (
    ASK_SECONDS,
    CheckContext,
    Diagnosis,
    address_without_login,
    diagnosis_of,
    size_of,
    unreachable_database,
)
from loan_default.risk.errors import BadInput
from loan_default.risk.files import JOURNAL
from loan_default.risk.text import plural
from loan_default.settings import STUDY_STORAGE

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion, Tracking

_SLOW_SECONDS = 3.0
# MLflow would ask a dead server again and again.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": f"{ASK_SECONDS:.0f}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def check_registry(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that MLflow answers, its database is of this release, and the version in production loads and answers."""
    uri, file = context.settings.tracking_uri, probes.database_file(context.settings.tracking_uri)
    if file is not None and not file.exists():
        yield Diagnosis("registry", "note", f"{file} does not exist yet.", "The first training makes it.")
        return
    for name, value in _IMPATIENT.items():
        os.environ.setdefault(name, value)
    load_environment()
    if uri.startswith("http"):
        if server := probes.ask_tracking_server(uri, seconds=ASK_SECONDS):
            if server.server_time:
                context.clocks.append(("MLflow's server", server.server_time, server.asked_at))
            yield Diagnosis("registry", "ok", f"MLflow {server.version} runs at {uri}.")
    else:
        try:
            wrong = judge_schema(uri, probes.read_schema(uri))
        except ConnectionError as error:
            wrong = unreachable_database("registry", uri, error, "MLFLOW_TRACKING_URI")
        if wrong is not None:
            yield wrong
            return
    tracking = context.settings.tracking
    try:
        began = time.monotonic()
        context.production = tracking.version_of(PRODUCTION)
        seconds = time.monotonic() - began
        yield judge_answer(uri, seconds)
        if command := tracking.restoring_command():
            message = f"The experiment {tracking.experiment} is deleted in MLflow, so that no training can be recorded."
            yield Diagnosis("registry", "wrong", message, f"Run {command}")
        if other := tracking.other_location():
            remedy = "That is right only if the storage was moved; else correct LOAN_DEFAULT_STORAGE."
            yield Diagnosis("registry", "note", f"Models are kept in {other}, not under the storage.", remedy)
        yield from _try_production(context.production, tracking)
    except TrackingError as error:
        yield diagnosis_of("registry", error, "Start MLflow, or correct MLFLOW_TRACKING_URI.")


def check_studies(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that a database of tuning studies, where it is no file, takes this user."""
    storage = context.settings.study_storage
    if storage.startswith(("sqlite:", JOURNAL)):
        return
    address = address_without_login(storage)
    try:
        tables = probes.read_tables(storage)
    except ConnectionError as error:
        yield unreachable_database("tuning studies", address, error, STUDY_STORAGE)
    else:
        state = "holds studies" if "studies" in tables else "is empty yet"
        yield Diagnosis("tuning studies", "ok", f"The database at {address} answers and {state}.")


def check_workers(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that a Dask scheduler answers and has workers, where work is left to Dask."""
    address = context.settings.dask_address
    if context.settings.engine == "local":
        return
    from loan_default.adapters.dask_engine import DaskEngine, WorkersError

    try:
        engine = DaskEngine(address, patience=1)
        if not address:
            yield Diagnosis("workers", "ok", f"Each run starts Dask workers of this machine, {os.cpu_count()} of them.")
            return
        workers = engine.workers
        memory = size_of(sum(worker["memory_limit"] for worker in workers))
        message = f"The Dask scheduler at {address} has {plural(len(workers), 'worker')} with {memory} of memory"
        yield Diagnosis("workers", "ok", f"{message}; watch them at {engine.dashboard}.")
        engine.close()
    except (BadInput, WorkersError) as error:
        yield diagnosis_of("workers", error, "Correct LOAN_DEFAULT_DASK_ADDRESS.")


def judge_schema(uri: str, schema: probes.SchemaRevision) -> Diagnosis | None:
    """Judge that the database is of the revision that the installed MLflow asks for."""
    if schema.revision == schema.expected:
        return None
    if schema.revision is None:
        remedy = "Correct MLFLOW_TRACKING_URI, if there should be one; the first training fills an empty database."
        return Diagnosis("registry", "note", f"{uri} holds no database of MLflow yet.", remedy)
    if schema.older:
        remedy = f"Back it up, then run mlflow db upgrade {uri}."
        return Diagnosis("registry", "wrong", f"The database at {uri} is of an older MLflow.", remedy)
    remedy = "Install the release of MLflow that made it."
    return Diagnosis("registry", "wrong", f"The database at {uri} is of another, newer MLflow.", remedy)


def judge_answer(uri: str, seconds: float) -> Diagnosis:
    """Judge the time to an answer: everybody waits for a slow registry."""
    if seconds > _SLOW_SECONDS:
        message = f"MLflow at {uri} took {seconds:.1f} s to answer."
        return Diagnosis("registry", "note", message, "See what keeps its database or its server busy.")
    return Diagnosis("registry", "ok", f"MLflow at {uri} answers.")


def _try_production(version: ModelVersion | None, tracking: Tracking) -> Iterator[Diagnosis]:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.serving.served_model import ServedModel

    if version is None:
        yield Diagnosis("production", "note", "No version is in production.", "Run loan-default run, or promote one.")
        return
    with TemporaryDirectory() as folder:  # not from the cache: it must come from the registry
        try:
            gcs.check_listing(
                tracking.artifact_root, patience=ASK_SECONDS
            )  # MLflow would ask a dead bucket for minutes
            ServedModel.load(ModelStore(tracking, Path(folder)).package(version), version.version)
        except (BadInput, TrackingError, OSError) as error:
            remedy = "Restore the artifacts, or run loan-default rollback."
            yield diagnosis_of("production", error, remedy, f"Version {version.version} is in production and fails: ")
            return
    yield Diagnosis("production", "ok", f"Version {version.version} is in production, loads and answers its canary.")
