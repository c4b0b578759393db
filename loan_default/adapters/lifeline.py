"""Whether the process of a run still lives: it holds the lock of a file, and the system takes it away at any death.

A process number would say less: it is given again, and another container has its own. Which runs there are is `defs`'s.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loan_default.adapters.storage import whole


@contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lifeline."""
    place = folder / run_id
    with whole(place) as part:  # locked before others can see it
        lock = part.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.close()


def is_lost(folder: Path, run_id: str) -> bool:
    """Whether the process of the run has died; not where nothing is known of it."""
    place = folder / run_id
    try:
        with place.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):  # it never held one or has ended by itself; it lives
        return False
    return place.exists()  # who ends by itself removes it before he lets go


def forget(folder: Path, run_id: str) -> None:
    """Clear away the lifeline of a run that is known to have died."""
    (folder / run_id).unlink(missing_ok=True)
