"""The inbox: which batch files have come in whole, and which cannot be taken.

Files are known by size and time of change; content is read only where these are new. What a batch is called is
given by the caller, reading the applications is `risk`'s, and asking for runs is `defs`'s.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.storage import fetch, is_remote, to_path
from loan_default.risk.errors import BadInput

_DIGITS = 16
_TOKEN_BYTES = 6  # 8 letters


@dataclass(frozen=True)
class File:
    """A file as its folder or bucket lists it; `state` changes whenever it is written, `generation` is a bucket's."""

    path: UPath
    size: int
    state: str
    changed_at: datetime
    generation: int | None = None

    @property
    def name(self) -> str:
        """Without its folder."""
        return self.path.name

    @property
    def token(self) -> str:
        """8 letters for name and state: all that is kept of a file that needs no further look."""
        told = hashlib.blake2b(f"{self.name} {self.state}".encode(), digest_size=_TOKEN_BYTES)
        return base64.b64encode(told.digest()).decode()


def split_tokens(text: str) -> set[str]:
    """Tokens that were written one behind the other."""
    return {text[at : at + 8] for at in range(0, len(text), 8)}


@dataclass(frozen=True)
class ReadyBatch:
    """A batch that can be scored: its name, a fingerprint of its content, and the state and the token of its file."""

    batch: str
    fingerprint: str
    state: str
    token: str


@dataclass(frozen=True)
class ScanState:
    """What is known from the last look.

    `settled`: the tokens of files that need no other look. Of the others `states`, `whole`: the fingerprint of those
    that did not change, `refused`: why some were not taken, and `taken`: the fingerprint of each batch when it was last
    asked for. Dagster keeps all of it with each tick, so it must be small where there are many files.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    settled: str = ""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> ScanState:
        """What `to_json` wrote; nothing where there is none of it: files are looked at once more then."""
        try:
            told = json.loads(text or "{}")
            settled = told.pop("settled", "")
            known = {name: dict(known) for name, known in told.items()}
            texts = all(isinstance(told, str) for one in (*known.values(), {"": settled}) for told in one.values())
            return cls(**known, settled=settled) if texts else cls()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls()


@dataclass(frozen=True)
class InboxScan:
    """What is in the inbox: batches that are whole, oldest first, files that may still change, and what is refused."""

    ready: tuple[ReadyBatch, ...]
    changing: tuple[str, ...]
    refused: Mapping[str, str]
    states: Mapping[str, str]
    whole: Mapping[str, str]
    batch_of: Mapping[str, str]  # of files that are neither refused nor settled
    settled: tuple[str, ...]  # tokens

    def memory(self, taken: Mapping[str, str], done: Collection[str] = ()) -> ScanState:
        """For the next look; the batches that are `done` are settled, and of those that are gone nothing is kept."""
        left = {name: batch for name, batch in self.batch_of.items() if batch not in done}
        return ScanState(
            states={name: self.states[name] for name in left},
            whole={name: self.whole[name] for name in left if name in self.whole},
            refused=self.refused,
            taken={batch: taken[batch] for batch in left.values() if batch in taken},
            settled="".join([*self.settled, *(one.token for one in self.ready if one.batch in done)]),
        )


def list_files(folder: UPath) -> list[File]:
    """The files of a folder or bucket prefix, oldest first; what begins with a dot is being written."""
    found = sorted(list_all_files(folder), key=lambda file: (file.changed_at, file.name))
    return [file for file in found if not file.name.startswith(".")]


def list_all_files(folder: UPath) -> list[File]:
    """The files of a folder or bucket prefix, also those that are being written."""
    if is_remote(folder):
        return [_remote(folder / found.name, found) for found in gcs.list_objects(folder)]
    local = Path(folder)
    return [_local(path) for path in local.iterdir() if path.is_file()] if local.exists() else []


def list_folders(folder: UPath) -> list[str]:
    """The names of the folders in a folder, sorted; none where there is no such folder."""
    if is_remote(folder):
        return gcs.list_folders(folder)
    local = Path(folder)
    return sorted(path.name for path in local.iterdir() if path.is_dir()) if local.exists() else []


def find_file(place: UPath) -> File | None:
    """The file as its folder or bucket tells it, if there is one."""
    if not is_remote(place):
        return _local(Path(place)) if Path(place).exists() else None
    found = gcs.find(place)
    return _remote(place, found) if found else None


def _local(path: Path) -> File:
    stat = path.stat()
    changed_at = datetime.fromtimestamp(stat.st_mtime, UTC)
    return File(UPath(path), stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}", changed_at)


def _remote(place: UPath, found: gcs.Object) -> File:
    return File(place, found.size, str(found.generation), found.changed_at, found.generation)


def match_files(spec: str, **options: Any) -> list[File]:
    """The files that a path, a glob or an address names; none where nothing is there. Options are `root_of`'s."""
    if is_remote(spec):
        folder, _, pattern = spec.rpartition("/")
        return [file for file in list_files(to_path(folder, **options)) if fnmatch(file.name, pattern)]
    return [_local(Path(name)) for name in glob.glob(spec)]


