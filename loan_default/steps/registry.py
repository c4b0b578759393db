"""Steps of group `registry`: measure the newest version on the test window, decide on it, and write its card.

Measuring, deciding and the words of the card are `risk.validation`'s; aliases and tags are `model_store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from loan_default.adapters import decision_log
from loan_default.adapters.layout import CARD_PAGE, MODEL_CARD, StorageLayout
from loan_default.adapters.storage import read_json
from loan_default.adapters.tracking import PRODUCTION
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Policy
from loan_default.risk.validation.promotion import PromotionDecision, decide_promotion
from loan_default.risk.validation.quality_gates import judge_leak

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import ModelVersion, Tracking
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.evaluation import BlankedField, WindowDesign
    from loan_default.risk.model.scorer import Scorer
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.risk.validation.examination.report import Examination
    from loan_default.risk.validation.model_card.inputs import VersionFacts
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


@dataclass(frozen=True)
class Promotion:
    """A decision that was carried out: its record, and which version is in production and which should be."""

    decision: PromotionDecision
    record: Mapping[str, Any]
    production: int | None
    expected: int | None


@dataclass(frozen=True)
class Card:
    """A model card in Markdown, and the MLflow run in which it lies too."""

    text: str
    mlflow_run_id: str


def evaluate_version(
    data: TrainingData,
    trained_model: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    layout: StorageLayout,
    *,
    now: datetime,
    resamples: int,
    seed: int,
) -> VersionEvaluation:
    """Measure the candidates of a training and the version in production on the test window.

    Args:
        data: the loans, of which only the test window is looked at.
        trained_model: the record of the training.
        models: where candidates and champion are.
        policy: the rules of the comparison, and the limits beyond which a field has moved.
        layout: where looks at test windows are logged; this one is, before a loan is scored.
        now: the time of the look.
        resamples: of the bootstrap, on which the intervals rest.
        seed: of the bootstrap.

    Raises:
        BadInput: the training was on other loans or windows, or the AUC is too good to be true.
    """
    from loan_default.adapters import look_log
    from loan_default.risk.validation.champion_challenger import judge_on_test
    from loan_default.risk.validation.coverage import measure_coverage
    from loan_default.risk.validation.plots import evaluation_pngs

    _require_same_windows(trained_model, data.splits)
    run_id, leader = trained_model["run_id"], trained_model["kind"]
    candidates = {kind: models.candidate(run_id, kind) for kind in trained_model["candidates"]}
    variants = {name: models.candidate(run_id, name) for name in trained_model.get("variants", ())}
    champion_version, champion = _champion(models)
    looks = look_log.add(layout, data.splits, trained_model["version"], now)
    test = _score_test(data, candidates | variants, champion, policy, _unseen_by(champion_version, models, data))
    judgement, scores = judge_on_test(
        test,
        candidates,
        leader,
        champion,
        policy.promotion,
        blanked=_blank_fields(data, candidates[leader], test.height),
        design=_window_design(data.splits),
        looks=looks,
        seed=seed,
        resamples=resamples,
        coverage=measure_coverage(data.loans.scan(), test, data.contract, policy.promotion),
    )
    _require_no_leak(judgement, policy)
    others = [name for name in candidates | variants if name != leader]
    examination = _examine(data, trained_model, models, policy, test, others, seed=seed, resamples=resamples)
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


def _window_design(splits: Splits) -> WindowDesign:
    from loan_default.risk.evaluation import WindowDesign

    several_terms = len(splits.window("test").terms) > 1
    return WindowDesign(splits.out_of_time, splits.cut_by, splits.cohort, several_terms)


def _score_test(
    data: TrainingData, scorers: Mapping[str, Scorer], champion: Scorer | None, policy: Policy, unseen: pl.Expr
) -> pl.DataFrame:
    """Score the test window by all of them, as `score_test` does its loans."""
    import polars as pl

    from loan_default.risk.model.development import on_windows
    from loan_default.risk.validation.champion_challenger import score_test

    score = partial(score_test, scorers, champion, policy.promotion, unseen=unseen)
    return pl.concat(on_windows(data.engine, data.loans, data.contract, data.splits, ["test"], score))


def _blank_fields(data: TrainingData, scorer: Scorer, rows: int) -> tuple[BlankedField, ...]:
    """Leave out each field of the test window's loans in turn, of which there are so many `rows`."""
    from loan_default.risk.model.development import on_windows
    from loan_default.risk.validation.missingness import BLANKED_AT_MOST, blank_fields, blanked_fields

    blank = partial(blank_fields, scorer, min(BLANKED_AT_MOST / rows, 1))
    return blanked_fields(on_windows(data.engine, data.loans, data.contract, data.splits, ["test"], blank))


