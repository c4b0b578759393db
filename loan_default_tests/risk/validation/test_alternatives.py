"""What the leading candidate gains over others is paired, on the same test loans."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.validation.alternatives import compare_alternatives, measure_decisions
from loan_default.risk.validation.champion_challenger import SCORES, scores_of


def _scored(outcomes: np.ndarray, noise: float, seed: int) -> pl.Series:
    rng = np.random.default_rng(seed)
    raw = outcomes + rng.normal(0, noise, len(outcomes))
    pds = 1 / (1 + np.exp(-raw))
    band = np.searchsorted([0.5, 0.7], pds, side="right")
    return pl.DataFrame(
        {"pd": pds, "raw_score": raw, "decision": np.array(["approve", "review", "decline"])[band]}
    ).to_struct("scores")


@pytest.fixture
def tested() -> pl.DataFrame:
    outcomes = (np.random.default_rng(0).random(2_000) < 0.2).astype(float)
    months = [date(2011, 1 + index % 12, 1) for index in range(2_000)]
    frame = pl.DataFrame({"outcome": outcomes, "issue_d": months})
    scores = {"xgboost": (1.0, 1), "weak": (4.0, 2), "twin": (1.0, 1)}
    return frame.with_columns(
        _scored(outcomes, noise, seed).alias(SCORES + name) for name, (noise, seed) in scores.items()
    )


def test_a_weaker_one_is_gained_upon_and_an_equal_one_is_not(tested: pl.DataFrame) -> None:
    weak, twin = compare_alternatives(tested, "xgboost", ["weak", "twin"], load_contract(), bootstrap=Bootstrap(7, 50))
    assert (weak.name, twin.name) == ("weak", "twin")
    assert 0 < weak.auc_gain.low < weak.auc_gain.value < weak.auc_gain.high
    assert weak.brier_rise.high < 0
    assert (twin.auc_gain.value, twin.brier_rise.value) == (0, 0)
    assert twin.auc - weak.auc == pytest.approx(weak.auc_gain.value)
    assert twin.approved == pytest.approx((scores_of(tested, "twin")["pd"] < 0.5).mean())


def test_the_leading_one_is_measured_within_each_of_its_decisions(tested: pl.DataFrame) -> None:
    decisions = {segment.level: segment for segment in measure_decisions(tested, "xgboost", load_contract())}
    assert set(decisions) == {"approve", "review", "decline"}
    assert sum(segment.rows for segment in decisions.values()) == 2_000
    assert decisions["approve"].default_rate < decisions["decline"].default_rate
    assert all(segment.auc is not None for segment in decisions.values())
