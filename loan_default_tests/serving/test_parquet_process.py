"""Parquet as its own process reads it: typed values, and files that hold more than they may."""

import io
import struct
from datetime import date, datetime
from decimal import Decimal

import msgspec
import pandas as pd
import polars as pl
import pytest

from loan_default.serving.parquet_process import LENGTH, ParquetAnswer, ParquetRequest, count_text_bytes, read, serve


def file_of(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def answer_to(body: bytes, rows_at_most: int = 10, columns_at_most: int = 10) -> ParquetAnswer:
    return read(ParquetRequest(body, rows_at_most, columns_at_most))


def test_values_are_those_that_json_has() -> None:
    frame = pl.DataFrame(
        {
            "id": pl.Series([2**60 + 1, None]),
            "dti": [float("nan"), 1.5],
            "rate": pl.Series([Decimal("12.5"), None]),
            "day": [date(2018, 10, 1), None],
            "moment": [datetime(2018, 10, 1), None],
            "grade": pl.Series(["A", None], dtype=pl.Categorical),
            "joint": [True, None],
        }
    )
    answer = answer_to(file_of(frame))
    assert answer.names == tuple(frame.columns)
    assert answer.rows[0] == [2**60 + 1, None, 12.5, "2018-10-01", "2018-10-01 00:00:00", "A", True]
    assert answer.rows[1] == [None, 1.5, None, None, None, None, None]


def test_the_names_of_pandas_rows_are_no_field() -> None:
    buffer = io.BytesIO()
    pd.DataFrame({"term": [36.0, 60.0]}, index=[4, 9]).to_parquet(buffer)
    assert answer_to(buffer.getvalue()) == ParquetAnswer(("term",), [[36.0], [60.0]])


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pl.DataFrame({"a": [0] * 11}), "11 applications in one request; at most 10 are taken."),
        (pl.DataFrame({f"a{number}": [0] for number in range(11)}), "The file has 11 columns; at most 10 are taken."),
        (pl.DataFrame({"a": ["x" * 9_000_000] * 9}), "The file holds 81,000,000 bytes of text"),
    ],
)
def test_more_than_a_request_may_hold_is_refused(frame: pl.DataFrame, sentence: str) -> None:
    answer = answer_to(file_of(frame))
    assert answer.is_large
    assert sentence in (answer.problem or "")


def test_texts_that_stand_often_are_counted_beyond_32_bits() -> None:
    text = pl.Series("a", ["x" * 1_000_000])
    assert count_text_bytes(text.new_from_index(0, 4_296).to_frame()) == 4_296_000_000, "of 2^32 it would be 1,032,704"
    assert count_text_bytes(pl.DataFrame({"a": [1], "b": [None]})) == 0


@pytest.mark.parametrize("body", [b"", b"PAR1nothing", file_of(pl.DataFrame({"a": [1]}))[:-9]])
def test_what_is_no_parquet_is_the_callers_mistake(body: bytes) -> None:
    answer = answer_to(body)
    assert not answer.is_large
    assert (answer.problem or "").startswith("The body cannot be read as a Parquet file: ")


def test_it_answers_until_nobody_asks() -> None:
    message = msgspec.msgpack.encode(ParquetRequest(file_of(pl.DataFrame({"a": [1]})), 10, 10))
    sink = io.BytesIO()
    serve(io.BytesIO(2 * (LENGTH.pack(len(message)) + message)), sink)
    (length,) = struct.unpack_from("<Q", sink.getvalue())
    assert len(sink.getvalue()) == 2 * (LENGTH.size + length)
    assert msgspec.msgpack.decode(sink.getvalue()[LENGTH.size : LENGTH.size + length], type=ParquetAnswer).rows == [[1]]
