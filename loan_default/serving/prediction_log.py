"""The log of what was decided, for drift, outcomes and questions: a row for each application, first in a journal.

A thread makes a Parquet file of each segment of the journal that is closed, also of those that dead workers left. An
answer never waits for a storage: what it refuses is tried again from the journal. How frames come on the disk is
`journal`'s, who is told of a decision `app`'s, and how one is found again `decisions`'s.
"""

from __future__ import annotations

import logging
import shutil
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson
import polars as pl
from upath import UPath

from loan_default.adapters import gcs, storage
from loan_default.adapters.inbox import list_folders
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.files import write_atomically
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import SCORED, Predictions, Scorer
from loan_default.serving.decision_id import microseconds_of, texts_of
from loan_default.serving.journal import Frame, Frames, Fsync, Journal, age_of_oldest, claim, list_segments, sync_path

if TYPE_CHECKING:
    from loan_default.serving.protocol import Output

log = logging.getLogger(__name__)

# Frames become tables while the interpreter is locked: so few rows at once, and a pause for the answers.
_ROWS_AT_ONCE, _PAUSE_SECONDS = 500, 0.001
_FIRST_LOOK_SECONDS, _LOOK_SECONDS, _RETRY_SECONDS = 2.0, 60.0, 10.0
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the process from stopping; the journal stays for the next
_DAMAGED = ".damaged"  # ends the name of a segment that cannot be read, and is left for a person

_ANSWERED: Mapping[str, pl.DataType] = {
    "decision_id": pl.String(),
    "request_id": pl.String(),
    "scored_at": pl.Datetime("us", "UTC"),
    "id": pl.String(),
    "pd": pl.Float64(),
    "score": pl.Int64(),
    "decision": pl.String(),
    "reasons": pl.List(pl.String),
    "reason_codes": SCORED["reason_codes"],
    "model_version": pl.Int64(),
    "approve_below": pl.Float64(),
    "decline_from": pl.Float64(),
    "contract_fingerprint": pl.String(),
    "policy_fingerprint": pl.String(),
    "output": pl.String(),
    "caller": pl.String(),
    "trace_id": pl.String(),
    "shadow_version": pl.Int64(),
    "shadow_pd": pl.Float64(),
}

