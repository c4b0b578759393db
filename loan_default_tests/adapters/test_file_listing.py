"""What a folder or a bucket lists: by path, glob or address, and what changes when a file does."""

from collections.abc import Callable
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters.file_listing import (
    list_files,
    list_names,
    local_copy,
    match_files,
    require_files,
    signature,
)
from loan_default.adapters.storage import write_text
from loan_default.risk.errors import BadInput
from loan_default_tests.adapters.conftest import write


def by_glob(folder: Path) -> str:
    return signature(match_files(f"{folder}/*.csv"))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write(folder / "b.csv", "1"),
        lambda folder: write(folder / "a.csv", "2", mtime=2_000),
        lambda folder: (folder / "a.csv").rename(folder / "c.csv"),
    ],
)
def test_a_signature_changes_with_the_files(folder: Path, change: Callable[[Path], object]) -> None:
    write(folder / "a.csv", "1")
    before = by_glob(folder)
    assert by_glob(folder) == before
    change(folder)
    assert by_glob(folder) != before
    assert match_files(str(folder / "nothing*")) == []


def test_a_file_of_that_name_goes_before_a_pattern(folder: Path) -> None:
    for name in ("loans [1].csv", "loans 1.csv", "* #%41 é.csv"):
        write(folder / name, "1")
    (folder / "loans *").mkdir()
    assert [file.name for file in match_files(f"{folder}/loans [1].csv")] == ["loans [1].csv"]
    assert [file.name for file in match_files(f"{folder}/* #%41 é.csv")] == ["* #%41 é.csv"]
    assert sorted(file.name for file in match_files(f"{folder}/loans*")) == ["loans 1.csv", "loans [1].csv"]
    with pytest.raises(BadInput, match=r"is a folder; give the path of a file in it, or a glob as .*\*\.csv\.$"):
        require_files(str(folder))


def copied(spec: str, staging: Path) -> list[Path]:
    return [local_copy(staging, file) for file in require_files(spec)]


def test_a_path_or_a_glob_names_local_files(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.parquet"):
        (tmp_path / name).touch()
    assert copied(f"{tmp_path}/*.csv", tmp_path / "staging") == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert copied(str(tmp_path / "c.parquet"), tmp_path / "staging") == [tmp_path / "c.parquet"]
    assert not (tmp_path / "staging").exists()


@pytest.mark.integration
@pytest.mark.parametrize("pattern", ["*.csv", "b.csv"])
def test_files_of_a_bucket_are_copied_here(tmp_path: Path, bucket: UPath, pattern: str) -> None:
    for name in ("b.csv", "a.csv", "c.parquet"):
        write_text(bucket / "loans" / name, f"of {name}")
    copies = copied(f"{bucket}/loans/{pattern}", tmp_path)
    expected = ["a.csv", "b.csv"] if "*" in pattern else ["b.csv"]
    assert [path.name for path in copies] == expected, "reports name them"
    assert [path.read_text() for path in copies] == [f"of {name}" for name in expected]


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_names_are_listed_as_files_are(request: pytest.FixtureRequest, tmp_path: Path, where: str) -> None:
    folder = (UPath(tmp_path) if where == "folder" else request.getfixturevalue("bucket")) / "records"
    assert list_names(folder) == {}
    for name in ("a.json", "b.html"):
        write_text(folder / name, name)
    files = {file.name: (file.state, file.changed_at) for file in list_files(folder)}
    assert {name: (file.state, file.changed_at) for name, file in list_names(folder).items()} == files


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_naming_nothing_is_refused(request: pytest.FixtureRequest, tmp_path: Path, where: str) -> None:
    root = UPath(request.getfixturevalue("bucket" if where == "bucket" else "tmp_path")) / "new" / "folder"
    with pytest.raises(BadInput, match=r"No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH"):
        copied("", tmp_path)
    with pytest.raises(BadInput, match="names no file; give the path of a CSV"):
        copied(f"{root}/*.csv", tmp_path)
