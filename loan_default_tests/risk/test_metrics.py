"""Metrics against scikit-learn and SciPy, with ties and weights; intervals by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn import metrics as sk

from loan_default.risk.metrics import (
    SHOWN_METRICS,
    Bootstrap,
    Interval,
    Ranking,
    auc_of,
    equal_groups,
    measure,
    metric_headings,
)
from loan_default_tests.risk.drawn_loans import CUTOFF, loans, measured


@st.composite
def scored_loans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw outcomes (both kinds), scores with many ties, and whole weights that leave both kinds in."""
    rows = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    outcomes = rng.permutation(np.r_[0.0, 1.0, rng.integers(0, 2, rows)])
    scores = rng.integers(-3, draw(st.integers(-1, 40)), len(outcomes)) / 4
    weights = rng.integers(0, 4, len(outcomes)).astype(float)
    weights[[outcomes.argmax(), outcomes.argmin()]] += 1
    return outcomes, scores, weights


@given(scored_loans())
def test_ranking_metrics_are_those_of_scikit_learn_and_scipy(case: tuple[np.ndarray, ...]) -> None:
    outcomes, scores, weights = case
    for counts in (None, weights):
        metrics = Ranking.of(outcomes, scores).measure(counts)
        repeated = np.ones(len(scores), int) if counts is None else counts.astype(int)
        bads, goods = (np.repeat(scores[outcomes == y], repeated[outcomes == y]) for y in (1, 0))
        auc = sk.roc_auc_score(outcomes, scores, sample_weight=counts)
        assert metrics["auc"] == pytest.approx(auc)
        assert metrics["gini"] == pytest.approx(2 * auc - 1)
        assert metrics["ks"] == pytest.approx(ks_2samp(bads, goods, method="asymp").statistic)
        expected = sk.average_precision_score(outcomes, scores, sample_weight=counts)
        assert metrics["pr_auc"] == pytest.approx(expected)


