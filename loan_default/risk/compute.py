"""Defines what callers may ask of an engine that works on loans, and the engine that needs no other process.

Tables that are read by parts and the engines' interface belong here; engines of other processes belong in `adapters`.
What is done with a part is the callers' to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Protocol, TypeVar

import polars as pl
from polars.io.plugins import register_io_source

Item = TypeVar("Item")
Result = TypeVar("Result")
Schema = Mapping[str, Any]

_PART_ROWS_LIMIT = 250_000


class TablePart(Protocol):
    """Consecutive rows of a table."""

    @property
    def offset(self) -> int:
        """Count the rows of the table that come before."""
        ...

    def scan(self) -> pl.LazyFrame:
        """Return the rows as a lazy frame; nothing is read yet."""
        ...


class Table(TablePart, Protocol):
    """Stored rows that any process can read as a whole or by parts."""

    @property
    def rows(self) -> int:
        """Count the rows."""
        ...

    def part(self, offset: int, rows: int) -> Table:
        """Return `rows` rows from `offset` on."""
        ...


class Engine(Protocol):
    """Runs functions over tables and lists, in this process or in others."""

    @property
    def processes(self) -> int:
        """Count the processes that work at the same time."""
        ...

    @property
    def dashboard(self) -> str:
        """Return the address where the processes can be watched; empty where there is none."""
        ...

    def close(self) -> None:
        """End what was started for this engine."""
        ...

    def parts(self, table: Table) -> Sequence[TablePart]:
        """Divide the table into as many parts as are worked on, in order."""
        ...

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply `function` to each item, in their order; few of them are under way or wait to be fetched at a time.

        An item whose process died is done again by another: `function` must bear that.
        """
        ...

    def map_rows(self, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, schema: Schema) -> pl.LazyFrame:
        """Apply `function`, which works row by row, to the table in order; return a frame of any length."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Works in this process, by the threads of the libraries: a table is one part."""

    @property
    def processes(self) -> int:
        """Count this process alone."""
        return 1

    @property
    def dashboard(self) -> str:
        """Return no address."""
        return ""

    def close(self) -> None:
        """Do nothing, as nothing was started."""

    def parts(self, table: Table) -> Sequence[TablePart]:
        """Return the table itself."""
        return [table]

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply `function` to each item when its result is asked for."""
        return map(function, items)

    def map_rows(self, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, schema: Schema) -> pl.LazyFrame:
        """Apply `function` part by part, while the next is read; a stream of Polars' own holds more of a long table."""

        def transformed_parts() -> Iterator[pl.DataFrame]:
            frame = table.scan()
            with ThreadPoolExecutor(1) as reader:
                reads = (reader.submit(frame.slice(*bounds).collect) for bounds in part_bounds(table.rows))
                for read, _ in pairwise(chain(reads, [None])):  # the next has begun
                    assert read is not None
                    yield function(read.result())

        return stream_frames(transformed_parts, schema)


@dataclass(frozen=True)
class FrameTable:
    """A table that Polars knows how to read: a frame in memory, or files that every process sees alike."""

    frame: pl.LazyFrame
    offset: int = 0

    @property
    def rows(self) -> int:
        """Count the rows."""
        count: int = self.frame.select(pl.len()).collect().item()
        return count

    def scan(self) -> pl.LazyFrame:
        """Return the frame itself."""
        return self.frame

    def part(self, offset: int, rows: int) -> FrameTable:
        """Slice the frame."""
        return FrameTable(self.frame.slice(offset, rows), offset)


@dataclass(frozen=True)
class JoinedTable:
    """Tables of equally many rows, of each the columns that are named, read as one."""

    sides: tuple[tuple[Table, tuple[str, ...]], ...]

    @property
    def offset(self) -> int:
        """Count the rows that come before, of either side."""
        return self.sides[0][0].offset

    @property
    def rows(self) -> int:
        """Count the rows of a side."""
        return self.sides[0][0].rows

    def scan(self) -> pl.LazyFrame:
        """Put the named columns side by side."""
        frames = [table.scan().select(columns) for table, columns in self.sides]
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="horizontal")

    def part(self, offset: int, rows: int) -> JoinedTable:
        """Return the same rows of each table."""
        return JoinedTable(tuple((table.part(offset, rows), columns) for table, columns in self.sides))


def part_bounds(rows: int, least: int = 1) -> list[tuple[int, int]]:
    """Divide rows into parts as equal as can be: `least` of them or more, none of more than 250,000 rows.

    Returns:
        Offset and length of each part, in order.
    """
    count = max(math.ceil(rows / _PART_ROWS_LIMIT), least)
    bounds = pairwise(rows * position // count for position in range(count + 1))
    return [(begin, end - begin) for begin, end in bounds]


def stream_frames(frames: Callable[[], Iterator[pl.DataFrame]], schema: Schema) -> pl.LazyFrame:
    """Chain frames, each computed when it is asked for, as one lazy frame of any length."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        for frame in frames():
            rows = frame if predicate is None else frame.filter(predicate)
            rows = rows if limit is None else rows.head(limit)
            limit = None if limit is None else limit - rows.height
            yield rows if columns is None else rows.select(columns)
            if limit == 0:
                return

    return register_io_source(source, schema=dict(schema))
