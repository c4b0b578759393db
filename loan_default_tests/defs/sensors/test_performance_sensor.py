"""Outcome files that come in, and each day: when performance is measured again."""

from datetime import UTC, datetime, timedelta

from loan_default_tests.defs.sensors.harness import (
    Harness,
)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_outcome_files_are_measured_once_whole_and_again_each_day(harness: Harness) -> None:
    assert harness.performance(NOON) == []
    harness.write("outcomes", "2019-03.csv", text="1")
    assert harness.performance(NOON) == [], "it may still be written"
    (key,) = harness.performance(NOON)
    assert harness.performance(NOON) == []
    harness.cursors.clear()
    assert [harness.performance(NOON) for _ in range(2)] == [[], [key]], "the same key: Dagster drops it"
    assert harness.performance(NOON + timedelta(days=1)) != [key]
    harness.write("outcomes", "2019-04.csv", text="2")
    assert harness.performance(NOON) == []
    assert harness.performance(NOON) != [key]


def test_what_was_predicted_is_measured_without_outcomes_too(harness: Harness) -> None:
    harness.write("prediction_history", "a.version-1.parquet", text="")
    assert len(harness.performance(NOON)) == 1, "no file is there that may still be written"
    assert harness.performance(NOON) == []
