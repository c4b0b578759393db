"""Files in a local folder or a bucket, behind one kind of path, and written whole or not at all.

What lies where is `layout`'s to say, and what a file holds `risk`'s; a bucket's requests are `gcs`'s.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import gettempprefix
from typing import Any

from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.layout import MODELS, PROBE, RecordKind
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.files import write_atomically

DOWNLOADS = "downloads"  # the folder of scratch space where what was read from a bucket stays for a while
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_READS_AT_A_TIME = 24  # of a bucket, where each takes tens of milliseconds
_STALE_SECONDS = 7 * 24 * 3600.0  # no run takes that long, so nobody writes to it any more


def is_remote(path: str | UPath) -> bool:
    """Tell whether a path lies in a bucket, and not on this machine."""
    return str(path).startswith(gcs.SCHEME)


def to_path(address: str, **options: Any) -> UPath:
    """Return the path at an address; `options` travel with a bucket's paths: `patience` in seconds, and `connect`."""
    return UPath(address, **options) if is_remote(address) else UPath(address)


def to_local(path: UPath) -> Path:
    """Return a path on this machine as what Python's own functions take."""
    return Path(str(path))


def require_bucket(storage: str, *, patience: float) -> None:
    """Check that a bucket exists and may be used; a folder is made when it is needed.

    Raises:
        BucketError: it does not, or may not.
    """
    if is_remote(storage):
        gcs.require_bucket(to_path(storage, patience=patience))


# --- reading --------------------------------------------------------------------------------------------------


def exists(path: UPath) -> bool:
    """Tell whether there is such a file."""
    return gcs.find(path) is not None if is_remote(path) else to_local(path).exists()


def read_bytes(path: UPath) -> bytes:
    """Read a small file.

    Raises:
        FileNotFoundError: there is none.
    """
    return gcs.read(path) if is_remote(path) else to_local(path).read_bytes()


def read_text(path: UPath) -> str:
    """Read a small file of text, as `read_bytes` does."""
    return read_bytes(path).decode()


def read_json(path: UPath, kind: RecordKind | None = None, damages: list[DamagedRecord] | None = None) -> Any:
    """Read what `write_json` wrote, a record of this kind; None where there is no such file.

    What cannot be read is added to `damages`, where that is given, and the record is None then, too.

    Raises:
        DamagedRecord: it cannot be read, or is no such record.
    """
    from loan_default.adapters.record_shapes import parse_record

    try:
        return parse_record(read_bytes(path), path, kind)
    except FileNotFoundError:
        return None
    except DamagedRecord as error:
        if damages is None:
            raise
        damages.append(error)
        return None


def read_records(
    paths: Sequence[UPath], kind: RecordKind | None, damages: list[DamagedRecord] | None = None
) -> list[Any]:
    """Read records of a kind, each as `read_json` does, of a bucket several at a time."""
    read = partial(read_json, kind=kind, damages=damages)
    if not any(map(is_remote, paths)):
        return [read(path) for path in paths]
    with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
        return list(pool.map(read, paths))


def fetch(source: UPath, staging: Path, generation: int | None = None) -> Path:
    """Return a file on this machine: a local one where it is, an object as `generation` wrote it, else the last.

    Objects are streamed here once for each generation, and swept away a week after they were last asked for.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_remote(source):
        return to_local(source)
    if generation is None:
        listed = gcs.find(source)
        if listed is None:
            raise gcs.not_found(source)
        generation = listed.generation
    name = hashlib.blake2b(f"{source} {generation}".encode(), digest_size=12).hexdigest()
    target = staging / DOWNLOADS / name / source.name  # reports name files by their own names
    try:
        os.utime(target)  # it is in use
    except FileNotFoundError:
        with write_atomically(target) as part:
            gcs.download(source, part, generation)
    return target


# --- writing --------------------------------------------------------------------------------------------------


def store(source: Path, target: UPath) -> None:
    """Move a finished local file to its target; a reader sees the old file or the new one, never half of it."""
    try:
        if is_remote(target):
            gcs.upload(source, target)
            return
        with write_atomically(to_local(target)) as part:
            shutil.move(source, part)
    finally:  # also where there is no room for it, the more so
        source.unlink(missing_ok=True)


@contextmanager
def store_afterwards(source: Path, target: UPath) -> Iterator[None]:
    """Store what is written to a local file meanwhile, also where that ends in an error."""
    try:
        yield
    finally:
        if source.exists():
            store(source, target)


def write_text(target: UPath, text: str) -> None:
    """Write a small text, whole or not at all."""
    if is_remote(target):
        gcs.write(target, text)
        return
    with write_atomically(to_local(target)) as part:
        part.write_text(text, encoding="utf-8")


def write_json(target: UPath, record: Any) -> None:
    """Write a record as JSON; NaN is refused, as no other reader would take it."""
    write_text(target, json.dumps(record, indent=1, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    """Return what JSON has in place of a value: of NumPy's scalars Python's, as no text is a number; else a text."""
    return value.item() if hasattr(value, "item") else str(value)


def remove(path: UPath) -> None:
    """Remove a file, if there is one."""
    if is_remote(path):
        gcs.remove(path)
    else:
        to_local(path).unlink(missing_ok=True)


def leftover_patterns(root: str, staging: Path, models: Path) -> Iterator[tuple[Path, str]]:
    """List folders, and patterns in them, of what runs that die leave half-written, and of the doctor's probe."""
    yield staging, "**/*"
    for pattern in ("tmp*", "runs/*/tmp*"):
        yield models, pattern
    if not is_remote(root):  # a bucket shows an object when it is complete
        for pattern in (".*.part", "*/.*.part", f"{PROBE}*", f"{MODELS}/*/*/artifacts/.artifact.uploading.*"):
            yield Path(root), pattern


def sweep(folder: Path, pattern: str) -> None:
    """Remove the files and temporary folders that match and have not changed for a week: runs that died wrote them."""
    for path in list(folder.glob(pattern)):
        with suppress(FileNotFoundError):  # another run does the same
            if time.time() - path.lstat().st_mtime < _STALE_SECONDS:
                continue
            if not path.is_dir():
                path.unlink()
            elif path.name.startswith(gettempprefix()):
                shutil.rmtree(path, ignore_errors=True)
            elif path.parent.name == DOWNLOADS and not any(path.iterdir()):
                path.rmdir()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a local folder, which must exist, while others who ask for it wait; a process that dies lets it go."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def explain_os_error(error: OSError) -> str:
    """Turn the system's error into a sentence: which file, what is wrong, and what to do."""
    path = error.filename2 or error.filename
    if error.errno in _FULL or "os error 28" in str(error):
        where = f"at {path}" if path else "on the disk"
        return f"There is no room left {where}; make some (LOAN_DEFAULT_HOME and LOAN_DEFAULT_STORAGE), then run again."
    if error.errno in _CLOSED and path:
        return f"{path} cannot be used ({error.strerror}); let this user read and write there, then run again."
    return str(error)
