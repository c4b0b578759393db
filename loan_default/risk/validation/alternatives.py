"""Holds the candidate that leads against what could stand in its place, on the same test loans: the other candidates,
the same one by another seed, with or without the lender's own opinion, and on matured loans alone.

Against the version in production it is held by `champion_challenger`, whose scores of test loans are read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.evaluation import Segment, by_segment, compare
from loan_default.risk.loan_order import period_numbers
from loan_default.risk.metrics import Bootstrap, Interval, auc_of
from loan_default.risk.model.scorer import DECISIONS
from loan_default.risk.validation.champion_challenger import measurable_scores, scores_of

ANOTHER_SEED, WITHOUT_OPINION, WITH_OPINION = "another_seed", "without_opinion", "with_opinion"
ON_SAMPLE, ON_MATURED = "on_sample", "on_matured"
SAMPLED_AT_MOST = 1_000_000  # loans on which the leading one is fitted once more, in these ways: more tell nothing new
DECISION = "decision"


@dataclass(frozen=True)
class Alternative:
    """Another model on the same test loans: its AUC and Brier score, and what the leading one gains over it.

    `auc_gain` and `brier_rise` are the leading one's less the other's, with paired intervals; `approved` is the share
    of the loans that the other approves.
    """

    name: str
    auc: float
    brier: float
    auc_gain: Interval
    brier_rise: Interval
    approved: float


def compare_alternatives(
    test: pl.DataFrame, leader: str, others: Iterable[str], contract: Contract, *, bootstrap: Bootstrap
) -> tuple[Alternative, ...]:
    """Compare the leading candidate with others on all test loans.

    Args:
        test: as `champion_challenger.score_test` gives it (n rows), with scores by each name.
        leader: the name of the leading candidate.
        others: the names of the others.
        contract: names the issue month, or the cohort, by which losses may go together.
        bootstrap: every pair is measured on the same draws of loans.
    """
    outcomes, months = test[OUTCOME].to_numpy().astype(np.float64), period_numbers(test, contract)
    leading, alternatives = measurable_scores(test, leader), []
    for name in others:
        pds, raw = measurable_scores(test, name)
        gained = compare(outcomes, leading, (pds, raw), months=months, bootstrap=bootstrap)
        brier = float(np.mean((pds - outcomes) ** 2))
        approved = float((scores_of(test, name)[DECISION] == DECISIONS[0]).sum()) / test.height
        auc = auc_of(outcomes, raw)
        alternatives.append(Alternative(name, auc, brier, gained.auc_gain, gained.brier_rise, approved))
    return tuple(alternatives)


def measure_decisions(test: pl.DataFrame, leader: str, contract: Contract) -> tuple[Segment, ...]:
    """Measure the leading candidate within what it approves, reviews and declines (n test loans)."""
    outcomes, months = test[OUTCOME].to_numpy(), period_numbers(test, contract)
    levels = pl.DataFrame({DECISION: scores_of(test, leader)[DECISION].cast(pl.String)})
    return by_segment(outcomes, *measurable_scores(test, leader), levels, months=months)
