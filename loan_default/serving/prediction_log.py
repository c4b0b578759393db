"""The log of what was decided, for drift, outcomes and questions: a row for each application, first in a journal.

A thread makes a Parquet file of each segment of the journal that is closed, also of those that dead workers left. An
answer never waits for a storage: what it refuses is tried again from the journal. How frames come on the disk is
`journal`'s, what they hold `decision_records`', who is told of a decision `app`'s, and how one is found again
`decisions`'s.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

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
    Entry,
    Shadow,
    complete_rows,
    encode,
    plain_rows,
    read_records,
    records_of,
)
from loan_default.serving.journal import Frame, Frames, Fsync, Journal, age_of_oldest, claim, list_segments, sync_path

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

# Frames become tables while the interpreter is locked: so few rows at once, and a pause for the answers.
_ROWS_AT_ONCE, _PAUSE_SECONDS = 5_000, 0.001
_FIRST_LOOK_SECONDS, _LOOK_SECONDS, _RETRY_SECONDS = 2.0, 60.0, 10.0
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the process from stopping; the journal stays for the next
_LATE = timedelta(days=1)  # after which rows of a day may come too late to be gathered with it: `prediction_history`
_DAMAGED = ".damaged"  # ends the name of a segment that cannot be read, and is left for a person


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
    file.seek(0)
    rows = 0
    for payload in Frames(file):
        with suppress(msgspec.DecodeError):
            rows += sum(len(record.id) for record in read_records(payload) if isinstance(record, Decisions))
    return rows


class PredictionLog:
    """One worker's log: a journal on this machine, and `<root>/prediction_log/<YYYY-MM-DD>/<HH>/` (UTC) of its rows."""

    def __init__(
        self,
        journal: Path,
        root: str,
        *,
        worker: str,
        fsync: Fsync = "second",
        rows_per_file: int = 50_000,
        seconds: float = 60.0,
        shadow: Shadow | None = None,
        retention_months: int | None = None,
    ) -> None:
        """Begin to log.

        Args:
            journal: the folder of the segments, on this machine; workers share it.
            root: a folder, or an address such as `gs://bucket/prefix`.
            worker: begins the names of the segments and files; these are new each time.
            fsync: when a decision is durable: as the system likes, within a second, or before it is answered.
            rows_per_file: as soon as a segment has so many rows it becomes a file.
            seconds: between two files at the latest.
            shadow: scores rows by the challenger, when they become a file.
            retention_months: after which files are deleted, where the root is a folder; None keeps them.
        """
        self.syncs_each = fsync == "decision"
        self.logged = 0  # rows that this worker has stored
        self._damaged = 0  # rows that no file will hold
        self._folder, self._layout, self._shadow = journal, StorageLayout(UPath(root)), shadow
        self._retention_months, self._pruned_on = retention_months, date.min
        self._preambles: dict[int, bytes] = {}
        self._outage: str | None = None
        self._one_at_a_time, self._due, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._journal = Journal(journal, worker, fsync, closed=self._due.set, rows=rows_per_file, seconds=seconds)
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Rows that no file will hold."""
        return self._journal.dropped + self._damaged

    @property
    def trouble(self) -> str | None:
        """Say what keeps rows from the journal or from the storage, if anything does."""
        return self._journal.trouble or self._outage

    @property
    def lag_seconds(self) -> float:
        """Return for how long this machine's oldest rows have been waiting to become a file, 0 where none wait."""
        return age_of_oldest(self._folder)

    def append(self, entries: Sequence[Entry], synced: Callable[[str | None], None] | None = None) -> None:
        """Have entries written soon; at once where `synced` is called then, or with what keeps them from it."""
        by_version: dict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_version[entry.version].append(entry)
        for version, (entry, *_) in by_version.items():
            if version not in self._preambles:
                self._preambles[version] = encode([DecidingVersion.of(version, entry.scorer)])
        if entries:
            payload = encode(record for of_version in by_version.values() for record in records_of(of_version))
            rows = sum(len(entry.applications.ids) for entry in entries)
            self._journal.append(Frame(payload, rows, [self._preambles[version] for version in by_version], synced))

    def close(self) -> None:
        """Write what waits and stop; what the storage does not take stays in the journal for the next worker."""
        self._journal.close()
        self._stop.set()
        self._due.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        wait = _FIRST_LOOK_SECONDS  # the first answers go before what others left
        while not self._stop.is_set():
            self._due.wait(wait)
            self._due.clear()
            self.store_closed()
            if self._pruned_on < (today := datetime.now(UTC).date()):
                self._pruned_on = today
                self.prune(today)
            if self._outage is not None:
                self._stop.wait(_RETRY_SECONDS)
            wait = _LOOK_SECONDS  # another worker may have died
        self.store_closed()

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

    def store_closed(self) -> None:
        """Make files of all segments that nobody writes, whoever wrote them."""
        with self._one_at_a_time:
            for path in list_segments(self._folder):
                with claim(path) as file:
                    if file is not None and not self._store_segment(path, file):
                        return

    def _store_segment(self, path: Path, file: IO[bytes]) -> bool:
        """Store the rows of a segment, and delete it; tell whether it makes sense to go on with the next."""
        try:
            tables = self._read(path, file)
        except Exception:  # it would be met again and again
            log.exception(
                "%s cannot be read; it stays as %s%s, and its rows are in no file.", path, path.name, _DAMAGED
            )
            self._damaged += _count_rows(file)
            path.rename(path.with_name(path.name + _DAMAGED))
            return True
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
            return False
        self._outage = None
        path.unlink()
        self.logged += sum(table.height for table in tables)
        return True

    def _read(self, path: Path, file: IO[bytes]) -> list[pl.DataFrame]:
        """Return the rows of a segment, a table for each set of columns."""
        versions: dict[int, DecidingVersion] = {}
        parts: dict[int, list[pl.DataFrame]] = defaultdict(list)
        frames = Frames(file)
        for decisions in _read_decisions(frames, versions):
            for version in {record.version for record in decisions}:
                of_version = [record for record in decisions if record.version == version]
                parts[version].append(plain_rows(versions[version], of_version, self._shadow))
            self._stop.wait(_PAUSE_SECONDS)
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
            # 2.5% larger than by default, in 5/6 of the time
            write = partial(table.filter(hour_of == hour).write_parquet, compression_level=1)
            _add(self._layout.prediction_log_hour(hour) / f"{name}.parquet", write)
            if hour < datetime.now(UTC) - _LATE:
                _add(self._layout.late_mark(hour, name), Path.touch)


def _sorted(table: pl.DataFrame) -> pl.DataFrame:
    return table if table["decision_id"].is_sorted() else table.sort("decision_id")


def _month_of(moments: pl.Series) -> pl.Expr:
    """Return the month of each moment; it is that of all, but for a segment at the turn of one."""
    months = pl.Series([moments.min(), moments.max()], dtype=moments.dtype).dt.strftime("%Y-%m").unique()
    return pl.lit(months[0]) if len(months) == 1 else pl.col(moments.name).dt.strftime("%Y-%m")


def _add(target: UPath, write: Callable[[Path], object]) -> None:
    """Add a file to the storage, durably: the journal is deleted next."""
    if storage.is_remote(target):
        with TemporaryDirectory(prefix="loan-default-log-") as folder:
            part = Path(folder, target.name)
            write(part)
            gcs.upload_once(part, target)
    else:
        with write_atomically(storage.to_local(target)) as part:
            write(part)
            sync_path(part)
        sync_path(storage.to_local(target).parent)
