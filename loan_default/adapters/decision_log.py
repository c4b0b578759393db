"""Every decision on a version, and who made it: one small record each, for good, beside the assets.

Records are only added, under names that sort by time, so that nobody waits for anybody. Deciding is
`risk.validation.promotion`'s or a person's; moving an alias is `model_store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from loan_default.adapters import storage
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.errors import DamagedRecord


def add(layout: StorageLayout, record: Mapping[str, Any]) -> None:
    """Add a decision: `verdict`, `candidate`, `decided_at` (ISO 8601 in UTC), `decided_by`, `reasons`, and more."""
    decided_at = datetime.fromisoformat(record["decided_at"])
    storage.write_json(layout.decision(decided_at, record["verdict"], record["candidate"]), record)


def read(layout: StorageLayout, damages: list[DamagedRecord] | None = None) -> list[dict[str, Any]]:
    """Read every decision, oldest first; what cannot be read is added to `damages`, where that is given.

    Raises:
        DamagedRecord: one cannot be read.
    """
    files = sorted(list_files(layout.decisions), key=lambda file: file.name)
    paths = [file.path for file in files if file.name.endswith(".json")]
    return [record for record in storage.read_records(paths, "history", damages) if record is not None]
