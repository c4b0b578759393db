"""CSV bodies: read as they are written, or refused by the number of the row; any header costs nothing."""

import sys
import threading
import time

import pytest

from loan_default.serving.csv_body import decode_csv
from loan_default.serving.protocol import BodyLimits, Refused

LIMITS = BodyLimits(3)


def refusal(body: bytes, limits: BodyLimits = LIMITS) -> Refused:
    with pytest.raises(Refused) as raised:
        decode_csv(body, limits)
    assert raised.value.sentence.endswith(".")
    return raised.value


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("begin", ["", "\ufeff", "\n"])
def test_values_stay_texts(begin: str, end: str) -> None:
    text = f'{begin}id,term,"purpose"\n007,36,"a, ""b"""\n\n12345678901234567890,60,""\n'.replace("\n", end)
    decoded = decode_csv(text.encode(), LIMITS)
    assert decoded.names == ("id", "term", "purpose")
    assert decoded.rows == [["007", "36", 'a, "b"'], ["12345678901234567890", "60", None]]


def test_a_line_may_end_within_quotation_marks() -> None:
    assert decode_csv(b'id,term\n"a\nb",36\n', LIMITS).rows == [["a\nb", "36"]]


@pytest.mark.parametrize("body", [b"id,term\na,36,\nb,,\n", b"id,term,\na,36,\nb,,\n"])
def test_a_comma_that_ends_each_row_begins_no_column(body: bytes) -> None:
    decoded = decode_csv(body, LIMITS)
    assert decoded.names == ("id", "term")
    assert decoded.rows == [["a", "36"], ["b", None]]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b"\n\n", "The body is empty"),
        (b"\xff\xff", "not UTF-8 at byte 0"),
        (b"id,term\na,36\nb\n", "Row 1: row has 1 field where the header has 2."),
        (b"id,term\na,36,\nb,36\n", "Row 0: row has 3 fields where the header has 2."),
        (b"id,term\na,3,6\n", "Row 0: row has 3 fields where the header has 2."),
        (b"id,term,id\na,36,b\n", "The header names the column id twice; send each field once."),
        (b'id,term\n"a,36\n', "Row 0 cannot be read as text/csv: unexpected end of data."),
        (b'id,term\na,36\n"b"c,36\n', "Row 1 cannot be read as text/csv"),
        (b'i"d",term\n"', "Row 0 cannot be read as text/csv"),
    ],
)
def test_what_is_no_table_is_the_callers_mistake(body: bytes, sentence: str) -> None:
    refused = refusal(body)
    assert refused.status == 400
    assert sentence in refused.sentence
    assert "polars" not in refused.sentence.lower()


def test_too_many_rows_are_refused_when_they_are_met() -> None:
    assert refusal(b"id\n" + b"a\n" * 4).status == 413
    assert len(decode_csv(b"id\n" + b"a\n" * 3, LIMITS).rows) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"a," * 3_999_999 + b"b\r\n" + b"1",
        b"annual_inc," * 20_000 + b"x\n" + b"1," * 20_000 + b"1\n",
        b"a,b\n" + b"," * 7_000_000,
        b'"' + b"," * 7_000_000,
        b'"' + b"a" * 7_000_000 + b'"\n1\n',
    ],
)
def test_a_wide_table_costs_nothing(body: bytes) -> None:
    start = time.process_time()
    assert refusal(body, BodyLimits(10_000)).status in (400, 413)
    assert time.process_time() - start < 1


def test_empty_lines_keep_no_other_thread_waiting() -> None:
    body, turns = b"id\n" + b"\n" * 3_000_000, 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        reading = threading.Thread(target=decode_csv, args=(body, LIMITS))
        reading.start()
        while reading.is_alive():
            turns += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(interval)
        reading.join()
    assert turns > 20
