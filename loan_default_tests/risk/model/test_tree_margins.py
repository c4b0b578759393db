"""Margins by comparisons: to the bit those of XGBoost and of the trees as they are written, in any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loan_default.risk.arrays import Matrix
from loan_default.risk.model import tree_margins
from loan_default.risk.model.candidates.xgboost_model import trees_of
from loan_default.risk.model.tree_margins import TreeMargins
from loan_default.risk.model.tree_shap import Trees
from loan_default_tests.risk.model.test_tree_shap import fitted, random_rows, random_trees


def sums_of(trees: Trees, X: Matrix) -> Matrix:
    margins = TreeMargins.of_trees(trees)
    assert margins is not None
    return margins.sums(X)


def followed(trees: Trees, X: Matrix) -> Matrix:
    """Follow each row through each tree."""
    sums = np.zeros(len(X), dtype=np.float32)
    for row, values in enumerate(X):
        for root in trees.roots:
            node = int(root)
            while trees.left[node] >= 0:
                value = values[trees.column[node]]
                goes_left = trees.missing_left[node] if np.isnan(value) else value < trees.threshold[node]
                node = int(trees.left[node] if goes_left else trees.right[node])
            sums[row] += np.float32(trees.value[node])
    return sums


@pytest.mark.parametrize(("count", "depth"), [(3, 1), (7, 3), (20, 8)])
def test_sums_are_those_of_the_trees_as_written(count: int, depth: int) -> None:
    trees, X = random_trees(depth, count, depth), random_rows(depth, 70)
    assert np.array_equal(sums_of(trees, X), followed(trees, X))


@pytest.mark.parametrize(
    ("depth", "rounds", "parameters"),
    [
        (4, 60, {}),
        (6, 10, {"gamma": 0.5}),
        (8, 1, {"num_parallel_tree": 20, "subsample": 0.6, "colsample_bynode": 0.4, "learning_rate": 1.0}),
    ],
)
def test_sums_are_those_of_xgboost_to_the_bit(depth: int, rounds: int, parameters: dict[str, Any]) -> None:
    booster, X = fitted(depth, depth, rounds, **parameters)
    trees = trees_of(booster)
    X = np.concatenate([X, trees.trial_rows(200, X.shape[1])])
    X[:20, ::2] = np.random.default_rng(0).choice(np.array([np.inf, -np.inf], np.float32), X[:20, ::2].shape)
    nothing = np.zeros(len(X), dtype=np.float32)
    expected = booster.inplace_predict(X, predict_type="margin", base_margin=nothing)
    assert np.array_equal(sums_of(trees, X), expected)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 300])
def test_rows_are_the_same_in_any_number(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trees, X = random_trees(1, 20, 4), random_rows(1, 300)
    together = sums_of(trees, X)
    monkeypatch.setattr(tree_margins, "_ROWS_AT_ONCE", 128)
    assert np.array_equal(sums_of(trees, X[:rows]), together[:rows])


def test_other_trees_are_left_to_the_library() -> None:
    for trees in (random_trees(3, 20, 12), random_trees(0, 3, 0)):
        assert TreeMargins.of_trees(trees) is None
    infinite = random_trees(1, 5, 3)
    infinite.threshold[:] = np.inf
    assert TreeMargins.of_trees(infinite) is None
