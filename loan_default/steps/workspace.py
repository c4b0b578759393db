"""The files of a run: where its results lie in the storage, and scratch files of its own on this machine.

Which files a step writes is the step's to say; how a file is written whole or not at all is `adapters.storage`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loan_default.adapters.layout import StorageLayout


@dataclass(frozen=True)
class Workspace:
    """The storage's layout, a local folder for files that are being written, and the run that writes them."""

    layout: StorageLayout
    staging: Path
    run_id: str

    @contextmanager
    def scratch(self, *names: str) -> Iterator[list[Path]]:
        """Yield a path of this run for each name; what is still there at the end, as after a failure, is removed."""
        self.staging.mkdir(parents=True, exist_ok=True)
        paths = [self.staging / f"{self.run_id}-{name}" for name in names]
        try:
            yield paths
        finally:
            for path in paths:
                path.unlink(missing_ok=True)
