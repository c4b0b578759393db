"""The candidate `lightgbm`: gradient-boosted trees that grow leaf by leaf, kept as LightGBM's own text.

It is off unless the search space has a section for it, and needs the extra `lightgbm`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model.candidates.base import CandidateParameters, CardWords
from loan_default.risk.model.candidates.boosting import BoostedModel, BoostingParameters, OnRound, Span
from loan_default.risk.model.development import Development, FittedOn, Sample
from loan_default.risk.model.estimators import shares
from loan_default.risk.model.features import FeatureSpace

_LOANS_AT_MOST = 2_000_000  # of 43 columns: 0.35 GB, which a distributed engine brings to this process
_FEW_ROWS = 100
_SHARE = Span(low=0.0001, high=1.0)
_WEIGHT = Span(low=0.0, high=1e9)
_COUNT = Span(low=0, high=1_000_000_000)


class LightGBMParameters(BoostingParameters):
    """Parameters of LightGBM's boosted trees (https://lightgbm.readthedocs.io/en/stable/Parameters.html)."""

    takes: ClassVar[Mapping[str, Span]] = {
        "num_leaves": Span(low=2, high=131_072),
        "max_depth": Span(low=-1, high=64),
        "max_bin": Span(low=2, high=65_535),
        "min_data_in_leaf": _COUNT,
        "bagging_freq": _COUNT,
        "learning_rate": _SHARE,
        **dict.fromkeys(("bagging_fraction", "feature_fraction", "feature_fraction_bynode"), _SHARE),
        **dict.fromkeys(("min_sum_hessian_in_leaf", "lambda_l1", "lambda_l2", "min_gain_to_split"), _WEIGHT),
        **dict.fromkeys(("max_delta_step", "path_smooth"), _WEIGHT),
    }
    instead: ClassVar[Mapping[str, str]] = {
        "eta": "write learning_rate",
        "min_child_samples": "write min_data_in_leaf",
        "min_child_weight": "write min_sum_hessian_in_leaf",
        "subsample": "write bagging_fraction, and bagging_freq: 1",
        "colsample_bytree": "write feature_fraction",
        "colsample_bynode": "write feature_fraction_bynode",
        "reg_alpha": "write lambda_l1",
        "reg_lambda": "write lambda_l2",
        "gamma": "write min_gain_to_split",
        "n_estimators": "write rounds_at_most beside start",
        "monotone_constraints": "write risk: rising or falling in the contract",
        "scale_pos_weight": "delete it, as weighted classes would make of a PD something else",
        "is_unbalance": "delete it, as weighted classes would make of a PD something else",
    }


