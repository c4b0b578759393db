"""Batch files that come in: which are scored and when, and a random life of an inbox."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loan_default.adapters.tracking import TrackingError
from loan_default.defs.resources import StorageResource
from loan_default_tests.defs.sensors.harness import (
    CURSORS,
    Harness,
    broken_cursors,
    skip_message,
)


def test_a_whole_file_is_scored_once(harness: Harness) -> None:
    harness.write("applications", "2018-10.csv", text="1")
    assert [harness.batches() for _ in range(4)] == [[], ["2018-10"], [], []]
    assert harness.instance.get_dynamic_partitions("batch") == ["2018-10"]


def test_another_content_under_the_name_is_scored_and_the_same_is_not(harness: Harness) -> None:
    harness.write("applications", "a.csv", text="1")
    assert [harness.batches(), harness.batches()] == [[], ["a"]]
    harness.write("applications", "a.csv", text="1", changed_at=2_000)
    assert [harness.batches() for _ in range(3)] == [[], [], []]
    harness.write("applications", "a.csv", text="2", changed_at=3_000)
    assert [harness.batches() for _ in range(3)] == [[], ["a"], []]
    harness.write("applications", "a.csv", text="1", changed_at=4_000)
    assert [harness.batches() for _ in range(3)] == [[], ["a"], []]


def test_what_was_scored_before_runs_and_cursor_were_lost_is_not_scored_again(harness: Harness) -> None:
    harness.score("a", harness.write("applications", "a.csv", text="1"))
    assert [harness.batches() for _ in range(3)] == [[], [], []]


def test_what_was_read_and_not_scored_is_scored_though_an_earlier_content_was(harness: Harness) -> None:
    harness.score("a", harness.write("applications", "a.csv", text="1"))
    harness.score("a", harness.write("applications", "a.csv", text="2"), report_only=True)
    assert [harness.batches() for _ in range(3)] == [[], ["a"], []]


@pytest.mark.parametrize("damaged", ["application_report/a.json", "predictions/a.parquet"])
def test_a_damaged_file_of_one_batch_keeps_no_other_from_being_scored(harness: Harness, damaged: str) -> None:
    harness.score("a", harness.write("applications", "a.csv", text="1"))
    harness.write(*damaged.split("/"), text="{")
    harness.write("applications", "b.csv", text="2")
    assert harness.batches() == []
    assert harness.batches() == (["a", "b"] if "predictions" in damaged else ["b"])


def test_what_is_settled_takes_8_letters_in_the_memory_that_each_tick_keeps(harness: Harness) -> None:
    for number in range(50):
        harness.score(f"2018-{number}", harness.write("applications", f"2018-{number}.csv", text=f"{number}"))
        harness.write_verdict(f"2018-{number}", 1, "stable")
    assert [harness.batches() for _ in range(3)] == [[]] * 3
    assert skip_message(harness.drift()) == "No batch has drifted."
    assert max(len(str(harness.cursors[name])) for name in ("new_batch_sensor", "drift_sensor")) < 50 * 8 + 100
    harness.write("applications", "2018-7.csv", text="other", changed_at=2_000)
    assert [harness.batches() for _ in range(3)] == [[], ["2018-7"], []]


def test_batches_wait_for_a_version_in_production(harness: Harness) -> None:
    harness.model_registry.version = None
    harness.write("applications", "a.csv", text="1")
    harness.batches()
    result = harness.tick_new_batches()
    assert skip_message(result) == "a will be scored once a version is in production."
    harness.model_registry.version = 1
    assert harness.batches() == ["a"]


def test_what_cannot_be_asked_is_said_and_asked_again(harness: Harness) -> None:
    harness.write("applications", "a.csv", text="1")
    harness.batches()
    harness.model_registry.error = TrackingError("The registry cannot be reached.")
    assert skip_message(harness.tick_new_batches()) == "The registry cannot be reached."
    harness.model_registry.error = None
    assert harness.batches() == ["a"]


def test_what_is_refused_is_shown(harness: Harness) -> None:
    harness.write("applications", "a b.csv", text="1")
    harness.write("applications", "a.csv", text="1")
    result = harness.tick_new_batches()
    assert "a.csv may still be written." in skip_message(result)
    assert "a b.csv: a batch's name may hold" in skip_message(result)


@pytest.mark.slow
def test_a_hundred_files_are_asked_for_in_their_order_and_a_few_in_a_tick(harness: Harness) -> None:
    for number in range(100):
        harness.write("applications", f"batch-{999 - number}.csv", text=f"{number}", changed_at=number)
    harness.batches()
    requested: list[str] = []
    while batches := harness.batches():
        assert len(batches) <= 3
        requested += batches
    assert requested == [f"batch-{999 - number}" for number in range(100)]
    assert harness.instance.get_dynamic_partitions("batch") == requested


@settings(max_examples=settings().max_examples // 5)  # each is a whole life
@given(seed=st.integers(0, 10**6))
@pytest.mark.slow
def test_a_random_life_of_an_inbox(seed: int) -> None:
    """Files come, change, are touched; cursors are lost, ticks doubled, runs slow: each content is scored once."""
    rng = Random(seed)
    with TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        harness = Harness(instance, StorageResource(root=folder, scratch=folder))
        content: dict[str, str] = {}
        keys: set[str] = set()
        queue: list[str] = []
        scored: list[tuple[str, str]] = []

        def score() -> None:
            batch = queue.pop(0)
            path = Path(folder, "applications", f"{batch}.csv")
            scored.append((batch, path.read_text()))
            harness.score(batch, path)

        def tick() -> None:
            result = harness.tick_new_batches()
            assert isinstance(result, dg.SensorResult)
            for request in result.run_requests or []:
                if request.run_key not in keys:  # as Dagster does
                    keys.add(str(request.run_key))
                    queue.append(str(request.partition_key))

        for number in range(60):
            batch = rng.choice("abc")
            if (step := rng.random()) < 0.25:
                if batch not in queue:  # a run reads the file as it is when it starts
                    content[batch] = f"{batch}{number}"
                    harness.write("applications", f"{batch}.csv", text=content[batch], changed_at=number)
            elif step < 0.35 and batch in content:
                harness.write("applications", f"{batch}.csv", text=content[batch], changed_at=number)
            elif step < 0.4 and not queue:
                harness.cursors.clear()
            elif step < 0.85:
                before = dict(harness.cursors)
                tick()
                if rng.random() < 0.1:  # the daemon dies before it keeps the cursor
                    harness.cursors = before
                    tick()
            elif queue:
                score()
        for _ in range(3):
            tick()
        while queue:
            score()
        assert dict(scored) == content, "nothing is lost"
        assert len(scored) == len(set(scored)), "no content is scored twice"


@CURSORS
@given(data=st.data())
def test_a_broken_cursor_scores_nothing_twice(harness: Harness, data: st.DataObject) -> None:
    harness.score("done", harness.write("applications", "done.csv", text="1"))
    harness.write("applications", "asked.csv", text="2")
    harness.write("applications", "no batch.csv", text="3")
    harness.cursors.clear()
    ticks = [harness.tick_new_batches() for _ in range(2)]
    keys = {request.run_key for tick in ticks for request in getattr(tick, "run_requests", None) or []}
    harness.cursors["new_batch_sensor"] = data.draw(broken_cursors(str(harness.cursors["new_batch_sensor"])))
    for _ in range(3):
        result = harness.tick_new_batches()
        assert isinstance(result, dg.SensorResult)
        assert {request.run_key for request in result.run_requests or []} <= keys
    assert len(keys) == 1
