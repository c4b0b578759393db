"""Holds all that a card is written from: a version, records of how it came about, and what was measured.

Every sentence of the card follows from these. It knows no loan book, no country and no currency: what a contract, a
policy or a measurement does not say is not said, or shown as not stated.

Tested in `risk/validation/model_card/test_page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from loan_default.risk.data.splits import Splits
from loan_default.risk.evaluation import ComparableLoans, Comparison, Evaluation
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import Policy
from loan_default.risk.validation.examination.report import Examination
from loan_default.risk.validation.promotion import PromotionDecision


@dataclass(frozen=True)
class VersionFacts:
    """Hold what tells one version from another.

    Attributes:
        version: number in the registry.
        scorer: the version, with its contract and cut-offs.
        origin: fingerprints of data, windows, contract, policy and code, git commit and seed; those that are recorded.
        parameters: what it was fitted with; None where that was not kept.
    """

    version: int
    scorer: Scorer
    origin: Mapping[str, str]
    parameters: Mapping[str, float | int | str] | None


@dataclass(frozen=True)
class ModelCardInputs:
    """All that a card tells of one model version.

    Attributes:
        scorer: the version itself, with its contract, calibration and cut-offs.
        policy: of the lender, when the card was written.
        parameters: what it was fitted with.
        cleaning: `CleaningReport.to_dict()` of the loan files.
        splits: the windows.
        leaderboard: all candidates, as `performance.leaderboard` gives it.
        evaluation: the version on the test window; segments of field `VINTAGE` are shown as vintages.
        decisions: what the cut-offs do to the test loans, as `champion_challenger.decision_shares` gives it.
        groups: the test loans by PD, as `evaluation.pd_groups` gives it.
        importance: share of each field, as `plots.field_importance` gives it.
        seed: of every random choice in training.
        trained_at: when training ended.
        origin: fingerprints by the tags of the version.
        libraries: name → version of what training ran on.
        version: number in the registry, where there is one already.
        comparison: against the version in production on the same loans, where there is one.
        comparable: counts those loans, which the version in production was not developed on either.
        promotion: what was decided, where it was already.
        decided: when and by whom, as the record of the decision says.
        examination: what a validator asks of it; None in records from before it was measured.
        before: the version before it, where there is one.
        strategy: what its cut-offs earn, as `strategy_report.measure_strategy` gives it, or why nothing is said of it.
        backtest: record of the back-test on the loans that it was developed on, where there was one.
    """

    scorer: Scorer
    policy: Policy
    parameters: Mapping[str, float | int | str]
    cleaning: Mapping[str, Any]
    splits: Splits
    leaderboard: pl.DataFrame
    evaluation: Evaluation
    decisions: pl.DataFrame
    groups: pl.DataFrame
    importance: Mapping[str, float]
    seed: int
    trained_at: datetime
    libraries: Mapping[str, str]
    origin: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    comparison: Comparison | None = None
    comparable: ComparableLoans | None = None
    promotion: PromotionDecision | None = None
    decided: Mapping[str, Any] = field(default_factory=dict)
    examination: Examination | None = None
    before: VersionFacts | None = None
    strategy: Mapping[str, Any] | None = None
    backtest: Mapping[str, Any] | None = None

    @property
    def opinions(self) -> list[str]:
        """Name the features that are the lender's own opinion, in the contract's order."""
        contract = self.scorer.contract
        return [name for name in contract.feature_names if name in contract.opinions]

    @property
    def opinions_used(self) -> list[str]:
        """Name those of them that the model sees."""
        return [] if self.scorer.policy.decide_without_opinion else self.opinions

    @property
    def decided_at(self) -> str:
        """Write when it was decided, as the card writes times."""
        return f"{datetime.fromisoformat(self.decided['decided_at']).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
