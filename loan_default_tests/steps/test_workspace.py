"""Scratch files bear the name of their run, and none is left behind."""

import pytest

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
