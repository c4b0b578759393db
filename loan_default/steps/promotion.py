"""Step of group `registry`: decide on the version that was evaluated, and have the alias point where that says.

Deciding is `risk.validation.promotion`'s; aliases and tags are `model_store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters import decision_log
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.tracking import PRODUCTION
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Policy
from loan_default.risk.validation.promotion import PromotionDecision, decide_promotion

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import ModelVersion, Tracking
    from loan_default.risk.validation.champion_challenger import Judgement


@dataclass(frozen=True)
class Promotion:
    """A decision that was carried out: its record, and which version is in production and which should be."""

    decision: PromotionDecision
    record: Mapping[str, Any]
    production: int | None
    expected: int | None


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
        raise BadInput("No version is in production; run full_pipeline_job, or promote a version that was held.")
    return version


def _production(models: ModelStore) -> int | None:
    version = models.tracking.version_of(PRODUCTION)
    return version.version if version else None
