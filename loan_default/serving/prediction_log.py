"""The log of what a worker decided, for drift, outcomes and questions: a row for each application, in a journal.

How frames come on the disk is `journal`'s, what they hold `decision_records`'s, who is told of a decision `app`'s. The
segments that are closed become files in a process of its own, `log_process`, whose state is told here as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from loan_default.serving.decision_records import DecidingVersion, Entry, encode, records_of
from loan_default.serving.journal import Frame, Fsync, Journal, age_of_oldest
from loan_default.serving.log_status import LogStatus

_LATE_SECONDS = 300.0  # a segment is closed after a minute, and becomes a file at once


class PredictionLog:
    """One worker's log."""

    def __init__(
        self,
        journal: Path,
        *,
        worker: str,
        fsync: Fsync = "second",
        rows_per_file: int = 50_000,
        seconds: float = 60.0,
    ) -> None:
        """Begin to log.

        Args:
            journal: the folder of the segments, on this machine; workers share it.
            worker: begins the names of the segments and files; these are new each time.
            fsync: when a decision is durable: as the system likes, within a second, or before it is answered.
            rows_per_file: as soon as a segment has so many rows it can become a file.
            seconds: between two files at the latest.
        """
        self.syncs_each = fsync == "decision"
        self._folder = journal
        self._preambles: dict[int, bytes] = {}
        self._journal = Journal(journal, worker, fsync, rows=rows_per_file, seconds=seconds)

    @property
    def dropped(self) -> int:
        """Rows of this worker that no segment will hold."""
        return self._journal.dropped

    @property
    def status(self) -> LogStatus:
        """Tell what keeps rows from the journal or from the storage, if anything does."""
        files, lag = LogStatus.read(self._folder), self.lag_seconds
        trouble = self._journal.trouble or files.trouble
        if trouble is None and lag > _LATE_SECONDS:  # who does not get on cannot tell
            trouble = (
                f"Scored rows have waited {lag / 60:,.0f} minutes in {self._folder}; what makes files of them hangs."
            )
        return msgspec.structs.replace(files, trouble=trouble)

    @property
    def lag_seconds(self) -> float:
        """Return for how long this machine's oldest rows have been waiting to become a file, 0 where none wait."""
        return age_of_oldest(self._folder)

    def append(self, entries: Sequence[Entry], synced: Callable[[str | None], None] | None = None) -> None:
        """Have entries written soon; at once where `synced` is called then, or with what keeps them from it."""
        by_version: dict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_version[entry.version].append(entry)
        for version, (entry, *_) in by_version.items():
            if version not in self._preambles:
                self._preambles[version] = encode([DecidingVersion.of(version, entry.scorer)])
        if entries:
            payload = encode(record for of_version in by_version.values() for record in records_of(of_version))
            rows = sum(len(entry.applications.ids) for entry in entries)
            self._journal.append(Frame(payload, rows, [self._preambles[version] for version in by_version], synced))

    def close(self) -> None:
        """Write what waits and close the segment."""
        self._journal.close()
