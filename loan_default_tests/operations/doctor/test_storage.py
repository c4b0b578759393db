"""A storage that is away or refuses, leftovers, and room on the disk."""

import os
import time
from pathlib import Path

import pytest

from loan_default.adapters import probes
from loan_default.adapters.probes import FreeSpace, Probe
from loan_default.homes import prepare_process
from loan_default.operations.doctor.storage import check_disk, check_storage, judge_probe, judge_space
from loan_default_tests.adapters.test_probes import read_only
from loan_default_tests.operations.doctor.conftest import NOW, Installation, diagnoses_of, wrong

pytestmark = pytest.mark.integration


def test_a_storage_that_is_away_or_refuses_is_wrong(install: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = {}
    for name, root in {"away": tmp_path / "none", "file": tmp_path / "file", "shut": read_only(tmp_path)}.items():
        text[name] = wrong(diagnoses_of(check_storage, install(LOAN_DEFAULT_STORAGE=root))).message
    assert text["away"] == f"{tmp_path}/none does not exist."
    assert text["file"] == f"{tmp_path}/file cannot be used: Not a directory."
    assert "cannot be used" in text["shut"]


def test_leftovers_are_counted_with_what_they_take(install: Installation) -> None:
    settings = install()
    prepare_process(settings)
    (settings.staging / "cleaned.parquet").write_bytes(b"0" * 2_000_000)
    long_ago = time.time() - 3 * 86_400
    os.utime(settings.staging / "cleaned.parquet", (long_ago, long_ago))
    left = next(diagnosis for diagnosis in diagnoses_of(check_storage, settings) if diagnosis.check == "leftovers")
    assert (left.mark, left.message) == ("note", "1 half-written file (2.0 MB) of runs that died, older than a day.")
    assert left.remedy == "Nothing: a run that starts sweeps away what is older than a week."


@pytest.mark.parametrize(
    ("listed", "same", "removed", "text"),
    [
        (True, True, True, None),
        (False, True, True, "does not list what was just written"),
        (True, False, True, "does not give back what was written"),
        (False, True, False, "does not list what was just written and does not remove files"),
    ],
)
def test_a_probe_is_judged(listed: bool, same: bool, removed: bool, text: str | None) -> None:
    diagnosis = judge_probe("gs://b", Probe(listed, same, removed, NOW, NOW, 0.1))
    assert diagnosis.mark == ("wrong" if text else "ok")
    assert text is None or diagnosis.message == f"gs://b {text}."


@pytest.mark.parametrize(
    ("space", "mark", "text"),
    [
        (FreeSpace(10**9, None), "ok", "1.0 GB are free"),
        (FreeSpace(10**9 - 10**8, None), "wrong", "0.9 GB are free in /home."),
        (FreeSpace(10**12, 9_999), "wrong", "room for 9,999 more files only (inodes)"),
        (FreeSpace(10**12, 10_000), "ok", "1,000.0 GB are free"),
    ],
)
def test_space_is_judged_by_bytes_and_by_files(space: FreeSpace, mark: str, text: str) -> None:
    diagnosis = judge_space("home", Path("/home"), space, 10**9)
    assert (diagnosis.mark, text in diagnosis.message) == (mark, True)


def test_the_loan_file_says_how_much_must_be_free(
    install: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "loans.csv").open("wb") as file:
        file.truncate(3 * 10**9)  # sparse: it takes no room
    monkeypatch.setattr(probes, "free_space", lambda folder: FreeSpace(2 * 10**9, None))
    Path(install().storage).mkdir(parents=True)
    assert {diagnosis.mark for diagnosis in diagnoses_of(check_disk, install())} == {"ok"}
    diagnoses = diagnoses_of(check_disk, install(LOAN_DEFAULT_DATA=tmp_path / "loans.csv"))
    assert [(diagnosis.check, diagnosis.mark) for diagnosis in diagnoses] == [
        ("disk: home", "wrong"),
        ("disk: storage", "wrong"),
        ("disk: temporary folder", "ok"),
    ]
    assert "until 4.0 GB are free" in diagnoses[0].remedy
