"""What was scored, kept for drift: a row waits in memory, and a thread writes the rows as Parquet files by hour.

An answer never waits for the log: rows that do not fit, or that the storage refuses, are counted and given up. What
is scored is `app`; how a file comes whole to its place is `adapters.storage`; whether the rows drifted is `risk`.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from upath import UPath

from loan_default.adapters import storage
from loan_default.risk.contract import Contract, LoanField

Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

FOLDER = "prediction_log"
# Rows become a table while the interpreter is locked, 1.2 µs each: so few at once, and a pause for the answers.
_ROWS_AT_ONCE, _PAUSE_SECONDS = 500, 0.001
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the process from stopping


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Columns of a row: what was answered, then the contract's features in natural units, its levels as text.

    A file has the month of scoring as well, in the place of an application's own: it can be scored as a batch.
    """
    return {
        "request_id": pl.String(),
        "scored_at": pl.Datetime("us", "UTC"),
        "id": pl.String(),
        "pd": pl.Float64(),
        "score": pl.Int64(),
        "decision": pl.String(),
        "model_version": pl.Int64(),
        "shadow_version": pl.Int64(),
        "shadow_pd": pl.Float64(),
        **{field.name: pl.Float64() if field.kind == "number" else pl.String() for field in contract.features},
    }


def _answered(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, Floats]:
    """Rows as `PredictionLog.append` takes them → what was answered as a table, and the features' values."""
    *answered, values = zip(*rows, strict=True)
    columns = [_answered_column(name, schema[name], given) for name, given in zip(schema, answered, strict=False)]
    return pl.DataFrame(columns), np.array(values, dtype=np.float64)


def _answered_column(name: str, dtype: pl.DataType, given: Sequence[Any]) -> pl.Series:
    if name == "scored_at":
        return pl.Series(name, np.array(given) * 1e6).cast(pl.Int64).cast(dtype)
    return pl.Series(name, given, dtype=dtype)


def _feature(field: LoanField, values: Floats) -> pl.Series:
    column = pl.Series(field.name, values, nan_to_null=True)
    if field.kind == "number":
        return column
    return pl.Series(field.levels).gather(column.cast(pl.Int64) - 1).rename(field.name)


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
            contract: says which features a row has.
            worker: begins the names of the files; these are new each time, also for a worker of the same name.
            capacity: rows that may wait, with those being written (about 1.3 kB each).
            rows_per_file: as soon as so many rows wait they are written, and no file has more.
            seconds: between two writes at the latest.
            now: the time in UTC, for the names of the files.
        """
        self.logged = 0
        self._schema = log_schema(contract)
        self._folder, self._contract, self._worker, self._now = UPath(root) / FOLDER, contract, worker, now
        self._month = contract.by_name[contract.time_name].column
        self._capacity, self._rows_per_file, self._seconds = capacity, rows_per_file, seconds
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._refused = 0  # rows that found no room
        self._taken = self._lost = 0  # rows that no longer wait: logged, lost, or being written
        self._outage = False
        self._refusing, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Rows that are not logged and never will be."""
        return self._refused + self._lost

    def append(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Have rows written soon; those beyond the capacity are dropped.

        A row is what was answered, in the order of `log_schema` with the time as seconds since 1970, and then the
        values of the features as `risk.applications.Applications` has them, as one sequence.
        """
        waiting = self._waiting
        room = self._capacity - len(waiting) - (self._taken - self.logged - self._lost)
        if len(rows) > room:
            fitting = max(room, 0)
            with self._refusing:  # held for an addition only
                self._refused += len(rows) - fitting
            rows = rows[:fitting]
        waiting.extend(rows)
        if len(waiting) >= self._rows_per_file:
            self._due.set()

    def flush(self) -> None:
        """Write all that waits, now."""
        with self._one_at_a_time:
            last = self._taken + len(self._waiting)
            while self._taken < last:
                self._write(min(last - self._taken, self._rows_per_file))

    def close(self) -> None:
        """Write what waits and stop; rows that come later are dropped."""
        self._capacity = 0
        self._stop.set()
        self._due.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("%s does not answer; the scored rows that wait for it are given up.", self._folder)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(self._seconds)
            self._due.clear()
            self.flush()
        self.flush()  # what came during the last one

    def _write(self, count: int) -> None:
        """Write the oldest rows, a file for each of their hours."""
        try:
            month = pl.col("scored_at").dt.strftime("%Y-%m").alias(self._month)  # as a batch's own
            answered, values = zip(*self._tables(count), strict=True)
            array = np.concatenate(values)
            features = [_feature(field, array[:, at]) for at, field in enumerate(self._contract.features)]
            table = pl.concat(answered).hstack(features).with_columns(month)
            for (hour,), rows in table.group_by(pl.col("scored_at").dt.truncate("1h"), maintain_order=True):
                self._store(rows, self._folder / f"{hour:%Y-%m-%d}" / f"{hour:%H}")
        except Exception:  # the thread must live on
            log.exception("scored rows that do not fit the prediction log are dropped")
        self._lost = self._taken - self.logged

    def _tables(self, count: int) -> Iterator[tuple[pl.DataFrame, Floats]]:
        for at in range(0, count, _ROWS_AT_ONCE):
            size = min(_ROWS_AT_ONCE, count - at)
            self._taken += size
            rows = [self._waiting.popleft() for _ in range(size)]
            yield _answered(rows, self._schema)
            self._stop.wait(_PAUSE_SECONDS)

    def _store(self, rows: pl.DataFrame, folder: UPath) -> None:
        name = f"{self._worker}-{self._now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.parquet"
        try:
            with TemporaryDirectory(prefix="loan-default-log-") as made:
                rows.write_parquet(Path(made, name))
                storage.store(Path(made, name), folder / name)
        except Exception as error:  # each storage has errors of its own
            if not self._outage:
                sentence = "Scored rows are dropped until %s can be written to (%s); make it writable."
                log.warning(sentence, self._folder, error, exc_info=not isinstance(error, OSError))
            self._outage = True
        else:
            self._outage = False
            self.logged += rows.height
