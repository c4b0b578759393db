"""The policy says how old a result may be, and Dagster warns beyond that."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from loan_default.defs.freshness import days_at_most, with_freshness
from loan_default.settings import Settings


@pytest.mark.parametrize("book", ["", "hmeq"])
def test_an_asset_is_stale_once_it_is_older_than_the_policy_allows(tmp_path: Path, book: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("drift: {report_days_at_most: 3}\n", encoding="utf-8")
    prefix = [book] if book else []
    specs = [dg.AssetSpec([*prefix, name]) for name in ("drift_report", "cleaned_loans", "promoted_model")]
    drift, cleaned, promoted = with_freshness(specs, Settings(tmp_path, policy=policy, book=book))
    assert drift.freshness_policy == dg.FreshnessPolicy.time_window(timedelta(days=6), timedelta(days=3))
    assert cleaned.freshness_policy is None
    assert promoted.freshness_policy == dg.FreshnessPolicy.time_window(timedelta(days=730), timedelta(days=365))


def test_a_policy_that_cannot_be_read_keeps_no_definitions_from_loading(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("drift: {report_days: 3}\n", encoding="utf-8")
    assert days_at_most(Settings(tmp_path, policy=policy)) == {}
    assert days_at_most(Settings(tmp_path)).keys() == {"promoted_model", "drift_report", "performance_report"}
