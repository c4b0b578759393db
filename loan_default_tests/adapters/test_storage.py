"""Files in a folder and in a bucket (fsspec's own, in memory): found, fetched, and written whole or not at all."""

import errno
import json
import os
import shutil
import time
import uuid
from datetime import date
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters.storage import (
    fetch,
    is_remote,
    local_inputs,
    store,
    sweep,
    trouble,
    whole,
    write_json,
    write_text,
)
from loan_default.risk.errors import BadInput


@pytest.fixture
def bucket() -> UPath:
    return UPath(f"memory://{uuid.uuid4().hex}")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: UPath) -> UPath:
    """A place that does not exist yet."""
    return UPath(tmp_path / "new" / "folder") if request.param == "folder" else bucket


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("place", "remote"),
    [("gs://bucket/a.csv", True), ("memory://a", True), ("file:///tmp/a", False), ("/tmp/a", False), ("a.csv", False)],
)
def test_buckets_are_told_from_folders(place: str, remote: bool) -> None:
    assert is_remote(place) is remote
    if not place.startswith("gs"):
        assert is_remote(UPath(place)) is remote


def test_a_path_or_a_glob_names_local_files(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.parquet"):
        (tmp_path / name).touch()
    assert local_inputs(f"{tmp_path}/*.csv", tmp_path / "staging") == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert local_inputs(str(tmp_path / "c.parquet"), tmp_path / "staging") == [tmp_path / "c.parquet"]
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("pattern", ["*.csv", "b.csv"])
def test_files_of_a_bucket_are_copied_here(tmp_path: Path, bucket: UPath, pattern: str) -> None:
    for name in ("b.csv", "a.csv", "c.parquet"):
        (bucket / "loans" / name).write_text(f"of {name}")
    found = local_inputs(f"{bucket}/loans/{pattern}", tmp_path)
    expected = ["a.csv", "b.csv"] if "*" in pattern else ["b.csv"]
    assert found == [tmp_path / "inputs" / name for name in expected]
    assert [path.read_text() for path in found] == [f"of {name}" for name in expected]


def test_naming_nothing_is_refused(tmp_path: Path, bucket: UPath) -> None:
    with pytest.raises(BadInput, match=r"No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH"):
        local_inputs("", tmp_path)
    for spec in (f"{tmp_path}/*.csv", f"{bucket}/*.csv"):
        with pytest.raises(BadInput, match="names no file; give the path of a CSV"):
            local_inputs(spec, tmp_path)


def test_a_finished_file_moves_to_its_place(place: UPath, tmp_path: Path) -> None:
    for content in ("old", "new"):
        made = tmp_path / "made"
        made.write_text(content)
        store(made, place / "kept.parquet")
        assert (place / "kept.parquet").read_text() == content
        assert not made.exists()
    fetched = fetch(place / "kept.parquet", tmp_path / "cache" / "kept.parquet")
    assert fetched.read_text() == "new"
    assert (fetched == tmp_path / "cache" / "kept.parquet") is is_remote(place)


def test_texts_and_records_are_written(place: UPath) -> None:
    write_text(place / "card.md", "# größer\n")
    write_text(place / "card.md", "# kürzer\n")
    assert (place / "card.md").read_text(encoding="utf-8") == "# kürzer\n"
    write_json(place / "record.json", {"month": date(2018, 10, 1), "rows": 3})
    assert json.loads((place / "record.json").read_text()) == {"month": "2018-10-01", "rows": 3}


def test_a_record_without_a_number_is_refused_and_the_old_one_stays(place: UPath) -> None:
    write_json(place / "record.json", {"psi": 0.1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(place / "record.json", {"psi": float("nan")})
    assert json.loads((place / "record.json").read_text()) == {"psi": 0.1}


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "kept.csv"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole(target) as part:
        part.write_text("ne")
        assert target.read_text() == "old"
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == {"kept.csv"}


def test_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "kept.csv"
    with whole(target) as first, whole(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the last to finish
    assert names_in(tmp_path) == {"kept.csv"}


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
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "There is no room left at /a; make some"),
        (OSError("No space left on device (os error 28)"), "There is no room left on the disk; make some"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a cannot be written to (Read-only file system); let"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a cannot be written to (Permission denied); let"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"), "[Errno 2] No such file or directory"),
    ],
)
def test_what_the_system_says_of_a_file_becomes_a_sentence(error: OSError, told: str) -> None:
    assert trouble(error).startswith(told)
