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
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, Self

import msgspec
import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from upath import UPath

from loan_default.adapters import gcs, storage
from loan_default.adapters.file_listing import list_folders
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.files import write_atomically
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import DECISIONS, SCORED, VALUED, Predictions, Scorer
from loan_default.serving.decision_id import microseconds_of, text_of_rows, texts_from_bytes
from loan_default.serving.journal import Frame, Frames, Fsync, Journal, age_of_oldest, claim, list_segments, sync_path

if TYPE_CHECKING:
    from loan_default.serving.protocol import Output

log = logging.getLogger(__name__)

# Frames become tables while the interpreter is locked: so few rows at once, and a pause for the answers.
_ROWS_AT_ONCE, _PAUSE_SECONDS = 5_000, 0.001
_MANY_ROWS = 100  # of one request, which then has a record of its own
_FIRST_LOOK_SECONDS, _LOOK_SECONDS, _RETRY_SECONDS = 2.0, 60.0, 10.0
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the process from stopping; the journal stays for the next
_LATE = timedelta(days=1)  # after which rows of a day may come too late to be gathered with it: `prediction_history`
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
    **VALUED,  # null where the version has no value
    "model_version": pl.Int64(),
    "approve_below": pl.Float64(),
    "decline_from": pl.Float64(),
    "decision_by": pl.String(),
    "approve_npv_from": pl.Float64(),
    "decline_npv_below": pl.Float64(),
    "contract_fingerprint": pl.String(),
    "policy_fingerprint": pl.String(),
    "output": pl.String(),
    "caller": pl.String(),
    "on_behalf_of": pl.String(),
    "trace_id": pl.String(),
    "shadow_version": pl.Int64(),
    "shadow_pd": pl.Float64(),
}
_BRIEF = "decision_id scored_at id pd score decision model_version caller on_behalf_of"
BRIEF = {name: _ANSWERED[name] for name in _BRIEF.split()}  # columns of a list of decisions

_POSITION = ">u2"  # of a row in its request: what the last bytes of its decision's id say
_FIRST_POSITION = bytes(2)
_DECIDED = {decision: position for position, decision in enumerate(DECISIONS)}


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
    decision_by: str = "pd"
    approve_npv_from: float = 0.0
    decline_npv_below: float = 0.0

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
            policy.by,
            policy.approve_npv_from,
            policy.decline_npv_below,
        )


class Entry(NamedTuple):
    """One version's decisions on one request; `first` is the id of the request's first row.

    `positions`: of the rows in the request, where they are not all of it.
    """

    first: int
    version: int
    scorer: Scorer
    applications: Applications
    predictions: Predictions
    output: Output = "full"
    request_id: str = ""
    trace_id: str = ""
    caller: str = ""
    on_behalf_of: str = ""
    positions: Sequence[int] | None = None


class Decisions(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="decisions"):
    """One version's decisions on some requests, by column, as the journal keeps them: so they become a table quickly.

    Of each request: `firsts` (16 bytes), how many `rows` it has, and texts. Of each row: `positions` (2 bytes), and 8
    bytes a number `values` as `Applications` have them, `terms` if any, `pds`, `scores` and, of a version that has a
    value, what it is `worth` (`VALUED`); `decisions` as positions among all that there are (a byte), lists as JSON. The
    values of a single request stand by column, as they came.
    """

    version: int
    firsts: bytes
    rows: list[int]
    request_id: list[str]
    trace_id: list[str]
    caller: list[str]
    on_behalf_of: list[str]
    output: list[str]
    positions: bytes
    id: list[str | None]
    values: memoryview  # which reading does not copy
    terms: bytes
    pds: bytes
    scores: bytes
    decisions: bytes
    reasons: str
    reason_codes: str
    worth: bytes = b""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Gather the entries of one version."""
        flat = chain.from_iterable
        applications, predictions = [entry.applications for entry in entries], [entry.predictions for entry in entries]
        return cls(
            version=entries[0].version,
            firsts=b"".join([entry.first.to_bytes(16) for entry in entries]),
            rows=[len(of_request.ids) for of_request in applications],
            request_id=[entry.request_id for entry in entries],
            trace_id=[entry.trace_id for entry in entries],
            caller=[entry.caller for entry in entries],
            on_behalf_of=[entry.on_behalf_of for entry in entries],
            output=[entry.output for entry in entries],
            positions=b"".join([_positions_of(entry) for entry in entries]),
            id=[*flat(of_request.ids for of_request in applications)],
            values=_values_of(applications),
            terms=_packed("d", flat(terms for _, _, terms in applications if terms is not None)),
            pds=_packed("d", flat(of_request.pds for of_request in predictions)),
            scores=_packed("q", flat(of_request.scores for of_request in predictions)),
            decisions=bytes(map(_DECIDED.__getitem__, flat(of_request.decisions for of_request in predictions))),
            reasons=_json_of(flat(of_request.reasons for of_request in predictions)),
            reason_codes=_json_of(flat(of_request.reason_codes for of_request in predictions)),
            worth=_packed("d", flat(flat(of_request.values for of_request in predictions))),
        )


def _records_of(entries: Sequence[Entry]) -> Iterator[Decisions]:
    """Yield the records of one version's entries: a request of many rows has its own."""
    few = [entry for entry in entries if len(entry.applications.ids) < _MANY_ROWS]
    if few:
        yield Decisions.of(few)
    for entry in entries:
        if len(entry.applications.ids) >= _MANY_ROWS:
            yield Decisions.of([entry])


