"""Delimited text: every line is in one row, and each row is as Python's csv module reads it, or says what is wrong."""

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from loan_default.risk.contract.file_format import FileFormat
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data import delimited
from loan_default.risk.data.delimited import (
    FAULT,
    NOT_PLAIN,
    ROW,
    Dialect,
    LineCount,
    count_lines_of,
    read_records,
    scan_carefully,
)
from loan_default.risk.data.loan_files import count_lines, open_columns

HEADER = ["id", "issue_d", "loan_status", "month", "title", "dti", "term", "grade"]
COMMAS = Dialect()


def records(text: str, header: list[str] = HEADER, dialect: Dialect = COMMAS) -> list[tuple[list[str], str | None]]:
    """Read text below the header: the values of each row, and why it is faulty."""
    lines = iter(io.StringIO(text, newline=""))
    return [(values, fault["reason"] if fault else None) for values, fault in read_records(lines, header, dialect)]


def count(content: bytes, width: int = 3, dialect: Dialect = COMMAS) -> LineCount:
    return count_lines_of(io.BytesIO(content), dialect, width)


PLAIN = [
    ("a,b,c\n1,2,3\n", 2),
    ("a,b,c\n1,2,3", 2),
    ("a,b,c\r\n1,2,3\r\n", 2),
    ('a,b,c\n"1","2, or ""3""",""\n\n"""",,"""x"""\r\n', 4),
    ("a,b,c\n\n\r\n,,\n", 4),
]


@pytest.mark.parametrize(("text", "lines"), PLAIN)
def test_text_that_every_reader_reads_alike_is_plain(text: str, lines: int) -> None:
    assert count(text.encode()) == LineCount(lines)


ODD = [
    'a,b,c\n1,5" pipe,3\n',
    'a,b,c\n1,"x" y,3\n',
    'a,b,c\n1,"x,3\n',
    'a,b,c\n1,"two\nlines",3\n',
    "a,b,c\r1,2,3\r",
    "a,b,c\n1,2\r,3\n",
    'a,b,c\n1,2,"3"\r',
    'a,b,c\n1,"2 ""x"",3\n',
    'a,b,c\n1,""x"",3\n',
    "a,b,c\n" + "1,2\n" * 51,
]


@pytest.mark.parametrize("text", ODD)
def test_text_that_readers_may_read_otherwise_is_not_plain(text: str) -> None:
    assert not count(text.encode()).plain


def test_lines_of_another_width_are_found() -> None:
    text = 'a,b,c\n1,2,3\n1,2\n\n1,"2,3"\n"1,2",3,"4,5",\n1\n1,2,3'
    assert count(text.encode()) == LineCount(8, {2: 2, 4: 2, 5: 4, 6: 1})
    wide = ",".join("x" * 70_000)
    assert count(f"{wide}\n{wide},\n".encode(), 70_000) == LineCount(2, {1: 70_001})


def test_blocks_are_divided_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 20)
    assert count(b"a,b,c\n" + b'"1",2,3\n' * 40 + b"1,2\n1,2,3") == LineCount(43, {41: 2})
    assert not count(b"a,b,c\n" + b"1,2," + b"3" * 30 + b"\n").plain


def test_quotes_are_letters_where_there_are_none() -> None:
    none = Dialect(";", None)
    assert count(b'a;b;c\n1;"2;3"\n', dialect=none) == LineCount(2)
    assert records('1;"2;3"\n', ["a", "b", "c"], none) == [(["1", '"2', '3"'], None)]


def row(*values: object) -> str:
    """Write a row of `HEADER`'s width with these values at the beginning."""
    return ",".join([*map(str, values), *["x"] * (len(HEADER) - len(values))]) + "\n"


NOT_CLOSED = "with a quotation mark that its line does not close; close it, or delete it"
ABOVE = "with a quotation mark above; close that one, or delete it"


