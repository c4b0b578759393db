"""Small JSON records of a folder or bucket prefix, each read once for each state of its file, for who looks often.

A page over a thousand batches lists a folder, and reads what has changed since the last look; after a restart it reads
one index of all. Which part of a record stays in memory is the caller's to say; files that are read once are
`storage`'s.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.file_listing import ListedFile, list_names
from loan_default.adapters.layout import RecordKind
from loan_default.risk.errors import DamagedRecord

_NOT_INDEXED = 50  # records that are read one by one after a restart, before an index is worth its writing
_SUFFIX = ".json"

Content = TypeVar("Content")


@dataclass(frozen=True)
class CachedRecord(Generic[Content]):
    """The part of a record that stays in memory, and its file as it was listed when it was read."""

    content: Content
    file: ListedFile


@dataclass
class RecordCache(Generic[Content]):
    """The records of a folder: `reduce` makes of each what stays in memory, `is_record` chooses them by their names.

    `index` is a file of what was read of all of them, each with the state of its file: nothing but a faster
    start, which may be removed. Where there is one, what `reduce` returns must be the same after a way through JSON.
    `kind` says by which shape records are read.
    """

    folder: UPath
    reduce: Callable[[Any], Content]
    is_record: Callable[[str], bool] = lambda name: name.endswith(_SUFFIX)
    index: UPath | None = None
    kind: RecordKind | None = None
    _records: dict[str, CachedRecord[Content]] | None = None
    _not_indexed: int = 0
    _lock: Lock = field(default_factory=Lock)

    def read(self, damages: list[DamagedRecord] | None = None) -> dict[str, CachedRecord[Content]]:
        """Return the records that are there, by the names of their files without the suffix.

        What cannot be read is added to `damages`, where that is given; it is looked at again each time.

        Raises:
            DamagedRecord: one cannot be read.
        """
        listed = {name: file for name, file in list_names(self.folder).items() if self.is_record(name)}
        with self._lock:
            earlier = self._read_index() if self._records is None else self._records
            records = {name: record for name, record in earlier.items() if record.file == listed.get(name)}
            changed = [name for name in listed if name not in records]
            contents = storage.read_records([self.folder / name for name in changed], self.kind, damages)
            read = {name: content for name, content in zip(changed, contents, strict=True) if content is not None}
            records |= {name: CachedRecord(self.reduce(content), listed[name]) for name, content in read.items()}
            self._records = records
            self._not_indexed += len(read)
            if self.index is not None and self._not_indexed > _NOT_INDEXED:
                self._write_index(self.index, records)
            return {name.removesuffix(_SUFFIX): record for name, record in records.items()}

    # --- the index

    def _read_index(self) -> Mapping[str, CachedRecord[Content]]:
        """Return what an index of this release holds; nothing of one that is damaged or another release's."""
        if self.index is None:
            return {}
        try:
            index = storage.read_json(self.index)
            lines = index["records"] if index and index["code"] == _fingerprint(self.reduce) else {}
            return {
                name: CachedRecord(content, ListedFile(state, datetime.fromisoformat(changed_at)))
                for name, (state, changed_at, content) in lines.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logging.getLogger(__name__).warning("%s is not used and will be written anew: %s", self.index, error)
            return {}

    def _write_index(self, index: UPath, records: Mapping[str, CachedRecord[Content]]) -> None:
        lines = {
            name: (record.file.state, record.file.changed_at.isoformat(), record.content)
            for name, record in records.items()
        }
        try:
            storage.write_text(index, json.dumps({"code": _fingerprint(self.reduce), "records": lines}))
            self._not_indexed = 0
        except OSError as error:  # whoever looks may have no right to write
            logging.getLogger(__name__).warning("%s was not written, so the next start is slower: %s", index, error)
            self.index = None


@functools.cache
def _fingerprint(reduce: Callable[[Any], Any]) -> str:
    """Return what changes with the code that reduces records, so that no release uses another's index."""
    return hashlib.blake2b(Path(inspect.getfile(reduce)).read_bytes(), digest_size=8).hexdigest()
