"""XGBoost's trees: log-odds, exact contributions by table or by XGBoost, importance by gain, and two files."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model import onnx_export
from loan_default.risk.model.candidates import xgboost_model
from loan_default.risk.model.candidates.xgboost_model import XGBoostModel
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.training import Candidate
from loan_default.risk.model.tree_margins import TreeMargins
from loan_default.risk.model.tree_shap import ShapTable, Trees


def model_of(candidates: Mapping[str, Candidate], name: str) -> XGBoostModel:
    model = candidates[name].scorer.model
    assert isinstance(model, XGBoostModel)
    return model


@pytest.mark.parametrize("name", ["xgboost", "random_forest"])
def test_contributions_and_bias_sum_to_the_margin(candidates: Mapping[str, Candidate], X: Matrix, name: str) -> None:
    model = model_of(candidates, name)
    rows = xgboost.DMatrix(X, feature_names=model.booster.feature_names)
    bias = model.booster.predict(rows, pred_contribs=True)[:, -1]
    assert model.contributions(X).sum(axis=1) + bias == pytest.approx(model.margins(X), abs=1e-4)


def test_margins_are_log_odds(candidates: Mapping[str, Candidate], X: Matrix) -> None:
    model = model_of(candidates, "xgboost")
    pds = model.booster.inplace_predict(X)
    assert model.margins(X) == pytest.approx(np.log(pds / (1 - pds)), abs=1e-4)


def fitted_trees(X: Matrix, y: Floats, depth: int) -> XGBoostTrees:
    data = xgboost.DMatrix(X, y, feature_names=[f"x{column}" for column in range(X.shape[1])])
    parameters = {"objective": "binary:logistic", "max_depth": depth, "reg_lambda": 0, "base_score": 0.5}
    return XGBoostTrees(xgboost.train(parameters, data, 1))


@pytest.mark.parametrize("name", ["xgboost", "random_forest"])
def test_few_rows_and_many_get_the_same_margins(
    candidates: Mapping[str, Candidate], X: Matrix, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Only many rows are worth XGBoost's threads."""
    model = model_of(candidates, name)
    few = model.margins(X)
    calls: list[int] = []

    def predict(booster: xgboost.Booster, rows: Matrix, **options: Any) -> Any:
        calls.append(len(rows))
        return inplace_predict(booster, rows, **options)

    inplace_predict = xgboost.Booster.inplace_predict
    monkeypatch.setattr(xgboost.Booster, "inplace_predict", predict)
    assert np.array_equal(model.margins(X), few)
    assert not calls
    monkeypatch.setattr(xgboost_model, "_ROWS_OF_ONE_THREAD", len(X) - 1)
    assert np.array_equal(model.margins(X), few)
    assert calls == [len(X)]


def test_comparisons_that_disagree_are_not_used(
    candidates: Mapping[str, Candidate], X: Matrix, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, right = dataclasses.replace(model_of(candidates, "xgboost")), TreeMargins.of_trees

    def wrong(trees: Trees) -> TreeMargins | None:
        margins = right(trees)
        return margins and dataclasses.replace(margins, leaves=margins.leaves * np.float32(1.000001))

    monkeypatch.setattr(TreeMargins, "of_trees", wrong)
    assert np.array_equal(model.margins(X), model_of(candidates, "xgboost").margins(X))
    assert "do not give the same margins as XGBoost" in caplog.text


def test_contributions_are_exact_and_not_only_a_sum() -> None:
    """Default takes both of two fields, so both share what they raise, whichever the tree asks first."""
    X = np.array([[a, b] for a in (0, 1) for b in (0, 1)] * 50, dtype=np.float32)
    both = X.all(axis=1)
    contributions = fitted_trees(X, both.astype(float), depth=2).contributions(X)
    assert contributions[both][:, 0] == pytest.approx(contributions[both][:, 1])
    assert (contributions[both] > 0).all()


def test_boosted_trees_are_explained_by_their_table_alone(
    candidates: Mapping[str, Candidate], X: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(candidates, "xgboost")
    expected = model.contributions_of_xgboost(X)
    assert model.table is not None
    monkeypatch.delattr(XGBoostModel, "contributions_of_xgboost")
    assert np.abs(model.contributions(X) - expected).max() < 1e-5


def test_a_table_that_disagrees_is_not_used(
    candidates: Mapping[str, Candidate], X: Matrix, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = dataclasses.replace(model_of(candidates, "xgboost"))  # which has made no table yet
    right = ShapTable.of_trees

    def wrong(trees: Trees, columns: int) -> ShapTable | None:
        table = right(trees, columns)
        return table and dataclasses.replace(table, contributions_of=table.contributions_of * np.float32(1.01))

    monkeypatch.setattr(ShapTable, "of_trees", wrong)
    assert model.table is None
    assert "differs from XGBoost's by" in caplog.text
    assert np.array_equal(model.contributions(X), model.contributions_of_xgboost(X))


def test_a_deep_forest_is_explained_by_xgboost(X: Matrix) -> None:
    outcomes = (np.arange(len(X)) % 3 == 0).astype(float)
    data = xgboost.DMatrix(X, outcomes)
    parameters = {"objective": "binary:logistic", "max_depth": 10, "min_child_weight": 0, "num_parallel_tree": 3}
    model = XGBoostTrees(xgboost.train(parameters, data, 1))
    assert model.table is None
    assert np.array_equal(model.contributions(X), model.contributions_of_xgboost(X))


def test_importance_counts_gain_and_not_splits() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((2_000, 3)).astype(np.float32)
    X[:, 0] = X[:, 0] > 0.5
    y = (rng.random(2_000) < 0.1 + 0.7 * X[:, 0]).astype(float)
    assert fitted_trees(X, y, depth=4).importance()[0] > 0.8


@pytest.mark.parametrize("name", ["xgboost", "random_forest"])
def test_trees_are_kept_in_both_forms(candidates: Mapping[str, Candidate], tmp_path: Path, name: str) -> None:
    model_of(candidates, name).save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.ubj", onnx_export.FILE}
