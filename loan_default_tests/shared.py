"""What is made once for all processes of a test run: whoever comes first makes it, and the others wait for it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

_FOLDERS: list[Path] = []  # at most one


def share(folder: Path) -> None:
    """Name the folder in which every process of this run finds what one of them made."""
    _FOLDERS[:] = [folder]


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills, unless a process of this run has."""
    (shared,) = _FOLDERS
    folder, finished = shared / name, shared / f"{name}.finished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one whose making failed
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
