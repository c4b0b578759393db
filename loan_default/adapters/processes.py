"""Processes of this machine by their ids. Starting and stopping one is its caller's; a run's is found by `run_lock`."""

from __future__ import annotations

import os


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, if only as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
