"""A run holds its lock while its process lives, and what it left in scratch is cleared away at its end.

Runs of processes that were killed are tested in `sensors/test_lost_run_sensor.py`.
"""

from pathlib import Path

import dagster as dg
import pytest

from loan_default.adapters import run_lock
from loan_default.defs.lost_runs import RunLockResource, run_lock_hook

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_holds_its_lock_and_leaves_no_scratch(tmp_path: Path, fails: bool) -> None:
    locks, scratch = tmp_path / "runs", tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "of-another-run.parquet").touch()
    locked: list[list[str]] = []

    @dg.op
    def write(context: dg.OpExecutionContext) -> None:
        locked.append(run_lock.run_ids(locks))
        (scratch / f"{context.run.run_id}-cleaned.parquet").touch()
        if fails:
            raise ValueError("broken for the test")

    @dg.job(hooks={run_lock_hook})  # which asks for the lock, as no op here does
    def job() -> None:
        write()

    resource = RunLockResource(
        folder=str(locks), scratch=str(scratch), models=str(tmp_path / "models"), storage=str(tmp_path / "storage")
    )
    result = job.execute_in_process(resources={"run_lock": resource}, raise_on_error=False)
    assert result.success is not fails
    assert locked == [[result.run_id]]
    assert [path.name for path in scratch.iterdir()] == ["of-another-run.parquet"]