@dataclass(frozen=True)
class LightGBMTrees(BoostedModel):
    """Gradient-boosted trees by LightGBM.

    `typical` (columns,) is the median of each column that had no missing value when the trees were fitted, else NaN.
    LightGBM takes a value missing there for 0, which may be the safest there is; the typical loan's stands instead.
    """

    booster: Any  # lightgbm.Booster; the library is imported where it is used
    typical: Matrix

    name: ClassVar[str] = "lightgbm"
    section: ClassVar[type[CandidateParameters]] = LightGBMParameters
    requirements: ClassVar[Mapping[str, str]] = {"lightgbm": "lightgbm"}
    extra: ClassVar[str] = "lightgbm"
    card_words: ClassVar[CardWords] = CardWords(
        "gradient-boosted trees (LightGBM)", "total gain of the splits on a field", monotone=True
    )
    file_name: ClassVar[str] = "model.txt"
    typical_file: ClassVar[str] = "typical.json"

    @property
    def rounds(self) -> int:
        rounds: int = self.booster.num_trees()
        return rounds

    @classmethod
    def fit(cls, development: Development, window: FittedOn, parameters: BoostingParameters, seed: int) -> Self:
        sample = development.sample(window, _LOANS_AT_MOST, seed)
        if window == "train":
            booster = _boost_until_best(sample, development, parameters, seed)
        else:
            booster = _boost(sample, development.space, parameters, seed)
        return cls(_without_data(booster), _typical(sample.X))

    @classmethod
    def calibrate_loss(
        cls, development: Development, parameters: BoostingParameters, seed: int, on_round: OnRound
    ) -> float:
        sample = development.sample("train", _LOANS_AT_MOST, seed)
        booster = _boost_until_best(sample, development, parameters, seed, [_reporting(on_round)])
        (loss,) = booster.best_score["calibrate"].values()
        return float(loss)

    def margins(self, X: Matrix) -> Floats:
        margins = self.booster.predict(self._fill(X), raw_score=True, num_threads=_threads(len(X)))
        return np.asarray(margins, dtype=np.float64)

    def contributions(self, X: Matrix) -> Floats:
        """Return exact tree SHAP, by LightGBM; the last column that it adds, the bias, is left out."""
        contributions = self.booster.predict(self._fill(X), pred_contrib=True, num_threads=_threads(len(X)))
        return np.asarray(contributions, dtype=np.float64)[:, :-1]

    def importance(self) -> Floats:
        return shares(self.booster.feature_importance("gain"))

    def save(self, folder: Path) -> None:
        self.booster.save_model(folder / self.file_name)
        typical = [None if np.isnan(value) else float(value) for value in self.typical]
        (folder / self.typical_file).write_text(json.dumps(typical), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import lightgbm

        typical = json.loads((folder / cls.typical_file).read_text(encoding="utf-8"))
        return cls(lightgbm.Booster(model_file=folder / cls.file_name), np.array(typical, dtype=np.float32))

    def _fill(self, X: Matrix) -> Matrix:
        return np.where(np.isnan(X), self.typical, X)


def _boost(sample: Sample, space: FeatureSpace, parameters: BoostingParameters, seed: int, **options: Any) -> Any:
    """Boost a sample for `rounds_at_most` rounds, or until a callback among the options ends it."""
    import lightgbm

    return lightgbm.train(
        {
            # The log loss of `binary` takes outcomes alone, that of `cross_entropy` probabilities too.
            "objective": "cross_entropy" if sample.has_probabilities else "binary",
            "metric": "cross_entropy" if sample.has_probabilities else "binary_logloss",
            "monotone_constraints": list(space.monotone),
            "seed": seed,
            "deterministic": True,  # and by row: the same trees, however many threads there are
            "force_row_wise": True,
            "num_threads": pl.thread_pool_size(),
            "verbosity": -1,
            **parameters.start,
        },
        lightgbm.Dataset(sample.X, sample.y),
        parameters.rounds_at_most,
        **options,
    )


def _boost_until_best(
    sample: Sample, development: Development, parameters: BoostingParameters, seed: int, callbacks: Sequence[Any] = ()
) -> Any:
    """Boost a sample of the train window until the calibrate window's log loss stops falling."""
    import lightgbm

    calibrate = development.sample("calibrate", _LOANS_AT_MOST, seed)
    return _boost(
        sample,
        development.space,
        parameters,
        seed,
        valid_sets=[lightgbm.Dataset(calibrate.X, calibrate.y)],
        valid_names=["calibrate"],
        callbacks=[*callbacks, lightgbm.early_stopping(parameters.stop_after_rounds, verbose=False)],
    )


def _without_data(booster: Any) -> Any:
    """Return the booster up to its best round, as it will be read again, without the loans that it was fitted on."""
    import lightgbm

    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))


def _typical(X: Matrix) -> Matrix:
    complete = ~np.isnan(X).any(axis=0)
    typical = np.full(X.shape[1], np.nan, dtype=np.float32)
    typical[complete] = np.median(X[:, complete], axis=0)
    return typical


def _threads(rows: int) -> int:
    return 1 if rows <= _FEW_ROWS else pl.thread_pool_size()


def _reporting(on_round: OnRound) -> Any:
    """Return a callback of LightGBM that reports each round."""

    def report(environment: Any) -> None:
        ((_, _, loss, _),) = environment.evaluation_result_list
        on_round(environment.iteration, loss)

    return report
