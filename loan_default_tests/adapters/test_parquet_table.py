"""Stored tables: any part of them, of a folder and of a bucket, as it was when the table was opened."""

import pickle
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.gcs import BucketError
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.parquet_table import ParquetTable, find_damage, scan_table
from loan_default.risk.errors import DamagedRecord

LEVELS = pl.Enum(["A", "B", "C"])
FRAME = pl.DataFrame(
    {
        "id": [str(number) for number in range(100)],
        "grade": pl.Series([None if number % 7 == 0 else "ABC"[number % 3] for number in range(100)], dtype=LEVELS),
        "pd": [None if number % 5 == 0 else number / 100 for number in range(100)],
        "reasons": [[f"reason {number}"] * (number % 3) for number in range(100)],
    }
)


def stored(path: UPath, tmp_path: Path) -> ParquetTable:
    source = tmp_path / "written.parquet"
    FRAME.write_parquet(source, row_group_size=13)
    storage.store(source, path)
    return ParquetTable.of(path, tmp_path / "staging")


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory) -> ParquetTable:
    folder = tmp_path_factory.mktemp("stored")
    return stored(UPath(folder / "loans.parquet"), folder)


@given(st.integers(0, 99), st.integers(1, 100))
def test_any_part_of_a_file(in_folder: ParquetTable, offset: int, rows: int) -> None:
    rows = min(rows, 100 - offset)
    part = in_folder.part(offset, rows)
    assert (part.offset, part.rows) == (offset, rows)
    assert part.scan().collect().equals(FRAME[offset : offset + rows])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: b"", "is damaged or cut off (A Parquet file must contain a header and footer"),
        (lambda content: content[:-9], "is damaged or cut off (The file must end with PAR1"),
        (lambda content: b"id,pd,decision\n1,0.1,approve\n", "is damaged or cut off (The file must end with PAR1"),
        (lambda content: content, "lacks the column model_version"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_what_writes_it_again(
    tmp_path: Path, change: Callable[[bytes], bytes], complaint: str
) -> None:
    path = UPath(tmp_path / "predictions" / "2018-10.parquet")
    stored(path, tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedRecord) as refusal:
        scan_table(path, tmp_path, columns=("id", "model_version"))
    assert str(refusal.value).startswith(f"The table {path} {complaint}")
    assert str(refusal.value).endswith(
        "; run loan-default score-again 2018-10 --force, which writes it again, or restore it from a backup."
    )


@pytest.mark.integration
@given(st.integers(0, 99), st.integers(1, 100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_part_of_an_object_is_read_without_a_copy(bucket: UPath, tmp_path: Path, offset: int, rows: int) -> None:
    table = stored(bucket / "loans.parquet", tmp_path)
    rows = min(rows, 100 - offset)
    sent = pickle.loads(pickle.dumps(table.part(offset, rows)))
    read = sent.scan().collect()
    assert read.equals(FRAME[offset : offset + rows])
    assert read.schema == FRAME.schema
    assert not (tmp_path / "staging").exists()


@pytest.mark.integration
def test_a_whole_object_is_copied_here_once(bucket: UPath, tmp_path: Path) -> None:
    table = stored(bucket / "loans.parquet", tmp_path)
    assert (table.rows, table.offset) == (100, 0)
    assert table.scan().collect().equals(FRAME)
    assert [path.name for path in (tmp_path / "staging").rglob("*.parquet")] == ["loans.parquet"]


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_what_is_not_there_is_named(request: pytest.FixtureRequest, tmp_path: Path, where: str) -> None:
    path = UPath(request.getfixturevalue("bucket" if where == "bucket" else "tmp_path")) / "absent.parquet"
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet does not exist; run what makes it first"):
        ParquetTable.of(path, tmp_path)


@pytest.mark.integration
def test_a_part_of_an_object_that_is_gone_is_named(bucket: UPath, tmp_path: Path) -> None:
    part = stored(bucket / "loans.parquet", tmp_path).part(0, 10)
    storage.remove(bucket / "loans.parquet")
    with pytest.raises((FileNotFoundError, BucketError), match=r"loans\.parquet"):
        part.scan()


def test_a_table_that_is_damaged_behind_a_sound_footer_is_named_with_what_writes_it_again(tmp_path: Path) -> None:
    layout = StorageLayout(UPath(tmp_path / "storage"))
    sound, damaged = layout.table("cleaned_loans"), layout.batch_table("predictions", "2018-10")
    for path in (sound, damaged):
        stored(path, tmp_path)
    content = bytearray(storage.read_bytes(damaged))
    content[60:160] = bytes(100)
    Path(str(damaged)).write_bytes(content)
    with pytest.raises(pl.exceptions.ComputeError) as failed:
        scan_table(damaged, tmp_path).collect()
    damage = find_damage(failed.value, layout, tmp_path)
    assert str(damage).startswith(f"The table {damaged} is damaged (")
    assert str(damage).endswith(
        "; run loan-default score-again 2018-10 --force, which writes it again, or restore it from a backup."
    )
    assert find_damage(pl.exceptions.ComputeError("a cast failed"), layout, tmp_path) is None
    storage.remove(damaged)
    assert find_damage(failed.value, layout, tmp_path) is None