def test_a_stray_quote_costs_its_own_row_alone() -> None:
    swallowing = row(0, 1) + row(1, '"Sales rep') + row(2, 2) + row(3, '"a, b"') + row(4, '"Boss') + row(5, 5)
    read = records(swallowing)
    assert [values[0] if values else None for values, _ in read] == ["0", None, "2", "3", None, "5"]
    assert read[1][1] == f"issue_d 'Sales rep,x,x,x,x,x,x' begins {NOT_CLOSED}"
    well_closed = row(1, '"Sales rep') + row(2, 2) + row(3, 'Boss"')
    assert [fault is None for _, fault in records(well_closed)] == [False, True, True]
    at_the_end = row(1) + row(2).replace("\n", '"\n') + row(3)[:-2] + '"x'
    assert [fault is None for _, fault in records(at_the_end)] == [True, True, False]


LONGER = (
    "row has 9 fields where the header has 8; a value that holds the sign between values has to stand between "
    "quotation marks; where all rows are so, as each ends in that sign or begins with its number, the header "
    "lacks a name"
)
SHORTER = (
    "row has 2 fields where the header has 8; it was cut off, or a value with a line break stands between no quotation "
    "marks; where all rows are so, the header has a name too many"
)


def test_a_value_may_hold_lines_but_no_rows() -> None:
    text = row(1, '"night\nwatch, ""senior"""') + row(2)
    assert records(text) == [(["1", 'night\nwatch, "senior"', *["x"] * 6], None), (row(2)[:-1].split(","), None)]
    longer = records(row(1, 2, '"night\nwatch"', *["x"] * 6))
    assert [fault for _, fault in longer] == [LONGER]
    hidden = records(row(1, '"open', "too", "many", *["x"] * 5) + row(2) + row(3, 'closed"'))
    assert [fault for _, fault in hidden] == [
        f"issue_d 'open,too,many,x,x,x,x,x' begins {NOT_CLOSED}",
        *[f"row stands within the value of issue_d that begins {ABOVE}"] * 2,
    ]


@pytest.mark.slow
def test_too_long_a_value_costs_its_own_row_alone() -> None:
    long = row(1, "y" * 140_000) + row(2)
    assert [fault for _, fault in records(long)] == ["row holds a value of more than 131,072 letters; shorten it", None]
    endless = row(1, '"open', "x,x,x,x,x,x,x") + "word\n" * 30_000 + row(2)
    read = records(endless)
    assert len(read) == 30_002
    assert read[-1] == (row(2)[:-1].split(","), None)


def test_rows_of_another_width_have_no_value_in_a_wrong_column() -> None:
    text = row(1) + row(2, "12", "345", *["x"] * 6) + "3,4\n" + "\n"
    frame = scan(text).collect()
    assert frame["issue_d"].to_list() == ["x", None, "4", None]
    assert frame["id"].to_list() == ["1", None, "3", None]
    reasons = [fault and fault["reason"] for fault in frame[FAULT]]
    assert reasons == [None, LONGER, SHORTER, None]
    unquoted = read_records(iter(["1,2,3\n"]), ["a", "b"], Dialect(quote=None))
    (fault,) = [fault for _, fault in unquoted if fault]
    assert str(fault["reason"]).endswith(
        "; no value may hold a line break or the sign between values, as by the contract nothing is quoted"
    )


def scan(text: str) -> pl.LazyFrame:
    @contextmanager
    def lines() -> Iterator[Iterator[str]]:
        yield iter(io.StringIO(text, newline=""))

    return scan_carefully(lines, HEADER, COMMAS)


def test_a_careful_table_streams_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_ROWS_AT_ONCE", 3)
    opened = []

    @contextmanager
    def lines() -> Iterator[Iterator[str]]:
        opened.append(1)
        yield iter(io.StringIO("".join(map(row, range(10))), newline=""))

    frame = scan_carefully(lines, HEADER, COMMAS)
    shared = frame.with_columns(late=pl.col(ROW) > 5)
    ids, late = pl.collect_all([shared.select("id"), shared.filter("late").select(ROW)], engine="streaming")
    assert (ids["id"].to_list(), late[ROW].to_list()) == ([*map(str, range(10))], [6, 7, 8, 9, 10])
    assert len(opened) == 1
    assert frame.head(4).collect()["id"].to_list() == ["0", "1", "2", "3"]
    assert frame.select(pl.len()).collect().item() == 10
    assert frame.filter(pl.col("id") == "7").select(ROW).collect().rows() == [(8,)]


# --- properties -----------------------------------------------------------------------------------------------

BOOK = load_contract()
VALUE = st.text(st.sampled_from("aé5 ,;|\t\"'\n\r\x0c\u2028"), max_size=6)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252")


