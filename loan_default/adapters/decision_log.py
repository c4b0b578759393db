"""What was decided of versions, and by whom: one small record each, kept for good beside the assets.

Records are only added, under names that sort by time, so that nobody waits for anybody. Deciding is `risk.policy`'s or
a person's; moving an alias is `model_store`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.inbox import list_files

FOLDER = "history"


def add(root: str, record: Mapping[str, Any]) -> None:
    """Keep a decision: `verdict`, `candidate`, `decided_at` (ISO 8601 in UTC), `decided_by`, `reasons`, and more."""
    at = datetime.fromisoformat(record["decided_at"])
    name = f"{at:%Y%m%dT%H%M%S}-{record['verdict']}-version-{record['candidate']}.json"
    storage.write_json(UPath(root) / FOLDER / name, record)


def read(root: str) -> list[dict[str, Any]]:
    """Every decision, oldest first."""
    files = sorted(list_files(UPath(root) / FOLDER), key=lambda file: file.name)
    return [json.loads(storage.read_text(file.place)) for file in files if file.name.endswith(".json")]
