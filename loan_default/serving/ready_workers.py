"""Which workers of a server have a version to answer by, told among them by a lock: each that has one shares it.

It ends with a worker, however that does. What a worker without a version does meanwhile is `server`'s and `app`'s.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class ReadyWorkers:
    """The ready workers of the server that has this file, as one of its workers sees them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def join(self) -> bool:
        """Be one of them, until this process ends; tell whether that is new."""
        if self._descriptor is not None:
            return False
        self._descriptor = os.open(self._file, os.O_RDONLY | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        return True

    def exist(self) -> bool:
        """Tell whether there is any."""
        descriptor = os.open(self._file, os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
