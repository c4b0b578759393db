"""How it stands with the files of the prediction log: a small record beside the segments, for all workers to tell of.

It is written by the process that makes the files, and by the server where that process is not there.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from loan_default.adapters.processes import is_alive
from loan_default.risk.files import write_atomically

log = logging.getLogger(__name__)

_FILE = "files.json"  # in the folder of the segments


class LogStatus(msgspec.Struct, frozen=True):
    """What keeps rows from the storage, if anything does, and what the process that makes the files has done.

    `damaged_rows` stand in segments that cannot be read; `starts` counts its processes since the server's start,
    `files` and `rows` what this one has stored, `failures` how often the storage refused.
    """

    trouble: str | None = None
    damaged_rows: int = 0
    pid: int | None = None
    starts: int = 0
    files: int = 0
    rows: int = 0
    failures: int = 0

    @property
    def is_up(self) -> bool:
        """Tell whether the process lives."""
        return self.pid is not None and is_alive(self.pid)

    @classmethod
    def read(cls, journal: Path) -> LogStatus:
        """Read what was written last; where nothing was, nothing is wrong."""
        try:
            return _DECODER.decode((journal / _FILE).read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.DecodeError) as error:
            return cls(f"{journal / _FILE} cannot be read ({error})")

    def write(self, journal: Path) -> None:
        """Replace what was written last."""
        try:
            with write_atomically(journal / _FILE) as part:
                part.write_bytes(msgspec.json.encode(self))
        except OSError as error:  # a full disk, of which the journal tells
            log.warning("%s cannot be written (%s).", journal / _FILE, error)


_DECODER = msgspec.json.Decoder(LogStatus)  # for all threads, as two must not begin to read its types
