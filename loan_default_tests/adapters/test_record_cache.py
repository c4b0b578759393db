"""Records of a folder are read once for each state of their file, in a folder and in a bucket."""

from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.record_cache import RecordCache


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(tmp_path) / "records" if request.param == "folder" else request.getfixturevalue("bucket") / "records"


def test_a_record_is_read_again_only_when_it_was_written(folder: UPath) -> None:
    reduced: list[Any] = []

    def reduce(record: Any) -> int:
        reduced.append(record)
        return int(record["rows"])

    cache = RecordCache(folder, reduce)
    assert cache.read() == {}
    for name, rows in (("a", 1), ("b", 2)):
        storage.write_json(folder / f"{name}.json", {"rows": rows})
    storage.write_text(folder / "a.html", "<p>no record</p>")
    assert {name: record.content for name, record in cache.read().items()} == {"a": 1, "b": 2}
    cache.read()
    assert len(reduced) == 2
    storage.write_json(folder / "b.json", {"rows": 30})
    storage.remove(folder / "a.json")
    assert {name: record.content for name, record in cache.read().items()} == {"b": 30}
    assert len(reduced) == 3


def _rows(record: Any) -> int:
    _READ.append(record)
    return int(record["rows"])


_READ: list[Any] = []


def test_after_a_restart_only_what_changed_is_read_beside_the_index(folder: UPath, tmp_path: Path) -> None:
    index = UPath(tmp_path) / "index.json"
    storage.write_json(folder / "0.json", {"rows": 0})
    RecordCache(folder, _rows, index=index).read()
    assert not storage.exists(index)  # of so few it is worth nothing
    for number in range(1, 60):
        storage.write_json(folder / f"{number}.json", {"rows": number})
    before = RecordCache(folder, _rows, index=index).read()
    assert storage.exists(index)
    _READ.clear()
    assert RecordCache(folder, _rows, index=index).read() == before
    assert _READ == []
    storage.write_json(folder / "7.json", {"rows": 70})
    storage.remove(folder / "8.json")
    records = RecordCache(folder, _rows, index=index).read()
    assert {name: record.content for name, record in records.items()} == {
        str(number): 70 if number == 7 else number for number in range(60) if number != 8
    }
    assert _READ == [{"rows": 70}]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"code": "another", "records": {"a.json": 1}}', '{"records": 1}'])
def test_an_index_that_cannot_be_used_is_left_aside(tmp_path: Path, text: str) -> None:
    index, folder = UPath(tmp_path) / "index.json", UPath(tmp_path) / "records"
    storage.write_json(folder / "a.json", {"rows": 1})
    storage.write_text(index, text)
    assert RecordCache(folder, _rows, index=index).read()["a"].content == 1


def test_who_may_not_write_an_index_reads_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = UPath(tmp_path) / "records"
    for number in range(60):
        storage.write_json(folder / f"{number}.json", {"rows": number})
    storage.write_text(UPath(tmp_path) / "file", "")
    cache = RecordCache(folder, _rows, index=UPath(tmp_path) / "file" / "index.json")
    assert len(cache.read()) == len(cache.read()) == 60
    assert caplog.text.count("the next start is slower") == 1
