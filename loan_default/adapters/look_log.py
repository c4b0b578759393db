"""Every look at a test window: one small record each, for good, beside the assets.

A window that is looked at often enough lets a version pass by chance, so looks are counted. Records are only added,
before the loans are scored. Looking is `risk.validation.held_out`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from loan_default.adapters import storage
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.data.splits import Splits
from loan_default.risk.evaluation import Looks


def add(layout: StorageLayout, splits: Splits, version: int, looked_at: datetime) -> Looks:
    """Add a look at the test window of these splits for a version, and count those that were before."""
    record = {
        "looked_at": looked_at.isoformat(timespec="microseconds"),
        "version": version,
        "test_fingerprint": splits.test_fingerprint,
        **_span(splits),
    }
    before = read(layout)
    storage.write_json(layout.look(looked_at, version), record)
    return _count(before, record)


def read(layout: StorageLayout) -> list[dict[str, Any]]:
    """Read every look, oldest first.

    Raises:
        DamagedRecord: one cannot be read, so that nobody knows how often a window was looked at.
    """
    files = sorted(list_files(layout.looks), key=lambda file: file.name)
    return storage.read_records([file.path for file in files if file.name.endswith(".json")], "test_looks")


def _span(splits: Splits) -> dict[str, Any]:
    """Say which loans a test window may hold: those of its months or cohorts, or those of a draw."""
    window = splits.window("test")
    if splits.cut_by:
        cohort = splits.cohort if splits.cut_by == "cohort" else None
        return {"cut_by": splits.cut_by, "cohort": cohort, "positions": list(window.positions)}
    return {"first_month": f"{window.first_month:%Y-%m}", "last_month": f"{window.last_month:%Y-%m}"}


def _overlap(look: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Tell whether two windows may hold the same loans; where they were cut by different things, they may."""
    if any(look.get(key) != record.get(key) for key in ("cut_by", "cohort")) or record.get("cut_by") == "draw":
        return True
    if record.get("cut_by"):
        (first, last), (other_first, other_last) = look["positions"], record["positions"]
        return bool(first <= other_last and last >= other_first)
    return bool(look["first_month"] <= record["last_month"] and look["last_month"] >= record["first_month"])


def _count(looks: list[dict[str, Any]], record: Mapping[str, Any]) -> Looks:
    """Count looks that may have been at a loan of the record's window, and at just this window."""
    overlapping = [look for look in looks if _overlap(look, record)]
    same = [look for look in overlapping if look["test_fingerprint"] == record["test_fingerprint"]]
    return Looks(overlapping=len(overlapping), same=len(same))
