"""The table of contributions: exact by definition and by XGBoost, at thresholds and missing values, in any parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import xgboost

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model import tree_shap
from loan_default.risk.model.candidates.xgboost_model import trees_of
from loan_default.risk.model.tree_shap import ShapTable, Trees

COLUMNS = 5
THRESHOLDS = np.array([0.0, 1.0, 1.0, 2.5, 1e-45, -3e38], dtype=np.float32)


def random_trees(seed: int, count: int, depth: int) -> Trees:
    """Draw trees that end anywhere, ask columns again, and are written in any order, among nodes that were cut off."""
    rng = np.random.default_rng(seed)
    nodes: list[list[Any]] = []  # left, right, column, threshold, missing goes left, cover, value

    def grow(levels: int, cover: float) -> int:
        index = len(nodes)
        nodes.append([-1, -1, 0, 0, 0, cover, rng.normal()])
        if levels and rng.random() < 0.85:
            share = rng.uniform(0.1, 0.9)
            children = grow(levels - 1, cover * share), grow(levels - 1, cover * (1 - share))
            nodes.append([-1, -1, 3, 1.0, 1, 0, 7.0])  # cut off
            nodes[index][:5] = *children, rng.integers(COLUMNS), rng.choice(THRESHOLDS), rng.integers(2)
        return index

    roots = np.array([grow(depth, 100.0) for _ in range(count)])
    left, right, column, threshold, missing_left, cover, value = np.array(nodes).T
    return Trees(
        roots,
        left.astype(int),
        right.astype(int),
        column.astype(int),
        threshold.astype(np.float32),
        missing_left.astype(bool),
        cover,
        value,
    )


def random_rows(seed: int, count: int) -> Matrix:
    """Draw thresholds, their neighbours among float32, other values, and missing ones."""
    rng = np.random.default_rng(seed)
    X = rng.choice(THRESHOLDS, (count, COLUMNS))
    neighbours = np.nextafter(X, rng.choice(np.array([-np.inf, np.inf], dtype=np.float32), X.shape))
    X = np.where(rng.random(X.shape) < 0.5, neighbours, X)
    X[rng.random(X.shape) < 0.2] = -0.0
    X[rng.random(X.shape) < 0.25] = np.nan
    return X


def expected_margin(trees: Trees, node: int, row: Matrix, coalition: Sequence[int]) -> float:
    """Follow the columns of a coalition in a row, and the training loans where a column is outside it."""
    if trees.left[node] < 0:
        return float(trees.value[node])
    left, right, column = int(trees.left[node]), int(trees.right[node]), int(trees.column[node])
    if column in coalition:
        missing = np.isnan(row[column])
        goes_left = trees.missing_left[node] if missing else row[column] < trees.threshold[node]
        return expected_margin(trees, left if goes_left else right, row, coalition)
    share = trees.cover[left] / trees.cover[node]
    return float(
        share * expected_margin(trees, left, row, coalition)
        + (1 - share) * expected_margin(trees, right, row, coalition)
    )


def shapley_values(trees: Trees, row: Matrix) -> Floats:
    """Compute each column's part by the definition: over all sets of the others."""
    margins = {
        coalition: sum(expected_margin(trees, int(root), row, coalition) for root in trees.roots)
        for size in range(COLUMNS + 1)
        for coalition in combinations(range(COLUMNS), size)
    }
    parts = np.zeros(COLUMNS)
    for coalition, margin in margins.items():
        size = len(coalition)
        for column in set(range(COLUMNS)) - {*coalition}:
            weight = factorial(size) * factorial(COLUMNS - size - 1) / factorial(COLUMNS)
            parts[column] += weight * (margins[tuple(sorted({*coalition, column}))] - margin)
    return parts


def table_of(trees: Trees, columns: int = COLUMNS) -> ShapTable:
    table = ShapTable.of_trees(trees, columns)
    assert table is not None
    return table


@pytest.mark.parametrize("depth", range(9))
def test_contributions_are_those_of_the_definition(depth: int) -> None:
    trees, X = random_trees(depth, 4, depth), random_rows(depth, 12)
    expected = [shapley_values(trees, row) for row in X]
    assert table_of(trees).contributions(X) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_column_asked_twice_on_a_path_counts_once() -> None:
    """Of 0 ≤ x < 1, all in one column, that column has the whole difference to the average of the training loans."""
    trees = Trees(
        roots=np.array([0]),
        left=np.array([1, -1, 3, -1, -1]),
        right=np.array([2, -1, 4, -1, -1]),
        column=np.array([0, 0, 0, 0, 0]),
        threshold=np.array([0, 0, 1, 0, 0], dtype=np.float32),
        missing_left=np.array([True, False, False, False, False]),
        cover=np.array([10.0, 2, 8, 2, 6]),
        value=np.array([0, 1.0, 0, 2.0, 3.0]),
    )
    X = np.array([[-1], [0], [1], [np.nan]], dtype=np.float32)
    assert table_of(trees, 1).contributions(X)[:, 0] == pytest.approx(np.array([1, 2, 3, 1]) - 2.4)


