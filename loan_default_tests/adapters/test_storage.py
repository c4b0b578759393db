"""Files in a folder and in a bucket: found, fetched, and written whole or not at all."""

import errno
import os
import shutil
import time
from datetime import date
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.storage import (
    DOWNLOADS,
    exists,
    explain_os_error,
    fetch,
    is_remote,
    lock_folder,
    read_json,
    read_text,
    remove,
    store,
    sweep,
    write_json,
    write_text,
)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    """A folder that does not exist yet."""
    if request.param == "folder":
        return UPath(tmp_path / "new" / "folder")
    bucket: UPath = request.getfixturevalue("bucket")
    return bucket / "new" / "folder"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("address", "remote"),
    [("gs://bucket/a.csv", True), ("file:///tmp/a", False), ("/tmp/a", False), ("a.csv", False)],
)
def test_buckets_are_told_from_folders(address: str, remote: bool) -> None:
    assert is_remote(address) is is_remote(UPath(address)) is remote


def test_a_finished_file_moves_to_its_place(root: UPath, tmp_path: Path) -> None:
    for content in ("old", "new"):
        source = tmp_path / "source"
        source.write_text(content)
        store(source, root / "kept.parquet")
        assert fetch(root / "kept.parquet", tmp_path).read_text() == content
        assert not source.exists()
        assert exists(root / "kept.parquet")
    remove(root / "kept.parquet")
    remove(root / "kept.parquet")
    assert not exists(root / "kept.parquet")


@pytest.mark.integration
def test_an_object_is_copied_here_once_until_it_changes(
    bucket: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[UPath] = []
    download = gcs.download

    def count_and_download(source: UPath, target: Path, generation: int) -> None:
        copies.append(source)
        download(source, target, generation)

    monkeypatch.setattr(gcs, "download", count_and_download)
    for folder in ("batches", "predictions"):  # of one name
        write_text(bucket / folder / "2018-10.csv", f"of {folder}")
    first = [fetch(bucket / folder / "2018-10.csv", tmp_path) for folder in ("batches", "predictions")]
    assert [path.read_text() for path in first] == ["of batches", "of predictions"]
    assert [fetch(bucket / folder / "2018-10.csv", tmp_path) for folder in ("batches", "predictions")] == first
    assert len(copies) == 2
    write_text(bucket / "batches" / "2018-10.csv", "another")
    assert fetch(bucket / "batches" / "2018-10.csv", tmp_path).read_text() == "another"
    assert first[0].read_text() == "of batches", "whoever reads it goes on"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.integration
def test_what_was_copied_here_goes_a_week_after_its_last_use(bucket: UPath, tmp_path: Path) -> None:
    for name in ("used", "unused"):
        write_text(bucket / name, name)
        fetch(bucket / name, tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    fetch(bucket / "used", tmp_path)
    for _ in range(2):  # files, then the folders that they leave empty
        sweep(tmp_path, "**/*")
        for folder in (tmp_path / DOWNLOADS).iterdir():
            os.utime(folder, (time.time() - 8 * 24 * 3600,) * 2)
    assert [path.name for path in (tmp_path / DOWNLOADS).rglob("*") if path.is_file()] == ["used"]
    assert len(list((tmp_path / DOWNLOADS).iterdir())) == 1


def test_texts_and_records_are_written(root: UPath) -> None:
    write_text(root / "card.md", "# größer\n")
    write_text(root / "card.md", "# kürzer\n")
    assert read_text(root / "card.md") == "# kürzer\n"
    write_json(root / "record.json", {"month": date(2018, 10, 1), "rows": 3})
    assert read_json(root / "record.json") == {"month": "2018-10-01", "rows": 3}
    write_json(root / "record.json", {"passed": np.bool(True), "rows": np.int64(3)})
    assert read_json(root / "record.json") == {"passed": True, "rows": 3}
    assert read_json(root / "none.json") is None
    with pytest.raises(FileNotFoundError, match=r"none\.md"):
        read_text(root / "none.md")


def test_a_record_without_a_number_is_refused_and_the_old_one_stays(root: UPath) -> None:
    write_json(root / "record.json", {"psi": 0.1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(root / "record.json", {"psi": float("nan")})
    assert read_json(root / "record.json") == {"psi": 0.1}


def test_what_runs_that_died_have_left_is_swept_after_a_week(tmp_path: Path) -> None:
    names = ["run-cleaned.parquet", "inputs/loans.csv", "tmpabc/model.json", "kept/model.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    sweep(tmp_path, "*")
    assert all((tmp_path / name).exists() for name in names)
    for path in [*tmp_path.rglob("*")]:
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    sweep(tmp_path, "*")
    assert [(tmp_path / name).exists() for name in names] == [False, True, False, True]


def test_a_file_that_cannot_be_stored_leaves_its_scratch_file_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "scratch"
    source.write_text("x")

    def full(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "loans.parquet"))

    monkeypatch.setattr(shutil, "move", full)
    with pytest.raises(OSError, match="No space left"):
        store(source, UPath(tmp_path / "loans.parquet"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "There is no room left at /a; make some"),
        (OSError("No space left on device (os error 28)"), "There is no room left on the disk; make some"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a cannot be used (Read-only file system); let"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a cannot be used (Permission denied); let"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"), "[Errno 2] No such file or directory"),
    ],
)
def test_what_the_system_says_of_a_file_becomes_a_sentence(error: OSError, sentence: str) -> None:
    assert explain_os_error(error).startswith(sentence)


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def wait_for_it() -> None:
        with lock_folder(tmp_path):
            order.append("second")

    with lock_folder(tmp_path):
        waiting = Thread(target=wait_for_it)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]