def _positions_of(entry: Entry) -> bytes:
    count, positions = len(entry.applications.ids), entry.positions
    if positions is None and count == 1:  # as most are
        return _FIRST_POSITION
    return (np.arange(count) if positions is None else np.array(positions)).astype(_POSITION).tobytes()


def _packed(form: Literal["d", "q"], numbers: Iterable[float]) -> bytes:
    values = [*numbers]
    return struct.pack(f"={len(values)}{form}", *values)  # in a fourth of the time of an array


def _values_of(applications: Sequence[Applications]) -> memoryview:
    values = [of_request.values for of_request in applications]
    if all(type(of_request) is list for of_request in values):  # of one application: numpy takes ten times as long
        return memoryview(_packed("d", chain.from_iterable(row for (row,) in values)))
    if len(values) == 1:  # which are not copied where they stand by column, as they are read
        return np.ascontiguousarray(np.asarray(values[0], dtype=np.float64).T).data.cast("B")
    return memoryview(b"".join([np.asarray(of_request, dtype=np.float64).tobytes() for of_request in values]))


def _json_of(lists: Iterable[list[Any]]) -> str:
    """Write lists as JSON, in which nothing stands where all of them are empty."""
    values = [*lists]
    return orjson.dumps(values).decode() if any(values) else ""


_Records = list[DecidingVersion | Decisions]
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Records)

# Gives the challenger's version and its PD of each row, None of a row that it is not to score.
Shadow = Callable[[DecidingVersion, Sequence[str | None], Floats], tuple[int, Sequence[float | None]] | None]


def read_records(payload: bytes) -> _Records:
    """Read what a frame of the journal holds."""
    return _decoder.decode(payload)


def table_of(deciding: DecidingVersion, records: Sequence[Decisions], shadow: Shadow | None = None) -> pl.DataFrame:
    """Build the rows of one version's decisions, with the columns of `log_schema`."""
    return _complete(deciding, [_plain_rows(deciding, records, shadow)])


def brief_table(version: int, records: Sequence[Decisions]) -> pl.DataFrame:
    """Build the rows of one version's decisions with the columns of `BRIEF` alone, in a tenth of the time."""
    deciding = pl.lit(version, dtype=_ANSWERED["model_version"]).alias("model_version")
    return _answers(records).with_columns(*_answer_types(), deciding).select(*BRIEF)


def _plain_rows(deciding: DecidingVersion, records: Sequence[Decisions], shadow: Shadow | None) -> pl.DataFrame:
    """Build the rows with plain values; few at once, as the interpreter is locked meanwhile."""

    def lists(name: str) -> pl.Series:
        of_record = [(getattr(record, name), len(record.id)) for record in records]
        if not any(text for text, _ in of_record):
            return pl.Series(name, [[]], _ANSWERED[name]).new_from_index(0, len(ids))
        texts_of = [text or f"[{','.join(['[]'] * rows)}]" for text, rows in of_record]
        return pl.Series(name, texts_of).str.json_decode(pl.List(_ANSWERED[name])).explode()

    ids, values = _texts(records, "id"), np.concatenate([_by_column(record) for record in records], axis=1)
    terms = _numbers(records, "terms", np.float64)
    shadow_version, shadow_pds = (shadow and shadow(deciding, ids, values.T)) or (None, [None] * len(ids))
    natural = [*values, *([terms] if terms.size else [])]
    worth = _numbers(records, "worth", np.float64).reshape(-1, len(VALUED)).T
    if not worth.size:
        worth = np.full((len(VALUED), len(ids)), np.nan)
    return _answers(records).hstack(
        [
            lists("reasons"),
            lists("reason_codes"),
            *(pl.Series(name, column) for name, column in zip(VALUED, worth, strict=True)),
            pl.Series("shadow_version", [shadow_version], pl.Int64).new_from_index(0, len(ids)),
            pl.Series("shadow_pd", shadow_pds, pl.Float64),
            *(pl.Series(name, column) for (name, _), column in zip(deciding.fields, natural, strict=True)),
        ]
    )


