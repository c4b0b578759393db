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
