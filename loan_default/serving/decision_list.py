"""Lists decisions, newest first, of the journal and of the files of the log; there is a limit to what one list reads.

Finding a single decision is `decisions`'s. What was written last is read first, until nothing else can hold a decision
that belongs into the list.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, Any, TypeVar

import polars as pl

from loan_default.adapters.file_listing import File, list_files, list_folders, local_copy
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.errors import BadInput
from loan_default.serving.decision_id import decided_at, first_of, text_from
from loan_default.serving.decision_records import BRIEF, DecidingVersion, brief_table, read_records
from loan_default.serving.decisions import begun_at
from loan_default.serving.journal import Frames, list_segments

Item = TypeVar("Item")
Result = TypeVar("Result")

_HOUR, _TICK = timedelta(hours=1), timedelta(microseconds=1)
_SKEW = timedelta(minutes=1)  # between the clocks of a server and of a storage, at most
_AT_ONCE = (4, 8, 16, 24)  # so many are listed or read, more each time: a bucket takes its time for each
_BYTES_AT_ONCE = 8_000_000
_MOST_FILES = 200  # that are read for a list


@dataclass(frozen=True)
class DecisionQuery:
    """Which decisions are asked for; what is empty asks for any.

    Attributes:
        day: in UTC.
        decision: approve, review or decline.
        version: the version that decided.
        asked_by: part of the name of the person or the caller who asked, whatever its case.
        application: the id of the application.
        before: the id of a decision; only older ones are asked for.
    """

    day: date | None = None
    decision: str = ""
    version: int | None = None
    asked_by: str = ""
    application: str = ""
    before: str = ""

    @property
    def since(self) -> datetime:
        """The moment since when decisions are asked for."""
        return datetime.combine(self.day or date(1970, 1, 1), time(), UTC)

    @property
    def until(self) -> datetime:
        """The moment after which no decision is asked for."""
        ends = [datetime.now(UTC) + _SKEW]
        ends += [self.since + timedelta(days=1)] if self.day else []
        ends += [decided_at(first_of(self.before)[0])] if self.before else []
        return min(ends)

    @property
    def condition(self) -> pl.Expr:
        """The condition on the columns of `BRIEF`."""
        decision_id, person = pl.col("decision_id"), pl.coalesce("on_behalf_of", "caller").str.to_lowercase()
        conditions = [pl.lit(True)]
        if self.day:
            first, end = text_from(self.since), text_from(self.since + timedelta(days=1))
            conditions += [decision_id >= first, decision_id < end]
        if self.before:
            conditions.append(decision_id < self.before.lower())
        if self.decision:
            conditions.append(pl.col("decision") == self.decision)
        if self.version is not None:
            conditions.append(pl.col("model_version") == self.version)
        if self.asked_by:
            conditions.append(person.str.contains(self.asked_by.lower(), literal=True))
        if self.application:
            conditions.append(pl.col("id") == self.application)
        return pl.all_horizontal(conditions)


@dataclass(frozen=True)
class DecisionList:
    """Decisions, newest first, each with the columns of `BRIEF`.

    `older` is where the next list begins (`DecisionQuery.before`), empty where no older decision matches.
    `looked_until` is set where so much was read that the rest was left: nothing older stands in the list.
    """

    rows: Sequence[Mapping[str, Any]]
    older: str = ""
    looked_until: datetime | None = None


@dataclass(frozen=True)
class _Source:
    """A file or a segment, and the moment after which no decision stands in it."""

    until: datetime
    size: int
    read: Callable[[pl.Expr], pl.DataFrame]


def list_decisions(
    query: DecisionQuery,
    layout: StorageLayout,
    journal: Path,
    staging: Path,
    *,
    rows: int,
    files: int = _MOST_FILES,
) -> DecisionList:
    """List decisions, newest first.

    Args:
        query: which.
        layout: of the storage.
        journal: the folder of the server's segments on this machine; it need not exist.
        staging: where files of a bucket are copied to.
        rows: in the list, at most.
        files: after which no further ones are read, segments included, as soon as something can be said.

    Raises:
        BadInput: `before` is no id, or a file cannot be read.
    """
    condition, until = query.condition, query.until
    table, count = pl.DataFrame(schema=BRIEF), 0
    with ThreadPoolExecutor(_AT_ONCE[-1]) as pool, ExitStack() as stack:
        # Opened before any folder is listed: a segment that becomes a file meanwhile can be read all the same.
        segments = [*_open_segments(journal, stack)]
        sources = heapq.merge(segments, _list_files(query, layout, staging, pool), key=_until, reverse=True)
        for window, following in _windows(sources):
            parts = pool.map(lambda source: source.read(condition), window)
            table = pl.concat([table, *parts]).unique("decision_id").sort("decision_id", descending=True).head(rows + 1)
            certain = table if following is None else table.filter(pl.col("scored_at") > following)
            if certain.height > rows:
                break
            count += len(window)
            if count >= files and following is not None and following + _TICK < until:  # else it would begin here again
                return DecisionList(certain.rows(named=True), text_from(following + _TICK), following)
    older = table["decision_id"][rows - 1] if table.height > rows else ""
    return DecisionList(table.head(rows).rows(named=True), older)


def _until(source: _Source) -> datetime:
    return source.until


def _windows(sources: Iterator[_Source]) -> Iterator[tuple[list[_Source], datetime | None]]:
    """Yield sources that are read at once, and the moment after which no decision stands in any that follows."""
    source = next(sources, None)
    for most in chain(_AT_ONCE, repeat(_AT_ONCE[-1])):
        if source is None:
            return
        window: list[_Source] = []
        while source and len(window) < most and sum(each.size for each in window) < _BYTES_AT_ONCE:
            window.append(source)
            source = next(sources, None)
        yield window, source.until if source else None


def _open_segments(journal: Path, stack: ExitStack) -> Iterator[_Source]:
    for path in reversed(list_segments(journal)):
        with suppress(FileNotFoundError):  # it has become a file
            stat, file = path.stat(), stack.enter_context(path.open("rb"))
            changed_at = datetime.fromtimestamp(stat.st_mtime, UTC)
            yield _Source(changed_at + _SKEW, stat.st_size, partial(_read_segment, file))


def _list_files(
    query: DecisionQuery, layout: StorageLayout, staging: Path, pool: ThreadPoolExecutor
) -> Iterator[_Source]:
    """Yield the files of the log that may hold decisions that are asked for, what was written last first."""
    since, until = query.since, query.until
    days = [date.fromisoformat(day) for day in reversed(list_folders(layout.prediction_log))]
    days = [day for day in days if since.date() <= day <= until.date()]
    by_day = _ahead(pool, lambda day: list_folders(layout.prediction_log_day(day)), days)
    hours = (
        datetime.combine(day, time(int(hour)), UTC) for day, names in by_day for hour in sorted(names, reverse=True)
    )
    relevant = (hour for hour in hours if hour <= until)
    for hour, files in _ahead(pool, lambda hour: list_files(layout.prediction_log_hour(hour)), relevant):
        for file in reversed(files):  # of the newest change first
            begun = begun_at(file)
            if begun is None or begun - _SKEW <= until:
                written_at = min(max(file.changed_at + _SKEW, hour), hour + _HOUR)
                yield _Source(written_at, file.size, partial(_read_file, file, staging))


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield items with the results of some work on them, of which some more is done than is asked for yet."""
    remaining = iter(items)
    for size in chain(_AT_ONCE, repeat(_AT_ONCE[-1])):
        window = [*islice(remaining, size)]
        if not window:
            return
        yield from zip(window, pool.map(work, window), strict=True)


