"""The process that makes files of the log: it lives and ends with its server, and its death loses nothing."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from loan_default.serving import log_process
from loan_default.serving.log_files import LogFiles
from loan_default.serving.log_process import LogProcess, LogSettings, make_files
from loan_default.serving.log_status import LogStatus
from loan_default.serving.prediction_log import PredictionLog
from loan_default_tests.serving.logged_entries import entry
from loan_default_tests.serving.test_log_files import ids_in
from loan_default_tests.serving.test_registry_client import gone
from loan_default_tests.waiting import within


def log_entry(journal: Path, request_id: str) -> None:
    """Log an entry in a segment that is closed."""
    log = PredictionLog(journal, worker="1")
    log.append([entry(request_id)])
    log.close()


def files_process() -> int | None:
    """Return the process of this one that makes files."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread, or its child, has ended meanwhile
            for pid in children.read_text().split():
                if b"log_process" in Path("/proc", pid, "cmdline").read_bytes():
                    return int(pid)
    return None


def is_told(journal: Path, trouble: str) -> bool:
    return trouble in (LogStatus.read(journal).trouble or "")


@pytest.mark.integration
def test_it_stores_what_is_closed_and_is_replaced_where_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_process, "_BEGIN_SECONDS", 0.0)
    monkeypatch.setattr(log_process, "_RETRY_SECONDS", 0.1)
    journal, root = tmp_path / "journal", tmp_path / "root"
    with LogProcess(LogSettings(str(journal), str(root))):
        log_entry(journal, "r1")
        assert within(60, lambda: ids_in(root) == ["r1"])
        first = files_process()
        assert first is not None
        for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(first, ignored)
        log_entry(journal, "r2")
        assert within(60, lambda: ids_in(root) == ["r1", "r2"])
        os.kill(first, signal.SIGKILL)
        log_entry(journal, "r3")
        assert within(60, lambda: ids_in(root) == ["r1", "r2", "r3"])
        assert "The process that makes files of the log has ended by signal 9; scored rows wait in " in caplog.text
        assert within(60, lambda: LogStatus.read(journal).trouble is None)
        second = files_process()
        assert second not in (first, None)
        status = LogStatus.read(journal)
        assert (status.pid, status.is_up, status.starts, status.failures) == (second, True, 2, 0)
        log_entry(journal, "r4")
    assert ids_in(root) == ["r1", "r2", "r3", "r4"]
    assert all(map(gone, (first, second)))
    status = LogStatus.read(journal)
    assert (status.is_up, status.files, status.rows) == (False, 2, 2), "what the second has stored"
    assert [path.name for path in journal.iterdir()] == ["files.json"]


@pytest.mark.integration
def test_a_server_that_stops_at_once_has_what_was_left_stored(tmp_path: Path) -> None:
    log_entry(tmp_path / "journal", "r1")
    with LogProcess(LogSettings(str(tmp_path / "journal"), str(tmp_path / "root"))):
        assert files_process() is None, "the first answers go before"
    assert ids_in(tmp_path / "root") == ["r1"]
    with LogProcess(LogSettings(str(tmp_path / "none"), str(tmp_path / "root"))):
        pass
    assert files_process() is None


@pytest.mark.integration
def test_one_that_cannot_begin_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_process, "_BEGIN_SECONDS", 0.0)
    monkeypatch.setattr(log_process, "_LOOK_SECONDS", 0.01)
    for executable, trouble in (("/bin/false", "has ended by code 1"), ("/none", "cannot be started ([Errno 2]")):
        monkeypatch.setattr(sys, "executable", executable)
        caplog.clear()
        with LogProcess(LogSettings(str(tmp_path / "journal"), str(tmp_path / "root"))):
            assert within(10, partial(is_told, tmp_path / "journal", trouble))
            assert not LogStatus.read(tmp_path / "journal").is_up
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_it_tells_of_a_storage_that_refuses_until_that_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_process, "_RETRY_SECONDS", 0.01)
    journal, root, stop = tmp_path / "journal", tmp_path / "root", threading.Event()
    (old := root / "prediction_log" / "2001-01-01" / "00").mkdir(parents=True)
    log_entry(journal, "r1")
    (root / "prediction_log" / "2026-11-03").write_text("no folder")
    making = threading.Thread(
        target=make_files, args=(LogFiles(journal, str(root), retention_months=25), journal, stop)
    )
    making.start()
    assert within(10, partial(is_told, journal, "cannot be written to"))
    assert within(10, lambda: not old.exists())
    (root / "prediction_log" / "2026-11-03").unlink()
    assert within(10, lambda: LogStatus.read(journal).trouble is None)
    status = LogStatus.read(journal)
    assert (status.pid, status.files, status.rows, status.failures > 0) == (os.getpid(), 1, 1, True)
    stop.set()
    making.join(10)
    assert (ids_in(root), making.is_alive()) == (["r1"], False)


def test_what_was_said_of_the_one_before_is_over_when_another_begins(tmp_path: Path) -> None:
    journal, stop = tmp_path / "journal", threading.Event()
    statuses = []

    class Files(LogFiles):
        def store_closed(self) -> int:
            statuses.append(LogStatus.read(journal))
            return super().store_closed()

    LogStatus("It has ended.").write(journal)
    stop.set()
    make_files(Files(journal, str(tmp_path)), journal, stop)
    assert statuses == [LogStatus(pid=os.getpid(), starts=1)]
