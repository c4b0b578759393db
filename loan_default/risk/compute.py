"""Where work on loans is done: in this process, or wherever an engine of `adapters` does it, part by part.

Here stands what callers may ask of any engine, and the one that needs no other process. What is done with a part is
the callers' to say.
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

_MOST_ROWS = 250_000  # of a part


class Part(Protocol):
    """Some of a table's rows, one behind the other."""

    @property
    def offset(self) -> int:
        """How many rows of the table come before."""
        ...

    def scan(self) -> pl.LazyFrame:
        """The rows; nothing is read yet."""
        ...


class Table(Part, Protocol):
    """Stored rows that can be read as a whole or by parts, in any process."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def part(self, offset: int, rows: int) -> Table:
        """`rows` rows from `offset` on."""
        ...


class Engine(Protocol):
    """Where work is done."""

    @property
    def processes(self) -> int:
        """How many work at the same time."""
        ...

    @property
    def dashboard(self) -> str:
        """The address where those who work can be watched; empty where there is none."""
        ...

    def close(self) -> None:
        """End what was started for this."""
        ...

    def parts(self, table: Table) -> Sequence[Part]:
        """The table in as many parts as are worked on, in order."""
        ...

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in their order; few of them are under way or wait to be taken at a time.

        Whatever worked on an item and died, another does it again: `function` must bear that.
        """
        ...

    def rows(self, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, schema: Schema) -> pl.LazyFrame:
        """What `function` makes of the table's rows, row by row and in their order, as a frame of any length."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """All in this process, by the threads of the libraries: a table is one part."""

    @property
    def processes(self) -> int:
        """This one."""
        return 1

    @property
    def dashboard(self) -> str:
        """None."""
        return ""

    def close(self) -> None:
        """Nothing was started."""

    def parts(self, table: Table) -> Sequence[Part]:
        """The table itself."""
        return [table]

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Python's own."""
        return map(function, items)

    def rows(self, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, schema: Schema) -> pl.LazyFrame:
        """Some rows at a time, while the next are read. A stream of Polars' own holds more, the longer the table."""

        def made() -> Iterator[pl.DataFrame]:
            frame = table.scan()
            with ThreadPoolExecutor(1) as reader:
                reads = (reader.submit(frame.slice(*some).collect) for some in cut(table.rows))
                for read, _ in pairwise(chain(reads, [None])):  # the next has begun
                    assert read is not None
                    yield function(read.result())

        return in_turn(made, schema)


@dataclass(frozen=True)
class Rows:
    """A table that Polars knows how to read: a frame in memory, or files that every process sees alike."""

    frame: pl.LazyFrame
    offset: int = 0

    @property
    def rows(self) -> int:
        """How many there are."""
        counted: int = self.frame.select(pl.len()).collect().item()
        return counted

    def scan(self) -> pl.LazyFrame:
        """The frame."""
        return self.frame

    def part(self, offset: int, rows: int) -> Rows:
        """A slice."""
        return Rows(self.frame.slice(offset, rows), offset)


@dataclass(frozen=True)
class JoinedTable:
    """Tables of equally many rows, of each the columns that are named, read as one."""

    sides: tuple[tuple[Table, tuple[str, ...]], ...]

    @property
    def offset(self) -> int:
        """Rows that come before."""
        return self.sides[0][0].offset

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.sides[0][0].rows

    def scan(self) -> pl.LazyFrame:
        """The rows."""
        frames = [table.scan().select(columns) for table, columns in self.sides]
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="horizontal")

    def part(self, offset: int, rows: int) -> JoinedTable:
        """The same rows of each."""
        return JoinedTable(tuple((table.part(offset, rows), columns) for table, columns in self.sides))


def cut(rows: int, least: int = 1) -> list[tuple[int, int]]:
    """Offset and length of parts as equal as can be, `least` of them or more, none of more than 250,000 rows."""
    number = max(math.ceil(rows / _MOST_ROWS), least)
    ends = [rows * at // number for at in range(number + 1)]
    return [(begin, end - begin) for begin, end in pairwise(ends)]


def in_turn(made: Callable[[], Iterator[pl.DataFrame]], schema: Schema) -> pl.LazyFrame:
    """Frames one behind the other, each made when it is asked for, as one frame of any length."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        for frame in made():
            found = frame if predicate is None else frame.filter(predicate)
            found = found if most is None else found.head(most)
            most = None if most is None else most - found.height
            yield found if columns is None else found.select(columns)
            if most == 0:
                return

    return register_io_source(source, schema=dict(schema))
