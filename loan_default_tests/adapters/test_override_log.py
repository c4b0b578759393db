"""The log of overrides: a record each, in the order of time, and none is ever written over."""

from pathlib import Path

from loan_default.adapters import override_log
from loan_default.settings import Settings
from loan_default_tests.records import filled


def test_records_are_added_and_read_in_the_order_of_time(tmp_path: Path) -> None:
    layout = Settings(tmp_path).layout
    assert override_log.read(layout) == []
    records = [
        {"decision_id": name, "recorded_at": f"2026-11-27T07:00:0{second}.000001+00:00", "words": str(second)}
        for second, name in ((2, "a"), (1, "b"), (3, "a"))
    ]
    for record in records:
        override_log.add(layout, filled("overrides", record))
    assert [record["words"] for record in override_log.read(layout)] == ["1", "2", "3"]
    assert [record["words"] for record in override_log.read(layout, ["a"])] == ["2", "3"]
    assert [record["words"] for record in override_log.read(layout, newest=2)] == ["2", "3"]
