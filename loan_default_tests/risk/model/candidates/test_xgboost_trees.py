"""Boosted trees by XGBoost: when they stop, what is recorded, and what each round reports."""

from collections.abc import Mapping

import numpy as np
import pytest
import xgboost
from sklearn.metrics import log_loss

from loan_default.risk.model.candidates.xgboost_trees import XGBoostParameters, XGBoostTrees
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate
from loan_default_tests.risk.conftest import SEED


@pytest.mark.parametrize("name", XGBoostParameters.takes)
@pytest.mark.filterwarnings("error:.*are not used")
def test_xgboost_uses_each_parameter_that_may_be_set_and_takes_both_ends(name: str) -> None:
    rng = np.random.default_rng(SEED)
    rows = xgboost.DMatrix(rng.normal(size=(200, 2)), rng.integers(0, 2, 200))
    span = XGBoostParameters.takes[name]
    for value in (span.low, span.high):
        xgboost.train({"objective": "binary:logistic", "max_depth": 2, name: value}, rows, 1)


def test_boosting_stops_at_its_best_round(development: LocalDevelopment, quick_search: SearchSpace) -> None:
    parameters = quick_search.replace("xgboost", rounds_at_most=300).tunable("xgboost")
    model = XGBoostTrees.fit(development, "train", parameters, SEED)
    reports: list[tuple[int, float]] = []
    loss = XGBoostTrees.calibrate_loss(development, parameters, SEED, lambda *report: reports.append(report))
    assert 10 < model.rounds < parameters.rounds_at_most
    assert [number for number, _ in reports] == list(range(model.rounds + parameters.stop_after_rounds))
    assert loss == min(loss for _, loss in reports) == reports[model.rounds - 1][1]
    booster, calibrate = model.booster, development.calibrate

    def loss_after(rounds: int) -> float:
        pds = booster[:rounds].inplace_predict(calibrate.X).astype(np.float64)
        return float(log_loss(calibrate.y, pds))

    assert loss_after(model.rounds) == pytest.approx(loss, abs=1e-6)
    assert all(loss_after(fewer) > loss for fewer in (model.rounds - 3, model.rounds // 2))


def test_what_a_report_raises_ends_the_fit(development: LocalDevelopment, quick_search: SearchSpace) -> None:
    def refuse(number: int, loss: float) -> None:
        raise InterruptedError(str(number))

    with pytest.raises(InterruptedError, match="0"):
        XGBoostTrees.calibrate_loss(development, quick_search.tunable("xgboost"), SEED, refuse)


def test_the_start_and_the_rounds_are_recorded(candidates: Mapping[str, Candidate], quick_search: SearchSpace) -> None:
    parameters = dict(candidates["xgboost"].parameters)
    model = candidates["xgboost"].scorer.model
    assert isinstance(model, XGBoostTrees)
    assert parameters.pop("rounds") == model.rounds == model.booster.num_boosted_rounds()
    assert parameters == quick_search.tunable("xgboost").start


def test_both_windows_are_boosted_as_long_as_the_first(
    development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    parameters = quick_search.tunable("xgboost")
    first = XGBoostTrees.fit(development, "train", parameters, SEED)
    assert first.refit(development, parameters, SEED).rounds == first.rounds
