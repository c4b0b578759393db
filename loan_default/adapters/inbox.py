"""Files as their folder or bucket lists them, and the inbox: which batch files have come in whole, which are refused.

Files are recognised by size and time of change; content is read only where these are new. What a batch is called is
`layout`'s to say, reading the applications is `risk`'s, and asking for runs is `defs`'s.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.layout import batch_name
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


def split_tokens(text: str) -> set[str]:
    """Split tokens that were written one behind the other."""
    return {text[start : start + 8] for start in range(0, len(text), 8)}


@dataclass(frozen=True)
class ReadyBatch:
    """A batch that can be scored: its name, a fingerprint of its content, and the state and the token of its file."""

    batch: str
    fingerprint: str
    state: str
    token: str


@dataclass(frozen=True)
class ScanState:
    """A scan's findings, for the next one.

    `settled`: the tokens of files that need no other scan. Of the others `states`, `fingerprints` of those that did not
    change, `refused`: why some are no batches, and `requested`: the fingerprint of each batch when it was last asked
    for. Dagster keeps all of it with each tick, so it must be small where there are many files.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    requested: Mapping[str, str] = field(default_factory=dict)
    settled: str = ""

    def to_json(self) -> str:
        """Write the state as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> ScanState:
        """Read what `to_json` wrote; where it is anything else, each file waits for one more scan."""
        try:
            record = json.loads(text or "{}")
            settled = record.pop("settled", "")
            fields = {name: dict(values) for name, values in record.items()}
            texts = [settled, *(value for values in fields.values() for value in values.values())]
            return cls(**fields, settled=settled) if all(isinstance(text, str) for text in texts) else cls()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls()


@dataclass(frozen=True)
class InboxScan:
    """The content of the inbox: batches that are whole, oldest first, files that may still change, what is refused."""

    ready: tuple[ReadyBatch, ...]
    changing: tuple[str, ...]
    refused: Mapping[str, str]
    states: Mapping[str, str]
    fingerprints: Mapping[str, str]
    batch_of: Mapping[str, str]  # of files that are neither refused nor settled
    settled: tuple[str, ...]  # tokens

    def next_state(self, requested: Mapping[str, str], done: Collection[str] = ()) -> ScanState:
        """Return the state for the next scan; `done` batches are settled, and those that are gone are forgotten."""
        pending = {name: batch for name, batch in self.batch_of.items() if batch not in done}
        return ScanState(
            states={name: self.states[name] for name in pending},
            fingerprints={name: self.fingerprints[name] for name in pending if name in self.fingerprints},
            refused=self.refused,
            requested={batch: requested[batch] for batch in pending.values() if batch in requested},
            settled="".join([*self.settled, *(ready.token for ready in self.ready if ready.batch in done)]),
        )


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
        return [_local(UPath(local), entry.name, entry.stat()) for entry in entries if entry.is_file()]


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


def _remote(folder: UPath, listed: gcs.Object) -> File:
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


def scan_inbox(
    files: Sequence[File],
    batches: Iterable[str],
    before: ScanState,
    *,
    most_bytes: int,
    staging: Path,
) -> InboxScan:
    """Scan the inbox for files that are whole: those whose state is that of the last scan.

    Args:
        files: what the inbox holds, oldest first.
        batches: those that were registered before.
        before: the state after the last scan; where it is lost, each file waits for one more.
        most_bytes: to be read now; further files wait for the next scan.
        staging: where objects are copied to when they are read.
    """
    batch_of, refused = _name_batches(files, batches)
    tokens, settled = split_tokens(before.settled), []
    states, pending, fingerprints, ready, changing = {}, {}, {}, [], []
    for file in files:
        if file.name not in batch_of:
            continue
        if file.token in tokens:
            settled.append(file.token)
            continue
        states[file.name] = file.state
        pending[file.name] = batch_of[file.name]
        unchanged = before.states.get(file.name) == file.state
        fingerprint = before.fingerprints.get(file.name) if unchanged else None
        if unchanged and fingerprint is None and most_bytes > 0:
            most_bytes -= file.size
            fingerprint = read_fingerprint(staging, file)
        if fingerprint is None:
            changing.append(file.name)
        else:
            fingerprints[file.name] = fingerprint
            ready.append(ReadyBatch(batch_of[file.name], fingerprint, file.state, file.token))
    return InboxScan(tuple(ready), tuple(changing), refused, states, fingerprints, pending, tuple(settled))


def _name_batches(files: Sequence[File], batches: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the batch of each file, and why a file has none; the case of letters makes no other batch."""
    first: dict[str, str] = {batch.casefold(): batch for batch in batches}
    files_of: dict[str, list[str]] = defaultdict(list)
    batch_of, refused = {}, {}
    for file in files:
        try:
            batch = batch_name(file.name)
        except BadInput as error:
            refused[file.name] = str(error)
            continue
        same = first.setdefault(batch.casefold(), batch)
        if same != batch:
            refused[file.name] = f"{file.name}: batch {same} differs only by case; rename the file."
        elif files_of[batch]:
            refused[file.name] = f"{file.name}: {files_of[batch][0]} is the same batch in another form; remove one."
        else:
            batch_of[file.name] = batch
            files_of[batch].append(file.name)
    return batch_of, refused


def read_fingerprint(staging: Path, file: File) -> str:
    """Read the file, and return the fingerprint that the batch's report will have."""
    from loan_default.risk.data.loan_files import fingerprint

    return fingerprint([local_copy(staging, file)])


def signature(files: Iterable[File]) -> str:
    """Return 16 digits that change when one of the files does, without reading them."""
    states = "\n".join(sorted(f"{file.path} {file.state}" for file in files))
    return hashlib.sha256(states.encode()).hexdigest()[:_DIGITS]