@st.composite
def written_files(draw: st.DrawFn) -> tuple[bytes, FileFormat]:
    """Draw a table that Python's csv module wrote, and how."""
    rows = draw(st.lists(st.lists(VALUE, min_size=len(HEADER), max_size=len(HEADER)), max_size=4))
    encoding = draw(st.sampled_from(ENCODINGS))
    form = FileFormat(separator=draw(st.sampled_from(",;\t|")), quote=draw(st.sampled_from("\"'")), encoding=encoding)
    file = io.StringIO()
    has_ends = any(sign in value for row in rows for value in row for sign in "\r\n")  # the writer leaves some bare
    quoting: Any = csv.QUOTE_ALL if has_ends else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(file, delimiter=form.separator, quotechar=form.quote, quoting=quoting, lineterminator=ends).writerows(
        [HEADER, *rows]
    )
    title = draw(st.sampled_from(["", "A title\x0c of (one) line" + ends]))
    return (title + file.getvalue()).encode(encoding, errors="replace"), form


@given(file=written_files(), pack=st.booleans())
def test_what_python_wrote_is_read_as_python_reads_it(
    file: tuple[bytes, FileFormat], pack: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content, form = file
    path = tmp_path_factory.getbasetemp() / "written"
    path.write_bytes(gzip.compress(content, 1) if pack else content)
    book = BOOK.model_copy(update={"files": form})
    text = io.StringIO(content.decode(form.encoding), newline="")
    expected = list(csv.reader(text, delimiter=form.separator, quotechar=form.quote))
    expected = expected[expected.index(HEADER) + 1 :]
    frame = open_columns(path, book, HEADER).frame.collect(engine="streaming")
    rows = frame.select(pl.col(HEADER).fill_null("")).rows()
    assert rows == [tuple(values or [""] * len(HEADER)) for values in expected]
    assert FAULT not in frame.columns or frame[FAULT].null_count() == len(rows)
    assert frame[ROW].to_list() == list(range(1, len(expected) + 1))


LETTERS = ["a", "b", ",", ",", '"', '"', '""', "\n", "\n", "\r\n", "\r", "a,b,c\n"]
PIECES = st.lists(st.sampled_from(LETTERS), max_size=25)


@given(pieces=PIECES)
@example(pieces=['a,"b,c\n', "a,b,c\n", 'a,"b,c\n'])
@example(pieces=['a,"b,c,d\n', "a,b,c\n", 'a,"b,c\n'])
def test_of_any_text_every_line_is_in_one_row(pieces: list[str]) -> None:
    text, header = "".join(pieces), ["a", "b", "c"]
    lines = list(io.StringIO(text, newline=""))
    for values, fault in read_records(iter([*lines]), header, COMMAS):
        if fault and not values:  # its quotation mark is stray
            assert '"' in lines.pop(0) or fault["problem"] == "row: within a quoted value"
            continue
        ends = sum(len(list(io.StringIO(value + "|", newline=""))) - 1 for value in values)
        own, lines = lines[: ends + 1], lines[ends + 1 :]
        assert next(csv.reader(own)) == values
        assert (fault is None) == (len(values) in (0, 3))
    assert lines == []


@given(pieces=PIECES)
@example(pieces=["a,b\n", "\r\n", 'a,"b,","c"""', "\n", "a,b,c,\n"])
def test_what_is_plain_polars_reads_as_the_careful_reader(
    pieces: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.csv"
    path.write_text("id,issue_d,loan_status\n" + "".join(pieces), encoding="utf-8", newline="")
    columns = ["id", "issue_d", "loan_status"]
    lines = count_lines(path, BOOK)
    if not lines.plain:
        return
    quick, careful = (
        open_columns(path, BOOK, columns, lines=count).frame.collect(engine="streaming") for count in (lines, NOT_PLAIN)
    )
    assert quick.height == careful.height == lines.lines - 1
    if FAULT in quick.columns:
        assert quick[FAULT].to_list() == careful[FAULT].to_list()
        quick, careful = quick.filter(pl.col(FAULT).is_null()), careful.filter(pl.col(FAULT).is_null())
    texts = pl.col(columns).fill_null("")
    assert_frame_equal(quick.select(ROW, texts), careful.select(ROW, texts))
