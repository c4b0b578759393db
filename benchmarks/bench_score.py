"""Scoring a file of applications, against the booster's bare prediction; and what the reasons cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.fresh import Run, alternating, fresh
from benchmarks.loans import cleaned_loans

TREES, DEPTH = 300, 4
FITTED_ON = 100_000


def figures(folder: Path, *, rows: int = 1_000_000, trees: int = TREES, times: int = 3) -> list[Figure]:
    """Score synthetic loans, Parquet to Parquet."""
    loans, package = cleaned_loans(folder, rows), folder / "package"
    fresh(fit_package, loans=str(loans), package=str(package), trees=trees)
    arguments = {"loans": str(loans), "package": str(package)}
    ours, bare = alternating(times, partial(fresh, write, **arguments), partial(fresh, predict, **arguments))
    explained = fresh(write, **arguments, with_reasons=True)
    size = f"{trees} trees of depth {DEPTH}"
    what = f"score {rows:,} loans, Parquet → PD and decision in Parquet, {size}"
    speed = f"inplace_predict of the same booster on a ready matrix, {rows / bare.seconds / 1e6:.2f} M rows/s,"
    return [
        compared(what, ours, bare, speed, 100 * bare.seconds / ours.seconds, 60.0, "least", form="{:.0f} %"),
        _cost_of_reasons(explained, ours, size),
    ]


def _cost_of_reasons(explained: Run, plain: Run, size: str) -> Figure:
    decisions = dict(explained.answer)
    not_approved = sum(loans for decision, loans in decisions.items() if decision != "approve")
    cost = 1000 * (explained.seconds - plain.seconds) / max(not_approved, 1)
    return Figure(
        f"reasons of a loan that is not approved, exact SHAP, {size}",
        str(explained),
        f"the same without reasons {plain}; {not_approved:,} declined or reviewed",
        cost,
        form="{:.3f} ms",
        seconds={"with_reasons": explained.seconds, "without": plain.seconds},
    )


def fit_package(loans: str, package: str, trees: int) -> Callable[[], Any]:
    """Fit a model as training does, and keep it as a model package."""
    import polars as pl

    from loan_default.risk.contract.columns import OUTCOME
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.model.calibration import Calibration
    from loan_default.risk.model.candidates.xgboost_model import tree_parameters
    from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
    from loan_default.risk.model.development import BoostingSpec, LocalDevelopment, Sample
    from loan_default.risk.model.features import FeatureSpace
    from loan_default.risk.model.scorer import Scorer
    from loan_default.risk.model.search_space import load_search_space
    from loan_default.risk.policy import load_policy

    space = FeatureSpace(load_contract())
    sample = Sample.of(pl.scan_parquet(loans).filter(pl.col(OUTCOME).is_not_null()).head(FITTED_ON).collect(), space)
    parameters = {**load_search_space().tunable("xgboost").start, "max_depth": DEPTH}

    def work() -> None:
        spec = BoostingSpec("train", tree_parameters(parameters, space, seed=0), trees)
        model = XGBoostTrees(LocalDevelopment(space, sample, sample).train_trees(spec))
        Scorer(model, "xgboost", Calibration(1.0, 0.0), load_policy().decision, space.contract).save(Path(package))

    return work


def write(loans: str, package: str, with_reasons: bool = False) -> Callable[[], Any]:
    """Score a batch as the platform does; the answer is how many loans got each decision."""
    import polars as pl
    import xgboost  # noqa: F401 - imported before the clock starts, as on the other side

    from loan_default.risk.compute import FrameTable
    from loan_default.risk.model.batch_scoring import write_predictions
    from loan_default.risk.model.scorer import Scorer

    scorer = Scorer.load(Path(package))
    predictions = Path(loans).with_name("predictions.parquet")

    def work() -> list[tuple[str, int]]:
        counts = write_predictions(
            scorer, FrameTable(pl.scan_parquet(loans)), parquet=predictions, with_reasons=with_reasons
        )
        return [(decision, rows) for decision, rows, _ in counts]

    return work


def predict(loans: str, package: str) -> Callable[[], Any]:
    """Predict by the library alone, from loans that are read and encoded already; nothing is written."""
    import polars as pl

    from loan_default.risk.model.candidates.xgboost_model import XGBoostModel
    from loan_default.risk.model.scorer import Scorer

    scorer = Scorer.load(Path(package))
    matrix = scorer.space.matrix(pl.read_parquet(loans, columns=list(scorer.contract.feature_names)))

    assert isinstance(scorer.model, XGBoostModel)
    booster = scorer.model.booster

    def work() -> None:
        booster.inplace_predict(matrix, predict_type="margin", validate_features=False)

    return work
