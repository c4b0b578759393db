"""Reads delimited text: proves by its bytes that Polars will read it right, or else reads it line by line.

What right is, Python's `csv` module says. A row that is no row of the table says why in the column `FAULT`. What a
file is and where its header stands belongs in `loan_files`, what values mean in `parsing`.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

ROW = ":row"  # 1-based number of a line of data, added to every table; no file names a column so
FAULT = ":fault"  # null, or why a row is none of the table; only where a table has such rows
FAULT_TYPE = pl.Struct({"field": pl.String, "value": pl.String, "problem": pl.String, "reason": pl.String})
SHORTER = "row: shorter than the header"
_LONGER = "row: longer than the header"
_TOO_MANY = (
    "a value that holds the sign between values has to stand between quotation marks; where all rows are so, as each "
    "ends in that sign or begins with its number, the header lacks a name"
)
_UNQUOTED = "no value may hold a line break or the sign between values, as by the contract nothing is quoted"
_TOO_FEW = (
    "it was cut off, or a value with a line break stands between no quotation marks; where all rows are so, the header "
    "has a name too many"
)

_BLOCK_BYTES = 1 << 20  # a longer line is left to the careful reader
_WIDTHS_LIMIT = 50  # conditions in a plan of Polars
_VALUE_LIMIT = csv.field_size_limit()  # letters: 131,072
_SHOWN_LETTERS = 60
_ROWS_AT_ONCE = 20_000
_LINE_FEED, _RETURN = ord("\n"), ord("\r")

Fault = Mapping[str, str | None]
Array = np.ndarray[Any, Any]


class SupportsReadInto(Protocol):
    """Reads bytes into memory that is there."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as there are bytes, and return how many these were."""
        ...


