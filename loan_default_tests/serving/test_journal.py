"""The journal with real files: whole frames come back, a torn end is noticed, a disk that refuses costs nothing."""

import errno
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loan_default.serving import journal
from loan_default.serving.journal import Frame, Frames, Journal, age_of_oldest, claim, list_segments
from loan_default_tests.waiting import within

NewJournal = Callable[..., Journal]


def frame(text: str, rows: int = 1, preamble: str = "v1", **named: Any) -> Frame:
    return Frame(text.encode(), rows, {preamble.encode()}, **named)


@pytest.fixture
def new_journal(tmp_path: Path) -> Iterator[NewJournal]:
    """Journals of one folder that close a segment when they are closed, or as told."""
    journals = []

    def make(fsync: str = "never", **options: Any) -> Journal:
        usual = {"rows": 1_000, "seconds": 3600}
        journals.append(Journal(tmp_path / "journal", "5001-77", fsync, **{**usual, **options}))  # type: ignore[arg-type]
        return journals[-1]

    yield make
    for opened in journals:
        opened.close()


def payloads(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [payload.decode() for payload in Frames(file)]


def all_payloads(folder: Path) -> list[list[str]]:
    return [payloads(path) for path in list_segments(folder / "journal")]


def _last(folder: Path) -> str:
    return "".join(segment[-1] for segment in all_payloads(folder) if segment)


def test_frames_come_back_in_order_behind_what_their_reader_needs(new_journal: NewJournal, tmp_path: Path) -> None:
    writer = new_journal()
    for text, preamble in (("a", "v1"), ("b", "v1"), ("c", "v2"), ("d", "v1")):
        writer.append(frame(text, preamble=preamble))
        assert within(10, lambda: _last(tmp_path) == text)  # noqa: B023 - of this turn
    writer.close()
    assert all_payloads(tmp_path) == [["v1", "a", "b", "v2", "c", "d"]]
    writer.append(frame("late", rows=3))
    assert (writer.dropped, all_payloads(tmp_path)[0][-1]) == (3, "d")


def is_closed(journal: Path, count: int) -> bool:
    """Tell whether there are so many segments, which nobody writes."""
    segments = list_segments(journal)
    for path in segments:
        with claim(path) as file:
            if file is None:
                return False
    return len(segments) == count


@pytest.mark.parametrize("options", [{"rows": 2}, {"seconds": 0.0}], ids=["enough rows", "enough time"])
def test_a_full_or_old_segment_is_closed_and_the_next_says_all_again(
    new_journal: NewJournal, tmp_path: Path, options: dict[str, Any]
) -> None:
    writer = new_journal(**options)
    for count, text in enumerate(("a", "b"), 1):
        writer.append(frame(text, rows=2))
        assert within(10, partial(is_closed, tmp_path / "journal", count))
    assert sorted(all_payloads(tmp_path)) == [["v1", "a"], ["v1", "b"]]


def test_a_segment_is_its_writers_until_it_is_closed(new_journal: NewJournal, tmp_path: Path) -> None:
    writer = new_journal()
    writer.append(frame("a"))
    assert within(10, lambda: bool(list_segments(tmp_path / "journal")))
    (path,) = list_segments(tmp_path / "journal")
    assert path.name.startswith("5001-77-20")
    with claim(path) as file:
        assert file is None
    writer.close()
    assert 0 <= age_of_oldest(path.parent) < 60
    with claim(path) as file, claim(path) as second:
        assert (file is None, second is None) == (False, True)
        path.unlink()
    with claim(path) as file:
        assert file is None
    assert age_of_oldest(path.parent) == 0
    assert age_of_oldest(tmp_path / "none") == 0


@pytest.mark.parametrize("lost", [1, 5, 9, 12])
def test_a_torn_end_is_noticed_and_the_rest_is_read(new_journal: NewJournal, tmp_path: Path, lost: int) -> None:
    writer = new_journal()
    for text in ("first", "torn"):
        writer.append(frame(text))
    writer.close()
    (path,) = list_segments(tmp_path / "journal")
    os.truncate(path, path.stat().st_size - lost)
    with path.open("rb") as file:
        frames = Frames(file)
        assert [*frames] == [b"v1", b"first"]
        assert frames.torn == 12 - lost


@pytest.mark.parametrize(
    "tail", [b"\0" * 64, b"\xff" * 64, b"\x04\0\0\0\0\0\0\0abcd"], ids=["zeros", "ones", "checksum"]
)
def test_what_is_no_frame_ends_the_segment(new_journal: NewJournal, tmp_path: Path, tail: bytes) -> None:
    writer = new_journal()
    writer.append(frame("first"))
    writer.close()
    (path,) = list_segments(tmp_path / "journal")
    path.write_bytes(path.read_bytes() + tail)
    with path.open("rb") as file:
        frames = Frames(file)
        assert [*frames] == [b"v1", b"first"]
        assert frames.torn == len(tail)


@pytest.mark.parametrize("fsync", ["second", "decision"])
def test_what_is_told_as_durable_was_synced(
    new_journal: NewJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    def remember(descriptor: int) -> None:
        fdatasync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", remember)
    monkeypatch.setattr(journal, "_GATHER_SECONDS", 60.0)  # nobody is to wait for others
    writer, durable = new_journal(fsync), threading.Semaphore(0)
    for number in range(3):
        writer.append(frame("x" * 100, synced=lambda trouble: durable.release() if trouble is None else None))
        assert durable.acquire(timeout=10)
        assert synced[-1] > 100 * (number + 1)


def test_by_default_it_is_synced_within_a_second(new_journal: NewJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.set())
    new_journal("never").append(frame("a"))
    assert not synced.wait(0.5)
    new_journal("second").append(frame("a"))
    assert synced.wait(10)


class FullDisk:
    """A disk that takes a part of what is written, until it has room, or writes of at most `room` bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full, self.room, self._write = True, 0, os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, content: Any) -> int:
        if not self.is_full or len(content) <= self.room:
            return self._write(descriptor, content)
        if not self.room and len(content) > 3:
            return self._write(descriptor, bytes(content[:3]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_tried_again_and_nothing_is_lost(
    new_journal: NewJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = new_journal("second")
    writer.append(frame("before"))
    assert within(10, lambda: all_payloads(tmp_path) == [["v1", "before"]])
    disk = FullDisk(monkeypatch)
    for text in ("a", "b"):
        writer.append(frame(text))
    assert within(10, lambda: writer.trouble is not None)
    assert f"{tmp_path}/journal cannot be written to (No space left on device)" == writer.trouble
    time.sleep(0.5)
    assert (len(caplog.records), caplog.records[0].levelno) == (1, logging.WARNING)
    disk.is_full = False
    assert within(10, lambda: all_payloads(tmp_path) == [["v1", "before", "a", "b"]])
    assert (writer.dropped, str(writer.trouble)) == (0, "None")


@pytest.mark.parametrize("fsync", ["second", "decision"])
def test_who_waits_for_a_full_disk_is_told_at_once(
    new_journal: NewJournal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fsync: str
) -> None:
    writer, disk = new_journal(fsync), FullDisk(monkeypatch)
    troubles: list[str | None] = []
    writer.append(frame("answered"))
    writer.append(frame("a", synced=troubles.append))
    assert within(10, lambda: bool(troubles))
    assert "No space left on device" in (troubles[0] or "")
    disk.is_full = False
    writer.append(frame("b", synced=troubles.append))
    assert within(10, lambda: troubles[1:] == [None])
    writer.close()
    assert all_payloads(tmp_path) == [["v1", "answered", "b"]]
    assert (writer.dropped, writer.trouble) == (0, None)


def test_a_disk_that_has_room_again_is_in_no_trouble_although_nothing_waits(
    new_journal: NewJournal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writer, disk = new_journal("decision"), FullDisk(monkeypatch)
    disk.room = 5_000
    troubles: list[str | None] = []
    writer.append(frame("a" * 6_000, synced=troubles.append))
    assert within(10, lambda: bool(troubles))
    time.sleep(0.4)  # in which it is tried again, with as many bytes
    assert writer.trouble == troubles[0]
    disk.is_full = False
    assert within(10, lambda: writer.trouble is None)
    writer.append(frame("b"))
    writer.close()
    assert all_payloads(tmp_path) == [["v1", "b"]]


def test_nobody_waits_and_memory_is_bounded_while_a_disk_hangs(
    new_journal: NewJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_CAPACITY_BYTES", 5)
    requested, released, write = threading.Event(), threading.Event(), os.write

    def hang(descriptor: int, content: Any) -> int:
        requested.set()
        assert released.wait(10)
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", hang)
    writer = new_journal()
    troubles: list[str | None] = []
    writer.append(frame("ab"))
    assert requested.wait(10)
    for _ in range(3):
        writer.append(frame("cd", rows=2, synced=troubles.append))
    assert writer.dropped == 4
    assert troubles == [f"{tmp_path}/journal does not keep up"] * 2
    released.set()
    writer.close()
    assert all_payloads(tmp_path) == [["v1", "ab", "cd"]]


def _write_and_wait(folder: Path, ready: Any) -> None:
    writer = Journal(folder, "1", "decision", rows=1_000, seconds=3600)
    for number in range(100):
        writer.append(frame(f"{number}", synced=lambda _: ready.release()))
    time.sleep(60)


@pytest.mark.integration
def test_what_a_killed_process_wrote_can_be_taken_over(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Semaphore(0)
    process = context.Process(target=_write_and_wait, args=(tmp_path / "journal", ready))
    process.start()
    for _ in range(100):
        assert ready.acquire(timeout=60)
    (path,) = list_segments(tmp_path / "journal")
    with claim(path) as file:
        assert file is None
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with claim(path) as file:
        assert file is not None
        assert [*Frames(file)] == [b"v1", *(f"{number}".encode() for number in range(100))]
