"""What is in the inbox: whole, still changing, refused; and that each content is told apart from the last."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.inbox import (
    InboxScan,
    ScanState,
    find_file,
    list_files,
    list_folders,
    list_names,
    local_copy,
    match_files,
    require_files,
    scan_inbox,
    signature,
)
from loan_default.adapters.storage import write_text
from loan_default.risk.data.loan_files import fingerprint
from loan_default.risk.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    applications = tmp_path / "applications"
    applications.mkdir()
    return applications


def write(path: Path, text: str, mtime: int = 1_000) -> None:
    path.write_text(text)
    os.utime(path, (mtime, mtime))


def scan_folder(
    folder: Path | UPath, memory: ScanState | None = None, known_batches: tuple[str, ...] = (), most: int = 10**9
) -> InboxScan:
    with TemporaryDirectory() as staging:
        files = list_files(UPath(folder))
        return scan_inbox(files, known_batches, memory or ScanState(), most_bytes=most, staging=Path(staging))


def twice(folder: Path | UPath, most: int = 10**9) -> InboxScan:
    return scan_folder(folder, scan_folder(folder).next_state({}), most=most)


def ready(scan: InboxScan) -> list[str]:
    return [entry.batch for entry in scan.ready]


def test_a_file_is_whole_once_it_has_not_changed_from_one_look_to_the_next(folder: Path) -> None:
    write(folder / "a.csv", "1")
    first = scan_folder(folder)
    assert (ready(first), first.changing) == ([], ("a.csv",))
    write(folder / "a.csv", "12")
    second = scan_folder(folder, first.next_state({}))
    assert (ready(second), second.changing) == ([], ("a.csv",))
    third = scan_folder(folder, second.next_state({}))
    assert (ready(third), third.changing) == (["a"], ())
    assert third.ready[0].fingerprint == fingerprint([folder / "a.csv"])


def test_of_the_same_size_another_time_is_a_change_and_the_same_content_keeps_its_fingerprint(folder: Path) -> None:
    write(folder / "a.csv", "1")
    scan = twice(folder)
    write(folder / "a.csv", "1", mtime=2_000)
    touched = scan_folder(folder, scan.next_state({}))
    assert touched.changing == ("a.csv",)
    again = scan_folder(folder, touched.next_state({}))
    assert again.ready[0].fingerprint == scan.ready[0].fingerprint
    assert again.ready[0].state != scan.ready[0].state


def test_the_oldest_comes_first(folder: Path) -> None:
    for name, mtime in {"c.csv": 1, "a.csv": 3, "b.csv": 2}.items():
        write(folder / name, name, mtime)
    assert ready(twice(folder)) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("names", "known_batches", "batches", "sentence"),
    [
        (["notes.txt", "a.csv"], (), ["a"], "notes.txt: a batch file ends in"),
        (["a b.csv"], (), [], "may hold letters"),
        (["a.csv", "a.parquet"], (), ["a"], "a.parquet: a.csv is the same batch in another form"),
        (["a.csv", "A.csv"], (), ["a"], "A.csv: batch a differs only by case"),
        (["A.csv"], ("a",), [], "A.csv: batch a differs only by case"),
        (["a.csv"], ("a",), ["a"], ""),
        ([".a.csv.part", ".hidden.csv"], (), [], ""),
    ],
)
def test_what_cannot_be_a_batch_is_refused_and_blocks_no_other(
    folder: Path, names: list[str], known_batches: tuple[str, ...], batches: list[str], sentence: str
) -> None:
    for mtime, name in enumerate(names):
        write(folder / name, name, mtime)
    (folder / "folder.csv").mkdir()
    scan = scan_folder(folder, scan_folder(folder).next_state({}), known_batches)
    assert ready(scan) == batches
    assert sentence in " ".join(scan.refused.values())


def test_files_beyond_what_may_be_read_wait_for_the_next_look(folder: Path) -> None:
    for mtime, name in enumerate("abc"):
        write(folder / f"{name}.csv", "x" * 10, mtime)
    first = twice(folder, most=15)
    assert ready(first) == ["a", "b"]
    assert ready(scan_folder(folder, first.next_state({}), most=15)) == ["a", "b", "c"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"other": {}}', '{"states": 5}', '{"settled": 5}', "3"])
def test_a_lost_memory_costs_one_more_look(folder: Path, text: str | None) -> None:
    write(folder / "a.csv", "1")
    scan = scan_folder(folder, ScanState.from_json(text))
    assert scan.changing == ("a.csv",)
    assert ready(scan_folder(folder, ScanState.from_json(scan.next_state({"a": "f", "gone": "f"}).to_json()))) == ["a"]
    assert scan.next_state({"a": "f", "gone": "f"}).requested == {"a": "f"}


def test_what_is_settled_is_looked_at_again_once_it_changes(folder: Path) -> None:
    write(folder / "a.csv", "1")
    write(folder / "b.csv", "1")
    memory = twice(folder).next_state({"a": "f", "b": "f"}, done=["a"])
    assert (list(memory.states), list(memory.requested), len(memory.settled)) == (["b.csv"], ["b"], 8)
    scan = scan_folder(folder, ScanState.from_json(memory.to_json()))
    assert (ready(scan), len(scan.next_state({}).settled)) == (["b"], 8)
    write(folder / "a.csv", "2", 5_000)
    scan = scan_folder(folder, scan.next_state({}))
    assert (scan.changing, scan.next_state({}).settled) == (("a.csv",), "")


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list_files(UPath(tmp_path / "nowhere")) == []


@pytest.mark.integration
def test_a_bucket_is_looked_at_in_the_same_way(bucket: UPath) -> None:
    inbox = bucket / "prefix" / "applications"
    assert (list_files(inbox), list_folders(inbox), find_file(inbox / "a.csv")) == ([], [], None)
    write_text(inbox / "a.csv", "1")
    write_text(inbox / "notes.txt", "1")
    write_text(inbox / "below" / "b.csv", "1")
    gcs.connect().bucket(bucket.drive).blob("prefix/applications/").upload_from_string(b"")  # as the console does
    assert list_folders(inbox) == ["below"]
    assert find_file(inbox / "a.csv") == list_files(inbox)[0]
    assert [file.name for file in match_files(f"{inbox}/*.csv")] == ["a.csv"]
    write_text(inbox / "[ab].csv", "1")
    assert [file.name for file in match_files(f"{inbox}/[ab].csv")] == ["[ab].csv"]
    gcs.connect().bucket(bucket.drive).blob("prefix/applications/[ab].csv").delete()
    scan = twice(inbox)
    assert (ready(scan), list(scan.refused)) == (["a"], ["notes.txt"])
    write_text(inbox / "a.csv", "2")
    assert scan_folder(inbox, scan.next_state({})).changing == ("a.csv",)


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
