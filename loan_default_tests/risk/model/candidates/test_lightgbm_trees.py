"""Boosted trees by LightGBM: exact contributions, missing values, text files, and MLflow without this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from sklearn.metrics import log_loss

from loan_default.adapters.tracking import MLFLOW_ENVIRONMENT
from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.boosting import Span
from loan_default.risk.model.candidates.lightgbm_trees import LightGBMParameters, LightGBMTrees
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate, train_candidates
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import applications, scorer
from loan_default_tests.risk.conftest import SEED
from loan_default_tests.stores import log_model, new_run, new_tracking


@pytest.fixture
def model(candidates: Mapping[str, Candidate]) -> LightGBMTrees:
    model = candidates["lightgbm"].scorer.model
    assert isinstance(model, LightGBMTrees)
    return model


SPACE = FeatureSpace(load_contract())
FREE = [column for column, direction in enumerate(SPACE.monotone) if not direction]  # the contract leaves them free


def widened(X: Matrix) -> Matrix:
    """Set columns into a matrix as wide as the contract's; the others say nothing."""
    wide = np.zeros((len(X), len(SPACE.columns)), dtype=np.float32)
    wide[:, FREE[: X.shape[1]]] = X
    return wide


def fitted_trees(X: Matrix, y: Floats, **start: float) -> LightGBMTrees:
    sample = Sample(widened(X), y.astype(np.float32))
    parameters = LightGBMParameters(start=start, search={}, rounds_at_most=10, stop_after_rounds=5)
    return LightGBMTrees.fit(LocalDevelopment(SPACE, sample, sample), "both", parameters, SEED)


@pytest.mark.parametrize(("name", "span"), LightGBMParameters.takes.items())
def test_lightgbm_knows_each_parameter_that_may_be_set(name: str, span: Span) -> None:
    rng = np.random.default_rng(SEED)
    X, y = rng.normal(size=(200, 2)).astype(np.float32), rng.integers(0, 2, 200).astype(np.float64)
    value = min(span.high, 2) if span.is_whole else min(span.high, 0.5)
    trees = fitted_trees(X, y, **{name: value})
    assert f"[{name}: {value:g}]" in trees.booster.model_to_string()


def test_what_counts_loans_stays_a_whole_number_with_few_of_them() -> None:
    parameters = LightGBMParameters(
        start={"min_data_in_leaf": 50},
        search={"min_data_in_leaf": Span(low=20, high=200)},
        rounds_at_most=1,
        stop_after_rounds=1,
        full_size={"min_data_in_leaf": 10_000},
    ).for_loans(999)
    assert (parameters.start, parameters.search["min_data_in_leaf"]) == ({"min_data_in_leaf": 5}, Span(low=2, high=20))


@pytest.mark.slow
def test_boosting_stops_at_its_best_round(development: LocalDevelopment, quick_search: SearchSpace) -> None:
    parameters, calibrate = quick_search.tunable("lightgbm"), development.calibrate
    model = LightGBMTrees.fit(development, "train", parameters, SEED)
    losses: list[float] = []
    loss = LightGBMTrees.calibrate_loss(development, parameters, SEED, lambda number, loss: losses.append(loss))
    assert 10 < model.rounds <= parameters.rounds_at_most
    assert loss == min(losses) == losses[model.rounds - 1]
    pds = 1 / (1 + np.exp(-model.margins(calibrate.X)))
    assert log_loss(calibrate.y, pds) == pytest.approx(loss, abs=1e-6)


@pytest.mark.slow
def test_the_start_and_the_rounds_are_recorded(
    model: LightGBMTrees, candidates: Mapping[str, Candidate], quick_search: SearchSpace
) -> None:
    start = quick_search.tunable("lightgbm").start
    assert candidates["lightgbm"].parameters == {**start, "rounds": model.rounds}


@pytest.mark.slow
def test_contributions_and_bias_sum_to_the_margin(model: LightGBMTrees, X: Matrix) -> None:
    bias = model.booster.predict(X[:1], pred_contrib=True)[0, -1]
    assert model.contributions(X).sum(axis=1) + bias == pytest.approx(model.margins(X), abs=1e-9)


def test_contributions_are_exact_and_not_only_a_sum() -> None:
    """Default takes both of two fields, so both share what they raise, whichever the tree asks first."""
    X = np.array([[a, b] for a in (0, 1) for b in (0, 1)] * 100, dtype=np.float32)
    both = X.all(axis=1)
    model = fitted_trees(X, both.astype(float), num_leaves=4, min_data_in_leaf=1, min_sum_hessian_in_leaf=1e-6)
    contributions = model.contributions(widened(X))
    assert contributions[both][:, FREE[0]] == pytest.approx(contributions[both][:, FREE[1]])
    assert (contributions[both][:, FREE[:2]] > 0).all()


