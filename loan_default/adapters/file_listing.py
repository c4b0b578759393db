"""Files as their folder or bucket lists them: found by path, glob or address, with size and time of change, unread.

What the files of the inbox are is `inbox`'s to say; reading and writing a path is `storage`'s.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.storage import fetch, is_remote, to_local, to_path
from loan_default.risk.errors import BadInput

_DIGITS = 16
_TOKEN_BYTES = 6  # 8 letters


@dataclass(frozen=True)
class File:
    """A file as its folder or bucket lists it; `state` changes whenever it is written, `generation` is a bucket's."""

    folder: UPath
    name: str
    size: int
    state: str
    changed_at: datetime
    generation: int | None = None

    @cached_property  # in a list of thousands, making each would take longer than listing them
    def path(self) -> UPath:
        """The path of the file."""
        return self.folder / self.name

    @property
    def token(self) -> str:
        """The 8 letters that stand for name and state, where no more of a file has to be remembered."""
        digest = hashlib.blake2b(f"{self.name} {self.state}".encode(), digest_size=_TOKEN_BYTES)
        return base64.b64encode(digest.digest()).decode()


@dataclass(frozen=True)
class ListedFile:
    """A file as its folder or bucket lists it, without a path: `state` changes whenever it is written."""

    state: str
    changed_at: datetime


def list_files(folder: UPath) -> list[File]:
    """List the files of a folder or bucket prefix, oldest first; what begins with a dot is being written."""
    files = sorted(list_all_files(folder), key=lambda file: (file.changed_at, file.name))
    return [file for file in files if not file.name.startswith(".")]


def list_all_files(folder: UPath) -> list[File]:
    """List the files of a folder or bucket prefix, also those that are being written."""
    if is_remote(folder):
        return [_remote(folder, listed) for listed in gcs.list_objects(folder)]
    local = to_local(folder)
    if not local.exists():
        return []
    with os.scandir(local) as entries:
        return [_local(folder, entry.name, entry.stat()) for entry in entries if entry.is_file()]


def list_names(folder: UPath) -> dict[str, ListedFile]:
    """List the files of a folder or bucket prefix by their names, but for those that are being written.

    As `list_files`, in a fifth of its time where there are thousands: no path is made of each.
    """
    if is_remote(folder):
        objects = gcs.list_objects(folder)
        return {listed.name: ListedFile(str(listed.generation), listed.changed_at) for listed in objects}
    local = to_local(folder)
    if not local.exists():
        return {}
    with os.scandir(local) as entries:
        files = {entry.name: entry.stat() for entry in entries if entry.is_file() and not entry.name.startswith(".")}
    return {name: ListedFile(_state(stat), _changed_at(stat)) for name, stat in files.items()}


def list_folders(folder: UPath) -> list[str]:
    """List the names of the folders in a folder, sorted; none where there is no such folder."""
    if is_remote(folder):
        return gcs.list_folders(folder)
    local = to_local(folder)
    return sorted(path.name for path in local.iterdir() if path.is_dir()) if local.exists() else []


def find_file(path: UPath) -> File | None:
    """Look a file up in its folder or bucket, if there is one."""
    if not is_remote(path):
        return _named(to_local(path)) if to_local(path).exists() else None
    listed = gcs.find(path)
    return _remote(path.parent, listed) if listed else None


def _named(path: Path) -> File:
    return _local(UPath(path.parent), path.name, path.stat())


def _local(folder: UPath, name: str, stat: os.stat_result) -> File:
    return File(folder, name, stat.st_size, _state(stat), _changed_at(stat))


def _state(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _changed_at(stat: os.stat_result) -> datetime:
    return datetime.fromtimestamp(stat.st_mtime, UTC)


def _remote(folder: UPath, listed: gcs.BucketObject) -> File:
    return File(folder, listed.name, listed.size, str(listed.generation), listed.changed_at, listed.generation)


def match_files(spec: str, **options: Any) -> list[File]:
    """List the files that a path, a glob or an address names, if any; a file of that very name goes before a pattern.

    Options are `to_path`'s.
    """
    if is_remote(spec):
        folder, _, pattern = spec.rpartition("/")
        files = list_files(to_path(folder, **options))
        named = [file for file in files if file.name == pattern]
        return named or [file for file in files if fnmatchcase(file.name, pattern)]
    names = [spec] if Path(spec).exists() else glob.glob(spec)
    return [_named(Path(name)) for name in names if Path(name).is_file()]


def require_files(spec: str) -> list[File]:
    """List the files that a path, a glob or a `gs://` address names, sorted by name.

    Raises:
        BadInput: nothing is named, or nothing is there.
    """
    if not spec:
        raise BadInput("No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH (a file, a glob or gs://…).")
    files = sorted(match_files(spec), key=lambda file: str(file.path))
    if not files and not is_remote(spec) and Path(spec).is_dir():
        raise BadInput(f"{spec} is a folder; give the path of a file in it, or a glob as {Path(spec) / '*.csv'}.")
    if not files:
        raise BadInput(f"{spec} names no file; give the path of a CSV, CSV.GZ or Parquet file, a glob or gs://….")
    return files


def local_copy(staging: Path, file: File) -> Path:
    """Return the path of a file on this machine; an object is copied here first."""
    return fetch(file.path, staging, file.generation)


def signature(files: Iterable[File]) -> str:
    """Return 16 digits that change when one of the files does, without reading them."""
    states = "\n".join(sorted(f"{file.path} {file.state}" for file in files))
    return hashlib.sha256(states.encode()).hexdigest()[:_DIGITS]
