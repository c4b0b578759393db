"""Platt's scaling recovers what is known, stands up to margins of any scale and agrees with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from loan_default.risk.model.calibration import PD_DIGITS, Calibration, fit_calibration


def drawn(slope: float, intercept: float, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-1.5, 1, rows)
    return margins, (rng.random(rows) < Calibration(slope, intercept).pds(margins)).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (2.0, 1.5)])
def test_known_slope_and_intercept_are_recovered(slope: float, intercept: float) -> None:
    fitted = fit_calibration(*drawn(slope, intercept, 200_000))
    assert fitted.slope == pytest.approx(slope, abs=0.03)
    assert fitted.intercept == pytest.approx(intercept, abs=0.05)


@given(st.integers(0, 2**32), st.floats(0.001, 1_000), st.floats(-100, 100), st.sampled_from([0.1, 1, 5]))
def test_margins_of_any_scale_and_centre_give_the_best_fit(
    seed: int, scale: float, centre: float, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=200)
    outcomes = (rng.random(200) < Calibration(strength, 0.3).pds(z)).astype(float)
    plain = fit_calibration(z, outcomes)
    moved = fit_calibration(z * scale + centre, outcomes)
    assert moved.pds(z * scale + centre) == pytest.approx(plain.pds(z), abs=1e-6)
    # at the maximum of the likelihood the smoothed targets and the PDs agree in sum and in sum times margin
    targets = np.where(outcomes == 1, (outcomes.sum() + 1) / (outcomes.sum() + 2), 1 / (202 - outcomes.sum()))
    assert np.mean(targets - plain.pds(z)) == pytest.approx(0, abs=1e-7)
    assert np.mean((targets - plain.pds(z)) * z) == pytest.approx(0, abs=1e-7)


def test_large_samples_agree_with_scikit_learn() -> None:
    margins, outcomes = drawn(0.8, -0.4, 100_000)
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(margins[:, None], outcomes)
    fitted = fit_calibration(margins, outcomes)
    assert fitted.slope == pytest.approx(expected.coef_[0, 0], abs=1e-3)
    assert fitted.intercept == pytest.approx(expected.intercept_[0], abs=1e-3)


@pytest.mark.parametrize("size", [0.01, 1, 50, 2_000])
def test_separated_outcomes_give_platts_targets_and_not_certainty(size: float) -> None:
    margins = size * np.repeat([-1.0, 1.0], [30, 10])
    pds = fit_calibration(margins, (margins > 0).astype(float)).pds(margins)
    assert pds[0] == pytest.approx(1 / 32, abs=1e-4)
    assert pds[-1] == pytest.approx(11 / 12, abs=1e-4)


def test_equal_margins_give_the_default_rate() -> None:
    outcomes = np.repeat([1.0, 0.0], [250, 750])
    assert fit_calibration(np.full(1_000, -3.0), outcomes).pds(np.array([-3.0]))[0] == pytest.approx(0.25, abs=0.002)


def test_pds_keep_the_order_and_the_bounds_of_probabilities() -> None:
    pds = Calibration(1.0, 0.0).pds(np.array([-1e5, -40.0, -1.0, 0.0, 1.0, 40.0, 1e5]))
    assert pds[0] == 0
    assert pds[-1] == 1
    assert pds[3] == 0.5
    assert (np.diff(pds) >= 0).all()


@given(st.lists(st.floats(-1e9, 1e9) | st.floats(-8, 8), min_size=1), st.floats(0.1, 3), st.floats(-3, 3))
def test_one_margin_gets_the_pd_that_it_gets_among_others(margins: list[float], slope: float, intercept: float) -> None:
    calibration = Calibration(slope, intercept)
    pds = calibration.pds(np.array(margins)).tolist()
    assert pds == [calibration.pd(margin) for margin in margins]
    assert pds == [round(pd, PD_DIGITS) for pd in pds]


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_kind_of_outcome_is_refused(outcome: float) -> None:
    with pytest.raises(ValueError, match="calibration needs both outcomes"):
        fit_calibration(np.arange(4.0), np.full(4, outcome))
