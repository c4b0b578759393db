"""Scratch files bear the name of their run, and none is left behind."""

from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from loan_default.steps.workspace import Workspace


def test_scratch_files_are_the_runs_own(workspace: Workspace) -> None:
    with workspace.scratch("cleaned.parquet", "rejected.parquet") as paths:
        assert [path.name for path in paths] == ["run-1-cleaned.parquet", "run-1-rejected.parquet"]
        assert workspace.staging.is_dir()


def test_what_was_not_moved_away_is_removed_after_a_failure_too(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), workspace.scratch("a", "b", "c") as (first, second, _):
        first.touch()
        second.touch()
        first.rename(workspace.staging / "moved")
        _ = 1 / 0
    assert [path.name for path in workspace.staging.iterdir()] == ["moved"]


def test_the_first_rows_of_a_table_are_read_by_columns(workspace: Workspace, tmp_path: Path) -> None:
    for rows in (0, 3, 25):
        pl.DataFrame({"row": list(range(rows)), "value": ["v"] * rows}).write_parquet(tmp_path / "table.parquet")
        first = workspace.first_rows(UPath(tmp_path / "table.parquet"), "row")
        assert first == [{"row": row} for row in range(min(rows, 10))]
