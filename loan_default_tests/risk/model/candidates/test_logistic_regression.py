"""The regression: additive contributions against the average loan, missing values, and a file of known types."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from loan_default.risk.arrays import Matrix
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.model.candidates.logistic_regression import LogisticRegression, RegressionParameters
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.training import Candidate

PARAMETERS = RegressionParameters(C=0.01)


@pytest.fixture
def model(candidates: Mapping[str, Candidate]) -> LogisticRegression:
    model = candidates["logistic_regression"].scorer.model
    assert isinstance(model, LogisticRegression)
    return model


def fit(X: Matrix, y: np.ndarray) -> LogisticRegression:
    sample = Sample(X, y.astype(np.float32))
    return LogisticRegression.fit(
        LocalDevelopment(FeatureSpace(load_contract()), sample, sample), "train", PARAMETERS, 0
    )


@pytest.mark.slow
def test_contributions_sum_to_margin_less_intercept(model: LogisticRegression, X: Matrix) -> None:
    intercept = model.pipeline["logit"].intercept_[0]
    assert model.contributions(X).sum(axis=1) == pytest.approx(model.margins(X) - intercept)


def test_contributions_are_against_the_average_training_loan(
    model: LogisticRegression, development: LocalDevelopment
) -> None:
    X = np.concatenate([development.train.X, development.calibrate.X])
    assert model.contributions(X).mean(axis=0) == pytest.approx(np.zeros(X.shape[1]), abs=1e-5)


def test_each_contribution_is_what_its_own_column_changes_missing_or_not(
    model: LogisticRegression, X: Matrix, development: LocalDevelopment
) -> None:
    """A linear model is additive: giving one loan another's value moves the margin by their contributions' gap."""
    contributions, margins = model.contributions(X), model.margins(X)
    gappy = np.flatnonzero(np.isnan(X).any(axis=0) & ~np.isnan(X).all(axis=0))
    assert {"mths_since_last_delinq", "emp_length"} <= {development.space.columns[column] for column in gappy}
    for column in [*gappy, 0, 1]:
        highest, missing = np.nanargmax(X[:, column]), np.argmax(np.isnan(X[:, column]))
        swapped = X[[highest]].copy()
        swapped[0, column] = X[missing, column]
        change = model.margins(swapped)[0] - margins[highest]
        assert change == pytest.approx(contributions[missing, column] - contributions[highest, column]), column


def test_importance_of_a_missing_value_belongs_to_its_column() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((500, 3)).astype(np.float32)
    missing = rng.random(500) < 0.5
    X[missing, 2] = np.nan
    assert fit(X, missing).importance()[2] > 0.8


def test_a_column_that_was_empty_when_fitted_says_nothing_and_may_be_filled_later() -> None:
    """The published loans before 2012 have no FICO score: the column has no value."""
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(200, 4))).astype(np.float32)
    X[:, 1] = np.nan
    X[::3, 3] = np.nan
    model = fit(X, rng.random(200) < X[:, 0] / 3)
    assert model.contributions(X).shape == X.shape
    assert not model.contributions(X)[:, 1].any()
    assert model.importance().shape == (4,)
    assert model.importance()[0] == max(model.importance())
    X[:, 1] = 700
    assert np.isfinite(model.margins(X)).all()


@pytest.mark.slow
def test_its_file_names_no_code_but_that_of_scikit_learn_and_numpy(model: LogisticRegression, tmp_path: Path) -> None:
    import skops.io  # it asks each of Python's modules for its types, two seconds long

    model.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.skops"}
    assert set(skops.io.get_untrusted_types(file=tmp_path / "model.skops")) <= {"numpy.dtype"}


def test_its_section_is_recorded(candidates: Mapping[str, Candidate]) -> None:
    assert candidates["logistic_regression"].parameters == {"C": 0.01}
