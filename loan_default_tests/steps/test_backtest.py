"""The step of the back-test: which months it develops at, and the record that it leaves."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.backtest import LABELS, BackTestPoint
from loan_default.steps.backtest import run_backtest
from loan_default_tests.conftest import Cleaned
from loan_default_tests.packages import full_search_space
from loan_default_tests.steps.book import as_json

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.slow
def test_the_record_holds_a_point_for_each_month_and_way_of_learning(cleaned: Cleaned, tmp_path: Path) -> None:
    shares: list[tuple[float, BackTestPoint]] = []
    search = full_search_space()
    start = {**search.tunable("xgboost").start, "learning_rate": 0.3}
    record = run_backtest(
        ParquetTable.of(UPath(cleaned.path), tmp_path),
        {"snapshot": "2019-03", "fingerprint": "f"},
        load_contract(),
        load_policy(),
        search.replace("xgboost", start=start, search={}, rounds_at_most=20, stop_after_rounds=5),
        first="2014-01",
        every=40,
        now=NOW,
        seed=7,
        on_point=lambda share, point: shares.append((share, point)),
    )
    points = record["points"]
    assert [(point["month"], point["label"]) for point in points if point["leads"]] == [("2014-01", x) for x in LABELS]
    assert {point["model"] for point in points if point["label"] == "hindsight"} == set(search.enabled)
    assert record["unit"] == "dollars"
    assert record["measured_at"] == "2026-03-01T00:00:00+00:00"
    assert as_json(record) == as_json({**record, "points": [point.to_dict() for _, point in shares]})
    assert sorted({share for share, _ in shares}) == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_file_that_does_not_say_when_it_was_taken_has_no_back_test(cleaned: Cleaned, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="do not say when their file was taken"):
        run_backtest(
            ParquetTable.of(UPath(cleaned.path), tmp_path),
            {"fingerprint": "f"},
            load_contract(),
            load_policy(),
            load_search_space(),
            first="",
            every=6,
            now=NOW,
            seed=7,
            on_point=lambda share, point: None,
        )
