"""A worker's log: what it is given stands in segments, that close by themselves; files are `test_log_files`'s."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loan_default.serving.journal import list_segments
from loan_default.serving.log_files import LogFiles
from loan_default.serving.log_status import LogStatus
from loan_default.serving.prediction_log import PredictionLog
from loan_default_tests.serving.logged_entries import entry
from loan_default_tests.serving.test_journal import is_closed
from loan_default_tests.serving.test_log_files import frames_in, ids_in
from loan_default_tests.waiting import within

NewLog = Callable[..., PredictionLog]


@pytest.fixture
def new_log(tmp_path: Path) -> Iterator[NewLog]:
    """Logs in one journal, closed at the end."""
    logs = []

    def make(**options: Any) -> PredictionLog:
        usual = {"worker": "5001-77", "seconds": 3600, "fsync": "never"}
        logs.append(PredictionLog(tmp_path / "journal", **{**usual, **options}))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


@pytest.mark.parametrize("options", [{"rows_per_file": 3}, {"seconds": 0.05}], ids=["enough rows", "enough time"])
def test_segments_close_by_themselves(new_log: NewLog, tmp_path: Path, options: dict[str, Any]) -> None:
    log = new_log(**options)
    for turn in (1, 2):
        log.append([entry("a", count=2), entry("b")])
        assert within(10, partial(is_closed, tmp_path / "journal", turn))
    assert LogFiles(tmp_path / "journal", str(tmp_path)).store_closed() == 6
    assert ids_in(tmp_path) == ["a", "a", "a", "a", "b", "b"]


def test_many_rows_of_several_threads_are_all_logged(new_log: NewLog, tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    log = new_log(rows_per_file=400)
    threads, calls = 6, 300

    def answer(thread: int) -> None:
        for call in range(calls):
            log.append([entry(f"{thread} {call}", count=1 + call % 2)])

    answering = [threading.Thread(target=answer, args=(number,)) for number in range(threads)]
    for thread in answering:
        thread.start()
    for thread in answering:
        thread.join()
    log.close()
    stored = LogFiles(tmp_path / "journal", str(tmp_path)).store_closed()
    ids = ids_in(tmp_path)
    assert len(ids) == stored == threads * calls * 1.5
    assert all(ids.count(request_id) == 1 + int(request_id.split()[1]) % 2 for request_id in set(ids))
    assert len({row for frame in frames_in(tmp_path) for row in frame["decision_id"]}) == len(ids)
    assert log.dropped == 0
    assert {*threading.enumerate()} <= before


def test_a_decision_is_durable_when_that_is_told(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log(fsync="decision")
    troubles: list[str | None] = []
    assert log.syncs_each
    log.append([entry("r1")], troubles.append)
    assert within(10, lambda: troubles == [None])
    (segment,) = list_segments(tmp_path / "journal")
    assert b"r1" in segment.read_bytes()
    assert log.lag_seconds >= 0


def test_it_tells_of_the_disk_and_of_the_files(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    assert log.status == LogStatus()
    status = LogStatus("The storage is away.", 7, 1, 2, 3, 4, 5)
    status.write(tmp_path / "journal")
    assert log.status == status
    (tmp_path / "journal" / "files.json").write_text("{")
    assert "files.json cannot be read (" in (log.status.trouble or "")


@pytest.mark.parametrize(("minutes", "is_told"), [(4, False), (7, True)])
def test_it_tells_of_rows_that_wait_although_nothing_refuses_them(
    new_log: NewLog, tmp_path: Path, minutes: int, is_told: bool
) -> None:
    log = new_log(rows_per_file=1)
    log.append([entry("r1")])
    assert within(10, partial(is_closed, tmp_path / "journal", 1))
    (segment,) = list_segments(tmp_path / "journal")
    moment = time.time() - 60 * minutes
    os.utime(segment, (moment, moment))
    sentence = f"Scored rows have waited 7 minutes in {tmp_path / 'journal'}; what makes files of them hangs."
    assert log.status.trouble == (sentence if is_told else None)