@dataclass(frozen=True)
class Dialect:
    """The sign between values, and the one around values that hold such signs themselves (None: there is none)."""

    separator: str = ","
    quote: str | None = '"'

    def reader(self, lines: Iterable[str], *, strict: bool = False) -> Iterator[list[str]]:
        """Read lines as Python does; `strict` raises `csv.Error` at a quotation mark out of place."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=strict)

    def split(self, line: str) -> list[str]:
        """Read a line as if no other followed."""
        return next(self.reader([line]), [])


# --- the proof ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LineCount:
    """Facts of the lines of a table, by its bytes.

    Attributes:
        lines: how many, with the header.
        widths: how many values each line holds that is not empty and has not as many as the header, by its position;
            the header's is 0.
        plain: whether Polars and Python's csv module read them alike: each quotation mark begins, ends or is doubled
            within a value, no value goes beyond its line, and no line ends in a carriage return alone.
    """

    lines: int = 0
    widths: Mapping[int, int] = field(default_factory=dict)
    plain: bool = True

    def __add__(self, other: LineCount) -> LineCount:
        widths = {**self.widths, **{self.lines + line: width for line, width in other.widths.items()}}
        if self.plain and other.plain and len(widths) <= _WIDTHS_LIMIT:
            return LineCount(self.lines + other.lines, widths)
        return NOT_PLAIN


NOT_PLAIN = LineCount(plain=False)


def count_lines_of(file: SupportsReadInto, dialect: Dialect, width: int) -> LineCount:
    """Count the lines from here to the end of a stream.

    Args:
        file: bytes of UTF-8, which begin with the header.
        dialect: signs of one byte each.
        width: values of the header.
    """
    counter, total, filled = _BlockCounter(dialect, width), LineCount(), 0
    while total.plain:
        count = file.readinto(counter.block.data[filled:])
        filled += count
        lines, done = counter.count(filled, is_last=not count)
        total += lines
        if not count:
            break
        counter.block[: filled - done] = counter.block[done:filled]
        filled -= done
    return total


class _BlockCounter:
    """Counts the lines in a block of bytes; as new memory costs more than the work, all of it is used again."""

    def __init__(self, dialect: Dialect, width: int) -> None:
        self._separator, self._quote, self._width = ord(dialect.separator), ord(dialect.quote or "\n"), width
        self._masks = np.empty((2, _BLOCK_BYTES), np.bool_)
        self._bytes = bytearray(_BLOCK_BYTES)
        self.block = np.frombuffer(self._bytes, np.uint8)

    def count(self, filled: int, *, is_last: bool) -> tuple[LineCount, int]:
        """Count the whole lines among the bytes that are filled, and return also how many bytes these are.

        The table's last line may lack its line feed; any other line that is not whole must begin behind others.
        """
        letters, (mask, separators) = self.block[:filled], self._masks[:, :filled]
        np.equal(letters, _LINE_FEED, out=mask)
        np.logical_or(mask, np.equal(letters, self._quote, out=separators), out=mask)
        signs = np.flatnonzero(mask)  # line feeds and quotation marks
        if is_last and filled and letters[-1] != _LINE_FEED:
            signs = np.append(signs, filled)
        is_end = _letters_at(letters, signs) == _LINE_FEED
        ends = np.flatnonzero(is_end)
        if not ends.size:
            return (NOT_PLAIN if filled == _BLOCK_BYTES else LineCount()), 0
        signs, is_end = signs[: ends[-1] + 1], is_end[: ends[-1] + 1]
        done = min(int(signs[-1]) + 1, filled)
        letters, mask = letters[:done], mask[:done]
        has_return = self._bytes.find(_RETURN, 0, done) >= 0  # which most files have nowhere, or in each line
        if not self._is_plain(letters, signs, is_end) or (
            has_return and not _ends_alike(letters, np.equal(letters, _RETURN, out=mask))
        ):
            return NOT_PLAIN, done
        np.equal(letters, self._separator, out=separators[:done])
        return self._count_widths(letters, separators[:done].view(np.uint8), signs, is_end), done

    def _is_plain(self, letters: Array, signs: Array, is_end: Array) -> bool:
        """Tell whether each quotation mark stands at an end of a value of its line, or is doubled within one."""
        quotes = signs[~is_end]
        if np.any(np.cumsum(~is_end)[is_end] % 2):  # a line leaves one open
            return False
        opening, closing = quotes[::2], quotes[1::2]
        doubled = opening[1:] == closing[:-1] + 1
        before, behind = _letters_at(letters, opening - 1), _letters_at(letters, closing + 1)
        opens = (before == self._separator) | (before == _LINE_FEED) | np.append(False, doubled)[: len(opening)]
        closes = (behind == self._separator) | (behind == _LINE_FEED) | (behind == _RETURN)
        return bool((opens & (closes | np.append(doubled, False)[: len(closing)])).all())

    def _count_widths(self, letters: Array, separators: Array, signs: Array, is_end: Array) -> LineCount:
        """Count the values of each line: separators, but for those between quotation marks."""
        segments = np.append(0, signs)[: len(signs)]  # each begins at a sign, and the first at the first line
        count_type = np.uint16 if np.diff(signs, prepend=0).max() < 1 << 16 else np.uint32
        counts = np.add.reduceat(separators, segments, dtype=count_type)
        is_quoted = np.append(0, np.cumsum(~is_end)[:-1]) % 2 == 1
        line = np.append(0, np.cumsum(is_end)[:-1])
        widths = np.bincount(line, np.where(is_quoted, 0, counts)).astype(np.int64) + 1
        ends = signs[is_end]
        starts = np.append(0, ends[:-1] + 1)
        is_empty = (ends == starts) | ((ends == starts + 1) & (_letters_at(letters, starts) == _RETURN))
        others = np.flatnonzero((widths != self._width) & ~is_empty)
        if len(others) > _WIDTHS_LIMIT:
            return NOT_PLAIN
        return LineCount(len(ends), {int(line): int(widths[line]) for line in others})


def _letters_at(letters: Array, positions: Array) -> Array:
    """Return the letters at positions; before the first and behind the last stands a line feed."""
    is_within = (positions >= 0) & (positions < len(letters))
    return np.where(is_within, letters[np.where(is_within, positions, 0)], _LINE_FEED)


def _ends_alike(letters: Array, is_return: Array) -> bool:
    """Tell whether a line feed stands behind each carriage return, of which there are some."""
    return not is_return[-1] and bool((letters[np.flatnonzero(is_return) + 1] == _LINE_FEED).all())


def add_faults(frame: pl.LazyFrame, widths: Mapping[int, int], width: int, dialect: Dialect) -> pl.LazyFrame:
    """Add `FAULT` to a frame with `ROW`, of lines that have not `width` values."""
    if not widths:
        return frame
    rest = pl.lit(None, dtype=FAULT_TYPE)
    for row, values in widths.items():
        fault = pl.lit(_width_fault(values, width, dialect), dtype=FAULT_TYPE)
        rest = pl.when(pl.col(ROW) == row).then(fault).otherwise(rest)
    return frame.with_columns(rest.alias(FAULT))


def _width_fault(values: int, width: int, dialect: Dialect) -> Fault:
    problem, remedy = (_LONGER, _TOO_MANY) if values > width else (SHORTER, _TOO_FEW)
    if dialect.quote is None:
        remedy = _UNQUOTED
    fields = "field" if values == 1 else "fields"
    return _fault("row", problem, f"row has {values:,} {fields} where the header has {width:,}; {remedy}")


# --- the careful reader ---------------------------------------------------------------------------------------


def scan_carefully(
    open_lines: Callable[[], AbstractContextManager[Iterator[str]]], header: Sequence[str], dialect: Dialect
) -> pl.LazyFrame:
    """Read a table in a stream, each line once, as Python's csv module reads it; see `read_records` for the rest.

    Args:
        open_lines: gives the lines below the header, each with its end.
        header: names of the columns; of those of one name the first is read.
        dialect: signs of the table.

    Returns:
        A frame with `ROW`, each column as text (null where a row lacks it, or has too many values to tell) and `FAULT`.
    """
    positions = {name: position for position, name in reversed(list(enumerate(header)))}
    schema: dict[str, Any] = {ROW: pl.UInt32, **dict.fromkeys(dict.fromkeys(header), pl.String), FAULT: FAULT_TYPE}

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        names = list(schema) if columns is None else columns
        first = 1
        with open_lines() as lines:
            records = read_records(lines, header, dialect)
            while (limit is None or limit > 0) and (rows := list(islice(records, _ROWS_AT_ONCE))):
                frame = _as_frame(rows, first, {name: schema[name] for name in names}, positions)
                frame = frame if predicate is None else frame.filter(predicate)
                frame = frame if limit is None else frame.head(limit)
                limit = None if limit is None else limit - frame.height
                first += len(rows)
                yield frame

    return register_io_source(source, schema=schema, is_pure=True)  # pure: what is read twice is read once


def _as_frame(
    rows: Sequence[tuple[list[str], Fault | None]], first: int, schema: Mapping[str, Any], positions: Mapping[str, int]
) -> pl.DataFrame:
    values_of = [values if fault is None or fault["problem"] == SHORTER else [] for values, fault in rows]

    def column(name: str) -> Any:
        if name == ROW:
            return range(first, first + len(rows))
        if name == FAULT:
            return [fault for _, fault in rows]
        position = positions[name]
        return [values[position] if position < len(values) else None for values in values_of]

    return pl.DataFrame([pl.Series(name, column(name), dtype=dtype) for name, dtype in schema.items()])


def read_records(
    lines: Iterator[str], header: Sequence[str], dialect: Dialect
) -> Iterator[tuple[list[str], Fault | None]]:
    """Read the rows of a table: the values of each, and what is wrong with it if it is none of the table.

    A quotation mark that begins a value and is not closed before a line that is a row by itself is taken for stray: its
    line alone is faulty, and has no values, and the lines below are read.
    """
    width, feed = len(header), _LineFeed(lines, dialect, len(header))
    while feed.has_more():
        try:
            for values in dialect.reader(feed):
                if feed.is_stray:
                    break
                if feed.has_swallowed_rows(last=len(values) != width):
                    yield from _swallowed(feed.record, header, dialect)
                else:
                    yield values, None if len(values) in (0, width) else _width_fault(len(values), width, dialect)
                feed.record.clear()
        except csv.Error:  # a value is longer than it may be
            feed.is_stray = True
        if feed.is_stray:
            yield [], _stray_fault(feed.reject_first_line(), header, dialect)


def _swallowed(record: Sequence[str], header: Sequence[str], dialect: Dialect) -> Iterator[tuple[list[str], Fault]]:
    """Fault each line of a record that is no row, and among whose lines are rows."""
    fault = _stray_fault(record[0], header, dialect)
    yield [], fault
    above = f"row stands within the value of {fault['field']} that begins with a quotation mark above"
    within = f"{above}; close that one, or delete it"
    for _ in record[1:]:
        yield [], _fault("row", "row: within a quoted value", within)


def _stray_fault(line: str, header: Sequence[str], dialect: Dialect) -> Fault:
    if len(line) > _VALUE_LIMIT:
        return _fault(
            "row", "row: too long a value", f"row holds a value of more than {_VALUE_LIMIT:,} letters; shorten it"
        )
    values = dialect.split(line)
    column = header[len(values) - 1] if len(values) <= len(header) else "row"
    value = values[-1].strip()[:_SHOWN_LETTERS]
    reason = f"{column} '{value}' begins with a quotation mark that its line does not close; close it, or delete it"
    return _fault(column, f"{column}: stray quotation mark", reason, value)


def _fault(field: str, problem: str, reason: str, value: str | None = None) -> Fault:
    return {"field": field, "value": value, "problem": problem, "reason": reason}


class _LineFeed:
    """Feeds lines to Python's reader, and ends early where a quoted value would swallow rows."""

    def __init__(self, lines: Iterator[str], dialect: Dialect, width: int) -> None:
        self._lines, self._dialect, self._width = lines, dialect, width
        self._returned: deque[str] = deque()
        self._first_is_whole = False
        self.record: list[str] = []  # the lines of the record that is being read
        self.is_stray = False

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines, None)
        if line is None or (self.record and self._is_beyond(line)):
            self.is_stray = bool(self.record)  # at the end: a value is open
            if line is not None:
                self._returned.appendleft(line)
            raise StopIteration
        self.record.append(line)
        return line

    def has_more(self) -> bool:
        """Tell whether a line is left."""
        if not self._returned:
            self._returned.extend(islice(self._lines, 1))
        return bool(self._returned)

    def has_swallowed_rows(self, *, last: bool) -> bool:
        """Tell whether a line of the record, between its first and last (or the last too), is a row by itself."""
        return any(self._is_row(line, strict=True) for line in self.record[1 : None if last else -1])

    def reject_first_line(self) -> str:
        """Give up the record: return its first line, and feed the others again."""
        first, *others = self.record
        self._returned.extendleft(reversed(others))
        self.record.clear()
        self.is_stray = False
        return first

    def _is_beyond(self, line: str) -> bool:
        """Tell whether the value that the record's lines leave open cannot go on in this line: both are rows."""
        separator = self._dialect.separator
        if len(self.record) == 1:
            values = self._dialect.split(self.record[0])
            self._first_is_whole = len(values) + values[-1].count(separator) == self._width
        return self._first_is_whole and (line.count(separator) + 1 == self._width or self._is_row(line))

    def _is_row(self, line: str, *, strict: bool = False) -> bool:
        """Tell whether a line has as many values as the header; strictly, with each quotation mark in place."""
        try:
            return len(next(self._dialect.reader([line], strict=strict), [])) == self._width
        except csv.Error:
            return False
