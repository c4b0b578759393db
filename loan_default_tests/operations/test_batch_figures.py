"""Batches as figures: read from small records, each once; what is not of the last scoring is not shown."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.layout import StorageLayout
from loan_default.operations.batch_figures import BatchArchive
from loan_default.risk.errors import BadInput
from loan_default_tests.records import filled

LINE = {"feature": "dti", "psi": 0.1, "decile_psi": 0.3, "missing_psi": None}


@pytest.fixture
def layout(tmp_path: Path) -> StorageLayout:
    return StorageLayout(UPath(tmp_path))


def _score(
    layout: StorageLayout, batch: str, month: str | None, written: float, **decisions: tuple[int, float]
) -> None:
    counts = [{"decision": name, "applications": n, "mean_pd": pd} for name, (n, pd) in decisions.items()]
    record = {"model_version": 3, "scored_at": "2026-03-01T00:00:00+00:00", "rejected": 5, "problems": {"dti: text": 5}}
    months = {"first_month": month, "last_month": month}
    storage.write_json(layout.batch_record("prediction_report", batch), {**record, **months, "decisions": counts})
    storage.write_text(layout.batch_table("predictions", batch), "")
    _set_time(layout.batch_record("prediction_report", batch), written)


def _compare(layout: StorageLayout, batch: str, written: float, **values: Any) -> None:
    record = {"verdict": "drifted", "score_psi": 0.4, "share": 0.5, "features": [LINE], "drifted_features": ["dti"]}
    storage.write_json(
        layout.batch_record("drift_report", batch), filled("drift_report", {**record, "reasons": ["moved"], **values})
    )
    _set_time(layout.batch_record("drift_report", batch), written)


def _set_time(path: UPath, seconds: float) -> None:
    os.utime(str(path), (seconds, seconds))


def test_a_batch_is_read_from_its_records(layout: StorageLayout) -> None:
    _score(layout, "a", "2018-10", 100, approve=(30, 0.1), decline=(10, 0.5))
    _compare(layout, "a", 101)
    (batch,) = BatchArchive(layout).read().batches
    assert (batch.rows, batch.rejected, batch.model_version, batch.verdict) == (40, 5, 3, "drifted")
    assert batch.decisions == {"approve": 0.75, "decline": 0.25}
    assert batch.mean_pd == pytest.approx(0.2)
    assert batch.psi == {"dti": 0.3}
    assert batch.rejected_share == pytest.approx(5 / 45)


def test_a_comparison_of_an_earlier_scoring_is_not_shown(layout: StorageLayout) -> None:
    archive = BatchArchive(layout)
    _score(layout, "a", "2018-10", 100, approve=(1, 0.1))
    _compare(layout, "a", 99)
    assert archive.read().find("a").verdict is None
    _compare(layout, "a", 102)
    assert archive.read().find("a").verdict == "drifted"


def test_too_few_rows_have_no_share_and_earlier_words_are_todays(layout: StorageLayout) -> None:
    for batch, verdict in (("few", "not enough rows"), ("earlier", "calm")):
        _score(layout, batch, "2018-10", 100, approve=(1, 0.1))
        _compare(layout, batch, 101, verdict=verdict, score_psi=None if batch == "few" else 0.1, share=0.0)
    listed = BatchArchive(layout).read()
    assert (listed.find("few").drifted_share, listed.find("few").score_psi) == (None, None)
    assert (listed.find("earlier").verdict, listed.find("earlier").drifted_share) == ("stable", 0.0)


def test_batches_stand_by_month_and_those_without_a_record_are_counted(layout: StorageLayout) -> None:
    for batch, month in (("b", "2018-09"), ("a", "2018-10"), ("c", "2018-08"), ("z", None)):
        _score(layout, batch, month, 100, approve=(1, 0.1))
    for name in ("old.parquet", "old.csv"):
        storage.write_text(layout.predictions / name, "")
    storage.remove(layout.batch_table("predictions", "c"))  # somebody has taken it away
    listed = BatchArchive(layout).read()
    assert [batch.batch for batch in listed.batches] == ["z", "b", "a"]
    assert listed.without_record == 1
    assert listed.without_predictions == {"c"}
    assert listed.read_at <= datetime.now(UTC)
    with pytest.raises(BadInput, match=r"^The predictions of batch c are no longer there; run loan-default score"):
        listed.find("c")
