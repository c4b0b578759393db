"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from loan_default.risk.files import write_atomically


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "record.json"
    with write_atomically(target) as part:
        part.write_text("first")
        assert not target.exists()
    with write_atomically(target) as part:
        part.write_text("second")
        assert target.read_text() == "first"
    assert target.read_text() == "second"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), write_atomically(target) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_share_a_part(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    with write_atomically(target) as first, write_atomically(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first", "the last to finish"
