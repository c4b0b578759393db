"""Whether the process of a run still lives: it holds the lock of a file, and the system takes it away at any death.

A process number would say less: it is given again, and another container has its own. Which runs there are, and how
they ended, is `defs`'s.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from loan_default.risk.files import write_atomically

_held: dict[Path, IO[str]] = {}  # by this process


def hold(folder: Path, run_id: str) -> None:
    """Hold the run's lifeline until it is forgotten, or this process ends."""
    place = folder / run_id
    with write_atomically(place) as part:  # locked before others can see it
        lock = part.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    _held[place] = lock


def run_ids(folder: Path) -> list[str]:
    """The runs that have a lifeline, held or lost."""
    return [path.name for path in folder.glob("[!.]*")]


def is_lost(folder: Path, run_id: str) -> bool:
    """Whether the process of the run has died; not where nothing is known of it."""
    place = folder / run_id
    try:
        with place.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):  # it never held one or has been forgotten; it lives
        return False
    return place.exists()  # it is removed before it is let go


def forget(folder: Path, run_id: str) -> None:
    """Clear away the lifeline of a run whose end is known."""
    place = folder / run_id
    place.unlink(missing_ok=True)
    if lock := _held.pop(place, None):
        lock.close()
