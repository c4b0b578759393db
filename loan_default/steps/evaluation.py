"""Step of group `registry`: measure the newest version and the one in production on the test window.

Measuring is `risk.validation`'s, what is measured for the card alone `examination`'s; the decision that rests on it is
`promotion`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.tracking import PRODUCTION
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Policy
from loan_default.risk.validation.quality_gates import judge_leak

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.data.splits import Splits
    from loan_default.risk.metrics import Bootstrap
    from loan_default.risk.model.scorer import Scorer
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.risk.validation.examination.report import Examination
    from loan_default.steps.training import TrainingData


@dataclass(frozen=True)
class VersionEvaluation:
    """The newest version and the champion on the same test loans, with plots as PNG by their file names.

    `windows` are those of the training, of which the last is the test window.
    """

    version: int
    champion_version: int | None
    judgement: Judgement
    examination: Examination
    windows: Sequence[Mapping[str, Any]]
    plots: Mapping[str, bytes]

    def to_dict(self) -> dict[str, Any]:
        """Return the record of it."""
        return {
            "version": self.version,
            "champion_version": self.champion_version,
            "judgement": self.judgement.to_dict(),
            "examination": self.examination.to_dict(),
            "windows": list(self.windows),
        }


def evaluate_version(
    data: TrainingData,
    trained_model: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    layout: StorageLayout,
    *,
    now: datetime,
    bootstrap: Bootstrap,
) -> VersionEvaluation:
    """Measure the candidates of a training and the version in production on the test window.

    Args:
        data: the loans, of which only the test window is looked at.
        trained_model: the record of the training.
        models: where candidates and champion are.
        policy: the rules of the comparison, and the limits beyond which a field has moved.
        layout: where looks at test windows are logged; this one is, before a loan is scored.
        now: the time of the look.
        bootstrap: on which the intervals rest; its seed is also that of what the examination draws.

    Raises:
        BadInput: the training was on other loans or windows, or the AUC is too good to be true.
    """
    from loan_default.adapters import look_log
    from loan_default.risk.validation.champion_challenger import judge_on_test
    from loan_default.risk.validation.coverage import measure_coverage
    from loan_default.risk.validation.held_out import HeldOutWindow
    from loan_default.risk.validation.plots import evaluation_pngs

    _require_same_windows(trained_model, data.splits)
    run_id, leader = trained_model["run_id"], trained_model["kind"]
    candidates = {kind: models.candidate(run_id, kind) for kind in trained_model["candidates"]}
    variants = {name: models.candidate(run_id, name) for name in trained_model.get("variants", ())}
    champion_version, champion = _champion(models)
    looks = look_log.add(layout, data.splits, trained_model["version"], now)
    window, unseen = HeldOutWindow(**vars(data)), _unseen_by(champion_version, models, data)
    test = window.score(candidates | variants, champion, policy.promotion, unseen)
    judgement, scores = judge_on_test(
        test,
        candidates,
        leader,
        champion,
        policy.promotion,
        blanked=window.blank(candidates[leader], test.height),
        design=window.design,
        looks=looks,
        bootstrap=bootstrap,
        coverage=measure_coverage(data.loans.scan(), test, data.contract, policy.promotion),
    )
    _require_no_leak(judgement, policy)
    others = [name for name in candidates | variants if name != leader]
    examination = _examine(data, trained_model, models, policy, test, others, bootstrap)
    plots = evaluation_pngs(test[OUTCOME], scores, candidates[leader])
    _log_evaluation(models, trained_model, judgement, data.splits, plots)
    number, windows = champion_version.version if champion_version else None, data.splits.to_dict()["windows"]
    return VersionEvaluation(trained_model["version"], number, judgement, examination, windows, plots)


def _log_evaluation(
    models: ModelStore,
    trained_model: Mapping[str, Any],
    judgement: Judgement,
    splits: Splits,
    plots: Mapping[str, bytes],
) -> None:
    """Log the evaluation to the run of the training, which is named after the AUC on the test window from now on."""
    from loan_default.steps.training import run_name

    run_id, auc = trained_model["run_id"], judgement.evaluation.metrics["auc"].value
    models.log_evaluation(run_id, judgement, plots)
    models.tracking.rename_run(run_id, run_name(trained_model["version"], trained_model["kind"], auc, splits))


def _require_no_leak(judgement: Judgement, policy: Policy) -> None:
    """Refuse a version that is too good to be true."""
    leak = judge_leak(judgement.evaluation.metrics["auc"].value, policy.promotion)
    if not leak.passed:
        raise BadInput(f"On the test window: {leak.sentence}")


def _examine(
    data: TrainingData,
    trained_model: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    test: pl.DataFrame,
    others: Sequence[str],
    bootstrap: Bootstrap,
) -> Examination:
    """Examine the version for its validator, beside the `others` that scored the test window."""
    from loan_default.risk.validation.alternatives import compare_alternatives, measure_decisions
    from loan_default.risk.validation.examination.fairness import measure_fairness
    from loan_default.steps.examination import examine_version

    leader = trained_model["kind"]
    return examine_version(
        data,
        models.tracking.get(trained_model["version"]),
        models,
        policy.drift,
        alternatives=compare_alternatives(test, leader, others, data.contract, bootstrap=bootstrap),
        by_decision=measure_decisions(test, leader, data.contract),
        fairness=measure_fairness(test, leader, data.contract),
        seed=bootstrap.seed,
    )


def _require_same_windows(trained_model: Mapping[str, Any], splits: Splits) -> None:
    """Refuse a version whose training may have seen loans that test it now."""
    if trained_model["training_fingerprint"] != splits.fingerprint:
        raise BadInput(
            f"Version {trained_model['version']} was trained on other loans or windows than these; train again."
        )


def _champion(models: ModelStore) -> tuple[ModelVersion, Scorer] | tuple[None, None]:
    version = models.tracking.version_of(PRODUCTION)
    return (version, models.scorer(version)) if version else (None, None)


def _unseen_by(champion: ModelVersion | None, models: ModelStore, data: TrainingData) -> pl.Expr:
    """Return true for test loans that the champion was not developed on."""
    import polars as pl

    return pl.lit(False) if champion is None else data.splits.unseen_by(models.splits(champion), data.contract)