@given(scored_loans())
def test_probability_metrics_are_those_of_scikit_learn(case: tuple[np.ndarray, ...]) -> None:
    outcomes, scores, _ = case
    pds = 1 / (1 + np.exp(-scores))
    cutoff = float(pds[0])  # a PD at the cut-off counts as a predicted default
    metrics = measure(outcomes, pds, scores, cutoff=cutoff, bootstrap=Bootstrap(0, 1))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        outcomes, pds >= cutoff, average="binary", zero_division=0
    )
    expected = {
        "brier": sk.brier_score_loss(outcomes, pds),
        "log_loss": sk.log_loss(outcomes, pds),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    assert {name: metrics[name].value for name in expected} == pytest.approx(expected)


def test_certain_pds_have_a_finite_log_loss_and_no_flagged_loan_a_precision_of_zero() -> None:
    metrics = measure([0, 1, 0, 1], [0, 1, 0, 0.5], [0, 3, 1, 2], cutoff=1.0, bootstrap=Bootstrap(0, 5))
    assert metrics["log_loss"].value == pytest.approx(np.log(2) / 4)
    assert metrics["precision"].value == 1
    none = measure([0, 1], [0.1, 0.2], [0, 1], cutoff=0.9, bootstrap=Bootstrap(0, 5))
    assert (none["precision"].value, none["recall"].value, none["f1"].value) == (0, 0, 0)


@pytest.mark.slow
def test_intervals_are_percentiles_of_weighted_metrics() -> None:
    outcomes, pds, raw = loans(300)
    metrics = measure(outcomes, pds, raw, cutoff=CUTOFF, bootstrap=Bootstrap(5, 40))
    rng = np.random.default_rng(5)
    draws = [rng.poisson(1.0, len(raw)).astype(float) for _ in range(40)]
    flagged = pds >= CUTOFF
    by_hand: dict[str, Callable[[np.ndarray], float]] = {
        "auc": lambda w: sk.roc_auc_score(outcomes, raw, sample_weight=w),
        "pr_auc": lambda w: sk.average_precision_score(outcomes, raw, sample_weight=w),
        "brier": lambda w: sk.brier_score_loss(outcomes, pds, sample_weight=w),
        "log_loss": lambda w: sk.log_loss(outcomes, pds, sample_weight=w),
        "precision": lambda w: sk.precision_score(outcomes, flagged, sample_weight=w),
        "recall": lambda w: sk.recall_score(outcomes, flagged, sample_weight=w),
        "f1": lambda w: sk.f1_score(outcomes, flagged, sample_weight=w),
    }
    for name, metric in by_hand.items():
        low, high = np.percentile([metric(draw) for draw in draws], [2.5, 97.5])
        assert (metrics[name].low, metrics[name].high) == pytest.approx((low, high)), name


def test_same_seed_gives_same_intervals_and_another_seed_others() -> None:
    assert measured(seed=1) == measured(seed=1)
    assert measured(seed=1)["auc"] != measured(seed=2)["auc"]


@pytest.mark.parametrize("rows", [40, 200, 2_000])
def test_every_interval_covers_its_value(rows: int) -> None:
    for seed in range(5):
        metrics = measure(*loans(rows, seed), cutoff=CUTOFF, bootstrap=Bootstrap(seed, 30))
        for name, interval in metrics.items():
            assert interval.low <= interval.value <= interval.high, (name, seed)
        assert metrics["auc"].low < metrics["auc"].high


def test_intervals_narrow_as_loans_grow() -> None:
    widths = []
    for rows in (300, 30_000):
        auc = measure(*loans(rows), cutoff=CUTOFF, bootstrap=Bootstrap(0, 50))["auc"]
        widths.append(auc.high - auc.low)
    assert 5 < widths[0] / widths[1] < 20  # ten, as the square root of the loans


def test_expected_calibration_error_by_hand() -> None:
    """Ten groups of two loans: PDs 0.0 to 0.4 all repaid, 0.5 to 0.9 all defaulted, so 1.0 + 1.5 over ten groups.

    Chance alone makes a gap of sqrt(2/pi) standard errors of each group's mean.
    """
    pds = np.repeat(np.arange(10) / 10, 2)
    chance = np.mean(np.sqrt(2 / np.pi * pds * (1 - pds) / 2))
    metrics = measure(pds >= 0.5, pds, pds, cutoff=CUTOFF, bootstrap=Bootstrap(0, 2))
    assert metrics["ece"].value == pytest.approx(0.25 - chance)


def test_one_pd_for_all_is_calibrated_where_it_is_the_default_rate() -> None:
    outcomes = np.repeat([1.0, 0.0], [2_000, 8_000])
    for pd, gap in ((0.2, 0.0), (0.35, 0.15)):
        metrics = measure(outcomes, np.full(10_000, pd), outcomes, cutoff=0.5, bootstrap=Bootstrap(0, 2))
        assert metrics["ece"].value == pytest.approx(gap, abs=0.004)


@pytest.mark.parametrize("rows", [500, 5_000])
def test_calibration_error_of_right_pds_is_about_nothing_at_any_size_and_that_of_wrong_ones_is_theirs(
    rows: int,
) -> None:
    def error(shift: float) -> float:
        errors = []
        for seed in range(60):
            outcomes, _, raw = loans(rows, seed)
            shifted = 1 / (1 + np.exp(-(raw - shift)))
            metrics = measure(outcomes, shifted, raw, cutoff=CUTOFF, bootstrap=Bootstrap(0, 1))
            errors.append(metrics["ece"].value)
        return float(np.mean(errors))

    assert error(0.0) < 0.2 / np.sqrt(rows)  # of the 1.0 / sqrt(rows) that chance makes
    _, pds, raw = loans(200_000)
    true = float(np.mean(pds - 1 / (1 + np.exp(-(raw - 0.5)))))
    assert true - 0.85 / np.sqrt(rows) < error(0.5) < true  # what chance makes is taken from it too


def test_groups_are_equally_large_and_keep_equal_values_together() -> None:
    assert np.bincount(equal_groups(np.random.default_rng(0).random(1_000))).tolist() == [100] * 10
    tied = np.repeat([0.1, 0.2, 0.3], [70, 20, 10])
    groups = equal_groups(tied)
    assert [len(set(groups[tied == value])) for value in (0.1, 0.2, 0.3)] == [1, 1, 1]
    assert len(set(groups)) == 3


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_kind_of_outcome_cannot_be_measured(outcome: int) -> None:
    with pytest.raises(ValueError, match=f"3 loans with {3 * outcome} defaults: both outcomes must occur"):
        measure([outcome] * 3, [0.1] * 3, [0.1] * 3, cutoff=0.5, bootstrap=Bootstrap(0))


def test_tiny_windows_never_resample_one_outcome_only() -> None:
    metrics = measure([0, 1], [0.2, 0.4], [0.2, 0.4], cutoff=0.3, bootstrap=Bootstrap(0, 50))
    assert metrics["auc"] == Interval(1, 1, 1)


def test_auc_and_its_error_are_those_of_the_bootstrap() -> None:
    outcomes, _, raw = loans(2_000)
    estimate = Ranking.of(outcomes, raw).auc_estimate()
    assert estimate.value == pytest.approx(auc_of(outcomes, raw))
    rng = np.random.default_rng(2)
    draws = [Ranking.of(outcomes, raw).measure(rng.poisson(1.0, 2_000).astype(float))["auc"] for _ in range(400)]
    assert estimate.error == pytest.approx(np.std(draws), rel=0.12)


def test_interval_reads_as_a_sentence_says_it() -> None:
    assert str(Interval(0.70336, 0.6946, 0.71288)) == "0.7034 (0.6946 to 0.7129)"


def test_every_shown_metric_is_measured_and_has_a_heading() -> None:
    assert set(SHOWN_METRICS) <= set(measured())
    assert metric_headings() == ["AUC (95%)", "KS", "Brier", "ECE, debiased"]


def test_outcomes_of_other_loans_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores are of other loans than 3 outcomes"):
        auc_of([0, 1, 1], [0.2, 0.3])
