"""Trains, judges and promotes as of a past month as the platform does: windows, candidates and gates are its own.

Nothing is looked up that a training of that month could not have known; parameters are the search space's start. What
the version in production then reaches is measured by `backtest`. Tested in `risk/validation/test_backtest.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.model.development import development_on
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.open_label import fit_label
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.training import train_candidates
from loan_default.risk.model.valued_version import valued_alike, with_value
from loan_default.risk.validation.champion_challenger import judge_on_test
from loan_default.risk.validation.coverage import measure_coverage
from loan_default.risk.validation.held_out import HeldOutWindow
from loan_default.risk.validation.past_models import PastBook
from loan_default.risk.validation.promotion import PromotionDecision, decide_promotion
from loan_default.risk.validation.quality_gates import failures, judge_leak


@dataclass(frozen=True)
class Production:
    """The version in production at a past month, and the month of its development."""

    scorer: Scorer
    splits: Splits
    month: date

    @property
    def learned(self) -> int:
        """Count the loans that it was developed on."""
        return self.splits.development_rows


@dataclass(frozen=True)
class Standing:
    """What is in production after a month's training, and what the gates said of the version that it made.

    Attributes:
        production: None where nothing was ever promoted.
        verdict: on the month's version; empty where none could be trained.
        reason: why it was held, or could not be trained.
    """

    production: Production | None
    verdict: Literal["promote", "hold", ""]
    reason: str


def stand(past: PastBook, plan: SplitPlan, champion: Production | None) -> Standing:
    """Train as of a month, and promote where the gates let it.

    Args:
        past: what was known.
        plan: where the loans are cut into windows.
        champion: what was in production before.
    """
    try:
        version, decision = _train(past, plan, champion)
    except BadInput as error:
        return Standing(champion, "", str(error))
    if decision.verdict == "promote":
        return Standing(version, decision.verdict, "")
    return Standing(champion, decision.verdict, failures(decision.findings))


def _train(past: PastBook, plan: SplitPlan, champion: Production | None) -> tuple[Production, PromotionDecision]:
    """Train, and judge on the test window; a version that is too good to be true is refused."""
    contract, policy, seed = past.contract, past.policy, past.seed
    engine, loans = LocalEngine(), FrameTable(past.view.lazy())
    splits = split_loans(loans.scan(), contract, plan, snapshot=past.month, data_fingerprint="", label=policy.label)
    hidden = policy.decision.decide_without_opinion
    search = past.search.for_loans(splits.window("train").rows)
    label = fit_label(engine, loans, splits, FeatureSpace(contract, splits.population, hidden), search, seed)
    development = development_on(engine, loans, contract, splits, without_opinion=hidden, label=label)
    candidates = train_candidates(development, search, policy.decision, seed=seed)
    best, _ = with_value(candidates[0].scorer, policy.value, engine, loans, splits)
    scorers = {each.kind: valued_alike(each.scorer, best) for each in candidates}
    window = HeldOutWindow(engine, loans, contract, splits)
    unseen = pl.lit(False) if champion is None else splits.unseen_by(champion.splits, contract)
    before = None if champion is None else champion.scorer
    test = window.score(scorers, before, policy.promotion, unseen)
    judgement, _ = judge_on_test(
        test,
        scorers,
        candidates[0].kind,
        before,
        policy.promotion,
        blanked=window.blank(best, test.height),
        design=window.design,
        bootstrap=Bootstrap(seed),
        coverage=measure_coverage(loans.scan(), test, contract, policy.promotion),
    )
    for auc in (candidates[0].metrics["auc"], judgement.evaluation.metrics["auc"]):
        if not (leak := judge_leak(auc.value, policy.promotion)).passed:
            raise BadInput(leak.sentence)
    numbers = 2, None if champion is None else 1
    evidence = judgement.evaluation, judgement.comparison
    decision = decide_promotion(*numbers, *evidence, policy.promotion, judgement.comparable)
    return Production(best, splits, past.month), decision
