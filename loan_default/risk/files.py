"""Writes a local file so that a reader sees the old one or the new one, never half of it, and names journals.

What stands in a file is its writer's to say; buckets and the layout of the storage belong in `adapters`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOURNAL = "journal://"  # begins the address of a file that several processes may add to: journal:///path


@contextmanager
def write_atomically(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; it replaces the target if all went well, else it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
