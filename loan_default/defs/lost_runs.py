"""Runs whose process died: each run holds a lock while its process lives, and the next one ends those that lost it.

Dagster waits for ever for a run whose machine went down, and with it whatever may not run beside it. How a death is
noticed is `adapters.run_lock`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from loan_default.adapters import run_lock
from loan_default.adapters.storage import leftover_patterns, sweep

_REASON = "Its process was killed, or went down with its machine; what it had stored is whole: run the job again."
_UNDER_WAY = {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}


class RunLockResource(dg.ConfigurableResource[Any]):
    """A lock that a run holds from its start; before that the run clears away what dead runs have left.

    It is held until Dagster knows how the run ended: a process that ends by itself cannot always say so, as where the
    database of Dagster's records is away.
    """

    folder: str
    scratch: str
    models: str
    storage: str

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[RunLockResource]:
        """Hold the lock during a run; a sensor only looks at the others'."""
        if context.run is None or context.instance is None:
            yield self
            return
        self.end_lost_runs(context.instance)
        for folder, pattern in leftover_patterns(self.storage, Path(self.scratch), Path(self.models)):
            sweep(folder, pattern)
        try:
            run_lock.hold(Path(self.folder), context.run.run_id)
            yield self
        finally:
            for path in Path(self.scratch).glob(f"{context.run.run_id}-*"):  # of a run that failed
                path.unlink(missing_ok=True)

    def end_lost_runs(self, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
        """Report runs whose process has died as failed, or as canceled where that was asked for; return those runs."""
        folder, lost_runs = Path(self.folder), []
        for run_id in run_lock.run_ids(folder):
            is_lost = run_lock.is_lost(folder, run_id)  # before its end is looked up
            run = instance.get_run_by_id(run_id)
            has_ended = run.is_finished if run else is_lost  # Dagster may have been moved to another store
            if is_lost and run and run.status in _UNDER_WAY:
                _report_end(instance, run)
                lost_runs.append(run)
                has_ended = True
            if has_ended:
                run_lock.forget(folder, run_id)
        return lost_runs


def _report_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    if run.status is dg.DagsterRunStatus.CANCELING:  # a step that would not stop in time
        instance.report_run_canceled(run, _REASON)
    else:
        instance.report_run_failed(run, _REASON)


@dg.failure_hook(required_resource_keys={"run_lock"})
def run_lock_hook(_: dg.HookContext) -> None:
    """Do nothing: a job with this hook takes the run lock, whatever resources its assets ask for."""
