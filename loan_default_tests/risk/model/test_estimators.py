"""Every kind of model: exact contributions, importance, and a folder that holds the same model without pickle."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost

from loan_default.risk.arrays import Matrix
from loan_default.risk.errors import BadInput
from loan_default.risk.model import onnx_export
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.estimators import LinearModel, RiskModel, TreeModel, load_model
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import KINDS, Candidate, fit_regression

TREES = ("xgboost", "random_forest")


@pytest.fixture(scope="module", name="X")
def some_loans(windows: Mapping[str, pl.DataFrame], development: LocalDevelopment) -> Matrix:
    """400 test loans, among them some with missing values."""
    matrix = development.space.matrix(windows["test"].head(400))
    assert np.isnan(matrix).any()
    return matrix


def model_of(candidates: Mapping[str, Candidate], kind: str) -> RiskModel:
    return candidates[kind].scorer.model


@pytest.mark.parametrize("kind", TREES)
def test_tree_contributions_and_bias_sum_to_the_margin(
    candidates: Mapping[str, Candidate], X: Matrix, kind: str
) -> None:
    model = model_of(candidates, kind)
    assert isinstance(model, TreeModel)
    contributions = model.contributions(X)
    rows = xgboost.DMatrix(X, feature_names=model.booster.feature_names)
    bias = model.booster.predict(rows, pred_contribs=True)[:, -1]
    assert contributions.shape == X.shape
    assert contributions.sum(axis=1) + bias == pytest.approx(model.margins(X), abs=1e-4)


def test_margins_of_trees_are_log_odds(candidates: Mapping[str, Candidate], X: Matrix) -> None:
    model = model_of(candidates, "xgboost")
    assert isinstance(model, TreeModel)
    pds = model.booster.inplace_predict(X)
    assert model.margins(X) == pytest.approx(np.log(pds / (1 - pds)), abs=1e-4)
    assert model.margins(X).dtype == np.float64


def test_linear_contributions_sum_to_margin_less_intercept(candidates: Mapping[str, Candidate], X: Matrix) -> None:
    model = model_of(candidates, "logistic_regression")
    assert isinstance(model, LinearModel)
    contributions = model.contributions(X)
    assert contributions.shape == X.shape
    intercept = model.pipeline["logit"].intercept_[0]
    assert contributions.sum(axis=1) == pytest.approx(model.margins(X) - intercept)


def test_linear_contributions_are_against_the_average_training_loan(
    candidates: Mapping[str, Candidate], development: LocalDevelopment
) -> None:
    seen = (development.train + development.calibrate).X
    means = model_of(candidates, "logistic_regression").contributions(seen).mean(axis=0)
    assert means == pytest.approx(np.zeros(seen.shape[1]), abs=1e-5)


def test_each_linear_contribution_is_what_its_own_column_changes_missing_or_not(
    candidates: Mapping[str, Candidate], X: Matrix, development: LocalDevelopment
) -> None:
    """A linear model is additive: giving one loan another's value moves the margin by their contributions' gap."""
    model = model_of(candidates, "logistic_regression")
    contributions, margins = model.contributions(X), model.margins(X)
    lacking = np.flatnonzero(np.isnan(X).any(axis=0) & ~np.isnan(X).all(axis=0))
    assert {"mths_since_last_delinq", "emp_length"} <= {development.space.columns[at] for at in lacking}
    for column in [*lacking, 0, 1]:
        one, other = np.nanargmax(X[:, column]), np.argmax(np.isnan(X[:, column]))
        swapped = X[[one]].copy()
        swapped[0, column] = X[other, column]
        change = model.margins(swapped)[0] - margins[one]
        assert change == pytest.approx(contributions[other, column] - contributions[one, column]), column


@pytest.mark.parametrize("kind", KINDS)
def test_importance_is_a_share_of_each_column(
    candidates: Mapping[str, Candidate], development: LocalDevelopment, kind: str
) -> None:
    importance = model_of(candidates, kind).importance()
    assert importance.shape == (len(development.space.columns),)
    assert importance.sum() == pytest.approx(1)
    assert (importance >= 0).all()
    named = dict(zip(development.space.columns, importance, strict=True))
    assert named["sub_grade"] + named["grade"] + named["int_rate"] > 5 * named["purpose=vacation"]


def fitted_trees(X: Matrix, y: np.ndarray, depth: int) -> TreeModel:
    data = xgboost.DMatrix(X, y, feature_names=[f"x{at}" for at in range(X.shape[1])])
    given = {"objective": "binary:logistic", "max_depth": depth, "reg_lambda": 0, "base_score": 0.5}
    return TreeModel(xgboost.train(given, data, 1))


def test_tree_contributions_are_exact_and_not_only_a_sum() -> None:
    """Default takes both of two fields, so both share what they raise, whichever the tree asks first."""
    X = np.array([[a, b] for a in (0, 1) for b in (0, 1)] * 50, dtype=np.float32)
    both = X.all(axis=1)
    added = fitted_trees(X, both.astype(float), depth=2).contributions(X)
    assert added[both][:, 0] == pytest.approx(added[both][:, 1])
    assert (added[both] > 0).all()


def test_importance_of_trees_counts_gain_and_not_splits() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((2_000, 3)).astype(np.float32)
    X[:, 0] = X[:, 0] > 0.5
    y = (rng.random(2_000) < 0.1 + 0.7 * X[:, 0]).astype(float)
    assert fitted_trees(X, y, depth=4).importance()[0] > 0.8


def test_importance_of_a_missing_value_belongs_to_its_column(quick_search: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    X = rng.random((500, 3)).astype(np.float32)
    missing = rng.random(500) < 0.5
    X[missing, 2] = np.nan
    importance = fit_regression(Sample(X, missing.astype(np.float32)), quick_search).importance()
    assert importance[2] > 0.8


def test_columns_empty_when_fitted_are_lived_with(quick_search: SearchSpace) -> None:
    """The published loans before 2012 have no FICO score: a whole column is empty."""
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(200, 4))).astype(np.float32)
    X[:, 1] = np.nan
    X[::3, 3] = np.nan
    model = fit_regression(Sample(X, (rng.random(200) < X[:, 0] / 3).astype(np.float32)), quick_search)
    assert model.contributions(X).shape == X.shape
    assert not model.contributions(X)[:, 1].any()
    assert model.importance().shape == (4,)
    assert model.importance()[0] == max(model.importance())
    X[:, 1] = 700  # filled from now on
    assert np.isfinite(model.margins(X)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_answers_bit_by_bit_as_before(
    candidates: Mapping[str, Candidate], X: Matrix, tmp_path: Path, kind: str
) -> None:
    model = model_of(candidates, kind)
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    beside = {onnx_export.FILE} if isinstance(model, TreeModel) else set()
    assert {file.name for file in tmp_path.iterdir()} == {model.file_name} | beside
    assert np.array_equal(again.margins(X), model.margins(X))
    assert np.array_equal(again.contributions(X), model.contributions(X))
    assert np.array_equal(again.importance(), model.importance())


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_of_a_saved_model_is_a_pickle(candidates: Mapping[str, Candidate], tmp_path: Path, kind: str) -> None:
    model_of(candidates, kind).save(tmp_path)
    for file in tmp_path.iterdir():
        parts = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            archive = zipfile.ZipFile(file)
            parts += [archive.read(name) for name in archive.namelist()]
        assert not any(part.startswith(b"\x80") or part.endswith(b".pkl") for part in parts)


def test_the_linear_file_names_no_code_but_that_of_scikit_learn_and_numpy(
    candidates: Mapping[str, Candidate], tmp_path: Path
) -> None:
    model_of(candidates, "logistic_regression").save(tmp_path)
    assert set(skops.io.get_untrusted_types(file=tmp_path / LinearModel.file_name)) <= {"numpy.dtype"}


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds neither model\.ubj nor model\.skops; train a model first\."):
        load_model(tmp_path)
