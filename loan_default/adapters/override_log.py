"""Every decision of a person on an application that the version had decided: one small record each, for good.

Records are only added, under names that sort by time, so that nobody waits for anybody. Who may decide so, and why, is
`operations.overrides`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from loan_default.adapters import storage
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.errors import DamagedRecord


def add(layout: StorageLayout, record: Mapping[str, Any]) -> None:
    """Add an override: `decision_id`, `recorded_at` (ISO 8601 in UTC), and what `operations.overrides` says of it."""
    recorded_at = datetime.fromisoformat(record["recorded_at"])
    storage.write_json(layout.override(recorded_at, record["decision_id"]), record)


def read(
    layout: StorageLayout,
    decision_ids: Collection[str] | None = None,
    newest: int | None = None,
    damages: list[DamagedRecord] | None = None,
) -> list[dict[str, Any]]:
    """Read every override, oldest first; or those of some decisions, or so many of the newest.

    What cannot be read is added to `damages`, where that is given.

    Raises:
        DamagedRecord: one cannot be read.
    """
    files = sorted(list_files(layout.overrides), key=lambda file: file.name)
    files = [file for file in files if file.name.endswith(".json")]
    if decision_ids is not None:
        files = [file for file in files if _decision_of(file.name) in decision_ids]
    paths = [file.path for file in (files if newest is None else files[-newest:])]
    return [record for record in storage.read_records(paths, "overrides", damages) if record is not None]


def _decision_of(name: str) -> str:
    return name.partition("-")[2].removesuffix(".json")
