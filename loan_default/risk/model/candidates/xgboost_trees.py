"""The candidate `xgboost`: gradient-boosted trees, which learn slowly and stop where the calibrate window says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from loan_default.risk.model.candidates.base import CandidateParameters, CardWords
from loan_default.risk.model.candidates.boosting import BoostedModel, BoostingParameters, OnRound, Span
from loan_default.risk.model.candidates.xgboost_model import XGBoostModel, tree_parameters
from loan_default.risk.model.development import BoostingSpec, Development, FittedOn

_SHARE = Span(low=0.0001, high=1.0)
_WEIGHT = Span(low=0.0, high=1e9)


class XGBoostParameters(BoostingParameters):
    """Parameters of XGBoost's boosted trees (https://xgboost.readthedocs.io/en/stable/parameter.html)."""

    takes: ClassVar[Mapping[str, Span]] = {
        "max_depth": Span(low=1, high=64),
        "max_leaves": Span(low=0, high=100_000),
        "max_bin": Span(low=2, high=65_536),
        "learning_rate": _SHARE,
        **dict.fromkeys(("subsample", "colsample_bynode", "colsample_bylevel", "colsample_bytree"), _SHARE),
        **dict.fromkeys(("min_child_weight", "gamma", "reg_lambda", "reg_alpha", "max_delta_step"), _WEIGHT),
    }
    instead: ClassVar[Mapping[str, str]] = {
        "eta": "write learning_rate",
        "lambda": "write reg_lambda",
        "alpha": "write reg_alpha",
        "min_split_loss": "write gamma",
        "n_estimators": "write rounds_at_most beside start",
        "early_stopping_rounds": "write stop_after_rounds beside start",
        "monotone_constraints": "write risk: rising or falling in the contract",
        "scale_pos_weight": "delete it, as weighted classes would make of a PD something else",
    }


class XGBoostTrees(XGBoostModel, BoostedModel):
    """Gradient-boosted trees by XGBoost."""

    name: ClassVar[str] = "xgboost"
    section: ClassVar[type[CandidateParameters]] = XGBoostParameters
    card_words: ClassVar[CardWords] = CardWords(
        "gradient-boosted trees (XGBoost)", "total gain of the splits on a field", monotone=True
    )

    @property
    def rounds(self) -> int:
        rounds: int = self.booster.num_boosted_rounds()
        return rounds

    @classmethod
    def fit(cls, development: Development, window: FittedOn, parameters: BoostingParameters, seed: int) -> Self:
        if window == "train":
            booster = _boost(development, parameters, seed)
            return cls(booster[: booster.best_iteration + 1])
        spec = BoostingSpec(
            window, tree_parameters(parameters.start, development.space, seed), parameters.rounds_at_most
        )
        return cls(development.train_trees(spec))

    @classmethod
    def calibrate_loss(
        cls, development: Development, parameters: BoostingParameters, seed: int, on_round: OnRound
    ) -> float:
        loss: float = _boost(development, parameters, seed, [_reporting(on_round)]).best_score
        return loss


def _boost(development: Development, parameters: BoostingParameters, seed: int, callbacks: Sequence[Any] = ()) -> Any:
    """Boost on the train window until the calibrate window's log loss stops falling; return all rounds."""
    spec = BoostingSpec(
        "train",
        tree_parameters(parameters.start, development.space, seed),
        parameters.rounds_at_most,
        parameters.stop_after_rounds,
        callbacks,
    )
    return development.train_trees(spec)


def _reporting(on_round: OnRound) -> Any:
    """Return a callback of XGBoost that reports each round."""
    import xgboost

    class Reporting(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            on_round(epoch, evals_log["calibrate"]["logloss"][-1])
            return False

    return Reporting()