def _answers(records: Sequence[Decisions]) -> pl.DataFrame:
    """Build what was decided, and of each row's request who asked and how, with plain values."""
    request_of = np.repeat(np.arange(len(rows := _texts(records, "rows"))), rows)
    named = ("request_id", "trace_id", "caller", "on_behalf_of", "output")
    firsts = b"".join([record.firsts for record in records])
    texts = {name: pl.Series([text or None for text in _texts(records, name)], dtype=pl.String) for name in named}
    of_request = pl.DataFrame({"first": texts_from_bytes(firsts), **texts})
    moments = microseconds_of(np.frombuffer(firsts, ">u8")[::2])
    return of_request[request_of].hstack(
        [
            pl.Series("row", _numbers(records, "positions", _POSITION).astype(np.int64)),
            pl.Series("scored_at", moments[request_of].astype(np.int64)),
            pl.Series("id", _texts(records, "id"), pl.String),
            pl.Series("pd", _numbers(records, "pds", np.float64)),
            pl.Series("score", _numbers(records, "scores", np.int64)),
            pl.Series("decision", _numbers(records, "decisions", np.uint8)),
        ]
    )


def _texts(records: Sequence[Decisions], name: str) -> list[Any]:
    return [*chain.from_iterable(getattr(record, name) for record in records)]


def _numbers(records: Sequence[Decisions], name: str, kind: Any) -> NDArray[Any]:
    return np.frombuffer(b"".join([getattr(record, name) for record in records]), dtype=kind)


def _by_column(record: Decisions) -> Floats:
    """Return the values of a record (fields, n)."""
    values = np.frombuffer(record.values)
    return values.reshape(-1, len(record.id)) if len(record.rows) == 1 else values.reshape(len(record.id), -1).T


def _complete(deciding: DecidingVersion, rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Give rows of one version their types, levels, and what is the same in all; without the interpreter's lock."""
    of_version = {
        "model_version": deciding.version,
        "approve_below": deciding.approve_below,
        "decline_from": deciding.decline_from,
        "decision_by": deciding.decision_by,
        "approve_npv_from": deciding.approve_npv_from,
        "decline_npv_below": deciding.decline_npv_below,
        "contract_fingerprint": deciding.contract_fingerprint,
        "policy_fingerprint": deciding.policy_fingerprint,
    }
    names = [name for name, _ in deciding.fields]
    return (
        pl.concat(rows)
        .with_columns(
            *_answer_types(),
            pl.when(pl.col("shadow_pd").is_not_null()).then("shadow_version"),
            *(pl.lit(value, dtype=_ANSWERED[name]).alias(name) for name, value in of_version.items()),
            *(_natural(name, levels) for name, levels in deciding.fields),
            pl.col(*VALUED).fill_nan(None),
        )
        .select(*_ANSWERED, *names)
    )


def _answer_types() -> Iterator[pl.Expr]:
    """Yield ids, decisions and moments of plain values."""
    yield text_of_rows(pl.col("first"), pl.col("row")).alias("decision_id")
    yield _levels(pl.col("decision"), DECISIONS)
    yield pl.col("scored_at").cast(_ANSWERED["scored_at"])


def _natural(name: str, levels: Sequence[str]) -> pl.Expr:
    column = pl.col(name).fill_nan(None)
    return _levels(column.cast(pl.Int64) - 1, levels) if levels else column


def _levels(positions: pl.Expr, levels: Sequence[str]) -> pl.Expr:
    """Return the level at each position."""
    return pl.lit(pl.Series(levels)).gather(positions).alias(positions.meta.output_name())


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
                self._preambles[version] = _encoder.encode([DecidingVersion.of(version, entry.scorer)])
        if entries:
            payload = _encoder.encode(
                [record for of_version in by_version.values() for record in _records_of(of_version)]
            )
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
                parts[version].append(_plain_rows(versions[version], of_version, self._shadow))
            self._stop.wait(_PAUSE_SECONDS)
        if frames.torn:
            log.warning("%s ends in the middle of a write: %s bytes of it are lost.", path, frames.torn)
        tables: dict[tuple[str, ...], list[pl.DataFrame]] = defaultdict(list)
        for version, rows in parts.items():
            table = _complete(versions[version], rows)
            if (month := versions[version].month) is not None:  # as a batch's own
                table = table.with_columns(_month_of(table["scored_at"]).alias(month))
            tables[tuple(table.columns)].append(table)
        return [_sorted(pl.concat(alike)) for alike in tables.values()]

    def _store(self, table: pl.DataFrame, name: str) -> None:
        """Store a file for each hour of the rows; the same rows get the same names, so none stands there twice."""
        hour_of = table["scored_at"].dt.truncate("1h")
        for hour in hour_of.unique():
            # 2.5 % larger than by default, in 5/6 of the time
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
