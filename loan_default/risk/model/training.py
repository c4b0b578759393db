"""Fits the candidates: boosted trees, a random forest and a logistic regression, each with a calibrated PD.

Every candidate goes the same way: fitted on the train window, calibrated on what it says of the calibrate window,
which it has not seen, then fitted again on both. The test window is not known here. Searching for parameters is
`tuning`; judging the result is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.evaluation import Interval, auc_of, measure
from loan_default.risk.model.calibration import fit_calibration
from loan_default.risk.model.development import BoostingSpec, Development, FittedOn, Sample
from loan_default.risk.model.estimators import LinearModel, RiskModel, TreeModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.policy import DecisionPolicy

CandidateKind = Literal["xgboost", "random_forest", "logistic_regression"]
KINDS: tuple[CandidateKind, ...] = get_args(CandidateKind)
_BIN_RESAMPLES = 100
_LR_ITERATIONS = 1000
_LR_LOANS = 500_000


@dataclass(frozen=True)
class Candidate:
    """A fitted candidate and what it reached on the calibrate window before it was fitted again."""

    kind: CandidateKind
    scorer: Scorer
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, Interval]


def tree_parameters(parameters: Mapping[str, float | int], space: FeatureSpace, seed: int) -> dict[str, Any]:
    """What XGBoost is given: PD may only rise, or fall, with the fields of which the contract says so."""
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "monotone_constraints": space.monotone,
        "seed": seed,
        **parameters,
    }


def boost(
    development: Development,
    parameters: Mapping[str, float | int],
    space: SearchSpace,
    seed: int,
    callbacks: Sequence[Any] = (),
) -> tuple[Any, int, float]:
    """Boost on the train window until the calibrate window's log loss stops falling.

    Returns:
        The booster up to its best round, the number of those rounds and the log loss there.
    """
    given, trees = tree_parameters(parameters, development.space, seed), space.xgboost
    booster = development.train_trees(
        BoostingSpec("train", given, trees.rounds_at_most, trees.stop_after_rounds, callbacks)
    )
    rounds = booster.best_iteration + 1
    return booster[:rounds], rounds, booster.best_score


def fit_boosted(
    development: Development, window: FittedOn, parameters: Mapping[str, Any], rounds: int, seed: int
) -> TreeModel:
    """Boosted trees of a known number of rounds."""
    given = tree_parameters(parameters, development.space, seed)
    return TreeModel(development.train_trees(BoostingSpec(window, given, rounds)))


def fit_forest(development: Development, window: FittedOn, search: SearchSpace, seed: int) -> TreeModel:
    """A random forest: one round of parallel trees at full learning rate, without monotone constraints."""
    forest = search.random_forest.model_dump()
    parameters = {"num_parallel_tree": forest.pop("trees"), "learning_rate": 1.0, **forest}
    given = tree_parameters(parameters, development.space, seed)
    del given["monotone_constraints"]
    return TreeModel(development.train_trees(BoostingSpec(window, given, 1)))


def fit_regression(sample: Sample, search: SearchSpace) -> LinearModel:
    """Logistic regression on arsinh of every value, medians and an indicator where it is missing, standardised.

    arsinh tames long tails as a logarithm does, and takes any value.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    steps = [
        ("fill", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
        ("log", FunctionTransformer(np.arcsinh)),
        ("scale", StandardScaler()),
        ("logit", LogisticRegression(C=search.logistic_regression.C, max_iter=_LR_ITERATIONS)),
    ]
    return LinearModel(Pipeline(steps).fit(sample.X.astype(np.float64), sample.y))


def train_candidates(
    development: Development,
    tuned: Mapping[str, float | int],
    search: SearchSpace,
    decision: DecisionPolicy,
    *,
    seed: int,
    kinds: Sequence[str] = KINDS,
    on_fitted: Callable[[Candidate], None] = lambda candidate: None,
) -> tuple[Candidate, ...]:
    """Fit every candidate; best first, by AUC on the calibrate window.

    Args:
        development: train and calibrate windows.
        tuned: XGBoost's parameters.
        search: the other candidates' parameters and when boosting stops.
        decision: the cut-offs and points that travel with a scorer.
        seed: of every random choice.
        kinds: which candidates to fit.
        on_fitted: told of each candidate as soon as it is there.

    Raises:
        BadInput: a kind is unknown, or none is given.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise BadInput(f"Candidates {unknown or 'none'} cannot be fitted; choose among {', '.join(KINDS)}.")
    found = []
    for kind in KINDS:
        if kind in kinds:
            found.append(_fit(kind, development, tuned, search, decision, seed))
            on_fitted(found[-1])
    return tuple(sorted(found, key=lambda candidate: -candidate.metrics["auc"].value))


def _fit(
    kind: CandidateKind,
    development: Development,
    tuned: Mapping[str, float | int],
    search: SearchSpace,
    decision: DecisionPolicy,
    seed: int,
) -> Candidate:
    first: RiskModel
    final: RiskModel
    parameters: dict[str, Any]
    if kind == "xgboost":
        booster, rounds, _ = boost(development, tuned, search, seed)
        first, final = TreeModel(booster), fit_boosted(development, "both", tuned, rounds, seed)
        parameters = {**tuned, "rounds": rounds}
    elif kind == "random_forest":
        first, final = (fit_forest(development, window, search, seed) for window in get_args(FittedOn))
        parameters = search.random_forest.model_dump()
    else:
        samples = (development.sample(window, _LR_LOANS, seed) for window in get_args(FittedOn))
        first, final = (fit_regression(sample, search) for sample in samples)
        parameters = search.logistic_regression.model_dump()
    return _calibrated(kind, first, final, parameters, development, decision)


def _calibrated(
    kind: CandidateKind,
    first: RiskModel,
    final: RiskModel,
    parameters: Mapping[str, Any],
    development: Development,
    decision: DecisionPolicy,
) -> Candidate:
    """Calibrate on what the first fit says of loans that it has not seen; the final fit keeps that calibration."""
    margins, outcomes = development.margins(first)
    calibration = fit_calibration(margins, outcomes)
    metrics = measure(
        outcomes,
        calibration.pds(margins),
        margins,
        cutoff=decision.decline_from,
        rng=np.random.default_rng(0),
        resamples=_BIN_RESAMPLES,
    )
    scorer = Scorer(final, kind, calibration, decision, development.space.contract)
    return Candidate(kind, scorer, parameters, metrics)


def graded(contract: Contract, loans: pl.DataFrame) -> pl.DataFrame:
    """What `grade_auc` needs of loans: how they ended, and the lender's own ordered opinions."""
    return loans.select(OUTCOME, *(field.name for field in contract.features if field.kind == "ordered"))


def grade_auc(loans: pl.DataFrame, outcomes: Floats, contract: Contract) -> float | None:
    """AUC of ranking loans by the lender's own ordered opinion alone; None where the contract has none, or no loan.

    The ordered field that most loans have counts, the finest of these: for LendingClub the sub-grade, or the grade
    where there is none. A loan without it ranks in the middle.
    """
    ordered = [field for field in contract.features if field.kind == "ordered"]
    known = max(ordered, key=lambda field: (loans[field.name].count(), len(field.levels)), default=None)
    if known is None or loans[known.name].count() == 0:
        return None
    rank = loans[known.name].cast(pl.Enum(known.levels)).to_physical().cast(pl.Float64)
    return auc_of(outcomes, rank.fill_null(strategy="mean").to_numpy())
