"""Reads delimited text: proves by its bytes that Polars will read it right, or else reads it line by line.

What right is, Python's `csv` module says. A row that is no row of the table says why in the column `FAULT`. What a
file is and where its header stands belongs in `loan_files`, what values mean in `parsing`.
"""

from __future__ import annotations

import csv
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

ROW = ":row"  # 1-based number of a line of data, added to every table; no file names a column so
FAULT = ":fault"  # null, or why a row is none of the table; only where a table has such rows
FAULT_TYPE = pl.Struct({"field": pl.String, "value": pl.String, "problem": pl.String, "reason": pl.String})
SHORTER = "row: shorter than the header"
_LONGER = "row: longer than the header"

_BLOCK_BYTES = 1 << 20
_LINE_BYTES_LIMIT = 1 << 24
_WIDTHS_LIMIT = 50  # conditions in a plan of Polars
_VALUE_LIMIT = csv.field_size_limit()  # letters: 131,072
_SHOWN_LETTERS = 60
_ROWS_AT_ONCE = 20_000

Fault = Mapping[str, str | None]


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


def count_lines_of_file(path: Path, offset: int, dialect: Dialect, width: int) -> LineCount:
    """Count the lines of a file of UTF-8 by two threads.

    Args:
        path: the file.
        offset: bytes before the header.
        dialect: signs of one byte each.
        width: values of the header.
    """
    count = partial(_count_block, dialect=dialect, width=width)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ThreadPoolExecutor(2) as threads,
    ):
        return sum(threads.map(count, _mapped_blocks(content, offset)), LineCount())


def count_lines_of_stream(file: IO[bytes], dialect: Dialect, width: int) -> LineCount:
    """Count the lines from here to the end of a stream, as `count_lines_of_file`."""
    return sum((_count_block(block, dialect, width) for block in _read_blocks(file)), LineCount())


def _mapped_blocks(content: mmap.mmap, start: int) -> Iterator[memoryview]:
    """Divide a file behind line feeds; a block without one is its last or too long to be read."""
    view = memoryview(content)
    while start < len(content):
        end = content.find(b"\n", start + _BLOCK_BYTES, start + _LINE_BYTES_LIMIT) + 1
        end = end or min(start + _LINE_BYTES_LIMIT, len(content))
        yield view[start:end]
        start = end


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Divide what a stream holds, as `_mapped_blocks` does."""
    rest = b""
    while chunk := file.read(_BLOCK_BYTES):
        rest += chunk
        end = rest.rfind(b"\n") + 1 or (len(rest) if len(rest) > _LINE_BYTES_LIMIT else 0)
        if end:
            yield rest[:end]
        rest = rest[end:]
    if rest:
        yield rest


def _count_block(block: memoryview | bytes, dialect: Dialect, width: int) -> LineCount:
    """Count whole lines, of which the last may lack its line feed."""
    letters = np.frombuffer(block, np.uint8)
    if len(letters) >= _LINE_BYTES_LIMIT:
        return NOT_PLAIN
    ends = np.flatnonzero(letters == ord("\n"))
    if not ends.size or ends[-1] != len(letters) - 1:
        ends = np.append(ends, len(letters))
    returns = np.flatnonzero(letters == ord("\r")) + 1
    if returns.size and (returns[-1] == len(letters) or np.any(letters[returns] != ord("\n"))):
        return NOT_PLAIN
    starts = np.append(0, ends[:-1] + 1)
    separators = (letters == ord(dialect.separator)).view(np.uint8)
    count_type = np.uint16 if np.diff(ends, prepend=0).max() < 1 << 16 else np.uint32
    counts = np.add.reduceat(separators, starts, dtype=count_type).astype(np.int64)
    if dialect.quote is not None:
        quotes = np.flatnonzero(letters == ord(dialect.quote))
        if not _are_plain(quotes, letters, ends, ord(dialect.separator)):
            return NOT_PLAIN
        if quotes.size:
            within = np.add.reduceat(separators, quotes, dtype=np.int64)[::2]
            np.subtract.at(counts, np.searchsorted(ends, quotes[::2]), within)
    is_empty = (ends == starts) | ((ends == starts + 1) & (_letter(letters, starts) == ord("\r")))
    others = np.flatnonzero((counts != width - 1) & ~is_empty)
    if len(others) > _WIDTHS_LIMIT:
        return NOT_PLAIN
    return LineCount(len(ends), {int(line): int(counts[line]) + 1 for line in others})


def _letter(letters: np.ndarray[Any, Any], positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the bytes at positions; before the first and behind the last stands a line feed."""
    is_within = (positions >= 0) & (positions < len(letters))
    return np.where(is_within, letters[np.where(is_within, positions, 0)], ord("\n"))


