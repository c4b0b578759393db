"""Parquet bodies by a process that is ended where a file overruns its time or memory, and started again."""

import io
import math
import os
import signal
import time
from collections.abc import Iterator

import polars as pl
import pytest

from loan_default.serving.parquet_body import ParquetReader
from loan_default.serving.protocol import BodyLimits, DecodedBody, Refused

pytestmark = pytest.mark.integration

LIMITS = BodyLimits(10_000)


def file_of(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


SMALL = file_of(pl.DataFrame({"term": [36.0, None]}))


@pytest.fixture
def reader() -> Iterator[ParquetReader]:
    reader = ParquetReader()
    yield reader
    reader.close()


def refusal(reader: ParquetReader, body: bytes, until: float = math.inf) -> Refused:
    with pytest.raises(Refused) as raised:
        reader.decode(body, LIMITS, until=until)
    assert raised.value.sentence.endswith(".")
    return raised.value


def process_of(reader: ParquetReader) -> int:
    process = reader._process
    assert process is not None
    return process.pid


def test_files_are_read_one_after_the_other(reader: ParquetReader) -> None:
    expected = DecodedBody(("term",), [[36.0], [None]])
    assert reader.decode(SMALL, LIMITS, until=math.inf) == expected
    first = process_of(reader)
    assert refusal(reader, b"PAR1nothing").status == 400
    # A page of 200 million equal values that says so in a few bytes; what it says of its rows is not believed alone.
    bomb = file_of(pl.DataFrame({"a": pl.repeat(7, 200_000_000, dtype=pl.Int64, eager=True)}))
    assert refusal(reader, bomb).status == 413
    assert reader.decode(SMALL, LIMITS, until=math.inf) == expected
    assert process_of(reader) == first


def test_a_file_that_overruns_its_time_is_given_up(reader: ParquetReader) -> None:
    reader.decode(SMALL, LIMITS, until=math.inf)
    os.kill(process_of(reader), signal.SIGSTOP)
    start = time.monotonic()
    assert refusal(reader, SMALL, start + 0.5).status == 413
    assert time.monotonic() - start < 10
    assert reader.decode(SMALL, LIMITS, until=math.inf).rows


def test_a_file_that_overruns_its_memory_is_given_up() -> None:
    reader = ParquetReader(memory_bytes=60_000_000)
    try:
        texts = file_of(pl.DataFrame({"a": [f"{number:09}" * 6_000 for number in range(4_000)]}))
        refused = refusal(reader, texts)
        assert refused.status == 413
        assert "memory" in refused.sentence, "and not only for the texts that it would hold"
        assert reader.decode(SMALL, LIMITS, until=math.inf).rows
    finally:
        reader.close()


def test_who_waits_for_others_too_long_is_told(reader: ParquetReader) -> None:
    with reader._one_at_a_time:
        refused = refusal(reader, SMALL, time.monotonic() + 0.05)
    assert refused.status == 503
    assert refused.retry_after == 1


def test_a_process_that_died_is_started_again(reader: ParquetReader) -> None:
    reader.decode(SMALL, LIMITS, until=math.inf)
    os.kill(process_of(reader), signal.SIGKILL)
    os.waitid(os.P_PID, process_of(reader), os.WEXITED | os.WNOWAIT)
    assert reader.decode(SMALL, LIMITS, until=math.inf).rows
