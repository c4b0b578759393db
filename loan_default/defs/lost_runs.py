"""Runs that died: each holds a lifeline while its process lives, and whoever comes next ends those that lost theirs.

Dagster waits for a run whose machine went down for ever, and with it whatever may not run beside it. How a death is
seen is `adapters.run_lock`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from loan_default.adapters import run_lock
from loan_default.adapters.storage import left_behind, sweep

_LOST = "Its process was killed, or went down with its machine; what it had stored is whole: run the job again."
_UNDER_WAY = {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}


class RunLockResource(dg.ConfigurableResource):
    """Held by a run from its start; before that it clears away what runs that died have left.

    It is held until Dagster knows how the run ended: a process that ends by itself cannot always say so, as where the
    database of Dagster's records is away.
    """

    folder: str
    scratch: str
    models: str
    storage: str

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[RunLockResource]:
        """Hold it; a sensor only looks."""
        if context.run is None or context.instance is None:
            yield self
            return
        self.end_lost_runs(context.instance)
        for folder, pattern in left_behind(self.storage, Path(self.scratch), Path(self.models)):
            sweep(folder, pattern)
        try:
            run_lock.hold(Path(self.folder), context.run.run_id)
            yield self
        finally:
            for path in Path(self.scratch).glob(f"{context.run.run_id}-*"):  # of a run that failed
                path.unlink(missing_ok=True)

    def end_lost_runs(self, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
        """Tell Dagster that the runs whose process has died have failed, or are canceled as asked; which they were."""
        folder, lost = Path(self.folder), []
        for run_id in run_lock.run_ids(folder):
            is_lost = run_lock.is_lost(folder, run_id)  # before its end is asked for
            run = instance.get_run_by_id(run_id)
            ended = run.is_finished if run else is_lost  # Dagster may have been given another store
            if is_lost and run and run.status in _UNDER_WAY:
                if run.status is dg.DagsterRunStatus.CANCELING:  # a step that would not stop in time
                    instance.report_run_canceled(run, _LOST)
                else:
                    instance.report_run_failed(run, _LOST)
                lost.append(run)
                ended = True
            if ended:
                run_lock.forget(folder, run_id)
        return lost


@dg.failure_hook(required_resource_keys={"run_lock"})
def lifeline_hook(_: dg.HookContext) -> None:
    """Nothing: a job that has this hook asks for the resource, whatever its assets ask for."""
