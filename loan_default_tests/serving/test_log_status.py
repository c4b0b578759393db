"""How it stands with the files is read as it was written last, and a disk that takes no record stops nothing."""

import logging
from pathlib import Path

import pytest

from loan_default.serving.log_status import LogStatus


def test_it_is_read_as_it_was_written_last(tmp_path: Path) -> None:
    assert LogStatus.read(tmp_path / "journal") == LogStatus()
    for status in (LogStatus("No space.", 3), LogStatus()):
        status.write(tmp_path / "journal")
        assert LogStatus.read(tmp_path / "journal") == status
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["files.json"]


def test_a_record_that_cannot_be_written_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal").write_text("no folder")
    LogStatus("No space.").write(tmp_path / "journal")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "files.json cannot be written" in caplog.text
