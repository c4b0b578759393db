"""Holds the windows that a model may be developed on, and works on windows of stored loans part by part.

Here stand the samples that models see, what boosting is asked for, and the development that this process holds in its
memory. An engine of `adapters` may hold one elsewhere. Which candidates are fitted is `training`, which parameters are
tried is `tuning`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.compute import Engine, Table, TablePart
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.data.splits import Splits, WindowName
from loan_default.risk.data.splitting import window_loans
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.features import FeatureSpace

FittedOn = Literal["train", "both"]
SampledFrom = Literal["train", "calibrate", "both"]
Item = TypeVar("Item")
Result = TypeVar("Result")


class OpenLabel(Protocol):
    """Says how loans end that have not matured, as far as that is known."""

    def __call__(self, loans: pl.DataFrame, X: Matrix) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return how loans (n rows, and their matrix) end, 1 for default or its probability, and which are open."""
        ...


@dataclass(frozen=True)
class Sample:
    """Loans as a model sees them: X float32 (n, columns), y (n,) 1 where the loan defaulted.

    Where `is_open` (n,) is true a loan has not matured, and y may be the probability of default; None: all have.
    """

    X: Matrix
    y: NDArray[np.float32]
    is_open: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, loans: pl.DataFrame, space: FeatureSpace, label: OpenLabel | None = None) -> Sample:
        """Encode matured loans, or by a label also others."""
        X = space.matrix(loans)
        return cls(X, loans[OUTCOME].to_numpy().astype(np.float32)) if label is None else cls(X, *label(loans, X))

    def __sizeof__(self) -> int:
        """Count the bytes that it takes to hold it, or to send it from one machine to another."""
        return int(self.X.nbytes + self.y.nbytes)

    @classmethod
    def concat(cls, samples: Sequence[Sample]) -> Sample:
        """Put samples of the same columns one behind the other."""
        X, y, matured = (np.concatenate([getattr(each, name) for each in samples]) for name in ("X", "y", "matured"))
        return cls(X, y, None if matured.all() else ~matured)

    @property
    def matured(self) -> NDArray[np.bool_]:
        """Tell which loans have matured (n,)."""
        return np.ones(len(self.y), dtype=bool) if self.is_open is None else ~self.is_open

    @property
    def has_probabilities(self) -> bool:
        """Tell whether any loan may end either way."""
        return bool(((self.y > 0) & (self.y < 1)).any())

    @property
    def endings(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Return a row for each way in which a loan may end: which loan, 1 for default, and how probable that is.

        For libraries that take no probability as an outcome: log loss is the same.
        """
        loans = np.concatenate([np.arange(len(self.y)), np.flatnonzero((self.y > 0) & (self.y < 1))])
        ends = (self.y[loans] > 0).astype(np.float32)
        ends[len(self.y) :] = 0
        return loans, ends, np.where(ends > 0, self.y[loans], 1 - self.y[loans])

    def thin(self, share: float, seed: int) -> Sample:
        """Draw each loan with this chance; all of them where it is 1 or more."""
        if share >= 1:
            return self
        drawn = np.random.default_rng(seed).random(len(self.y)) < share
        return Sample(self.X[drawn], self.y[drawn], None if self.is_open is None else self.is_open[drawn])


@dataclass(frozen=True)
class BoostingSpec:
    """A specification of trees: what they are fitted on, and how.

    `parameters` are as `tree_parameters` gives them, `rounds` the most. The fit stops after `stop_after` rounds without
    gain in log loss on the calibrate window, if that is given. `callbacks` are XGBoost's, called after each round.
    """

    window: FittedOn
    parameters: Mapping[str, Any]
    rounds: int
    stop_after: int | None = None
    callbacks: Sequence[Any] = ()

    def by(self, train: Callable[..., Any], matrix: Any, calibrate: Any, **more: Any) -> Any:
        """Fit matrices of these windows by `xgboost.train`, or by `xgboost.dask`'s, which takes the same."""
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
        """Return the columns of the matrix that models see."""
        ...

    def train_trees(self, fit: BoostingSpec) -> Any:
        """Fit an `xgboost.Booster`; it knows its best round where it may stop before the last."""
        ...

    def sample(self, window: SampledFrom, at_most: int, seed: int) -> Sample:
        """Return the window's loans, or about `at_most` of them."""
        ...

    def margins(self, model: RiskModel) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return the margins that a model gives the calibrate window's loans (n,), how they end, and which matured."""
        ...

    def each(self, function: Callable[[Development, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Apply `function` to these windows and each item, in order, each by one process alone."""
        ...


@dataclass(frozen=True)
class LocalDevelopment:
    """Both windows in the memory of this process."""

    space: FeatureSpace
    train: Sample
    calibrate: Sample

    @classmethod
    def of(
        cls, train: pl.DataFrame, calibrate: pl.DataFrame, space: FeatureSpace, label: OpenLabel | None = None
    ) -> LocalDevelopment:
        """Encode both windows."""
        return cls(space, Sample.of(train, space, label), Sample.of(calibrate, space, label))

    @cached_property
    def _matrices(self) -> tuple[Any, Any]:
        """Return both windows as XGBoost matrices, binned once for every fit."""
        train = tree_matrix(self.train, self.space)
        return train, tree_matrix(self.calibrate, self.space, like=train)

    @cached_property
    def _both(self) -> Any:
        return tree_matrix(Sample.concat([self.train, self.calibrate]), self.space)

    def train_trees(self, fit: BoostingSpec) -> Any:
        """Fit by `xgboost.train`."""
        import xgboost

        train, calibrate = self._matrices
        return fit.by(xgboost.train, train if fit.window == "train" else self._both, calibrate)

    def sample(self, window: SampledFrom, at_most: int, seed: int) -> Sample:
        """Draw each loan with the same chance."""
        windows = {"train": [self.train], "calibrate": [self.calibrate], "both": [self.train, self.calibrate]}
        samples = windows[window]
        share = at_most / sum(len(sample.y) for sample in samples)
        return Sample.concat([sample.thin(share, seed) for sample in samples])

    def margins(self, model: RiskModel) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return the margins as the model gives them."""
        return margins_of(model, self.calibrate)

    def each(self, function: Callable[[Development, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Apply the function in this process."""
        return (function(self, item) for item in items)


def margins_of(model: RiskModel, sample: Sample) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return what `Development.margins` does, of a sample."""
    return model.margins(sample.X), sample.y.astype(np.float64), sample.matured


def tree_matrix(sample: Sample, space: FeatureSpace, like: Any = None) -> Any:
    """Bin the sample as an `xgboost.QuantileDMatrix`, by the bins of the matrix `like` where there is one."""
    import xgboost

    return xgboost.QuantileDMatrix(sample.X, sample.y, feature_names=list(space.columns), ref=like)


@runtime_checkable
class DevelopmentHost(Protocol):
    """An engine that holds the windows of a development itself, away from the memory of this process."""

    def development(
        self,
        loans: Table,
        space: FeatureSpace,
        splits: Splits,
        at_most: int | None = None,
        label: OpenLabel | None = None,
    ) -> Development:
        """Return the windows that a model may be developed on; of their loans about `at_most`, by the same draw."""
        ...


def development_on(
    engine: Engine,
    loans: Table,
    contract: Contract,
    splits: Splits,
    at_most: int | None = None,
    *,
    without_opinion: bool = False,
    label: OpenLabel | None = None,
) -> Development:
    """Return the windows that a model may be developed on, held where the engine works.

    Args:
        engine: holds them itself if it is a `DevelopmentHost`, else this process does.
        loans: cleaned loans.
        contract: what a loan is.
        splits: the windows.
        at_most: about how many loans to draw of them; the same ones in every engine.
        without_opinion: whether models must not see the lender's own opinion.
        label: of loans that have not matured, where they are learned from.
    """
    space = FeatureSpace(contract, splits.population, without_opinion)
    if isinstance(engine, DevelopmentHost):
        return engine.development(loans, space, splits, at_most, label)
    windows = partial(
        window_loans, loans.scan(), contract, splits, share=splits.share_of(at_most), with_open=label is not None
    )
    return LocalDevelopment.of(windows("train"), windows("calibrate"), space, label)


def on_windows(
    engine: Engine,
    loans: Table,
    contract: Contract,
    splits: Splits,
    names: Sequence[WindowName],
    function: Callable[[pl.DataFrame], Result],
    *,
    with_open: bool = False,
) -> Iterator[Result]:
    """Apply `function` to the loans of these windows, part by part, in the order in which they were cleaned.

    Parts that hold none of these loans are left out. `with_open` is as in `window_loans`.
    """
    on_part = partial(_on_part, contract, splits, tuple(names), function, with_open=with_open)
    batches = engine.map(on_part, engine.parts(loans))
    return (result for results in batches for result in results)


def _on_part(
    contract: Contract,
    splits: Splits,
    names: tuple[WindowName, ...],
    function: Callable[[pl.DataFrame], Result],
    part: TablePart,
    *,
    with_open: bool,
) -> list[Result]:
    rows = window_loans(part.scan(), contract, splits, *names, offset=part.offset, with_open=with_open)
    return [] if rows.is_empty() else [function(rows)]
