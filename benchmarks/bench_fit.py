"""The final fit of boosted trees, from a frame of loans to a model, against `xgboost.train` on a ready matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.fresh import alternating, fresh
from benchmarks.loans import cleaned_loans

ROUNDS = 150


def figures(folder: Path, *, rows: int = 1_000_000, rounds: int = ROUNDS, times: int = 3) -> list[Figure]:
    """Fit on synthetic loans, with the parameters that tuning starts from."""
    arguments = {"loans": str(cleaned_loans(folder, rows)), "rounds": rounds}
    ours, theirs = alternating(times, partial(fresh, fit, **arguments), partial(fresh, train, **arguments))
    what = f"fit {rows:,} loans, {rounds} rounds, from their frame to the model"
    ratio = ours.seconds / theirs.seconds
    return [compared(what, ours, theirs, "xgboost.train on a ready matrix", ratio, 1.5, "most")]


def fit(loans: str, rounds: int) -> Callable[[], Any]:
    """Encode, bin and boost, as a training does."""
    import xgboost  # noqa: F401 - imported before the clock starts, as on the other side

    from loan_default.risk.model.candidates.xgboost_model import tree_parameters
    from loan_default.risk.model.development import BoostingSpec, LocalDevelopment, Sample

    frame, space, parameters = _prepared(loans)

    def work() -> None:
        sample = Sample.of(frame, space)
        spec = BoostingSpec("train", tree_parameters(parameters, space, seed=0), rounds)
        LocalDevelopment(space, sample, sample).train_trees(spec)

    return work


def train(loans: str, rounds: int) -> Callable[[], Any]:
    """Boost by the library alone, on loans that are encoded and binned already."""
    import xgboost

    from loan_default.risk.model.candidates.xgboost_model import tree_parameters
    from loan_default.risk.model.development import Sample, tree_matrix

    frame, space, parameters = _prepared(loans)
    matrix, tree_options = tree_matrix(Sample.of(frame, space), space), tree_parameters(parameters, space, seed=0)

    def work() -> None:
        xgboost.train(tree_options, matrix, rounds)

    return work


def _prepared(loans: str) -> tuple[Any, Any, Any]:
    import polars as pl

    from loan_default.risk.contract.columns import OUTCOME
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.model.features import FeatureSpace
    from loan_default.risk.model.search_space import load_search_space

    # a loan that has not ended yet counts as repaid here: only the number of rows matters
    frame = pl.read_parquet(loans).with_columns(pl.col(OUTCOME).fill_null(0))
    return frame, FeatureSpace(load_contract()), load_search_space().tunable("xgboost").start
