"""What was predicted stays: by version and batch, and the prediction log by days, gathered once each."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import prediction_history
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.contract.book import Contract

TODAY = date(2026, 3, 10)


def batch_of(folder: Path, pd: float, version: int) -> Path:
    """Write a file of predictions as scoring does."""
    row = {
        **{"id": "7", "issue_d": date(2026, 2, 1), "term": 36.0, "pd": pd, "raw_score": 0.0, "score": 600},
        **{"decision": "approve", "reasons": [["none"]], "model_version": version},
        "scored_at": datetime(2026, 2, 3, tzinfo=UTC),
    }
    path = folder / "predictions.parquet"
    pl.DataFrame(row, schema_overrides={"decision": pl.Enum(["approve", "review", "decline"])}).write_parquet(path)
    return path


def log_of(layout: StorageLayout, day: str, loan: str) -> Path:
    """Write a file of the prediction log as the server does."""
    scored_at = datetime.fromisoformat(f"{day}T13:05:00+00:00")
    folder = Path(layout.prediction_log_hour(scored_at).path)
    folder.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"request_id": "r", "scored_at": scored_at, "id": loan, "pd": 0.4, "score": 500}
    row |= {"decision": "decline", "model_version": 2, "shadow_version": None, "term": 60.0, "issue_d": day[:7]}
    pl.DataFrame(row).write_parquet(folder / f"{loan}.parquet")
    return folder / f"{loan}.parquet"


@pytest.fixture
def layout(tmp_path: Path) -> StorageLayout:
    (tmp_path / "staging").mkdir()
    return StorageLayout(UPath(tmp_path / "storage"))


def rows(layout: StorageLayout, contract: Contract, *columns: str, today: date = TODAY) -> list[tuple[Any, ...]]:
    predictions = prediction_history.scan(layout, contract, Path(layout.root.parent.path, "staging"), today).collect()
    return sorted(predictions.select(columns or ("id", "model_version", "pd")).rows())


def test_what_each_version_said_of_a_batch_stays(layout: StorageLayout, tmp_path: Path, contract: Contract) -> None:
    for pd, version in ((0.1, 1), (0.2, 2), (0.3, 2)):
        prediction_history.add(batch_of(tmp_path, pd, version), layout, "2026-02", version, tmp_path / "staging")
    assert rows(layout, contract) == [("7", 1, 0.1), ("7", 2, 0.3)]
    assert pl.read_parquet(layout.predictions_by_version("2026-02", 1).path)["reasons"].to_list() == [["none"]]
    assert not list((tmp_path / "staging").iterdir())


def test_the_log_counts_with_the_month_of_its_days(layout: StorageLayout, contract: Contract) -> None:
    log_of(layout, "2026-03-10", "a")
    log_of(layout, "2026-03-01", "b")
    columns = ("id", "issue_d", "term", "decision", "model_version")
    month = date(2026, 3, 1)
    expected = [("a", month, 60.0, "decline", 2), ("b", month, 60.0, "decline", 2)]
    assert rows(layout, contract, *columns) == expected
    assert rows(layout, contract, *columns) == expected, "read again from what was gathered"


def test_days_that_are_over_are_gathered_into_one_file_each(layout: StorageLayout, contract: Contract) -> None:
    over, open_ = log_of(layout, "2026-03-07", "a"), log_of(layout, "2026-03-08", "b")
    assert len(rows(layout, contract)) == 2
    assert [file.name for file in layout.prediction_history.iterdir()] == ["log-2026-03-07.parquet"]
    over.unlink()  # as a rule of the bucket does after some months
    log_of(layout, "2026-03-08", "c")
    assert [loan for loan, *_ in rows(layout, contract)] == ["a", "b", "c"]
    open_.unlink()
    assert [loan for loan, *_ in rows(layout, contract)] == ["a", "c"]


def test_a_day_is_gathered_again_when_rows_of_it_came_late(layout: StorageLayout, contract: Contract) -> None:
    log_of(layout, "2026-03-07", "a")
    assert len(rows(layout, contract)) == 1
    log_of(layout, "2026-03-07", "b")
    assert [loan for loan, *_ in rows(layout, contract)] == ["a"], "nothing tells of it"
    mark = Path(layout.late_mark(date(2026, 3, 7), "5001-77").path)
    mark.touch()
    assert [loan for loan, *_ in rows(layout, contract)] == ["a", "b"]
    assert not mark.exists()
    assert [loan for loan, *_ in rows(layout, contract)] == ["a", "b"]


def test_nothing_predicted_has_the_columns_all_the_same(layout: StorageLayout, contract: Contract) -> None:
    predictions = prediction_history.scan(layout, contract, Path(layout.root.parent.path, "staging"), TODAY)
    assert predictions.collect().is_empty()
    assert predictions.collect_schema().names() == [
        *("id", "issue_d", "term", "pd", "decision", "model_version", "scored_at"),
    ]