def _examine(
    data: TrainingData,
    trained_model: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    test: pl.DataFrame,
    others: Sequence[str],
    *,
    seed: int,
    resamples: int,
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
        alternatives=compare_alternatives(test, leader, others, data.contract, seed=seed, resamples=resamples),
        by_decision=measure_decisions(test, leader, data.contract),
        fairness=measure_fairness(test, leader, data.contract),
        seed=seed,
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


def decide_on_version(
    evaluation: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    layout: StorageLayout,
    *,
    now: datetime,
    decided_by: str,
) -> Promotion:
    """Decide on the version that was evaluated, move the alias where the decision says so, and log the decision.

    Args:
        evaluation: the record of `VersionEvaluation`.
        models: where aliases and tags are.
        policy: the rules of promotion; the record names the whole by its fingerprint.
        layout: where decisions are logged.
        now: the time of the decision.
        decided_by: who decides, for the record.
    """
    from loan_default.risk.validation.champion_challenger import Judgement

    judgement, champion = Judgement.from_dict(evaluation["judgement"]), _production(models)
    same = champion == evaluation["champion_version"]
    decision = decide_promotion(
        evaluation["version"],
        champion,
        judgement.evaluation,
        judgement.comparison if same else None,
        policy.promotion,
        judgement.comparable if same else None,
    )
    looks = judgement.evaluation.looks
    record = {
        **decision.to_dict(),
        "test_looks": looks and asdict(looks),
        "evidence": _evidence(evaluation, judgement, models, policy),
        "decided_at": now.isoformat(timespec="seconds"),
        "decided_by": decided_by,
    }
    models.record_decision(record)
    decision_log.add(layout, record)
    expected = decision.candidate if decision.verdict == "promote" else champion
    return Promotion(decision, record, _production(models), expected)


def _evidence(
    evaluation: Mapping[str, Any], judgement: Judgement, models: ModelStore, policy: Policy
) -> dict[str, Any]:
    """Return what a decision rests on: what the version was made of, windows, metrics, and the policy that decides."""
    from loan_default.adapters.model_store import origin_of

    return {
        "origin": origin_of(models.tracking.get(evaluation["version"])),
        "decision_policy_fingerprint": policy.fingerprint,
        "windows": evaluation.get("windows"),
        "metrics": {name: asdict(interval) for name, interval in judgement.evaluation.metrics.items()},
    }


def version_in_production(tracking: Tracking) -> ModelVersion:
    """Return the version in production.

    Raises:
        BadInput: there is none.
    """
    version = tracking.version_of(PRODUCTION)
    if version is None:
        raise BadInput("No version is in production; run full_pipeline_job first.")
    return version


def _production(models: ModelStore) -> int | None:
    version = models.tracking.version_of(PRODUCTION)
    return version.version if version else None


def write_card(
    models: ModelStore,
    policy: Policy,
    *,
    cleaning_report: Mapping[str, Any],
    loan_splits: Mapping[str, Any],
    trained_model: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    decision: Mapping[str, Any],
    layout: StorageLayout,
) -> Card:
    """Write the card of the newest version, and log it to the run that trained the version.

    Args:
        models: where the version and the one before it are.
        policy: says who answers for the version, and when it is doubted.
        cleaning_report: the record of that asset, as the others that follow.
        loan_splits: of the windows.
        trained_model: of the training.
        evaluation: of the version on the test window.
        decision: on the version.
        layout: where the strategy report and the back-test are, if they were made.
    """
    from loan_default.adapters.model_store import PLOTS
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.risk.validation.examination.report import Examination
    from loan_default.risk.validation.model_card.html_page import card_page
    from loan_default.risk.validation.model_card.inputs import ModelCardInputs
    from loan_default.risk.validation.model_card.page import in_short, model_card

    judgement, examined = Judgement.from_dict(evaluation["judgement"]), evaluation.get("examination")
    version = models.tracking.get(trained_model["version"])
    text = model_card(
        ModelCardInputs(
            **_version_inputs(version, models, trained_model, judgement),
            policy=policy,
            cleaning=cleaning_report,
            splits=Splits.from_dict(loan_splits),
            evaluation=judgement.evaluation,
            decisions=judgement.decisions,
            groups=judgement.groups,
            comparison=judgement.comparison,
            comparable=judgement.comparable,
            promotion=PromotionDecision.from_dict(decision),
            decided={key: decision[key] for key in ("decided_at", "decided_by")},
            examination=examined and Examination.from_dict(examined),
            strategy=_strategy_of(version.version, layout),
            backtest=_backtest_of(loan_splits["data_fingerprint"], layout),
        )
    )
    pictures = models.tracking.read_folder(version.run_id, PLOTS)
    models.tracking.log_text(version.run_id, MODEL_CARD, text)
    models.tracking.log_text(version.run_id, CARD_PAGE, card_page(text, pictures))
    models.tracking.describe(version.version, in_short(text))
    return Card(text, version.run_id)


def _strategy_of(version: int, layout: StorageLayout) -> Mapping[str, Any] | None:
    """Read the strategy report, if there is one and it is of this version."""
    report: Mapping[str, Any] | None = read_json(layout.record("strategy_report"))
    return report if report and report["version"] == version else None


def _backtest_of(data_fingerprint: str, layout: StorageLayout) -> Mapping[str, Any] | None:
    """Read the record of the back-test, if there is one and it is of these loans."""
    record: Mapping[str, Any] | None = read_json(layout.record("backtest"))
    return record if record and record["data_fingerprint"] == data_fingerprint else None


def _version_inputs(
    version: ModelVersion, models: ModelStore, trained_model: Mapping[str, Any], judgement: Judgement
) -> dict[str, Any]:
    """Return what `ModelCardInputs` takes of the version itself and of its training."""
    from loan_default.adapters.model_store import libraries_of, origin_of
    from loan_default.risk.evaluation import read_intervals
    from loan_default.risk.validation.model_card.performance import leaderboard
    from loan_default.risk.validation.plots import field_importance

    scorer = models.scorer(version)
    on_calibrate = {kind: read_intervals(metrics) for kind, metrics in trained_model["calibrate"].items()}
    return {
        "scorer": scorer,
        "parameters": trained_model["parameters"][trained_model["kind"]],
        "leaderboard": leaderboard(on_calibrate, judgement.leaderboard),
        "importance": field_importance(scorer.model, scorer.space),
        "seed": trained_model["seed"],
        "trained_at": version.created_at,
        "origin": origin_of(version),
        "libraries": libraries_of(trained_model),
        "version": version.version,
        "before": _version_before(models, version.version),
    }


def _version_before(models: ModelStore, number: int) -> VersionFacts | None:
    """Read what a version can be told from the one before it by; None where none is left."""
    from loan_default.adapters.model_store import origin_of
    from loan_default.risk.validation.model_card.inputs import VersionFacts

    earlier = [version for version in models.tracking.versions() if version.version < number]
    if not earlier:
        return None
    before = max(earlier, key=lambda version: version.version)
    parameters = models.training(before)
    scorer = models.scorer(before)
    return VersionFacts(
        before.version, scorer, origin_of(before), parameters and parameters["parameters"][parameters["kind"]]
    )
