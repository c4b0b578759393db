"""The files of a run: where its results lie in the storage, and scratch files of its own on this machine.

Which files a step writes is the step's to say; how a file is written whole or not at all is `adapters.storage`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upath import UPath

from loan_default.adapters.layout import StorageLayout, TableName
from loan_default.adapters.parquet_table import ParquetTable

FIRST_ROWS = 10  # that metadata shows of a table


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

    def find_table(self, name: TableName) -> ParquetTable | None:
        """Open a table of the storage; None where there is none yet."""
        try:
            return ParquetTable.of(self.layout.table(name), self.staging)
        except FileNotFoundError:
            return None

    def first_rows(self, table: UPath, *columns: str) -> list[dict[str, Any]]:
        """Read some columns of the first rows of a stored table."""
        rows = ParquetTable.of(table, self.staging)
        count = min(FIRST_ROWS, rows.rows)
        return rows.part(0, count).scan().select(columns).collect().to_dicts() if count else []
