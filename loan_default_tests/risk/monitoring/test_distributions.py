"""Bins for a picture: shares of both sides that add up, over round edges, few enough to be read."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.monitoring.distributions import OTHER, FieldDistribution, field_distributions, round_edges
from loan_default.risk.monitoring.drift import build_profile, profile_batch


def _compare(reference: pl.Series, batch: pl.Series, *, numeric: bool = True) -> FieldDistribution:
    numbers, levels = (["x"], []) if numeric else ([], ["x"])
    profile = build_profile(pl.DataFrame({"x": reference}), numeric=numbers, categorical=levels)
    (field,) = field_distributions(profile, profile_batch(pl.DataFrame({"x": batch}), profile))
    return field


_numbers = st.lists(st.none() | st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=60)


@given(reference=_numbers, batch=_numbers)
def test_shares_and_missing_add_up_over_few_bins(reference: list[float | None], batch: list[float | None]) -> None:
    field = _compare(pl.Series(reference, dtype=pl.Float64), pl.Series(batch, dtype=pl.Float64))
    assert sum(bin_.reference for bin_ in field.bins) + field.missing_reference == pytest.approx(1)
    assert sum(bin_.batch for bin_ in field.bins) + field.missing_batch == pytest.approx(1)
    assert len(field.bins) <= 16
    between = [bin_.low for bin_ in field.bins if bin_.low is not None]
    assert between == sorted(between)


def test_edges_are_round_and_tails_are_open() -> None:
    incomes = pl.Series(np.random.default_rng(3).lognormal(11, 0.5, 5_000))
    field = _compare(incomes, incomes * 1.5)
    edges = [bin_.low for bin_ in field.bins if bin_.low is not None]
    steps = set(np.diff(edges).round(6))
    assert steps == {20_000.0}
    assert all(edge % 20_000 == 0 for edge in edges)
    assert (field.bins[0].low, field.bins[-1].high) == (0.0, None)  # nobody earns less than nothing
    assert field.bins[-1].batch > 3 * field.bins[-1].reference


def test_counts_have_no_bins_between_whole_numbers() -> None:
    counts = pl.Series([*range(15)] * 10, dtype=pl.Float64)
    profile = build_profile(pl.DataFrame({"x": counts}), numeric=["x"], categorical=[])
    assert set(np.diff(round_edges(profile.numeric["x"]))) == {2.0}
    few = pl.Series([0.0, 1.0, 1.0, 3.0])
    assert [(bin_.low, bin_.high, bin_.batch) for bin_ in _compare(few, few).bins] == [
        (0.0, 0.0, 0.25),
        (1.0, 1.0, 0.5),
        (3.0, 3.0, 0.25),
    ]


def test_levels_stand_by_the_reference_and_rare_ones_together() -> None:
    reference = pl.Series([f"level {number:02d}" for number in range(14) for _ in range(20 - number)])
    field = _compare(reference, pl.Series(["level 13", "new", None, None]), numeric=False)
    assert [bin_.level for bin_ in field.bins] == [*(f"level {number:02d}" for number in range(10)), OTHER]
    assert field.missing_batch == 0.5
    assert field.bins[-1].batch == 0.5
    assert math.isclose(sum(bin_.reference for bin_ in field.bins), 1)


def test_a_column_without_values_has_no_bins() -> None:
    empty = pl.Series([None, None], dtype=pl.Float64)
    assert _compare(empty, empty) == FieldDistribution("x", 1.0, 1.0, ())