def _read_segment(file: IO[bytes], condition: pl.Expr) -> pl.DataFrame:
    records = [record for payload in Frames(file) for record in read_records(payload)]
    decisions = [record for record in records if not isinstance(record, DecidingVersion)]
    tables = [
        brief_table(version, [record for record in decisions if record.version == version])
        for version in {record.version for record in decisions}
    ]
    return pl.concat([pl.DataFrame(schema=BRIEF), *tables]).filter(condition)


def _read_file(file: File, staging: Path, condition: pl.Expr) -> pl.DataFrame:
    try:
        rows = pl.scan_parquet(local_copy(staging, file), glob=False)
        columns = rows.collect_schema().names()
        if "decision_id" not in columns:  # of an earlier release, whose decisions have no pages
            return pl.DataFrame(schema=BRIEF)
        absent = (pl.lit(None, dtype).alias(name) for name, dtype in BRIEF.items() if name not in columns)
        return rows.with_columns(*absent).select(*BRIEF).filter(condition).collect()
    except FileNotFoundError:  # its time was over meanwhile
        return pl.DataFrame(schema=BRIEF)
    except pl.exceptions.ComputeError as error:
        message = str(error).partition("\n")[0]
        raise BadInput(f"{file.path} cannot be read ({message}); move it out of the log.") from error
