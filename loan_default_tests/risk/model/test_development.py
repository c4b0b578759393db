"""The windows that a model is developed on: what they hold, how they are drawn, and where they are held."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.model.candidates.xgboost_model import tree_parameters
from loan_default.risk.model.development import (
    BoostingSpec,
    LocalDevelopment,
    Sample,
    development_on,
    on_windows,
)

CONTRACT = load_contract()


def test_nothing_but_train_and_calibrate_can_be_handed_in() -> None:
    assert {field.name for field in fields(LocalDevelopment)} == {"space", "train", "calibrate"}


def test_windows_are_encoded_with_their_outcomes(
    development: LocalDevelopment, windows: Mapping[str, pl.DataFrame]
) -> None:
    for name in ("train", "calibrate"):
        sample = getattr(development, name)
        assert sample.X.shape == (windows[name].height, len(development.space.columns))
        assert sample.y.tolist() == windows[name][OUTCOME].to_list()


@pytest.mark.parametrize("share", [0.25, 1.0, 3.0])
def test_a_thinned_sample_holds_each_loan_with_the_same_chance(share: float) -> None:
    rows = 4_000
    X = np.arange(rows, dtype=np.float32)[:, None]
    sample = Sample(X, X[:, 0] % 2)
    thinned = sample.thin(share, seed=1)
    assert len(thinned.y) == pytest.approx(rows * min(share, 1), rel=0.1)
    assert np.array_equal(thinned.y, thinned.X[:, 0] % 2)  # each outcome stays with its loan
    assert np.array_equal(thinned.X, sample.thin(share, seed=1).X)


def test_a_loan_that_may_end_either_way_is_a_row_for_each() -> None:
    """The log loss of any margins is the same."""
    y = np.array([0, 1, 0.25, 1, 0.5], dtype=np.float32)
    sample = Sample(np.arange(5, dtype=np.float32)[:, None], y, np.array([False, False, True, True, True]))
    loans, ends, weights = sample.endings
    assert sorted(zip(loans.tolist(), ends.tolist(), weights.tolist(), strict=True)) == [
        *((0, 0, 1), (1, 1, 1), (2, 0, 0.75), (2, 1, 0.25), (3, 1, 1), (4, 0, 0.5), (4, 1, 0.5)),
    ]
    pds = np.linspace(0.1, 0.8, 5)
    apart = weights * np.log(np.where(ends > 0, pds[loans], 1 - pds[loans]))
    assert apart.sum() == pytest.approx((y * np.log(pds) + (1 - y) * np.log(1 - pds)).sum())


def test_which_loans_matured_stays_with_them() -> None:
    X = np.arange(100, dtype=np.float32)[:, None]
    matured, mixed = Sample(X, X[:, 0]), Sample(X, X[:, 0], X[:, 0] >= 50)
    assert Sample.concat([matured, matured]).is_open is None
    assert np.array_equal(Sample.concat([matured, mixed]).matured, [*[True] * 100, *(X[:, 0] < 50)])
    thinned = mixed.thin(0.5, seed=1)
    assert np.array_equal(thinned.matured, thinned.y < 50)


def test_samples_are_of_the_window_that_is_named(development: LocalDevelopment) -> None:
    train, calibrate = development.train, development.calibrate
    assert np.array_equal(development.sample("train", 10**6, 0).y, train.y)
    assert np.array_equal(development.sample("calibrate", 10**6, 0).y, calibrate.y)
    both = development.sample("both", 10**6, 0)
    assert np.array_equal(both.y, np.concatenate([train.y, calibrate.y]))
    assert np.array_equal(both.X, np.concatenate([train.X, calibrate.X]), equal_nan=True)
    assert len(development.sample("both", 1_000, 0).y) == pytest.approx(1_000, abs=120)


def test_boosting_stops_by_the_calibrate_window_only_where_it_is_asked_to(development: LocalDevelopment) -> None:
    parameters = tree_parameters({"max_depth": 2, "learning_rate": 0.9}, development.space, 0)
    stopped = development.train_trees(BoostingSpec("train", parameters, 60, stop_after=3))
    assert stopped.best_iteration + 3 < 60
    assert development.train_trees(BoostingSpec("train", parameters, 20)).num_boosted_rounds() == 20


def test_each_item_is_worked_on_in_order_beside_the_windows(development: LocalDevelopment) -> None:
    results = development.each(lambda windows, item: (windows is development, item), [3, 1, 2])
    assert list(results) == [(True, 3), (True, 1), (True, 2)]


def test_the_local_engine_leaves_windows_to_this_process(windows: Mapping[str, pl.DataFrame]) -> None:
    loans = pl.concat([windows[name] for name in ("train", "calibrate", "test")]).lazy()
    snapshot = max(frame["matures"].max() for frame in windows.values())  # type: ignore[type-var]
    splits = split_loans(loans, CONTRACT, SplitPlan(), snapshot=snapshot, data_fingerprint="d")  # type: ignore[arg-type]
    development = development_on(LocalEngine(), FrameTable(loans), CONTRACT, splits)
    assert isinstance(development, LocalDevelopment)
    assert len(development.train.y) == splits.window("train").rows
    heights = on_windows(
        LocalEngine(), FrameTable(loans), CONTRACT, splits, ["calibrate", "test"], lambda frame: frame.height
    )
    assert sum(heights) == splits.window("calibrate").rows + splits.window("test").rows
