"""A write-ahead journal: frames that a process appends to segments, each whole and checked, and how others read them.

Appending never waits: a thread writes what came since it last did, and syncs it as the setting says. What stands in a
frame, and what becomes of a segment that is closed, is `decision_records`'s and `log_files`'s.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal, NamedTuple

from google_crc32c import value as crc32c

log = logging.getLogger(__name__)

Fsync = Literal["never", "second", "decision"]

_SUFFIX = ".journal"
_HEAD = struct.Struct("<II")  # bytes of the payload, and their CRC-32C
# Frames gather before they are written together. With a turn's pause and the time between syncs that makes a second.
_GATHER_SECONDS, _TURN_SECONDS, _SYNC_SECONDS = 0.05, 0.25, 0.7
_CAPACITY_BYTES = 64_000_000  # that may wait for a disk that refuses or hangs
_CLOSE_SECONDS = 20.0  # a disk that hangs must not keep the process from stopping


class Frame(NamedTuple):
    """Rows as bytes; `preambles` are what their reader needs once before them in each segment.

    `synced`, where somebody waits, is called by the thread when they are durable, or with what keeps them from it.
    """

    payload: bytes
    rows: int
    preambles: Collection[bytes] = ()
    synced: Callable[[str | None], None] | None = None

    def tell(self, trouble: str | None) -> None:
        """Call whoever waits."""
        if self.synced is not None:
            self.synced(trouble)


class _Segment:
    """A file that is written, and locked meanwhile."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, part = folder / f"{name}{_SUFFIX}", folder / f".{name}.part"
        self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        part.rename(self.path)  # now that it is locked
        self.rows, self.opened_at, self.broken = 0, time.monotonic(), False
        self._preambles: set[bytes] = set()

    def write(self, frames: Sequence[Frame], *, sync: bool) -> None:
        """Append the frames, all or none."""
        size = os.fstat(self._descriptor).st_size
        preambles = {preamble for frame in frames for preamble in frame.preambles} - self._preambles
        payloads = [*preambles, *(frame.payload for frame in frames)]
        parts = [part for payload in payloads for part in (_HEAD.pack(len(payload), crc32c(payload)), payload)]
        content = memoryview(b"".join(parts))
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
            if sync:
                self.sync()
        except OSError:
            self.broken = True
            os.ftruncate(self._descriptor, size)
            self.broken = False
            raise
        self.rows += sum(frame.rows for frame in frames)
        self._preambles |= preambles

    def probe(self, count: int) -> None:
        """See whether the disk takes so many bytes, of which nothing stays."""
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, bytes(count)) < count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if not self.rows:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class Journal:
    """The journal of one process: a file for each minute, or so many rows, in a folder that others may share."""

    def __init__(self, folder: Path, worker: str, fsync: Fsync, *, rows: int, seconds: float) -> None:
        """Begin to write.

        Args:
            folder: of the segments, on this machine.
            worker: begins the names of the segments.
            fsync: when what was written is made durable: never, each second, or at once; at once too, unless it is
                never, where a frame has `synced`.
            rows: after which a segment is closed.
            seconds: after which one is closed that has any row.
        """
        self.dropped = 0  # rows that no segment will hold
        self.trouble: str | None = None
        self._folder, self._worker, self._fsync = folder, worker, fsync
        self._rows, self._seconds = rows, seconds
        self._segment: _Segment | None = None
        self._waiting: list[Frame] = []
        self._waiting_bytes, self._synced_at, self._unsynced = 0, 0.0, False
        self._refused_bytes = 0  # of the frames that the disk refused last
        self._exchange, self._stop = threading.Lock(), threading.Event()
        self._due, self._urgent = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def append(self, frame: Frame) -> None:
        """Have a frame written soon; where no more can wait its rows are dropped."""
        with self._exchange:  # held by nobody for long
            fits = not self._stop.is_set() and self._waiting_bytes + len(frame.payload) <= _CAPACITY_BYTES
            if fits:
                self._waiting.append(frame)
                self._waiting_bytes += len(frame.payload)
            else:
                self.dropped += frame.rows
        if not fits:
            frame.tell(self.trouble or f"{self._folder} does not keep up")
            return
        if frame.synced is not None:
            self._urgent.set()
        self._due.set()

    def close(self) -> None:
        """Write what waits and close the segment; what comes later is dropped."""
        self._stop.set()
        self._urgent.set()
        self._due.set()
        self._thread.join(_CLOSE_SECONDS)
        with self._exchange:
            lost = sum(frame.rows for frame in self._waiting)
            self.dropped += lost
            self._waiting = []
        if lost:
            log.warning("%s could not be written to; %s scored rows are lost.", self._folder, lost)

    def _run(self) -> None:
        while not self._stop.is_set():
            is_idle = self._segment is None and not self._waiting and self.trouble is None
            self._due.wait(None if is_idle else _TURN_SECONDS)
            if self._fsync != "decision":
                self._urgent.wait(_GATHER_SECONDS)
            self._urgent.clear()
            self._due.clear()
            try:
                self._take_turn()
            except Exception:  # the thread must live on
                log.exception("a turn of the journal failed")
        self._take_turn()
        if self._segment is not None:
            self._close_segment(self._segment)

    def _take_turn(self) -> None:
        """Write what waits, sync where that is due, and close a segment that is full or old."""
        with self._exchange:
            frames = [*self._waiting]
        try:
            self._write(frames)
            if self._unsynced and time.monotonic() - self._synced_at >= _SYNC_SECONDS:
                self._sync()
            if self.trouble is not None and not self._unsynced:  # nothing waits that would find out whether it is over
                self._open_segment().probe(self._refused_bytes)
                self.trouble = None
        except OSError as error:
            self._refuse(frames, error)
        if (segment := self._segment) is None:
            return
        if segment.broken or segment.rows >= self._rows or time.monotonic() - segment.opened_at >= self._seconds:
            self._close_segment(segment)

    def _write(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        segment = self._open_segment()
        sync = self._fsync != "never" and (self._fsync == "decision" or any(frame.synced for frame in frames))
        segment.write(frames, sync=sync)
        self._unsynced, self.trouble = self._fsync == "second" and not sync, None
        self._forget(frames)
        for frame in frames:
            frame.tell(None)

    def _open_segment(self) -> _Segment:
        """Return the segment that is written; a new one where there is none."""
        if self._segment is None:
            name = f"{self._worker}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
            self._segment = _Segment(self._folder, name)
            if self._fsync != "never":
                sync_path(self._folder)
        return self._segment

    def _forget(self, frames: Sequence[Frame]) -> None:
        identities = {*map(id, frames)}
        with self._exchange:
            self._waiting = [frame for frame in self._waiting if id(frame) not in identities]
            self._waiting_bytes = sum(len(frame.payload) for frame in self._waiting)

    def _sync(self) -> None:
        if self._segment is not None:
            self._segment.sync()
        self._synced_at, self._unsynced = time.monotonic(), False

    def _refuse(self, frames: Sequence[Frame], error: OSError) -> None:
        """Try again later, but tell at once who waits for it that nothing is durable."""
        trouble = f"{self._folder} cannot be written to ({error.strerror or error})"
        if self.trouble is None:
            log.warning("%s; scored rows wait, and are dropped when no more can. Make it writable.", trouble)
        self.trouble = trouble
        if frames:
            self._refused_bytes = sum(len(frame.payload) for frame in frames)
        awaited = [frame for frame in frames if frame.synced is not None]
        if awaited:
            self._forget(awaited)
        for frame in awaited:
            frame.tell(trouble)

    def _close_segment(self, segment: _Segment) -> None:
        self._segment = None
        with suppress(OSError):  # it was told of as soon as it failed, and what was written can be read all the same
            if self._unsynced:
                segment.sync()
        self._unsynced = False
        segment.close()


def sync_path(path: Path) -> None:
    """Make a file durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading --------------------------------------------------------------------------------------------------


def list_segments(folder: Path) -> list[Path]:
    """List the segments of a folder, oldest first; those that are being written are among them."""
    by_age = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another worker was quicker
            by_age.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(by_age)]


def age_of_oldest(folder: Path) -> float:
    """Return the seconds since anything was written to the oldest segment of a folder, 0 where there is none."""
    for path in list_segments(folder):
        with suppress(FileNotFoundError):
            return max(0.0, time.time() - path.stat().st_mtime)
    return 0.0


@contextmanager
def claim(path: Path) -> Iterator[IO[bytes] | None]:
    """Open a segment that nobody writes or reads in this way, as no other can then; None where that is not so."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file if os.fstat(file.fileno()).st_nlink else None  # it may be done with


class Frames:
    """The payloads of a segment, to its end or to the first that is not whole; then `torn` says how many bytes follow.

    A process that is killed, or a machine that goes down, leaves the last in part.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.torn = file, 0

    def __iter__(self) -> Iterator[bytes]:
        size, end = os.fstat(self._file.fileno()).st_size, 0
        while end < size:
            head = self._file.read(_HEAD.size)
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            payload = self._file.read(length) if 0 < length <= size - end - _HEAD.size else b""
            if not payload or crc32c(payload) != checksum:  # blocks that were never written are zeros
                self.torn = size - end
                return
            end += _HEAD.size + length
            yield payload
