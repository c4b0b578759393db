"""Estimates against statsmodels' formulas by hand, and the size and power of what is tested by them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from loan_default.risk.estimates import (
    Estimate,
    calibration_in_the_large,
    mean_estimate,
    recalibrate,
    recalibrate_forward,
)
from loan_default.risk.model.calibration import fit_calibration


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def drawn(
    rows: int, seed: int = 0, *, shift: float = 0.0, slope: float = 1.0, month_spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, PDs and months: the truth is `slope` times the PDs' log-odds, `shift` higher, and differs by month."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1.9, 0.65, rows)
    months = np.arange(rows) * 12 // rows
    truth = slope * log_odds + shift + month_spread * rng.normal(size=12)[months]
    return (rng.random(rows) < sigmoid(truth)).astype(float), sigmoid(log_odds), months


def test_calibration_in_the_large_and_slope_are_what_was_done_to_the_truth() -> None:
    outcomes, pds, months = drawn(200_000, shift=0.25)
    assert calibration_in_the_large(outcomes, pds, months).value == pytest.approx(0.25, abs=0.02)
    outcomes, pds, _ = drawn(200_000, slope=0.7)
    slope = recalibrate(outcomes, pds).slope
    assert slope is not None
    assert slope.value == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("what", ["intercept", "slope"])
def test_errors_are_the_spread_of_the_estimates(what: str) -> None:
    estimates = [getattr(recalibrate(*drawn(2_000, seed)), what) for seed in range(200)]
    spread = np.std([estimate.value for estimate in estimates])
    assert np.mean([estimate.error for estimate in estimates]) == pytest.approx(spread, rel=0.12)
    assert np.sqrt(np.mean([e.month_error**2 for e in estimates])) == pytest.approx(spread, rel=0.12)


def test_months_that_go_well_or_badly_together_are_in_the_month_error_alone() -> None:
    estimates = [calibration_in_the_large(*drawn(6_000, seed, month_spread=0.4)) for seed in range(200)]
    spread = np.std([estimate.value for estimate in estimates])
    assert np.sqrt(np.mean([(e.month_error or 0) ** 2 for e in estimates])) == pytest.approx(spread, rel=0.12)
    assert np.mean([estimate.error for estimate in estimates]) < spread / 2
    assert np.mean([estimate.p_value() < 0.05 for estimate in estimates]) <= 0.09  # an error of loans alone: 0.5


def test_few_months_say_nothing_of_how_months_differ() -> None:
    outcomes, pds, months = drawn(3_000)
    assert calibration_in_the_large(outcomes, pds, months // 2).month_error is None
    assert calibration_in_the_large(outcomes, pds, months).freedom == 11


def test_a_segment_without_defaults_or_with_nothing_else_has_an_estimate() -> None:
    none = calibration_in_the_large(np.zeros(500), np.full(500, 0.05))
    assert none.value < -3
    assert none.z < -4
    assert calibration_in_the_large(np.ones(500), np.full(500, 0.05)).z > 10
    assert recalibrate(np.zeros(500), np.linspace(0.1, 0.2, 500)).slope is None


def test_slope_is_not_told_where_pds_are_equal_or_agree_without_a_fault() -> None:
    outcomes = np.resize([0.0, 1.0], 100)
    assert recalibrate(outcomes, np.full(100, 0.2)).slope is None
    assert recalibrate(outcomes, np.where(outcomes, 0.9, 0.1)).slope is None


def test_intervals_p_values_and_reach_by_hand() -> None:
    estimate = Estimate(0.3, 0.1)
    assert (estimate.low, estimate.high) == pytest.approx((0.3 - 1.96 * 0.1, 0.3 + 1.96 * 0.1), abs=1e-5)
    assert estimate.interval(0.9) == pytest.approx((0.3 - 1.645 * 0.1, 0.3 + 1.645 * 0.1), abs=1e-4)
    assert estimate.p_value(0.1) == pytest.approx(2 * stats.norm.sf(2))
    assert estimate.p_value(0.3) == 1
    assert estimate.p_below(0.5) == pytest.approx(stats.norm.sf(2))
    assert estimate.p_below(0.2) == 1
    assert estimate.reach(0.1, 0.05) == pytest.approx((1.96 + 1.645) * 0.1, abs=1e-4)
    assert estimate.reach(0.4, 0.05) == pytest.approx(0.4 + 1.645 * 0.1, abs=1e-4)
    months = Estimate(0.3, 0.01, 0.1, 11)
    assert months.z == pytest.approx(3)
    assert months.p_value() == pytest.approx(2 * stats.t.sf(3, 11))
    assert months.high == pytest.approx(0.3 + stats.t.ppf(0.975, 11) * 0.1)
    assert months.reach(0, 0.05) == pytest.approx((stats.t.ppf(0.975, 11) + stats.t.ppf(0.95, 11)) * 0.1)


def test_an_error_of_the_size_of_the_reach_is_seen_19_times_of_20() -> None:
    for rows, tolerance in ((1_000, 0.1), (8_000, 0.2)):
        reach = calibration_in_the_large(*drawn(rows)[:2]).reach(tolerance, 0.05)
        estimates = [calibration_in_the_large(*drawn(rows, seed, shift=reach)[:2]) for seed in range(150)]
        assert 0.91 < np.mean([e.value > tolerance and e.p_value() < 0.05 for e in estimates]) < 0.99


def test_means_have_the_error_of_their_loans_and_of_their_months() -> None:
    rng = np.random.default_rng(0)
    months = np.arange(2_400) // 200
    values = rng.normal(2, 1, 2_400) + rng.normal(0, 1, 12)[months]
    plain, grouped = mean_estimate(values), mean_estimate(values, months)
    assert (plain.value, plain.error) == pytest.approx((values.mean(), values.std(ddof=1) / 2_400**0.5))
    assert grouped.month_error == pytest.approx(values.reshape(12, 200).mean(axis=1).std(ddof=1) / 12**0.5)
    assert mean_estimate(values, months // 2) == plain


# --- a calibration is judged on months that come after those on which it was fitted


def judged_forward(seed: int, change: Callable[[np.ndarray], np.ndarray] = lambda late: 0 * late) -> float:
    """Return the p-value of an error in the large of raw margins, whose truth in the later months is changed."""
    rng = np.random.default_rng(seed)
    margins, months = rng.normal(size=3_000), np.arange(3_000) // 250
    truth = -1.9 + 0.65 * margins + change((months >= 6).astype(float))
    outcomes = (rng.random(3_000) < sigmoid(truth)).astype(float)
    return recalibrate_forward(outcomes, margins, fit_calibration, months).intercept.p_value()


@pytest.mark.slow
def test_a_calibration_that_holds_is_held_back_one_time_of_twenty() -> None:
    falls = [judged_forward(seed) < 0.05 for seed in range(300)]
    assert np.mean(falls) <= 0.075  # 0.05, and 2 standard errors of 300 draws


def test_a_calibration_that_does_not_hold_later_is_seen() -> None:
    assert np.mean([judged_forward(seed, lambda late: 0.6 * late) < 0.05 for seed in range(50)]) > 0.95


def test_loans_of_one_month_are_divided_alternately() -> None:
    outcomes, pds, _ = drawn(2_000)
    log_odds = np.log(pds / (1 - pds))
    recalibration = recalibrate_forward(outcomes, log_odds, fit_calibration, np.zeros(2_000))
    assert recalibration == recalibrate_forward(outcomes, log_odds, fit_calibration, None)
    assert recalibration.intercept.month_error is None
    by_hand = fit_calibration(log_odds[::2], outcomes[::2]).pds(log_odds[1::2])
    assert recalibration.intercept.value == calibration_in_the_large(outcomes[1::2], by_hand).value
