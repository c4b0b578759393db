"""Draws of synthetic loans: levels, counts and parts hold their shares, and annuities repay."""

from datetime import date

import numpy as np
import pytest

from loan_default.risk.data.synthetic_draws import (
    annuity,
    by_level,
    draw_counts,
    draw_part,
    months_since_1900,
    only_where,
    pick_levels,
    rank_levels,
    usual_dti,
)

ROWS = 20_000


def test_levels_hold_their_shares_whether_picked_or_ranked() -> None:
    rng = np.random.default_rng(1)
    for levels in (pick_levels(rng, ROWS, (2, 3, 5)), rank_levels(rng.standard_normal(ROWS), (2, 3, 5))):
        assert np.bincount(levels.astype(int)) / ROWS == pytest.approx([0.2, 0.3, 0.5], abs=0.015)


def test_a_higher_latent_value_never_has_a_lower_level() -> None:
    latent = np.sort(np.random.default_rng(2).standard_normal(500))
    assert np.all(np.diff(rank_levels(latent, (1, 1, 1))) >= 0)


def test_counts_and_parts_have_their_means_and_no_part_exceeds_its_total() -> None:
    rng = np.random.default_rng(3)
    totals = draw_counts(rng, np.full(ROWS, 4.0))
    assert totals.mean() == pytest.approx(4, abs=0.1)
    parts = draw_part(rng, totals, 0.25)
    assert np.all(parts <= totals)
    assert parts.mean() == pytest.approx(1, abs=0.05)


def test_values_by_hand() -> None:
    # 10,000 at 1 % a month over 36 months: 332.143 a month
    payment = annuity(np.array([10_000.0]), np.array([12.0]), np.array([36.0]))
    assert payment == pytest.approx([332.143], abs=1e-3)
    assert months_since_1900(date(1900, 1, 1)) == 0
    assert months_since_1900(date(2015, 12, 1)) == 115 * 12 + 11
    assert by_level((10, 20), np.array([1.0, 0.0])).tolist() == [20, 10]
    assert np.isnan(only_where(np.array([1.0, 2.0]), np.array([True, False]))).tolist() == [False, True]
    assert usual_dti({"dti": np.array([np.nan, 999.0, 7.5])}).tolist() == [18, 45, 7.5]
