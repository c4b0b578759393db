"""Promised and realised: what versions said of loans beside how these ended, as the newest performance report has it.

Measuring is `risk.monitoring.performance`'s, asking for it `performance`'s.

Tested in `web/pages/test_promised.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from loan_default.operations.records import Record, read_record
from loan_default.settings import Settings


@dataclass(frozen=True)
class Promised:
    """The newest performance report, None where nothing was measured yet; `read_at` is when it was read."""

    report: Record | None
    read_at: datetime

    @property
    def versions(self) -> tuple[int, ...]:
        """Return the numbers of the versions that predicted, newest first."""
        measured: Sequence[Any] = self.report["versions"] if self.report else ()
        return tuple(sorted((version["version"] for version in measured), reverse=True))

    def choose(self, version: int | None = None) -> int | None:
        """Return the version to show: the one that is asked for, else the one in production, else the newest."""
        candidates = (version, self.report["model_version"] if self.report else None, *self.versions)
        return next((candidate for candidate in candidates if candidate in self.versions), None)

    def rows(self, table: str, version: int | None) -> list[Record]:
        """Return the rows of a table of the report (`vintages`, `decisions`, `groups`) that are of a version."""
        return [row for row in self.report[table] if row["model_version"] == version] if self.report else []


def read_promised(settings: Settings) -> Promised:
    """Read the newest performance report."""
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    read_at, report = datetime.now(UTC), read_record(settings, "performance_report")
    return Promised(with_current_verdict(report) if report else None, read_at)
