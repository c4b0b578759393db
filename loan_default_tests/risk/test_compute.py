"""The engine of this process, and what engines share."""

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.compute import FrameTable, JoinedTable, LocalEngine, part_bounds
from loan_default.risk.errors import BadInput

ROWS = 600_001
SCHEMA = {"number": pl.Int64(), "twice": pl.Int64()}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> FrameTable:
    path = tmp_path_factory.mktemp("table") / "rows.parquet"
    pl.DataFrame({"number": range(ROWS), "unused": "x"}).write_parquet(path)
    return FrameTable(pl.scan_parquet(path).select("number"))


def double(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(twice=2 * pl.col("number"))


@given(st.integers(0, 3_000_000), st.integers(1, 50))
def test_parts_are_alike_and_leave_nothing_out(rows: int, least: int) -> None:
    parts = part_bounds(rows, least)
    assert len(parts) >= least
    assert parts[0][0] == 0
    assert sum(length for _, length in parts) == rows
    assert all(begin + length == following for (begin, length), (following, _) in pairwise(parts))
    lengths = [length for _, length in parts]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= 250_000


def test_rows_are_worked_on_in_order_some_at_a_time(table: FrameTable, tmp_path: Path) -> None:
    heights: list[int] = []

    def double_and_count(rows: pl.DataFrame) -> pl.DataFrame:
        heights.append(rows.height)
        return double(rows)

    doubled = LocalEngine().map_rows(double_and_count, table, SCHEMA)
    doubled.sink_parquet(tmp_path / "doubled.parquet")
    assert heights == [200_000, 200_000, 200_001]
    assert pl.read_parquet(tmp_path / "doubled.parquet").equals(double(pl.DataFrame({"number": range(ROWS)})))
    assert doubled.filter(pl.col("number") >= ROWS - 2).select("twice").collect()["twice"].to_list() == [
        1_200_000 - 2,
        1_200_000,
    ]
    heights.clear()
    assert doubled.head(3).collect().rows() == [(0, 0), (1, 2), (2, 4)]
    assert len(heights) == 1, "nobody asked for more"


def test_no_rows_give_an_empty_frame_of_the_schema() -> None:
    empty = FrameTable(pl.LazyFrame(schema={"number": pl.Int64()}))
    doubled = LocalEngine().map_rows(double, empty, SCHEMA).collect()
    assert doubled.is_empty()
    assert doubled.schema == SCHEMA


def test_joined_tables_are_read_as_one_and_by_the_same_parts() -> None:
    numbers = FrameTable(pl.LazyFrame({"number": range(9), "unused": "x"}))
    doubles = FrameTable(pl.LazyFrame({"twice": range(0, 18, 2)}))
    joined = JoinedTable(((numbers, ("number",)), (doubles, ("twice",))))
    assert joined.rows == 9
    part = joined.part(3, 2)
    assert part.offset == 3
    assert part.scan().collect().rows() == [(3, 6), (4, 8)]
    assert JoinedTable(((numbers, ("number",)),)).scan().collect().columns == ["number"]


def test_an_error_is_raised_as_it_is(table: FrameTable) -> None:
    def refuse(_: pl.DataFrame) -> pl.DataFrame:
        raise BadInput("The loan 7 has no term; give it one.")

    with pytest.raises(BadInput, match=r"^The loan 7 has no term; give it one\.$"):
        LocalEngine().map_rows(refuse, table, SCHEMA).collect()
