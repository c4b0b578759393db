"""How assets are stored: frames as Parquet, records as JSON, texts as files, under one root, folder or bucket.

One implementation for both (`UPathIOManager`); writing whole or not at all is `adapters.storage`'s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from upath import UPath

from loan_default.adapters import storage as files
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs.metadata import user_errors

if TYPE_CHECKING:
    import polars as pl


class _Told(dg.UPathIOManager):
    """Files are `adapters.storage`'s to read and write, and what goes wrong with one is one sentence."""

    def make_directory(self, path: UPath) -> None:
        """Nothing: a folder is made with its first file, and a bucket has none."""

    def path_exists(self, path: UPath) -> bool:
        """Whether there is such a file."""
        return files.exists(path)

    def unlink(self, path: UPath) -> None:
        """Remove a file."""
        files.remove(path)

    def _handle_transition_to_partitioned_asset(self, context: dg.OutputContext, path: UPath) -> None:
        """Nothing: no asset in batches was ever one file, and to look Dagster would need another client of buckets."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store the value."""
        with user_errors():
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the value."""
        with user_errors():
            return super().load_input(context)


class ParquetIOManager(_Told):
    """A Polars frame, or the path of a finished local Parquet file, which is moved; read as a `ParquetTable`."""

    extension = ".parquet"

    def __init__(self, base_path: UPath, staging: Path) -> None:
        super().__init__(base_path)
        self._staging = staging

    def dump_to_path(self, context: dg.OutputContext, obj: pl.DataFrame | Path, path: UPath) -> None:
        """Store the frame."""
        import polars as pl

        if isinstance(obj, pl.DataFrame):
            frame, obj = obj, self._staging / f"{context.run_id}-{path.name}"
            obj.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(obj)
        files.store(obj, path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ParquetTable:
        """Find the frame; nothing is read yet."""
        return ParquetTable.of(path, self._staging)


class JsonIOManager(_Told):
    """A record of plain values."""

    extension = ".json"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Store the record."""
        files.write_json(path, obj)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        """Read the record."""
        return json.loads(files.read_text(path))


class TextIOManager(_Told):
    """A Markdown text."""

    extension = ".md"

    def dump_to_path(self, context: dg.OutputContext, obj: str, path: UPath) -> None:
        """Store the text."""
        files.write_text(path, obj)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> str:
        """Read the text."""
        return files.read_text(path)
