"""Locks of runs: the process of a run holds the lock of a file, and the system releases it however the process ends.

A process number would say less: it is used again, and another container has its own. Which runs there are, and how
they ended, is `defs`'s.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from loan_default.risk.files import write_atomically

_locks: dict[Path, IO[str]] = {}  # by this process


def hold(folder: Path, run_id: str) -> None:
    """Hold the run's lock until it is forgotten, or this process ends."""
    path = folder / run_id
    with write_atomically(path) as part:  # locked before others can see it
        lock = part.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    _locks[path] = lock


def run_ids(folder: Path) -> list[str]:
    """List the runs that have a lock, held or lost."""
    return [path.name for path in folder.glob("[!.]*")]


def is_lost(folder: Path, run_id: str) -> bool:
    """Tell whether the process of the run has died; a run without a lock has not."""
    path = folder / run_id
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):  # it never held one or has been forgotten; it lives
        return False
    return path.exists()  # it is removed before it is let go


def forget(folder: Path, run_id: str) -> None:
    """Remove the lock of a run that has ended."""
    path = folder / run_id
    path.unlink(missing_ok=True)
    if lock := _locks.pop(path, None):
        lock.close()