_AS_JSON = ("reasons", "reason_codes")  # columns of lists, which are quick to make of texts


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Return the columns of a row: the answer, then the contract's features in natural units, its levels as text.

    Behind them stands a term that an application may say and no model sees. A file has the month of scoring as well, in
    the place of an application's own: it can be scored as a batch. In a book without a date it has none.
    """
    fields = {field.name: pl.Float64() if field.kind == "number" else pl.String() for field in contract.logged_fields}
    return {**_ANSWERED, **fields}


class DecidingVersion(msgspec.Struct, frozen=True, array_like=True, tag="version"):
    """The version that decided, once for all its rows in a segment: its cut-offs, fingerprints and fields.

    `fields`: names of the values in their order, and the levels of those that have some; `month`: the name of the field
    in the place of which the month of scoring stands.
    """

    version: int
    fields: tuple[tuple[str, tuple[str, ...]], ...]
    month: str | None
    approve_below: float
    decline_from: float
    contract_fingerprint: str
    policy_fingerprint: str

    @classmethod
    def of(cls, version: int, scorer: Scorer) -> DecidingVersion:
        """Describe a version by what it was registered with."""
        contract, policy = scorer.contract, scorer.policy
        return cls(
            version,
            tuple((field.name, field.levels) for field in contract.logged_fields),
            contract.time_name if contract.has_time else None,
            policy.approve_below,
            policy.decline_from,
            contract.fingerprint,
            policy.fingerprint,
        )


class Entry(msgspec.Struct, array_like=True, gc=False, tag="decisions"):
    """One version's decisions on one request, as the journal keeps them; `first` is the id of the request's first row.

    `values`: (n, features) as `Applications` have them, and `terms` (n), if any, as bytes of floats. `positions`: of
    the rows in the request, where they are not all of it; `reasons` and `codes` are empty where no row has any.
    """

    first: bytes
    version: int
    request_id: str
    trace_id: str
    caller: str
    output: str
    ids: Sequence[str | None]
    values: bytes
    terms: bytes
    pds: list[float]
    scores: list[int]
    decisions: list[str]
    reasons: list[list[str]]
    codes: list[list[ReasonCode]]
    positions: Sequence[int] | None = None

    @classmethod
    def of(
        cls,
        first: int,
        version: int,
        applications: Applications,
        predictions: Predictions,
        *,
        output: Output = "full",
        request_id: str = "",
        trace_id: str = "",
        caller: str = "",
        positions: Sequence[int] | None = None,
    ) -> Entry:
        """Keep what a version decided, what it was asked, and by whom."""
        return cls(
            first.to_bytes(16),
            version,
            request_id,
            trace_id,
            caller,
            output,
            applications.ids,
            _bytes_of(applications.values),
            b"" if applications.terms is None else np.asarray(applications.terms, dtype=np.float64).tobytes(),
            *predictions[:3],
            predictions.reasons if any(predictions.reasons) else [],
            predictions.reason_codes if any(predictions.reason_codes) else [],
            positions,
        )

    @property
    def rows(self) -> Sequence[int]:
        """Return the positions of the rows in the request."""
        return range(len(self.ids)) if self.positions is None else self.positions


def _bytes_of(values: list[list[float]] | Floats) -> bytes:
    if type(values) is list:  # of one application: numpy takes ten times as long
        (row,) = values
        return struct.pack(f"={len(row)}d", *row)
    return np.ascontiguousarray(values, dtype=np.float64).tobytes()


_Records = list[DecidingVersion | Entry]
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Records)

# Gives the challenger's version and its PD of each row, None of a row that it is not to score.
Shadow = Callable[[DecidingVersion, Sequence[str | None], Floats], tuple[int, Sequence[float | None]] | None]


def read_records(payload: bytes) -> _Records:
    """Read what a frame of the journal holds."""
    return _decoder.decode(payload)


def table_of(deciding: DecidingVersion, entries: Sequence[Entry], shadow: Shadow | None = None) -> pl.DataFrame:
    """Build the rows of entries of one version, with the columns of `log_schema`."""
    return _complete(deciding, [_plain_rows(deciding, entries, shadow)])


def _plain_rows(deciding: DecidingVersion, entries: Sequence[Entry], shadow: Shadow | None) -> pl.DataFrame:
    """Build the rows with plain values; few at once, as the interpreter is locked meanwhile."""
    ids = [*chain.from_iterable(entry.ids for entry in entries)]
    terms = b"".join(entry.terms for entry in entries)
    values = np.frombuffer(b"".join(entry.values for entry in entries)).reshape(len(ids), -1)
    shadow_version, shadow_pds = (shadow and shadow(deciding, ids, values)) or (None, repeat(None, len(ids)))
    if terms:
        values = np.column_stack([values, np.frombuffer(terms)])
    natural = pl.DataFrame(np.asfortranarray(values), schema=[name for name, _ in deciding.fields], orient="row")
    firsts = [int.from_bytes(entry.first) for entry in entries]

    def per_request(values: Iterable[Any]) -> Iterable[Any]:
        return chain.from_iterable(repeat(value, len(entry.ids)) for value, entry in zip(values, entries, strict=True))

    def as_json(lists: Sequence[Any], entry: Entry) -> Iterable[str]:
        return (orjson.dumps(row).decode() for row in lists) if lists else repeat("[]", len(entry.ids))

    columns: Mapping[str, Iterable[Any]] = {
        "decision_id": chain.from_iterable(map(_row_ids, firsts, entries)),
        "request_id": per_request(entry.request_id for entry in entries),
        "scored_at": per_request(map(microseconds_of, firsts)),
        "id": ids,
        "pd": chain.from_iterable(entry.pds for entry in entries),
        "score": chain.from_iterable(entry.scores for entry in entries),
        "decision": chain.from_iterable(entry.decisions for entry in entries),
        "reasons": chain.from_iterable(as_json(entry.reasons, entry) for entry in entries),
        "reason_codes": chain.from_iterable(as_json(entry.codes, entry) for entry in entries),
        "output": per_request(entry.output for entry in entries),
        "caller": per_request(entry.caller for entry in entries),
        "trace_id": per_request(entry.trace_id for entry in entries),
        "shadow_version": repeat(shadow_version, len(ids)),
        "shadow_pd": shadow_pds,
    }
    types = {**_ANSWERED, "scored_at": pl.Int64(), **dict.fromkeys(_AS_JSON, pl.String())}
    return pl.DataFrame([pl.Series(name, [*values], types[name]) for name, values in columns.items()]).hstack(natural)


def _complete(deciding: DecidingVersion, rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Give rows of one version their types, levels, and what is the same in all; without the interpreter's lock."""
    of_version = {
        "model_version": deciding.version,
        "approve_below": deciding.approve_below,
        "decline_from": deciding.decline_from,
        "contract_fingerprint": deciding.contract_fingerprint,
        "policy_fingerprint": deciding.policy_fingerprint,
    }
    names = [name for name, _ in deciding.fields]
    return (
        pl.concat(rows)
        .with_columns(
            pl.col("scored_at").cast(_ANSWERED["scored_at"]),
            pl.when(pl.col("shadow_pd").is_not_null()).then("shadow_version"),
            *(pl.col(name).str.json_decode(_ANSWERED[name]) for name in _AS_JSON),
            *(pl.lit(value, dtype=_ANSWERED[name]).alias(name) for name, value in of_version.items()),
            *(_natural(name, levels) for name, levels in deciding.fields),
        )
        .select(*_ANSWERED, *names)
    )


