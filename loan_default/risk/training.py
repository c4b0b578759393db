"""Fits the candidates: boosted trees, a random forest and a logistic regression, each with a calibrated PD.

Every candidate goes the same way: fitted on the train window, calibrated on what it says of the calibrate window,
which it has not seen, then fitted again on both. The test window is not known here. Searching for parameters is
`tuning`; judging the result is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.calibration import fit_calibration
from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.evaluation import Interval, auc_of, measure
from loan_default.risk.features import FeatureSpace, Matrix
from loan_default.risk.models import Floats, LinearModel, RiskModel, TreeModel
from loan_default.risk.policy import DecisionPolicy
from loan_default.risk.scoring import Scorer
from loan_default.risk.search_space import SearchSpace

CandidateKind = Literal["xgboost", "random_forest", "logistic_regression"]
KINDS: tuple[CandidateKind, ...] = get_args(CandidateKind)
FittedOn = Literal["train", "both"]
Item = TypeVar("Item")
Result = TypeVar("Result")
_BIN_RESAMPLES = 100
_LR_ITERATIONS = 1000
_LR_LOANS = 500_000


@dataclass(frozen=True)
class Sample:
    """Loans as a model sees them: X float32 (n, columns), y (n,) 1 where the loan defaulted."""

    X: Matrix
    y: NDArray[np.float32]

    @classmethod
    def of(cls, loans: pl.DataFrame, space: FeatureSpace) -> Sample:
        """Encode matured loans."""
        return cls(space.matrix(loans), loans[OUTCOME].to_numpy().astype(np.float32))

    def __sizeof__(self) -> int:
        """What it costs to hold it, or to send it from one machine to another."""
        return int(self.X.nbytes + self.y.nbytes)

    def __add__(self, other: Sample) -> Sample:
        return Sample(np.concatenate([self.X, other.X]), np.concatenate([self.y, other.y]))

    def thinned(self, share: float, seed: int) -> Sample:
        """Each loan with this chance; all of them where it is 1 or more."""
        if share >= 1:
            return self
        drawn = np.random.default_rng(seed).random(len(self.y)) < share
        return Sample(self.X[drawn], self.y[drawn])


@dataclass(frozen=True)
class Fit:
    """What trees are fitted on and how: `parameters` as `tree_parameters` gives them, `rounds` at most.

    It stops `stop_after` rounds without gain in log loss on the calibrate window, if that is given. `callbacks` are
    XGBoost's, called after each round.
    """

    window: FittedOn
    parameters: Mapping[str, Any]
    rounds: int
    stop_after: int | None = None
    callbacks: Sequence[Any] = ()

    def by(self, train: Callable[..., Any], matrix: Any, calibrate: Any, **more: Any) -> Any:
        """What `xgboost.train`, or `xgboost.dask`'s, which takes the same, makes of matrices of these windows."""
        return train(
            params=dict(self.parameters),
            dtrain=matrix,
            num_boost_round=self.rounds,
            evals=[] if self.stop_after is None else [(calibrate, "calibrate")],
            early_stopping_rounds=self.stop_after,
            callbacks=list(self.callbacks),
            verbose_eval=False,
            **more,
        )


class Development(Protocol):
    """The two windows that a model may be developed on, wherever an engine holds them."""

    @property
    def space(self) -> FeatureSpace:
        """The matrix that models see."""
        ...

    def train_trees(self, fit: Fit) -> Any:
        """An `xgboost.Booster`; it knows its best round where it may stop before the last."""
        ...

    def sample(self, window: FittedOn, at_most: int, seed: int) -> Sample:
        """The window's loans, or about `at_most` of them."""
        ...

    def margins(self, model: RiskModel) -> tuple[Floats, Floats]:
        """What a model says of the calibrate window's loans (n,), and how these ended (n,)."""
        ...

    def each(self, function: Callable[[Development, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """`function` of these windows and each item, in order, each by one process alone."""
        ...


@dataclass(frozen=True)
class LocalDevelopment:
    """Both windows in the memory of this process."""

    space: FeatureSpace
    train: Sample
    calibrate: Sample

    @classmethod
    def of(cls, train: pl.DataFrame, calibrate: pl.DataFrame, contract: Contract) -> LocalDevelopment:
        """Encode both windows."""
        space = FeatureSpace(contract)
        return cls(space, Sample.of(train, space), Sample.of(calibrate, space))

    @cached_property
    def _matrices(self) -> tuple[Any, Any]:
        """Both windows as XGBoost matrices, binned once for every fit."""
        train = tree_matrix(self.train, self.space)
        return train, tree_matrix(self.calibrate, self.space, like=train)

    @cached_property
    def _both(self) -> Any:
        return tree_matrix(self.train + self.calibrate, self.space)

    def train_trees(self, fit: Fit) -> Any:
        """By `xgboost.train`."""
        import xgboost

        train, calibrate = self._matrices
        return fit.by(xgboost.train, train if fit.window == "train" else self._both, calibrate)

    def sample(self, window: FittedOn, at_most: int, seed: int) -> Sample:
        """Each loan with the same chance."""
        samples = [self.train] if window == "train" else [self.train, self.calibrate]
        share = at_most / sum(len(sample.y) for sample in samples)
        return reduce(Sample.__add__, (sample.thinned(share, seed) for sample in samples))

    def margins(self, model: RiskModel) -> tuple[Floats, Floats]:
        """As the model gives them."""
        return model.margins(self.calibrate.X), self.calibrate.y.astype(np.float64)

    def each(self, function: Callable[[Development, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Here."""
        return (function(self, item) for item in items)


@dataclass(frozen=True)
class Candidate:
    """A fitted candidate and what it reached on the calibrate window before it was fitted again."""

    kind: CandidateKind
    scorer: Scorer
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, Interval]


def tree_matrix(sample: Sample, space: FeatureSpace, like: Any = None) -> Any:
    """The sample as an `xgboost.QuantileDMatrix`, binned as the matrix `like` where one is given."""
    import xgboost

    return xgboost.QuantileDMatrix(sample.X, sample.y, feature_names=list(space.columns), ref=like)


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
    booster = development.train_trees(Fit("train", given, trees.rounds_at_most, trees.stop_after_rounds, callbacks))
    rounds = booster.best_iteration + 1
    return booster[:rounds], rounds, booster.best_score


def fit_boosted(
    development: Development, window: FittedOn, parameters: Mapping[str, Any], rounds: int, seed: int
) -> TreeModel:
    """Boosted trees of a known number of rounds."""
    given = tree_parameters(parameters, development.space, seed)
    return TreeModel(development.train_trees(Fit(window, given, rounds)))


def fit_forest(development: Development, window: FittedOn, search: SearchSpace, seed: int) -> TreeModel:
    """A random forest: one round of parallel trees at full learning rate, without monotone constraints."""
    forest = search.random_forest.model_dump()
    parameters = {"num_parallel_tree": forest.pop("trees"), "learning_rate": 1.0, **forest}
    given = tree_parameters(parameters, development.space, seed)
    del given["monotone_constraints"]
    return TreeModel(development.train_trees(Fit(window, given, 1)))


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
