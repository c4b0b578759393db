"""IO managers: frames as Parquet, records as JSON, texts as files, under one root, folder or bucket.

One implementation for both (`UPathIOManager`); writing whole or not at all is `adapters.storage`'s. Files that belong
together are stored by their step, and only read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.layout import RecordKind
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs.results import user_errors

if TYPE_CHECKING:
    import polars as pl


class _StorageIOManager(dg.UPathIOManager):
    """Read and write files by `adapters.storage`; what goes wrong with one is one sentence."""

    def make_directory(self, path: UPath) -> None:
        """Do nothing: a folder is made with its first file, and a bucket has none."""

    def path_exists(self, path: UPath) -> bool:
        """Tell whether there is such a file."""
        return storage.exists(path)

    def unlink(self, path: UPath) -> None:
        """Remove a file."""
        storage.remove(path)

    def _handle_transition_to_partitioned_asset(self, context: dg.OutputContext, path: UPath) -> None:
        """Do nothing: no asset in batches was ever one file, and Dagster would look with another client of buckets."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store the value."""
        with user_errors():
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the value."""
        with user_errors():
            return super().load_input(context)


class ParquetIOManager(_StorageIOManager):
    """Store a Polars frame; read it, or what a step has stored, as a `ParquetTable`."""

    extension = ".parquet"

    def __init__(self, base_path: UPath, staging: Path) -> None:
        super().__init__(base_path)
        self._staging = staging

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame, path: UPath) -> None:
        """Store the frame."""
        part = self._staging / f"{context.run_id}-{path.name}"
        obj.write_parquet(part, mkdir=True)
        storage.store(part, path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ParquetTable:
        """Return the stored table; nothing is read yet."""
        return ParquetTable.of(path, self._staging)


class JsonIOManager(_StorageIOManager):
    """Store and read a record of plain values."""

    extension = ".json"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Store the record."""
        storage.write_json(path, obj)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        """Read the record, which has the shape of its asset's."""
        kind = cast(RecordKind, context.asset_key.path[-1])
        record = storage.read_json(path, kind)
        if record is None:
            raise FileNotFoundError(path)
        return record


class TextIOManager(_StorageIOManager):
    """Store and read a Markdown text."""

    extension = ".md"

    def dump_to_path(self, context: dg.OutputContext, obj: str, path: UPath) -> None:
        """Store the text."""
        storage.write_text(path, obj)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> str:
        """Read the text."""
        return storage.read_text(path)
