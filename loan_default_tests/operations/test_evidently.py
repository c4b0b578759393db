"""Evidently's report on a batch is drawn when somebody opens it, and again once the batch was compared again."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from loan_default.adapters import storage
from loan_default.adapters.evidently_workspace import PROJECT, EvidentlyWorkspace
from loan_default.operations import batches
from loan_default.operations.evidently import read_page, read_report
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch
from loan_default_tests.records import filled
from loan_default_tests.stores import free_port
from loan_default_tests.waiting import within

UI_SECONDS = 120


@pytest.mark.long
def test_a_report_is_drawn_when_it_is_opened_and_again_after_another_comparison(home: Settings, tmp_path: Path) -> None:
    batches.score(home, write_batch(tmp_path / "2014-07.csv", rows=200))
    stored = storage.to_local(EvidentlyWorkspace(home.layout.evidently).report_path("2014-07"))
    assert not stored.exists(), "no run waits for Evidently"
    page = read_page(home, "2014-07")
    assert "Batch 2014-07 and version 1: stable" in page
    drawn = stored.stat().st_mtime_ns
    assert read_page(home, "2014-07").count("Batch 2014-07") == page.count("Batch 2014-07")
    assert stored.stat().st_mtime_ns == drawn
    record = home.layout.batch_record("drift_report", "2014-07")
    storage.write_json(record, {**storage.read_json(record), "verdict": "drifted"})
    assert read_report(home, "2014-07").get_name() == "2014-07: drifted"


@pytest.mark.integration
def test_what_cannot_be_drawn_is_one_sentence(home: Settings) -> None:
    with pytest.raises(BadInput, match=r"^Batch 2014-01 was not compared yet; run loan-default drift 2014-01\.$"):
        read_page(home, "2014-01")
    record = filled("drift_report", {"batch": "2013-01", "verdict": "calm"})
    storage.write_json(home.layout.batch_record("drift_report", "2013-01"), record)
    with pytest.raises(BadInput, match=r"^No sample of batch 2013-01 is kept for it; run loan-default drift 2013-01"):
        read_page(home, "2013-01")


@pytest.mark.long
def test_the_panels_of_evidentlys_ui_have_each_batch_as_soon_as_it_answers_and_those_that_follow(
    home: Settings, tmp_path: Path
) -> None:
    batches.score(home, write_batch(tmp_path / "2014-08.csv", rows=200))
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v2/snapshots/{PROJECT}/data_series_batch"
    process = subprocess.Popen([sys.executable, "-m", "loan_default.cli", "evidently", "--port", str(port)])
    try:
        assert within(UI_SECONDS, lambda: _points(url) is not None)
        compared = len([*storage.to_local(home.layout.drift_reports).glob("*.sample.parquet")])  # of the shared home
        assert _points(url) == compared
        batches.score(home, write_batch(tmp_path / "2014-09.csv", rows=200))
        assert within(UI_SECONDS, lambda: _points(url) == compared + 1)
    finally:
        process.terminate()
        process.wait()


def _points(url: str) -> int | None:
    """Return how many points the panel of drifted features has, None while nothing answers."""
    name = "evidently:metric_v2:DriftedColumnsCount"
    panel = {"metric": name, "tags": [], "metadata": {}, "metric_labels": {"value_type": "share"}}
    question = json.dumps({"series_filter": [panel]}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, question), timeout=UI_SECONDS) as answer:
            return len(json.load(answer)["sources"])
    except URLError:
        return None