def test_a_missing_value_goes_its_own_way_where_some_were_missing_before() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((2_000, 1)).astype(np.float32)
    missing = rng.random(2_000) < 0.3
    X[missing] = np.nan
    model = fitted_trees(X, (rng.random(2_000) < np.where(missing, 0.8, 0.2)).astype(float))
    least, most = model.margins(widened(np.array([[0.5], [np.nan]], dtype=np.float32)))
    assert most > least + 1
    assert np.isnan(model.typical[FREE[0]])


def test_a_value_missing_where_none_was_before_counts_as_the_typical_one_and_not_as_zero() -> None:
    """LightGBM alone takes it for 0, here the safest value that there is."""
    rng = np.random.default_rng(0)
    X = rng.random((2_000, 1)).astype(np.float32)
    model = fitted_trees(X, (rng.random(2_000) < X[:, 0]).astype(float))
    missing, median, zero = model.margins(widened(np.array([[np.nan], [np.median(X)], [0]], dtype=np.float32)))
    assert missing == median > zero + 0.5
    rows = widened(np.array([[np.nan], [np.median(X)]], dtype=np.float32))
    assert np.array_equal(*model.contributions(rows))


def test_the_same_trees_whatever_the_number_of_threads(
    development: LocalDevelopment, quick_search: SearchSpace, X: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = quick_search.tunable("lightgbm")

    def margins(threads: int) -> Floats:
        monkeypatch.setattr("polars.thread_pool_size", lambda: threads)
        return LightGBMTrees.fit(development, "train", parameters, SEED).margins(X)

    assert np.array_equal(margins(1), margins(2))


@pytest.mark.slow
def test_its_files_are_text(model: LightGBMTrees, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.txt", "typical.json"}
    assert (tmp_path / "model.txt").read_text(encoding="utf-8").startswith("tree\n")
    typical = json.loads((tmp_path / "typical.json").read_text(encoding="utf-8"))
    assert len(typical) == len(model.typical)
    assert None in typical


def test_without_its_library_no_candidate_is_fitted_before_the_sentence(
    development: LocalDevelopment, quick_search: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LightGBMTrees, "requirements", {"lightgbm": "no_lightgbm"})
    with pytest.raises(BadInput, match=r"needs no_lightgbm, .* here; pip install 'loan-default\[lightgbm\]'\.$"):
        train_candidates(
            development,
            quick_search,
            load_policy().decision,
            seed=SEED,
            on_fitted=lambda candidate: pytest.fail(f"{candidate.kind} was fitted"),
        )


_PREDICT = """
import json, sys
import pandas, mlflow.pyfunc
model = mlflow.pyfunc.load_model("models:/loan_default_model@production")
import loan_default
assert "poison" not in loan_default.__file__
print(json.dumps(model.predict(pandas.DataFrame(json.load(sys.stdin)))))
"""


@pytest.mark.long
def test_a_registered_version_answers_under_mlflow_where_nothing_of_ours_is_installed(tmp_path: Path) -> None:
    tracking = new_tracking(tmp_path / "store")
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_model(tracking, run_id, "lightgbm"), {}).version
    tracking.promote(version, {})
    (requirements,) = tmp_path.rglob("requirements.txt")
    pins = requirements.read_text(encoding="utf-8").split()
    assert f"lightgbm=={lightgbm.__version__}" in pins
    assert not [pin for pin in pins if pin.startswith("xgboost")]
    nothing_of_ours = tmp_path / "poison" / "loan_default"
    nothing_of_ours.mkdir(parents=True)
    (nothing_of_ours / "__init__.py").write_text("raise ImportError('not what the model carries')")
    rows, features = applications(8)
    result = subprocess.run(
        [sys.executable, "-P", "-c", _PREDICT],
        input=json.dumps(rows),
        cwd=tmp_path,
        env={
            **MLFLOW_ENVIRONMENT,
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "MLFLOW_TRACKING_URI": tracking.tracking_uri,
            "PYTHONPATH": str(nothing_of_ours.parent),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    predictions = json.loads(result.stdout.splitlines()[-1])
    expected = scorer("lightgbm").score(features)
    assert [row["pd"] for row in predictions] == pytest.approx(expected["pd"].to_list(), abs=1e-9)
    assert [row["reasons"] for row in predictions] == expected["reasons"].to_list()
