"""XGBoost's tracker, in a process of its own beside the scheduler of Dask.

`xgboost.dask` runs the tracker, by which the workers of a fit find each other, in the scheduler. Where a worker dies
while the tracker writes to it, XGBoost's C++ ends that process ("terminate called after throwing an instance of
'dmlc::Error'"), and with it the cluster. Here it ends the tracker alone; beginning the fit again is `dask_engine`'s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Whatever becomes of the fit, it ends with the process that holds the other end of its standard input.
_TRACKER = """
import json, os, sys, threading
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

workers, addresses, timeout = json.loads(sys.argv[1])
for number, (host, port) in enumerate(addresses, 1):
    try:
        tracker = RabitTracker(workers, host, port, sortby="task", timeout=timeout)
        tracker.start()
        break
    except XGBoostError:
        if number == len(addresses):
            raise
print(json.dumps(tracker.worker_args()), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
tracker.wait_for()
os._exit(0)
"""


@contextmanager
def tracker_apart() -> Iterator[None]:
    """Have fits by `xgboost.dask` start their tracker by `start_tracker`."""
    from xgboost import dask as xgboost_dask

    own = xgboost_dask._start_tracker
    xgboost_dask._start_tracker = start_tracker  # which the scheduler is given to run
    try:
        yield
    finally:
        xgboost_dask._start_tracker = own


def start_tracker(
    workers: int, scheduler: str | None, address: tuple[str, int] | None, timeout: int | None
) -> dict[str, Any]:
    """Start a tracker on this machine, and return what its workers need to find it.

    Args:
        workers: how many there are.
        scheduler: the host by which Dask's scheduler is reached, where the tracker cannot be at `address`.
        address: host and port that were asked for, if any; else XGBoost guesses.
        timeout: seconds for the workers to come, and to leave; None or 0 for ever.

    Raises:
        RuntimeError: it can listen at neither.
    """
    tracker, for_workers = start_process(workers, [address or (None, 0), (scheduler, 0)], timeout or 0)
    threading.Thread(target=tracker.wait, name="xgboost-tracker", daemon=True).start()  # which leaves no zombie
    return for_workers


def start_process(
    workers: int, addresses: Sequence[tuple[str | None, int]], timeout: int
) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start a tracker at the first of the addresses at which it can listen; return its process as well.

    Raises:
        RuntimeError: there is none.
    """
    command = [sys.executable, "-c", _TRACKER, json.dumps([workers, addresses, timeout])]
    tracker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert tracker.stdout
    if not (line := tracker.stdout.readline()):
        raise RuntimeError(f"XGBoost's tracker can listen at none of {addresses}; the scheduler's log says why.")
    return tracker, json.loads(line)
