"""The log of what was scored, for drift and outcomes: rows wait in memory, and a thread writes Parquet files by hour.

An answer never waits for the log: rows that do not fit, or that the storage refuses, are counted and given up. What
is scored is `app`; how a file comes whole to its place is `adapters.storage`; whether the rows drifted is `risk`.
"""

from __future__ import annotations

import logging
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import SCORED, Predictions

log = logging.getLogger(__name__)

# Values become a table while the interpreter is locked: so few rows at once, and a pause for the answers.
_ROWS_AT_ONCE, _PAUSE_SECONDS = 500, 0.001
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the process from stopping


_ANSWERED: Mapping[str, pl.DataType] = {
    "request_id": pl.String(),
    "scored_at": pl.Float64(),  # seconds since 1970, until they are written
    "id": pl.String(),
    "pd": pl.Float64(),
    "score": pl.Int64(),
    "decision": pl.String(),
    "reason_codes": pl.String(),  # JSON until they are written
    "model_version": pl.Int64(),
    "shadow_version": pl.Int64(),
    "shadow_pd": pl.Float64(),
}


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Return the columns of a row: the answer, then the contract's features in natural units, its levels as text.

    Behind them stands a term that an application may say and no model sees. A file has the month of scoring as well, in
    the place of an application's own: it can be scored as a batch. In a book without a date it has none.
    """
    fields = {field.name: pl.Float64() if field.kind == "number" else pl.String() for field in contract.logged_fields}
    written = {"scored_at": pl.Datetime("us", "UTC"), "reason_codes": SCORED["reason_codes"]}
    return {**_ANSWERED, **written, **fields}


class Entry(NamedTuple):
    """One version's predictions for one request: `scored_at` in seconds since 1970, and of each row the shadow's PD."""

    request_id: str
    scored_at: float
    version: int
    applications: Applications
    predictions: Predictions
    shadow_version: int | None = None
    shadow_pds: Sequence[float | None] | None = None


class _Rows:
    """Rows that wait: plain values by column and arrays, so that the garbage collector has nothing to look through.

    An object for each request made its pauses grow to 0.2 s with 50,000 rows that waited.
    """

    def __init__(self) -> None:
        self._columns: tuple[list[Any], ...] = tuple([] for _ in _ANSWERED)
        self._values: list[Floats] = []
        self._terms: list[float] = []

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, entries: Sequence[Entry]) -> None:
        self._values += _stack([entry.applications.values for entry in entries])
        self._terms += chain.from_iterable(_terms(entry.applications) for entry in entries)
        entries_and_counts = [(entry, len(entry.applications.ids)) for entry in entries]
        columns: tuple[Iterable[Iterable[Any]], ...] = (
            (repeat(entry.request_id, count) for entry, count in entries_and_counts),
            (repeat(entry.scored_at, count) for entry, count in entries_and_counts),
            (entry.applications.ids for entry in entries),
            (entry.predictions.pds for entry in entries),
            (entry.predictions.scores for entry in entries),
            (entry.predictions.decisions for entry in entries),
            (map(_json, entry.predictions.reason_codes) for entry in entries),
            (repeat(entry.version, count) for entry, count in entries_and_counts),
            (repeat(entry.shadow_version, count) for entry, count in entries_and_counts),
            (entry.shadow_pds or repeat(None, count) for entry, count in entries_and_counts),
        )
        for column, values in zip(self._columns, columns, strict=True):
            column.extend(chain.from_iterable(values))

    def tables(self, contract: Contract, size: int, pause: Callable[[], object]) -> Iterator[pl.DataFrame]:
        """Build tables of the columns of `log_schema`, of `size` rows and a last one of fewer."""
        values = np.concatenate(self._values) if self._values else np.empty((0, len(contract.features)))
        if len(contract.logged_fields) > len(contract.features):
            values = np.column_stack([values, self._terms])
        for start in range(0, len(self), size):
            end = min(start + size, len(self))
            answered = []
            for first in range(start, end, _ROWS_AT_ONCE):
                answered.append(self._answered(first, min(first + _ROWS_AT_ONCE, end)))
                pause()
            yield _table(pl.concat(answered), values[start:end], contract)

    def _answered(self, start: int, end: int) -> pl.DataFrame:
        columns = zip(_ANSWERED.items(), self._columns, strict=True)
        return pl.DataFrame([pl.Series(name, column[start:end], dtype) for (name, dtype), column in columns])


def _terms(applications: Applications) -> Iterable[float]:
    return repeat(math.nan, len(applications.ids)) if applications.terms is None else applications.terms


def _json(codes: list[ReasonCode]) -> str:
    return orjson.dumps(codes).decode()


def _stack(parts: Iterable[list[list[float]] | Floats]) -> list[Floats]:
    """Stack the values in fewer arrays: those of single applications, plain lists, become arrays together."""
    arrays: list[Floats] = []
    for kind, group in groupby(parts, type):
        run = [*group]
        arrays += [np.array([*chain(*run)])] if kind is list else map(np.asarray, run)
    return arrays


def _table(answered: pl.DataFrame, values: Floats, contract: Contract) -> pl.DataFrame:
    """Build rows of the columns of `log_schema`; polars makes them without the interpreter's lock."""
    names = [field.name for field in contract.logged_fields]
    natural = pl.DataFrame(np.asfortranarray(values), schema=names, orient="row")
    scored_at = (pl.col("scored_at") * 1e6).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    named = [
        scored_at.alias("scored_at"),
        pl.col("reason_codes").str.json_decode(SCORED["reason_codes"]),
        pl.when(pl.col("shadow_pd").is_not_null()).then("shadow_version"),
        *map(_natural, contract.logged_fields),
    ]
    return answered.hstack(natural).with_columns(named)


