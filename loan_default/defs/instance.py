"""Dagster's instance, opened: its records lie in its home or in Postgres; what is wrong with them is one sentence.

What the records say is read by `instance_status`; what is done with them is the command's, the sensors' and the
resources' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import dagster as dg

from loan_default.adapters.storage import lock_folder, require_bucket
from loan_default.risk.errors import BadInput
from loan_default.settings import DAGSTER_STORAGE, Settings

_PATIENCE_SECONDS = 10.0  # in which a bucket is tried again before a person is told
_LOCK_KEY = int.from_bytes(b"records")  # of the advisory lock in Postgres; below 2⁶³


_open: ContextVar[tuple[Settings, dg.DagsterInstance] | None] = ContextVar("open_instance", default=None)
_kept: list[tuple[Settings, int, dg.DagsterInstance]] = []  # at most one, with the time of its dagster.yaml


def keep_instance_open(settings: Settings) -> None:
    """Keep the instance open as long as this process lives, or until `dagster.yaml` changes or its records fail.

    To open it takes longer than most of what a page reads of it.

    Raises:
        BadInput, BucketError: as `open_instance`.
    """
    with open_instance(settings):
        _kept[:] = [(settings, _config_time(settings), dg.DagsterInstance.get())]


def _kept_instance(settings: Settings) -> dg.DagsterInstance | None:
    state = settings, _config_time(settings)
    return next((instance for *of, instance in _kept if tuple(of) == state), None)


def _config_time(settings: Settings) -> int:
    file = settings.dagster_home / "dagster.yaml"
    return file.stat().st_mtime_ns if file.exists() else 0


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance that DAGSTER_HOME describes; within such a block, or where it is kept, the one that is open.

    Raises:
        BadInput: its `dagster.yaml` cannot be used, or the records cannot be written, now or while it is open.
        BucketError: the bucket that is to hold its logs cannot be used.
    """
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    opened = _open.get()
    if opened is not None and opened[0] == settings:
        yield opened[1]
        return
    kept = _kept_instance(settings)
    if kept is None:
        require_bucket(settings.storage, patience=_PATIENCE_SECONDS)
    try:
        with ExitStack() as stack:
            instance = kept or stack.enter_context(_open_records(settings))
            token = _open.set((settings, instance))
            stack.callback(_open.reset, token)
            yield instance
    except dg.DagsterInvalidConfigError as error:
        raise BadInput(f"{settings.dagster_home}/dagster.yaml cannot be used: {_config_problem(error)}") from error
    except (DBAPIError, DagsterPostgresException) as error:
        _kept.clear()
        raise BadInput(_storage_problem(error, settings)) from error


def _open_records(settings: Settings) -> dg.DagsterInstance:
    with _creation_lock(settings):
        return dg.DagsterInstance.get()


@contextmanager
def _creation_lock(settings: Settings) -> Iterator[None]:
    """Let one process make the tables of a new home, or of an empty Postgres, while the others wait.

    Dagster's own storage tries again where two made the same table at once in Postgres, but not where they made its
    type, and not in SQLite; and whoever meets the first of the tables takes the rest for granted.
    """
    if not settings.dagster_storage:
        with lock_folder(settings.dagster_home):
            yield
        return
    import sqlalchemy

    with sqlalchemy.create_engine(settings.dagster_storage, poolclass=sqlalchemy.NullPool).begin() as transaction:
        transaction.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_LOCK_KEY)))
        yield


def _storage_problem(error: Exception, settings: Settings) -> str:
    """Say where the records cannot be written, what the database says, and what to do."""
    cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
    message = str(cause).strip().partition("\n")[0]
    location, remedy = f"in {settings.dagster_home}", "make room there and let this user write there"
    if settings.dagster_storage:
        location, remedy = "in Postgres", f"start it, or correct {DAGSTER_STORAGE}"
    return f"Dagster cannot keep its records {location} ({message}); {remedy}, then run again."


def _config_problem(error: dg.DagsterInvalidConfigError) -> str:
    """Name the variables that are not set, or else the sections that Dagster refuses, without the schema of each."""
    if unset := sorted(set(re.findall(r'the environment variable "(\w+)" which is not set', str(error)))):
        return f"it names {', '.join(unset)}; set it, or take it out there."
    return " ".join(re.split(r"\n| Expected: ", problem.message)[0] for problem in error.errors)