def fitted(seed: int, depth: int, rounds: int, **parameters: float) -> tuple[xgboost.Booster, Matrix]:
    """Fit on few distinct values, so that rows equal thresholds, some of them missing."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 12, (600, 8)).astype(np.float32) / np.float32(3)
    X[rng.random(X.shape) < 0.15] = np.nan
    risk = np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1], nan=2.0) * (np.nan_to_num(X[:, 2]) > 1)
    y = rng.random(600) < 1 / (1 + np.exp(-risk))
    options = {"objective": "binary:logistic", "max_depth": depth, "seed": seed, "nthread": 1, **parameters}
    return xgboost.train(options, xgboost.DMatrix(X, y), rounds), X


@pytest.mark.parametrize(
    ("depth", "rounds", "parameters"),
    [
        (1, 20, {}),
        (3, 30, {"gamma": 2.0}),  # pruned
        (4, 60, {"colsample_bynode": 0.5, "min_child_weight": 5.0}),
        (6, 10, {}),
        (8, 2, {}),
        (4, 10, {"gamma": 1e9}),  # single leaves
        (5, 1, {"num_parallel_tree": 20, "subsample": 0.6, "colsample_bynode": 0.4, "learning_rate": 1.0}),
        (4, 5, {"monotone_constraints": "(1,-1,0,0,0,0,0,0)", "tree_method": "exact"}),
    ],
)
def test_contributions_are_those_of_xgboost(depth: int, rounds: int, parameters: dict[str, float]) -> None:
    booster, X = fitted(depth, depth, rounds, **parameters)
    trees = trees_of(booster)
    table = table_of(trees, X.shape[1])
    X = np.concatenate([X, trees.trial_rows(200, X.shape[1])])
    expected = booster.predict(xgboost.DMatrix(X), pred_contribs=True)
    contributions = table.contributions(X)
    assert np.abs(contributions - expected[:, :-1]).max() < 1e-5
    margins = booster.predict(xgboost.DMatrix(X), output_margin=True)
    assert np.abs(contributions.sum(axis=1) + expected[:, -1] - margins).max() < 1e-5


def test_rows_are_taken_in_parts_and_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    booster, X = fitted(0, 4, 20)
    table = table_of(trees_of(booster), X.shape[1])
    together = table.contributions(X)
    monkeypatch.setattr(tree_shap, "_ELEMENTS_AT_ONCE", 7 * table.compared.size)
    assert np.array_equal(table.contributions(X), together)
    assert np.array_equal(np.concatenate([table.contributions(row[None]) for row in X]), together)
    assert table.contributions(X[:0]).shape == (0, X.shape[1])


def test_a_table_made_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = random_trees(1, 20, 4)
    table = table_of(trees)
    monkeypatch.setattr(tree_shap, "_ELEMENTS_AT_ONCE", 1)
    assert np.array_equal(table_of(trees).contributions_of, table.contributions_of)


def test_trial_rows_equal_thresholds_miss_them_and_lack_values() -> None:
    trees = random_trees(1, 20, 4)
    X = trees.trial_rows(60, COLUMNS)
    thresholds = trees.threshold[trees.left >= 0]
    equal = np.isin(X, thresholds)
    below = np.isin(np.nextafter(X, np.float32(np.inf)), thresholds)
    for kind in (equal, below & ~equal, np.isnan(X)):
        assert kind.any(axis=0).all()


def test_there_is_no_table_of_trees_that_are_too_deep() -> None:
    chain = 9
    inner, leaves = np.arange(chain), np.arange(chain, 2 * chain + 1)
    below = np.full(chain + 1, -1)
    trees = Trees(
        roots=np.array([0]),
        left=np.concatenate([leaves[:-1], below]),
        right=np.concatenate([inner[1:], leaves[-1:], below]),
        column=np.zeros(2 * chain + 1, dtype=int),
        threshold=np.zeros(2 * chain + 1, dtype=np.float32),
        missing_left=np.zeros(2 * chain + 1, dtype=bool),
        cover=np.ones(2 * chain + 1),
        value=np.ones(2 * chain + 1),
    )
    assert ShapTable.of_trees(trees, 1) is None


def test_there_is_no_table_that_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = random_trees(1, 20, 4)
    size = table_of(trees).contributions_of.nbytes
    monkeypatch.setattr(tree_shap, "_BYTES_AT_MOST", size - 1)
    assert ShapTable.of_trees(trees, COLUMNS) is None
    monkeypatch.setattr(tree_shap, "_BYTES_AT_MOST", size)
    assert ShapTable.of_trees(trees, COLUMNS) is not None


def test_there_is_no_table_of_a_threshold_that_a_missing_value_could_not_pass() -> None:
    trees = random_trees(1, 20, 4)
    threshold = np.where(trees.left < 0, trees.threshold, -np.inf).astype(np.float32)
    assert ShapTable.of_trees(dataclasses.replace(trees, threshold=threshold), COLUMNS) is None
