"""Small JSON records of a folder or bucket prefix, each read once for each state of its file, for who looks often.

A page over a thousand batches lists a folder, and reads what has changed since the last look. Which part of a record
stays in memory is the caller's to say; files that are read once are `storage`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, TypeVar

from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.inbox import ListedFile, list_names

_READS_AT_A_TIME = 16  # of a bucket, where each takes tens of milliseconds
_SUFFIX = ".json"

Content = TypeVar("Content")


@dataclass(frozen=True)
class CachedRecord(Generic[Content]):
    """The part of a record that stays in memory, and its file as it was listed when it was read."""

    content: Content
    file: ListedFile


@dataclass
class RecordCache(Generic[Content]):
    """The records of a folder: `reduce` makes of each what stays in memory, `is_record` chooses them by their names."""

    folder: UPath
    reduce: Callable[[Any], Content]
    is_record: Callable[[str], bool] = lambda name: name.endswith(_SUFFIX)
    _records: dict[str, CachedRecord[Content]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def read(self) -> dict[str, CachedRecord[Content]]:
        """Return the records that are there, by the names of their files without the suffix."""
        listed = {name: file for name, file in list_names(self.folder).items() if self.is_record(name)}
        with self._lock:
            self._records = {name: record for name, record in self._records.items() if record.file == listed.get(name)}
            changed = [name for name in listed if name not in self._records]
            for name, content in zip(changed, self._read_all(changed), strict=True):
                if content is not None:  # else it was removed meanwhile
                    self._records[name] = CachedRecord(self.reduce(content), listed[name])
            return {name.removesuffix(_SUFFIX): record for name, record in self._records.items()}

    def _read_all(self, names: list[str]) -> list[Any]:
        paths = [self.folder / name for name in names]
        if not storage.is_remote(self.folder):
            return [storage.read_json(path) for path in paths]
        with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
            return list(pool.map(storage.read_json, paths))
