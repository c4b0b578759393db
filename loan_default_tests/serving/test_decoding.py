"""Bodies by what their headers say: unpacked, in their form, within limits."""

import gzip
import io
import math
import tracemalloc

import pandas as pd
import pytest

from loan_default.serving.decoding import decode, form_of, unpack
from loan_default.serving.protocol import CSV, JSON, PARQUET, Refused

RECORDS = b'{"dataframe_records": [{"term": 36.0}, {"term": 60.0}]}'


def status_of(call: object, *arguments: object, **named: object) -> int:
    with pytest.raises(Refused) as raised:
        call(*arguments, **named)  # type: ignore[operator]
    assert raised.value.sentence.endswith(".")
    return raised.value.status


@pytest.mark.parametrize("form", [JSON, CSV])
def test_each_form_is_decoded(form: str) -> None:
    body = RECORDS if form == JSON else b"term\n36\n60\n"
    assert decode(body, form, at_most=2).names == ("term",)
    assert status_of(decode, body, form, at_most=1) == 413
    assert status_of(decode, b"term\n" if form == CSV else b'{"inputs": []}', form, at_most=1) == 400


@pytest.mark.integration
def test_parquet_is_decoded() -> None:
    buffer = io.BytesIO()
    pd.DataFrame({"term": [36.0]}).to_parquet(buffer)
    assert decode(buffer.getvalue(), PARQUET, at_most=1, until=math.inf).rows == [[36.0]]
    assert status_of(decode, b"", PARQUET, at_most=1, until=math.inf) == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=latin-1", "application/xml"])
def test_other_types_are_not_spoken(kind: str) -> None:
    assert status_of(form_of, kind) == 415


@pytest.mark.parametrize("kind", [JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
def test_a_type_has_many_spellings(kind: str) -> None:
    assert form_of(kind) == JSON


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
def test_gzip_is_unpacked(encoding: str) -> None:
    assert unpack(gzip.compress(RECORDS), encoding, at_most=1_000) == RECORDS
    assert unpack(RECORDS, "identity", at_most=1) == RECORDS


def test_gzip_is_bounded_and_whole() -> None:
    assert status_of(unpack, gzip.compress(b"0" * 1_001), "gzip", at_most=1_000) == 413
    bomb = gzip.compress(b"0" * 50_000_000, 1)
    tracemalloc.start()
    try:
        assert status_of(unpack, bomb, "gzip", at_most=1_000) == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000, "it is not unpacked to see that it is too large"
    finally:
        tracemalloc.stop()
    for body in (b"{}", gzip.compress(RECORDS)[:-9], gzip.compress(RECORDS) + b"more"):
        assert status_of(unpack, body, "gzip", at_most=1_000) == 400
    assert status_of(unpack, RECORDS, "br", at_most=1_000) == 415