def _row_ids(first: int, entry: Entry) -> Iterable[str]:
    return texts_of(first, entry.rows)


def _natural(name: str, levels: Sequence[str]) -> pl.Expr:
    column = pl.col(name).fill_nan(None)
    return pl.lit(pl.Series(levels)).gather(column.cast(pl.Int64) - 1).alias(name) if levels else column


def _read_entries(frames: Iterable[bytes], versions: dict[int, DecidingVersion]) -> Iterator[list[Entry]]:
    """Yield the entries of frames, some hundred rows at once; the versions that decided are put beside."""
    entries: list[Entry] = []
    rows = 0
    for payload in frames:
        for record in read_records(payload):
            if isinstance(record, DecidingVersion):
                versions[record.version] = record
            else:
                entries.append(record)
                rows += len(record.ids)
        if rows >= _ROWS_AT_ONCE:
            yield entries
            entries, rows = [], 0
    if entries:
        yield entries


def _count_rows(file: IO[bytes]) -> int:
    file.seek(0)
    rows = 0
    for payload in Frames(file):
        with suppress(msgspec.DecodeError):
            rows += sum(len(record.ids) for record in read_records(payload) if isinstance(record, Entry))
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

    def append(
        self,
        decided: Sequence[tuple[Scorer, Entry]],
        synced: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """Have entries written soon; `synced` is called when they are durable, or with what keeps them from it."""
        if not decided:
            return
        for scorer, entry in decided:
            if entry.version not in self._preambles:
                self._preambles[entry.version] = _encoder.encode([DecidingVersion.of(entry.version, scorer)])
        entries = [entry for _, entry in decided]
        preambles = {self._preambles[entry.version] for entry in entries}
        self._journal.append(
            Frame(_encoder.encode(entries), sum(len(entry.ids) for entry in entries), preambles, synced)
        )

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
        for entries in _read_entries(frames, versions):
            for version in {entry.version for entry in entries}:
                of_version = [entry for entry in entries if entry.version == version]
                parts[version].append(_plain_rows(versions[version], of_version, self._shadow))
            self._stop.wait(_PAUSE_SECONDS)
        if frames.torn:
            log.warning("%s ends in the middle of a write: %s bytes of it are lost.", path, frames.torn)
        tables: dict[tuple[str, ...], list[pl.DataFrame]] = defaultdict(list)
        for version, rows in parts.items():
            table = _complete(versions[version], rows)
            if (month := versions[version].month) is not None:  # as a batch's own
                table = table.with_columns(pl.col("scored_at").dt.strftime("%Y-%m").alias(month))
            tables[tuple(table.columns)].append(table)
        return [pl.concat(alike).sort("decision_id") for alike in tables.values()]

    def _store(self, table: pl.DataFrame, name: str) -> None:
        """Store a file for each hour of the rows; the same rows get the same names, so none stands there twice."""
        hour_of = table["scored_at"].dt.truncate("1h")
        for hour in hour_of.unique():
            target = self._layout.prediction_log_hour(hour) / f"{name}.parquet"
            rows = table.filter(hour_of == hour)
            if storage.is_remote(target):
                with TemporaryDirectory(prefix="loan-default-log-") as folder:
                    part = Path(folder, target.name)
                    rows.write_parquet(part, compression_level=1)  # 2.5 % larger, in 5/6 of the time
                    gcs.upload_once(part, target)
            else:
                with write_atomically(storage.to_local(target)) as part:
                    rows.write_parquet(part, compression_level=1)
                    sync_path(part)  # the journal is deleted next
                sync_path(storage.to_local(target).parent)
