"""Measurements of what the platform stands on: storage, disk, ports, databases, others' clocks.

Each looks once, changes nothing but for a probe file that it removes again, and judges nothing: that is
`operations.doctor`'s.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loan_default.adapters import file_listing, storage
from loan_default.adapters.identity import NoIdentity, identity_header
from loan_default.adapters.layout import PROBE
from loan_default.adapters.storage import DOWNLOADS, leftover_patterns

if TYPE_CHECKING:
    from sqlalchemy import Connection

_DEAD_AFTER = timedelta(days=1)  # longer than any run takes


# --- storage --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """The fate of a small file: `changed_at` by the storage's clock, `written_at` by ours."""

    listed: bool
    same: bool
    removed: bool
    changed_at: datetime
    written_at: datetime
    seconds: float


def probe_storage(root: str, *, patience: float) -> Probe:
    """Write a file under a dot-name, list it, read it back and remove it; a bucket is asked again for `patience` s.

    Raises:
        OSError: the storage is not there, or does not allow one of these.
    """
    content, folder = uuid.uuid4().hex, storage.to_path(root, patience=patience)
    if not storage.is_remote(root):
        next(Path(root).iterdir(), None)  # it is not made, as writing would do
    path = folder / f"{PROBE}{content[:8]}"
    began = datetime.now(UTC)
    storage.write_text(path, content)
    written_at = datetime.now(UTC)
    try:
        same = storage.read_text(path) == content
        listed = any(file.name == path.name for file in file_listing.list_all_files(folder))
        listed_file = file_listing.find_file(path)
    finally:
        storage.remove(path)
    seconds = (datetime.now(UTC) - began).total_seconds()
    changed_at = listed_file.changed_at if listed_file else written_at
    return Probe(listed, same, not storage.exists(path), changed_at, written_at, seconds)


@dataclass(frozen=True)
class Leftovers:
    """Files that no run will ever finish."""

    files: int
    size: int


def count_leftovers(root: str, staging: Path, models: Path, now: datetime) -> Leftovers:
    """Count what runs that died left half-written: all in `staging`, parts in the storage, unfinished downloads.

    Objects that were read from a bucket are whole, and kept for a while.
    """
    sizes = []
    for file in _half_written(root, staging, models):
        try:
            status = file.stat()
        except FileNotFoundError:  # its run lives, and has just finished it
            continue
        if now - datetime.fromtimestamp(status.st_mtime, UTC) > _DEAD_AFTER:
            sizes.append(status.st_size)
    return Leftovers(len(sizes), sum(sizes))


def _half_written(root: str, staging: Path, models: Path) -> Iterator[Path]:
    for folder, pattern in leftover_patterns(root, staging, models):
        for match in folder.glob(pattern):
            below = match.rglob("*") if match.is_dir() and folder == models else [match]
            yield from (path for path in below if path.is_file() and not _is_complete(path, staging))


def _is_complete(path: Path, staging: Path) -> bool:
    return path.parent.parent == staging / DOWNLOADS and path.suffix != ".part"


# --- disk -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FreeSpace:
    """Free space, in bytes and in files; None where the file system does not limit these."""

    free: int
    files: int | None


def free_space(folder: Path) -> FreeSpace:
    """Measure what is free where the folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    usage = os.statvfs(folder)
    return FreeSpace(usage.f_bavail * usage.f_frsize, usage.f_favail if usage.f_files else None)


# --- network --------------------------------------------------------------------------------------------------


def accepts(host: str, port: int, *, seconds: float) -> bool:
    """Tell whether anything takes a connection there; nothing is sent."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class TrackingServer:
    """The version of MLflow's server; `server_time` by its clock, `asked_at` by ours."""

    version: str
    server_time: datetime | None
    asked_at: datetime


def ask_tracking_server(uri: str, *, seconds: float) -> TrackingServer | None:
    """Ask for its version; None where nothing answers that is MLflow's, or where this log-in may not."""
    import httpx
    from mlflow.utils.credentials import read_mlflow_creds

    log_in = read_mlflow_creds()
    auth = (log_in.username, log_in.password or "") if log_in.username else None
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/version", headers=identity_header(uri), auth=auth, timeout=seconds)
    except (httpx.HTTPError, NoIdentity):
        return None
    asked_at, date = datetime.now(UTC), answer.headers.get("Date")
    version = answer.text.strip() if answer.status_code == 200 and len(answer.text) < 30 else ""
    return TrackingServer(version, parsedate_to_datetime(date) if date else None, asked_at) if version else None


# --- databases ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SchemaRevision:
    """The revision of a database, and the one that the installed MLflow asks for; `older` where it can be upgraded."""

    revision: str | None
    expected: str
    older: bool


def read_schema(uri: str) -> SchemaRevision:
    """Read the revision only: opening the store would write to a database that lacks tables.

    Raises:
        ConnectionError: the database cannot be asked.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    scripts = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    revisions = {script.revision for script in scripts.walk_revisions()}
    with _connected(uri) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    expected = str(scripts.get_current_head())
    return SchemaRevision(revision, expected, older=revision in revisions - {expected})


def read_tables(uri: str) -> set[str]:
    """List the tables of the database.

    Raises:
        ConnectionError: the database cannot be asked.
    """
    import sqlalchemy

    with _connected(uri) as connection:
        return set(sqlalchemy.inspect(connection).get_table_names())


@contextmanager
def _connected(uri: str) -> Iterator[Connection]:
    import sqlalchemy
    import sqlalchemy.exc

    try:
        with sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect() as connection:
            yield connection
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise ConnectionError(str(getattr(error, "orig", error)).partition("\n")[0]) from error


def database_file(uri: str) -> Path | None:
    """Return the file of an SQLite address."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
