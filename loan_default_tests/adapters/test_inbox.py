"""What is in the inbox: whole, still changing, refused; and that each content is told apart from the last."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from upath import UPath

from loan_default.adapters import gcs
from loan_default.adapters.file_listing import (
    find_file,
    list_files,
    list_folders,
    match_files,
)
from loan_default.adapters.inbox import InboxScan, ScanState, scan_inbox
from loan_default.adapters.storage import write_text
from loan_default.risk.data.loan_files import fingerprint
from loan_default_tests.adapters.conftest import write


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