def _natural(field: LoanField) -> pl.Expr:
    column = pl.col(field.name).fill_nan(None)
    if field.kind == "number":
        return column
    return pl.lit(pl.Series(field.levels)).gather(column.cast(pl.Int64) - 1).alias(field.name)


class PredictionLog:
    """One worker's log under `<root>/prediction_log/<YYYY-MM-DD>/<HH>/`, hours being those of `scored_at` in UTC."""

    def __init__(
        self,
        root: str,
        contract: Contract,
        *,
        worker: str,
        capacity: int = 200_000,
        rows_per_file: int = 50_000,
        seconds: float = 60.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin to log.

        Args:
            root: a folder, or an address such as `gs://bucket/prefix`.
            contract: says which fields a row has.
            worker: begins the names of the files; these are new each time, also for a worker of the same name.
            capacity: rows that may wait, with those being written.
            rows_per_file: as soon as so many rows wait they are written, and no file has more.
            seconds: between two writes at the latest.
            now: the time in UTC, for the names of the files.
        """
        self.logged = self.dropped = 0  # rows that stand in a file; rows that never will
        self._layout, self._contract, self._worker, self._now = StorageLayout(UPath(root)), contract, worker, now
        self._month = contract.time_name if contract.has_time else None
        self._capacity, self._rows_per_file, self._seconds = capacity, rows_per_file, seconds
        self._waiting, self._written = _Rows(), 0  # rows that are being written
        self._outage = False
        self._exchange, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[Entry]) -> None:
        """Have entries written soon; those that do not fit, each as a whole, are dropped."""
        with self._exchange:  # held by nobody for long
            free = self._capacity - len(self._waiting) - self._written
            fitting = []
            for entry in entries:
                rows = len(entry.applications.ids)
                if rows <= free:
                    fitting.append(entry)
                    free -= rows
                else:
                    self.dropped += rows
            self._waiting.add(fitting)
        if len(self._waiting) >= self._rows_per_file:
            self._due.set()

    def flush(self) -> None:
        """Write all rows that wait, now."""
        with self._one_at_a_time:
            with self._exchange:
                rows, self._waiting = self._waiting, _Rows()
                self._written = len(rows)
            logged = self.logged
            try:
                self._write(rows)
            except Exception:  # the thread must live on
                log.exception("scored rows that do not fit the prediction log are dropped")
            with self._exchange:
                self.dropped += len(rows) - (self.logged - logged)
                self._written = 0

    def close(self) -> None:
        """Write what waits and stop; rows that come later are dropped."""
        self._capacity = 0
        self._stop.set()
        self._due.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            sentence = "%s does not answer; the scored rows that wait for it are given up."
            log.warning(sentence, self._layout.prediction_log)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(self._seconds)
            self._due.clear()
            self.flush()
        self.flush()  # what came during the last one

    def _write(self, rows: _Rows) -> None:
        """Write files of rows of one hour each."""
        for table in rows.tables(self._contract, self._rows_per_file, lambda: self._stop.wait(_PAUSE_SECONDS)):
            hour_of = table["scored_at"].dt.truncate("1h")
            hours = hour_of.unique(maintain_order=True)
            for hour in hours:
                part = table if len(hours) == 1 else table.filter(hour_of == hour)  # nearly always one: not copied
                if self._month:  # as a batch's own
                    part = part.with_columns(pl.lit(f"{hour:%Y-%m}").alias(self._month))
                self._store(part, self._layout.prediction_log_hour(hour))

    def _store(self, rows: pl.DataFrame, folder: UPath) -> None:
        name = f"{self._worker}-{self._now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.parquet"
        try:
            with TemporaryDirectory(prefix="loan-default-log-") as folder_name:
                rows.write_parquet(Path(folder_name, name), compression_level=1)  # 2.5 % larger, in 5/6 of the time
                storage.store(Path(folder_name, name), folder / name)
        except Exception as error:  # each storage has errors of its own
            if not self._outage:
                sentence = "Scored rows are dropped until %s can be written to (%s); make it writable."
                log.warning(sentence, self._layout.prediction_log, error, exc_info=not isinstance(error, OSError))
            self._outage = True
        else:
            self._outage = False
            self.logged += rows.height