def require_files(spec: str) -> list[File]:
    """The files that a path, a glob or a `gs://` address names, sorted by name.

    Raises:
        BadInput: nothing is named, or nothing is there.
    """
    if not spec:
        raise BadInput("No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH (a file, a glob or gs://…).")
    found = sorted(match_files(spec), key=lambda file: str(file.path))
    if not found:
        raise BadInput(f"{spec} names no file; give the path of a CSV, CSV.GZ or Parquet file, a glob or gs://….")
    return found


def local_copy(staging: Path, file: File) -> Path:
    """A file on the machine that asks; an object is copied there first."""
    return fetch(file.path, staging, file.generation)


def scan_inbox(
    files: Sequence[File],
    known: Iterable[str],
    memory: ScanState,
    name_of: Callable[[str], str],
    *,
    most_bytes: int,
    staging: Path,
) -> InboxScan:
    """Tell which files are whole: those whose state is that of the last look.

    Args:
        files: what the inbox holds, oldest first.
        known: batches that were taken before.
        memory: of the last look; where it is lost, each file waits for one more look.
        name_of: a file's name → its batch's; raises `BadInput` for a name that cannot be one.
        most_bytes: to be read now; further files wait for the next look.
        staging: where objects are copied to when they are read.
    """
    batch_of, refused = _names(files, known, name_of)
    before, settled = split_tokens(memory.settled), []
    states, left, whole, ready, changing = {}, {}, {}, [], []
    for file in files:
        if file.name not in batch_of:
            continue
        if file.token in before:
            settled.append(file.token)
            continue
        states[file.name] = file.state
        left[file.name] = batch_of[file.name]
        still = memory.states.get(file.name) == file.state
        fingerprint = memory.whole.get(file.name) if still else None
        if still and fingerprint is None and most_bytes > 0:
            most_bytes -= file.size
            fingerprint = fingerprint_of(fetch(file.path, staging, file.generation))
        if fingerprint is None:
            changing.append(file.name)
        else:
            whole[file.name] = fingerprint
            ready.append(ReadyBatch(batch_of[file.name], fingerprint, file.state, file.token))
    return InboxScan(tuple(ready), tuple(changing), refused, states, whole, left, tuple(settled))


def _names(
    files: Sequence[File], known: Iterable[str], name_of: Callable[[str], str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The batch of each file, and why a file has none; a batch is known by its name in any case of letters."""
    first: dict[str, str] = {batch.casefold(): batch for batch in known}
    taken: dict[str, list[str]] = defaultdict(list)
    batch_of, refused = {}, {}
    for file in files:
        try:
            batch = name_of(file.name)
        except BadInput as error:
            refused[file.name] = str(error)
            continue
        same = first.setdefault(batch.casefold(), batch)
        if same != batch:
            refused[file.name] = f"{file.name}: batch {same} differs only by case; rename the file."
        elif taken[batch]:
            refused[file.name] = f"{file.name}: {taken[batch][0]} is the same batch in another form; remove one."
        else:
            batch_of[file.name] = batch
            taken[batch].append(file.name)
    return batch_of, refused


def fingerprint_of(file: Path) -> str:
    """As the batch's report will have it."""
    from loan_default.risk.data.loan_files import fingerprint

    return fingerprint([file])


def signature(places: Iterable[File]) -> str:
    """16 digits that change when one of the files does, without reading them."""
    told = "\n".join(sorted(f"{file.path} {file.state}" for file in places))
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]
