"""Tables: cells by kind, pages of rows, and CSV in which no spreadsheet finds a formula."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.web.tables import Cell, Column, PageTable, counts, csv_response, figures, shares


def _table(rows: int, page: int = 1) -> PageTable:
    return PageTable("t", "Rows", counts("row"), [(number,) for number in range(rows)], page=page, rows_of_a_page=10)


@pytest.mark.parametrize(
    ("rows", "page", "pages", "first", "last"),
    [(0, 1, 1, None, None), (10, 1, 1, 0, 9), (11, 2, 2, 10, 10), (25, 99, 3, 20, 24), (25, 0, 3, 0, 9)],
)
def test_long_tables_have_pages(rows: int, page: int, pages: int, first: int | None, last: int | None) -> None:
    table = _table(rows, page)
    numbers = [row[0].value for row in table.shown]
    assert (table.pages, numbers[0] if numbers else None, numbers[-1] if numbers else None) == (pages, first, last)
    assert len(_table(rows).first(3).shown) == min(rows, 3)


def test_a_csv_holds_all_rows_and_plain_values() -> None:
    time = datetime(2026, 3, 1, 12, tzinfo=UTC)
    columns = (Column("what"), *shares("share"), *figures("PSI"), *counts("rows"), Column("at", "moment"))
    table = PageTable("t", "Rows", columns, [(Cell("a, b", "/a"), 0.25, None, 3, time), (True, 1.0, 0.5, 4, None)])
    assert list(csv.reader(io.StringIO(table.to_csv()))) == [
        ["what", "share", "PSI", "rows", "at"],
        ["a, b", "0.25", "", "3", "2026-03-01T12:00:00+00:00"],
        ["yes", "1.0", "0.5", "4", ""],
    ]


def test_a_csv_holds_the_rows_of_every_page() -> None:
    assert _table(120, page=2).to_csv().split() == ["row", *map(str, range(120))]


@given(st.text())
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    table = PageTable("t", "Rows", [Column(text)], [(text,)])
    for (cell,) in csv.reader(io.StringIO(table.to_csv(), newline="")):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert cell.removeprefix("'") == text.removeprefix("'")


def test_numbers_below_zero_stay_numbers() -> None:
    assert PageTable("t", "Rows", figures("z"), [(-1.5,)]).to_csv() == "z\r\n-1.5\r\n"


def test_a_csv_is_named_after_its_page() -> None:
    response = csv_response(_table(1), "/batches/2018-10;x=\r\n/")
    assert response.headers["content-disposition"] == 'attachment; filename="batches-2018-10-x----t.csv"'
    assert bytes(response.body).startswith(b"\xef\xbb\xbfrow\r\n")
