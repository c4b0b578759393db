"""Records: read by the name of their asset, None where there is none."""

from pathlib import Path

from loan_default.adapters import storage
from loan_default.operations.records import locations, read_batch_record, read_record
from loan_default.settings import Settings
from loan_default_tests.records import filled


def test_records_are_read_where_the_layout_has_them(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert read_record(settings, "trained_model") is None
    assert read_batch_record(settings, "drift_report", "2018-10") is None
    storage.write_json(settings.layout.record("trained_model"), filled("trained_model", {"version": 3}))
    storage.write_json(settings.layout.batch_record("drift_report", "2018-10"), filled("drift_report", {"rows": 7}))
    assert (read_record(settings, "trained_model") or {})["version"] == 3
    assert read_batch_record(settings, "drift_report", "2018-10")["rows"] == 7


def test_locations_are_under_the_home_unless_set(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", storage=str(tmp_path / "storage"))
    assert locations(settings)["assets"] == str(tmp_path / "storage")
    assert locations(settings)["model card"] == str(tmp_path / "storage" / "model_card.md")
    assert locations(settings)["runs and events"] == str(tmp_path / "home" / "dagster")
