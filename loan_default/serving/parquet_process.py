"""The process that reads Parquet bodies for a worker of the scoring server: what a file costs is its own to pay.

A file of a megabyte may say of itself that it has a few rows and unpack to gigabytes, or keep a reader busy for ever.
So it is read here, in bounded memory, by whoever may be ended at any time. `parquet_body` starts it, speaks with it
through pipes, and ends it. It imports Polars and nothing of the platform's.
"""

from __future__ import annotations

import io
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import polars as pl
import polars.selectors as cs

LENGTH = struct.Struct("<Q")  # of what follows
_PANDAS_INDEX = r"^__index_level_\d+__$"  # column in which pandas keeps the names of rows
_TEXT_BYTES = 64_000_000  # of all values, before they are objects of Python's
_REASON_CHARACTERS = 300
_MOMENT = "%Y-%m-%d %H:%M:%S"


class ParquetRequest(msgspec.Struct):
    """A file to read, and what it may not exceed."""

    body: bytes
    rows_at_most: int
    columns_at_most: int


class ParquetAnswer(msgspec.Struct):
    """The table, or why there is none; `is_large` says that it is for its size."""

    names: tuple[str, ...] = ()
    rows: list[list[Any]] = []
    problem: str | None = None
    is_large: bool = False


class _TooLarge(Exception):
    """The file holds more than it may."""


def read(request: ParquetRequest) -> ParquetAnswer:
    """Read a file; whatever Polars says of it is the caller's mistake."""
    try:
        frame = _frame(request)
        return ParquetAnswer(tuple(frame.columns), [*map(list, frame.iter_rows())])
    except _TooLarge as error:
        return ParquetAnswer(problem=str(error), is_large=True)
    except MemoryError:
        return ParquetAnswer(
            problem="The file unpacks to more memory than it may take; send fewer rows.", is_large=True
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS].rstrip(".")
        return ParquetAnswer(problem=f"The body cannot be read as a Parquet file: {reason}.")


def _frame(request: ParquetRequest) -> pl.DataFrame:
    """Read a file whose own figures are within the limits, and see that it holds no more than it says."""
    columns = len(pl.read_parquet_schema(io.BytesIO(request.body)))
    if columns > request.columns_at_most:
        raise _TooLarge(f"The file has {columns:,} columns; at most {request.columns_at_most:,} are taken.")
    table = pl.scan_parquet(io.BytesIO(request.body), glob=False)
    _check_rows(table.select(pl.len()).collect().item(), request.rows_at_most)
    frame = table.head(request.rows_at_most + 1).select(pl.exclude(_PANDAS_INDEX)).collect()
    _check_rows(frame.height, request.rows_at_most)
    frame = frame.select(_plain(name, dtype) for name, dtype in frame.schema.items())
    if (size := count_text_bytes(frame)) > _TEXT_BYTES:
        raise _TooLarge(f"The file holds {size:,} bytes of text; at most {_TEXT_BYTES:,} are taken.")
    return frame


def count_text_bytes(frame: pl.DataFrame) -> int:
    """Count the bytes of all texts, each as often as it stands there; 32 bits of a column would overflow."""
    sizes = frame.select(cs.string().str.len_bytes().cast(pl.UInt64).sum())
    return sum(sizes.row(0)) if sizes.width else 0


def _check_rows(rows: int, at_most: int) -> None:
    if rows > at_most:
        raise _TooLarge(f"{rows:,} applications in one request; at most {at_most:,} are taken.")


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """Turn a column into what JSON has as well: numbers, booleans, texts; what is nested stays, to be refused."""
    column = pl.col(name)
    if dtype.is_float() or dtype.is_decimal():
        return column.cast(pl.Float64).fill_nan(None)
    if dtype.is_integer():
        return column if dtype not in (pl.Int128, pl.UInt128) else column.cast(pl.String)
    if dtype.base_type() is pl.Datetime:
        return column.dt.to_string(_MOMENT)
    return column if dtype.is_nested() or dtype == pl.Boolean else column.cast(pl.String)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer files until nobody sends any more."""
    decoder, encoder = msgspec.msgpack.Decoder(ParquetRequest), msgspec.msgpack.Encoder()
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        answer = encoder.encode(read(decoder.decode(source.read(LENGTH.unpack(head)[0]))))
        sink.write(LENGTH.pack(len(answer)) + answer)
        sink.flush()


def main(arguments: Sequence[str]) -> None:
    """Limit the memory of this process to what it has now and so many bytes more, and answer."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + int(arguments[0])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1:])
