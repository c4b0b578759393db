"""Dagster's own records, opened: in its home or in Postgres; what is wrong with them is one sentence.

What they tell is `condition`'s, what is done with them `cli`'s and the resources'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg

from loan_default.adapters.storage import require_bucket
from loan_default.risk.errors import BadInput
from loan_default.settings import DAGSTER_STORAGE, Settings

_PATIENCE = 10.0  # seconds in which a bucket is asked again before a person is told
_OPENING = int.from_bytes(b"records")  # names the lock in Postgres; below 2⁶³


@contextmanager
def open_records(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance that DAGSTER_HOME describes.

    Raises:
        BadInput: its `dagster.yaml` cannot be used, or the records cannot be kept, now or while it is open.
        BucketError: the bucket that is to keep its logs cannot be used.
    """
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    require_bucket(settings.storage, patience=_PATIENCE)
    try:
        with ExitStack() as opened:
            with _one_at_a_time(settings.dagster_storage):
                instance = opened.enter_context(dg.DagsterInstance.get())
            yield instance
    except dg.DagsterInvalidConfigError as error:
        raise BadInput(f"{settings.dagster_home}/dagster.yaml cannot be used: {_said(error)}") from error
    except (DBAPIError, DagsterPostgresException) as error:
        cause = error if isinstance(error, DBAPIError) else error.__cause__
        said = str(getattr(cause, "orig", None) or error).strip().partition("\n")[0]
        where, remedy = f"in {settings.dagster_home}", "make room there and let this user write there"
        if settings.dagster_storage:
            where, remedy = "in Postgres", f"start it, or correct {DAGSTER_STORAGE}"
        raise BadInput(f"Dagster cannot keep its records {where} ({said}); {remedy}, then run again.") from error


@contextmanager
def _one_at_a_time(database: str) -> Iterator[None]:
    """Whoever finds a Postgres empty makes its tables while the others wait.

    Dagster's own storage tries again where two made the same table at once, but not where they made its type, and
    whoever finds the first of the tables takes the rest for granted.
    """
    if not database:
        yield
        return
    import sqlalchemy

    with sqlalchemy.create_engine(database, poolclass=sqlalchemy.NullPool).begin() as transaction:
        transaction.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_OPENING)))
        yield


def _said(error: dg.DagsterInvalidConfigError) -> str:
    if unset := sorted(set(re.findall(r'the environment variable "(\w+)" which is not set', str(error)))):
        return f"it names {', '.join(unset)}; set it, or take it out there."
    return " ".join(problem.message.partition("\n")[0] for problem in error.errors)
