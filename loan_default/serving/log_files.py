"""The files of the prediction log, made of closed segments of the journal: `<root>/prediction_log/<YYYY-MM-DD>/<HH>/`.

Whoever wrote a segment, also a worker that has died, it becomes Parquet files by hour (UTC) and is deleted. What a
storage refuses stays and is tried again. When that is done is `log_process`'s, what a row holds `decision_records`'s,
and how a decision is found again `decisions`'s.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec
import polars as pl
from upath import UPath

from loan_default.adapters import gcs, storage
from loan_default.adapters.file_listing import list_folders
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.files import write_atomically
from loan_default.serving.decision_records import (
    DecidingVersion,
    Decisions,
    Shadow,
    complete_rows,
    plain_rows,
    read_records,
)
from loan_default.serving.journal import Frames, claim, list_segments, sync_path
from loan_default.serving.log_status import LogStatus

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 5_000  # as objects of Python's, which take more memory than a table
_LATE = timedelta(days=1)  # after which rows of a day may come too late to be gathered with it: `prediction_history`
_DAMAGED = ".damaged"  # ends the name of a segment that cannot be read, and is left for a person


class LogFiles:
    """Makes files of the segments of a folder."""

    def __init__(
        self, journal: Path, root: str, *, shadow: Shadow | None = None, retention_months: int | None = None
    ) -> None:
        """Make files.

        Args:
            journal: the folder of the segments, on this machine.
            root: of the storage: a folder, or an address such as `gs://bucket/prefix`.
            shadow: scores rows by the challenger, when they become a file.
            retention_months: after which files are deleted, where the root is a folder; None keeps them.
        """
        self._folder, self._layout, self._shadow = journal, StorageLayout(UPath(root)), shadow
        self._retention_months = retention_months
        self._outage: str | None = None
        self._files = self._rows = self._failures = 0
        self._damaged: dict[Path, int] = {}  # rows of segments that cannot be read

    @property
    def status(self) -> LogStatus:
        """Tell what keeps rows from the storage, of how many rows nobody will make a file, and what was stored."""
        paths = [*self._folder.glob(f"*{_DAMAGED}")]
        for path in {*paths} - self._damaged.keys():
            with suppress(FileNotFoundError), path.open("rb") as file:  # a person has taken it away
                self._damaged[path] = _count_rows(file)
        return LogStatus(
            self._outage,
            sum(self._damaged.get(path, 0) for path in paths),
            files=self._files,
            rows=self._rows,
            failures=self._failures,
        )

    def prune(self, today: date) -> None:
        """Delete the days that are older than the retention; in a bucket its own rules do so."""
        root = self._layout.prediction_log
        if self._retention_months is None or storage.is_remote(root):
            return
        months = 12 * today.year + today.month - 1 - self._retention_months
        first_kept = date(months // 12, months % 12 + 1, min(today.day, 28))
        for day in list_folders(root):
            if day < first_kept.isoformat():
                shutil.rmtree(storage.to_local(root / day), ignore_errors=True)

    def store_closed(self) -> int:
        """Make files of all segments that nobody writes, whoever wrote them; return how many rows they have."""
        stored = 0
        for path in list_segments(self._folder):
            with claim(path) as file:
                if file is None:
                    continue
                if (rows := self._store_segment(path, file)) is None:
                    break
                stored += rows
        return stored

    def _store_segment(self, path: Path, file: IO[bytes]) -> int | None:
        """Store the rows of a segment, and delete it; return how many, None where the next would be refused as well."""
        try:
            tables = self._read(path, file)
        except (Exception, pl.exceptions.PanicException):  # it would be met again and again
            log.exception(
                "%s cannot be read; it stays as %s%s, and its rows are in no file.", path, path.name, _DAMAGED
            )
            path.rename(path.with_name(path.name + _DAMAGED))
            return 0
        try:
            for number, table in enumerate(tables):
                self._store(table, path.stem + (f"-{number}" if number else ""))
        except Exception as error:  # each storage has errors of its own
            if self._outage is None:
                sentence = "Scored rows wait in %s until %s can be written to (%s); make it writable."
                log.warning(
                    sentence, self._folder, self._layout.prediction_log, error, exc_info=not isinstance(error, OSError)
                )
            self._outage = f"{self._layout.prediction_log} cannot be written to ({error})"
            self._failures += 1
            return None
        self._outage = None
        path.unlink()
        rows = sum(table.height for table in tables)
        self._rows += rows
        return rows

    def _read(self, path: Path, file: IO[bytes]) -> list[pl.DataFrame]:
        """Return the rows of a segment, a table for each set of columns."""
        versions: dict[int, DecidingVersion] = {}
        parts: dict[int, list[pl.DataFrame]] = defaultdict(list)
        frames = Frames(file)
        for decisions in _read_decisions(frames, versions):
            for version in {record.version for record in decisions}:
                of_version = [record for record in decisions if record.version == version]
                parts[version].append(plain_rows(versions[version], of_version, self._shadow))
        if frames.torn:
            log.warning("%s ends in the middle of a write: %s bytes of it are lost.", path, frames.torn)
        tables: dict[tuple[str, ...], list[pl.DataFrame]] = defaultdict(list)
        for version, rows in parts.items():
            table = complete_rows(versions[version], rows)
            if (month := versions[version].month) is not None:  # as a batch's own
                table = table.with_columns(_month_of(table["scored_at"]).alias(month))
            tables[tuple(table.columns)].append(table)
        return [_sorted(pl.concat(alike)) for alike in tables.values()]

    def _store(self, table: pl.DataFrame, name: str) -> None:
        """Store a file for each hour of the rows; the same rows get the same names, so none stands there twice."""
        hour_of = table["scored_at"].dt.truncate("1h")
        for hour in hour_of.unique():
            content = io.BytesIO()  # of a full disk Polars would say that the file is out of specification
            # 2.5% larger than by default, in 5/6 of the time
            table.filter(hour_of == hour).write_parquet(content, compression_level=1)
            _add(self._layout.prediction_log_hour(hour) / f"{name}.parquet", content.getvalue())
            self._files += 1
            if hour < datetime.now(UTC) - _LATE:
                _add(self._layout.late_mark(hour, name), b"")


def _read_decisions(frames: Iterable[bytes], versions: dict[int, DecidingVersion]) -> Iterator[list[Decisions]]:
    """Yield the decisions of frames, some thousand rows at once; the versions that decided are put beside."""
    decisions: list[Decisions] = []
    rows = 0
    for payload in frames:
        for record in read_records(payload):
            if isinstance(record, DecidingVersion):
                versions[record.version] = record
            else:
                decisions.append(record)
                rows += len(record.id)
        if rows >= _ROWS_AT_ONCE:
            yield decisions
            decisions, rows = [], 0
    if decisions:
        yield decisions


def _count_rows(file: IO[bytes]) -> int:
    rows = 0
    for payload in Frames(file):
        with suppress(msgspec.DecodeError):
            rows += sum(len(record.id) for record in read_records(payload) if isinstance(record, Decisions))
    return rows


def _sorted(table: pl.DataFrame) -> pl.DataFrame:
    return table if table["decision_id"].is_sorted() else table.sort("decision_id")


def _month_of(moments: pl.Series) -> pl.Expr:
    """Return the month of each moment; it is that of all, but for a segment at the turn of one."""
    months = pl.Series([moments.min(), moments.max()], dtype=moments.dtype).dt.strftime("%Y-%m").unique()
    return pl.lit(months[0]) if len(months) == 1 else pl.col(moments.name).dt.strftime("%Y-%m")


def _add(target: UPath, content: bytes) -> None:
    """Add a file to the storage, durably: the journal is deleted next."""
    if storage.is_remote(target):
        with TemporaryDirectory(prefix="loan-default-log-") as folder:
            part = Path(folder, target.name)
            part.write_bytes(content)
            gcs.upload_once(part, target)
    else:
        with write_atomically(storage.to_local(target)) as part:
            part.write_bytes(content)
            sync_path(part)
        sync_path(storage.to_local(target).parent)
