"""The small JSON records that assets leave in the storage.

Where they lie is `adapters.layout`'s, which asset writes which record `defs`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loan_default.adapters import layout, storage
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings

Record = Mapping[str, Any]


def read_record(settings: Settings, asset: layout.RecordName, damages: list[DamagedRecord] | None = None) -> Any:
    """Read the record of an asset; None where it was never written.

    What cannot be read is added to `damages`, where that is given, and is None then, too.

    Raises:
        DamagedRecord: it cannot be read.
    """
    return storage.read_json(settings.layout.record(asset), asset, damages)


def read_batch_record(
    settings: Settings, asset: layout.BatchRecordName, batch: str, damages: list[DamagedRecord] | None = None
) -> Any:
    """Read the record of an asset on a batch, as `read_record` does."""
    return storage.read_json(settings.layout.batch_record(asset, batch), asset, damages)


def distinct(damages: Iterable[DamagedRecord]) -> tuple[DamagedRecord, ...]:
    """Return the records that cannot be read, each once."""
    return tuple({str(damage): damage for damage in damages}.values())


def locations(settings: Settings) -> dict[str, str]:
    """Return where a person finds what a training leaves."""
    return {
        "assets": settings.book_storage,
        "model card": str(settings.layout.model_card),
        "models and plots": f"{settings.artifacts}, by {settings.tracking_uri}",
        "runs and events": str(settings.dagster_home),
    }
