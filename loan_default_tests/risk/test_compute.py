"""The engine of this process, and what engines share."""

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.compute import LocalEngine, Rows, cut
from loan_default.risk.errors import BadInput

ROWS = 600_001
SCHEMA = {"at": pl.Int64(), "twice": pl.Int64()}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    path = tmp_path_factory.mktemp("table") / "rows.parquet"
    pl.DataFrame({"at": range(ROWS), "unused": "x"}).write_parquet(path)
    return Rows(pl.scan_parquet(path).select("at"))


@given(st.integers(0, 3_000_000), st.integers(1, 50))
def test_parts_are_alike_and_leave_nothing_out(rows: int, least: int) -> None:
    parts = cut(rows, least)
    assert len(parts) >= least
    assert parts[0][0] == 0
    assert sum(length for _, length in parts) == rows
    assert all(begin + length == following for (begin, length), (following, _) in pairwise(parts))
    lengths = [length for _, length in parts]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= 250_000


def test_rows_are_worked_on_in_order_some_at_a_time(table: Rows, tmp_path: Path) -> None:
    seen: list[int] = []

    def doubled(rows: pl.DataFrame) -> pl.DataFrame:
        seen.append(rows.height)
        return rows.with_columns(twice=2 * pl.col("at"))

    made = LocalEngine().rows(doubled, table, SCHEMA)
    made.sink_parquet(tmp_path / "made.parquet")
    assert seen == [200_000, 200_000, 200_001]
    found = pl.read_parquet(tmp_path / "made.parquet")
    assert found.equals(pl.DataFrame({"at": range(ROWS)}).with_columns(twice=2 * pl.col("at")))
    assert made.filter(pl.col("at") >= ROWS - 2).select("twice").collect()["twice"].to_list() == [
        1_200_000 - 2,
        1_200_000,
    ]
    seen.clear()
    assert made.head(3).collect().rows() == [(0, 0), (1, 2), (2, 4)]
    assert len(seen) == 1, "nobody asked for more"


def test_no_rows_make_none() -> None:
    nothing = Rows(pl.LazyFrame(schema={"at": pl.Int64()}))
    made = LocalEngine().rows(lambda rows: rows.with_columns(twice=2 * pl.col("at")), nothing, SCHEMA).collect()
    assert made.is_empty()
    assert made.schema == SCHEMA


def test_an_error_is_raised_as_it_is(table: Rows) -> None:
    def refuse(_: pl.DataFrame) -> pl.DataFrame:
        raise BadInput("The loan 7 has no term; give it one.")

    with pytest.raises(BadInput, match=r"^The loan 7 has no term; give it one\.$"):
        LocalEngine().rows(refuse, table, SCHEMA).collect()
