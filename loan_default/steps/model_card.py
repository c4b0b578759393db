"""Step of group `registry`: write the card of the newest version from the records that the steps before it left.

What a card says is `risk.validation.model_card`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loan_default.adapters.layout import CARD_PAGE, MODEL_CARD, StorageLayout
from loan_default.adapters.storage import read_json
from loan_default.risk.policy import Policy
from loan_default.risk.validation.promotion import PromotionDecision
from loan_default.steps.data import read_windows

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.risk.validation.model_card.inputs import VersionFacts


@dataclass(frozen=True)
class VersionRecords:
    """What the assets before the card recorded of a version: its loans, windows, training, measures and decision."""

    cleaning_report: Mapping[str, Any]
    loan_splits: Mapping[str, Any]
    trained_model: Mapping[str, Any]
    model_evaluation: Mapping[str, Any]
    promoted_model: Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """A model card in Markdown, and the MLflow run in which it lies too."""

    text: str
    mlflow_run_id: str


def write_card(records: VersionRecords, models: ModelStore, policy: Policy, layout: StorageLayout) -> Card:
    """Write the card of the newest version, and log it to the run that trained the version.

    Args:
        records: of the version.
        models: where the version and the one before it are.
        policy: says who answers for the version, and when it is doubted.
        layout: where the strategy report and the back-test are, if they were made.
    """
    from loan_default.adapters.model_store import PLOTS
    from loan_default.risk.validation.champion_challenger import Judgement
    from loan_default.risk.validation.examination.report import Examination
    from loan_default.risk.validation.model_card.html_page import card_page
    from loan_default.risk.validation.model_card.inputs import ModelCardInputs
    from loan_default.risk.validation.model_card.page import in_short, model_card

    evaluation, decision = records.model_evaluation, records.promoted_model
    judgement, examined = Judgement.from_dict(evaluation["judgement"]), evaluation.get("examination")
    version = models.tracking.get(records.trained_model["version"])
    text = model_card(
        ModelCardInputs(
            **_version_inputs(version, models, records.trained_model, judgement),
            policy=policy,
            cleaning=records.cleaning_report,
            splits=read_windows(records.loan_splits, records.cleaning_report),
            evaluation=judgement.evaluation,
            decisions=judgement.decisions,
            groups=judgement.groups,
            comparison=judgement.comparison,
            comparable=judgement.comparable,
            promotion=PromotionDecision.from_dict(decision),
            decided={key: decision[key] for key in ("decided_at", "decided_by")},
            examination=examined and Examination.from_dict(examined),
            strategy=_strategy_of(version.version, layout),
            backtest=_backtest_of(records.loan_splits["data_fingerprint"], layout),
        )
    )
    pictures = models.tracking.read_folder(version.run_id, PLOTS)
    models.tracking.log_text(version.run_id, MODEL_CARD, text)
    models.tracking.log_text(version.run_id, CARD_PAGE, card_page(text, pictures))
    models.tracking.describe(version.version, in_short(text))
    return Card(text, version.run_id)


def _strategy_of(version: int, layout: StorageLayout) -> Mapping[str, Any] | None:
    """Read the strategy report, if there is one and it is of this version."""
    report: Mapping[str, Any] | None = read_json(layout.record("strategy_report"), "strategy_report")
    return report if report and report["version"] == version else None


def _backtest_of(data_fingerprint: str, layout: StorageLayout) -> Mapping[str, Any] | None:
    """Read the record of the back-test, if there is one and it is of these loans."""
    record: Mapping[str, Any] | None = read_json(layout.record("backtest"), "backtest")
    return record if record and record["data_fingerprint"] == data_fingerprint else None


def _version_inputs(
    version: ModelVersion, models: ModelStore, trained_model: Mapping[str, Any], judgement: Judgement
) -> dict[str, Any]:
    """Return what `ModelCardInputs` takes of the version itself and of its training."""
    from loan_default.adapters.model_store import libraries_of, origin_of
    from loan_default.risk.metrics import read_intervals
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