def _are_plain(
    quotes: np.ndarray[Any, Any], letters: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], separator: int
) -> bool:
    """Tell whether quotation marks stand as `LineCount.plain` says, by their positions and those of line ends."""
    if quotes.size % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    doubled = opening[1:] == closing[:-1] + 1
    before, behind = _letter(letters, opening - 1), _letter(letters, closing + 1)
    opens = (before == separator) | (before == ord("\n")) | np.append(False, doubled)
    closes = (behind == separator) | (behind == ord("\n")) | (behind == ord("\r")) | np.append(doubled, False)
    return bool((opens & closes[: len(opens)]).all()) and bool(
        (np.searchsorted(ends, opening) == np.searchsorted(ends, closing)).all()
    )


def add_faults(frame: pl.LazyFrame, widths: Mapping[int, int], width: int) -> pl.LazyFrame:
    """Add `FAULT` to a frame with `ROW`, of lines that have not `width` values."""
    if not widths:
        return frame
    rest = pl.lit(None, dtype=FAULT_TYPE)
    for row, values in widths.items():
        rest = pl.when(pl.col(ROW) == row).then(pl.lit(_width_fault(values, width), dtype=FAULT_TYPE)).otherwise(rest)
    return frame.with_columns(rest.alias(FAULT))


def _width_fault(values: int, width: int) -> Fault:
    problem = _LONGER if values > width else SHORTER
    fields = "field" if values == 1 else "fields"
    return _fault("row", problem, f"row has {values:,} {fields} where the header has {width:,}")


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
                    yield values, None if len(values) in (0, width) else _width_fault(len(values), width)
                feed.record.clear()
        except csv.Error:  # a line with a value beyond the limit
            feed.is_stray = True
        if feed.is_stray:
            yield [], _stray_fault(feed.reject_first_line(), header, dialect)


def _swallowed(record: Sequence[str], header: Sequence[str], dialect: Dialect) -> Iterator[tuple[list[str], Fault]]:
    """Fault each line of a record that is no row, and among whose lines are rows."""
    fault = _stray_fault(record[0], header, dialect)
    yield [], fault
    within = f"row stands within the value of {fault['field']} that begins with a quotation mark above"
    for _ in record[1:]:
        yield [], _fault("row", "row: within a quoted value", within)


def _stray_fault(line: str, header: Sequence[str], dialect: Dialect) -> Fault:
    if len(line) > _VALUE_LIMIT:
        return _fault("row", "row: too long a value", f"row holds a value of more than {_VALUE_LIMIT:,} letters")
    values = dialect.split(line)
    column = header[len(values) - 1] if len(values) <= len(header) else "row"
    value = values[-1].strip()[:_SHOWN_LETTERS]
    reason = f"{column} '{value}' begins with a quotation mark that its line does not close"
    return _fault(column, f"{column}: stray quotation mark", reason, value)


def _fault(field: str, problem: str, reason: str, value: str | None = None) -> Fault:
    return {"field": field, "value": value, "problem": problem, "reason": reason}


class _LineFeed:
    """Feeds lines to Python's reader, and ends early where a quoted value would swallow rows."""

    def __init__(self, lines: Iterator[str], dialect: Dialect, width: int) -> None:
        self._lines, self._dialect, self._width = lines, dialect, width
        self._returned: deque[str] = deque()
        self._letters, self._first_is_whole = 0, False
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
        return any(map(self._is_sound_row, self.record[1 : None if last else -1]))

    def reject_first_line(self) -> str:
        """Give up the record: return its first line, and feed the others again."""
        first, *others = self.record
        self._returned.extendleft(reversed(others))
        self.record.clear()
        self.is_stray = False
        return first

    def _is_beyond(self, line: str) -> bool:
        """Tell whether the value that the record's lines leave open cannot go on in this line."""
        if len(self.record) == 1:
            values = self._dialect.split(self.record[0])
            self._letters = len(self.record[0])
            self._first_is_whole = len(values) + values[-1].count(self._dialect.separator) == self._width
        self._letters += len(line)
        return self._letters > _VALUE_LIMIT or (self._first_is_whole and self._is_row(line))

    def _is_sound_row(self, line: str) -> bool:
        try:
            return len(next(self._dialect.reader([line], strict=True), [])) == self._width
        except csv.Error:
            return False

    def _is_row(self, line: str) -> bool:
        """Tell whether a line has as many values as the header, by itself or with quotation marks as letters."""
        return self._width in (len(self._dialect.split(line)), line.count(self._dialect.separator) + 1)
