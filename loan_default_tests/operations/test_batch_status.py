"""How batches stand, by the files that scoring, comparing and deliveries leave."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from loan_default.adapters import storage
from loan_default.operations.batch_figures import BatchFigures, BatchList
from loan_default.operations.batch_status import SCORED_READ, BatchStatus, comparisons, list_deliveries, read_batches
from loan_default.operations.runs import BatchFailure, BatchRuns
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings
from loan_default_tests.records import filled

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NO_RUNS = BatchRuns((), ())


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def _set_time(path: Path, minutes: int) -> None:
    time = (NOW + timedelta(minutes=minutes)).timestamp()
    os.utime(path, (time, time))


def _leave_scoring(home: Settings, batch: str, minutes: int = 0, version: int = 3) -> None:
    """Write what a scoring of 1,000 applications leaves; 7 more were rejected."""
    predictions = Path(str(home.layout.batch_table("predictions", batch)))
    predictions.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"model_version": [version], "input_fingerprint": ["0" * 16]}).write_parquet(predictions)
    csv = predictions.with_suffix(".csv")
    csv.touch()
    _leave_report(home, batch, minutes)
    _set_time(predictions, minutes)
    _set_time(csv, minutes)


def _leave_report(home: Settings, batch: str, minutes: int) -> None:
    report = home.layout.batch_record("application_report", batch)
    storage.write_json(report, filled("application_report", {"kept": 1_000, "rejected": 7}))
    _set_time(Path(str(report)), minutes)


def _leave_comparison(home: Settings, batch: str, minutes: int) -> None:
    report = home.layout.batch_record("drift_report", batch)
    record = {"batch": batch, "model_version": 3, "verdict": "calm", "reasons": ["PSI 0.01"]}
    storage.write_json(report, filled("drift_report", record))
    _set_time(Path(str(report)), minutes)


def _deliver(home: Settings, *names: str) -> None:
    for name in names:
        storage.write_text(home.layout.inbox / name, "id\n1\n")


def test_a_batch_is_compared_if_its_report_is_not_older_than_its_predictions(home: Settings) -> None:
    for minutes, batch in enumerate(("later", "same", "earlier", "never")):
        _leave_scoring(home, batch, minutes)
    for batch, minutes in {"later": 60, "same": 1, "earlier": 1}.items():
        _leave_comparison(home, batch, minutes)
    storage.write_text(home.layout.predictions / "of somebody else.parquet", "")
    assert comparisons(home.layout) == {"later": True, "same": True, "earlier": False, "never": False}


def test_a_scored_batch_has_its_verdict_only_if_it_was_compared_since(home: Settings) -> None:
    _leave_scoring(home, "2018-10")
    _leave_comparison(home, "2018-10", 1)
    _leave_scoring(home, "2018-11", 2, version=4)
    _leave_comparison(home, "2018-11", 1)
    assert read_batches(home, NO_RUNS, list_deliveries(home.layout)) == (
        BatchStatus("2018-10", "scored", 1_000, 7, 3, "stable", ("PSI 0.01",)),  # of an earlier release
        BatchStatus("2018-11", "scored", 1_000, 7, 4),
    )


def test_damaged_predictions_are_told_and_other_batches_stand(home: Settings) -> None:
    _leave_scoring(home, "2018-10")
    _leave_scoring(home, "2018-11", 1)
    Path(str(home.layout.batch_table("predictions", "2018-11"))).write_bytes(b"PAR1")
    damages: list[DamagedRecord] = []
    assert [each.model_version for each in _read(home, damages)] == [3, None]
    (damage,) = damages
    assert "2018-11.parquet is damaged or cut off" in str(damage)
    with pytest.raises(DamagedRecord):
        _read(home, None)


def _read(home: Settings, damages: list[DamagedRecord] | None) -> tuple[BatchStatus, ...]:
    return read_batches(home, NO_RUNS, list_deliveries(home.layout), damages=damages)


def test_records_of_a_batch_whose_figures_are_known_are_not_opened(home: Settings) -> None:
    for minutes, batch in enumerate(("2018-10", "2018-11")):
        _leave_scoring(home, batch, minutes)
        _leave_comparison(home, batch, 5)
    known = BatchFigures(
        "2018-10", None, None, 900, 8, {}, 2, NOW.isoformat(), {}, 0.2, "drifted", 0.3, 0.2, {}, (), ("PSI 0.3",)
    )
    assert read_batches(home, NO_RUNS, list_deliveries(home.layout), BatchList((known,), 0, NOW)) == (
        BatchStatus("2018-10", "scored", 900, 8, 2, "drifted", ("PSI 0.3",)),
        BatchStatus("2018-11", "scored", 1_000, 7, 3, "stable", ("PSI 0.01",)),
    )


def test_the_newest_of_the_scored_are_read_and_all_others(home: Settings) -> None:
    names = [f"batch-{number}" for number in range(SCORED_READ + 2)]
    for number, name in enumerate(names):
        _leave_scoring(home, name, number)
    failure = BatchFailure(names[-1], "run", NOW, "The disk is full.")
    batches = read_batches(home, BatchRuns(tuple(names), (failure,)), list_deliveries(home.layout))
    assert [batch.batch for batch in batches if batch.state == "scored"] == names[1:-1]
    assert [batch.batch for batch in batches if batch.state == "failed"] == names[-1:]


@pytest.mark.parametrize(("minutes", "rejected"), [(-1, None), (1, 7)])
def test_a_failed_batch_has_the_rejected_rows_that_its_run_read(
    home: Settings, minutes: int, rejected: int | None
) -> None:
    _deliver(home, "2018-10.csv")
    _leave_report(home, "2018-10", minutes)
    failure = BatchFailure("2018-10", "run", NOW, "The disk is full.")
    expected = BatchStatus("2018-10", "failed", rejected=rejected, reasons=("The disk is full.",), run_id="run")
    assert read_batches(home, BatchRuns(("2018-10",), (failure,)), list_deliveries(home.layout)) == (expected,)


def test_files_of_the_inbox_are_refused_or_wait_until_they_are_scored(home: Settings) -> None:
    _deliver(home, "2018-10.csv", "2018-11.csv", "A.csv", "late october.csv")
    _leave_scoring(home, "2018-10")
    scored, *others = read_batches(home, BatchRuns(("2018-10", "a"), ()), list_deliveries(home.layout))
    assert scored.batch == "2018-10"
    assert {(batch.batch, batch.state) for batch in others} == {
        ("2018-11", "waiting"),
        ("A.csv", "refused"),
        ("late october.csv", "refused"),
    }
    reasons = {batch.batch: batch.reasons for batch in others}
    assert reasons["A.csv"] == ("A.csv: batch a differs only by case; rename the file.",)
    assert reasons["2018-11"] == ()


def test_a_new_home_has_no_batches_and_stays_new(home: Settings) -> None:
    assert read_batches(home, NO_RUNS, list_deliveries(home.layout)) == ()
    assert list(home.home.iterdir()) == []
