"""Processes of this machine: by their ids, and helpers that are a module of their own.

What a helper does and when it ends is its caller's; a run's process is found by `run_lock`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, if only as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def start_module(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a module in one thread of Polars; it imports what this process does, whatever lies in the working folder.

    `options` are those of `subprocess.Popen`.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    env = {**os.environ, "PYTHONPATH": path, "POLARS_MAX_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-P", "-m", module, *arguments], env=env, **options)
