"""Measures the newest candidates, and the model in production, on the test window: the evidence for promotion.

Scoring the window part by part is `held_out`'s, the numbers are `evaluation`'s, what follows from them `promotion`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME, TERM
from loan_default.risk.contract.outcome import ProductTerm
from loan_default.risk.estimates import recalibrate
from loan_default.risk.evaluation import (
    BlankedField,
    ComparableLoans,
    Comparison,
    Coverage,
    Evaluation,
    Looks,
    WindowDesign,
    by_segment,
    compare,
)
from loan_default.risk.loan_order import period_numbers, term_months
from loan_default.risk.metrics import Bootstrap, Interval, auc_gain, auc_of, measure, pd_groups, read_intervals
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.risk.model.training import opinion_scores
from loan_default.risk.policy import SEGMENT_LEVELS, PromotionPolicy
from loan_default.risk.validation.coverage import as_level, segment_fields

VINTAGE, QUARTER = "vintage", "quarter"
CHAMPION, UNSEEN = "champion", ":unseen_by_champion"
SCORES = "scores:"  # begins the columns of scores of test loans: no field is named so, whatever a candidate is called


@dataclass(frozen=True)
class Judgement:
    """The candidate that leads, beside the others, on the test loans, and against the champion on the comparable ones.

    `comparable` is None where the champion cannot score these loans; where it counts too few there is neither a
    `comparison` nor a measure of the `champion`.
    """

    evaluation: Evaluation
    comparison: Comparison | None
    leaderboard: Mapping[str, Mapping[str, Interval]]
    champion: Mapping[str, Interval] | None
    decisions: pl.DataFrame
    groups: pl.DataFrame
    comparable: ComparableLoans | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        frames = {"decisions": self.decisions.to_dicts(), "groups": self.groups.to_dicts()}
        rest = asdict(replace(self, decisions=pl.DataFrame(), groups=pl.DataFrame()))
        return {**rest, "evaluation": self.evaluation.to_dict(), **frames}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """Read what `to_dict` returned."""
        comparison, comparable = data["comparison"], data.get("comparable")
        return cls(
            evaluation=Evaluation.from_dict(data["evaluation"]),
            comparison=comparison and Comparison.from_dict(comparison),
            leaderboard={kind: read_intervals(metrics) for kind, metrics in data["leaderboard"].items()},
            champion=data["champion"] and read_intervals(data["champion"]),
            decisions=pl.DataFrame(data["decisions"], schema_overrides={"default_rate": pl.Float64}),
            groups=pl.DataFrame(data["groups"]),
            comparable=comparable and ComparableLoans(**comparable),
        )


def score_test(
    candidates: Mapping[str, Scorer],
    champion: Scorer | None,
    policy: PromotionPolicy,
    loans: pl.DataFrame,
    *,
    unseen: pl.Expr | None = None,
) -> pl.DataFrame:
    """Score the loans of the test window by every model, and keep what measuring needs of them and no more.

    `unseen` is true for loans that the champion was not developed on; where it is not known, there is none.

    Returns:
        n rows: outcome, issue month or cohort, term, the fields that segments are made of, the lender's opinions and
        protected fields; of each candidate, and of the champion where the loans have all that it needs, a struct of
        `pd`, `raw_score` and `decision` (`scores_of`); with the champion also `UNSEEN`.
    """
    contract = next(iter(candidates.values())).contract
    opinions = [field.name for field in contract.fields if field.opinion]
    protected = [field.name for field in contract.with_role("protected")]
    order = [contract.order_name] if contract.order_name else []
    loans = _with_term(loans, contract)
    needed = dict.fromkeys([OUTCOME, *order, TERM, *segment_fields(contract, policy), *opinions, *protected])
    everyone = dict(candidates)
    if champion and set(champion.contract.feature_names) <= set(loans.columns):
        everyone[CHAMPION] = champion
        needed[UNSEEN] = None
        loans = loans.with_columns((pl.lit(False) if unseen is None else unseen).alias(UNSEEN))
    scored = {
        SCORES + name: scorer.score(loans, with_reasons=False).select("pd", "raw_score", "decision").to_struct()
        for name, scorer in everyone.items()
    }
    return loans.select(name for name in needed if name in loans.columns).with_columns(**scored)


def scores_of(test: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return `pd`, `raw_score` and `decision` by the model of this name for each loan of `score_test`."""
    return test[SCORES + name].struct.unnest()


def judge_on_test(
    test: pl.DataFrame,
    candidates: Mapping[str, Scorer],
    leader: str,
    champion: Scorer | None,
    policy: PromotionPolicy,
    *,
    blanked: tuple[BlankedField, ...] | None = None,
    design: WindowDesign,
    looks: Looks | None = None,
    bootstrap: Bootstrap,
    coverage: Coverage | None = None,
) -> tuple[Judgement, pl.DataFrame]:
    """Measure everyone on the test window.

    Args:
        test: its loans, as `score_test` gives them.
        candidates: the scorers of one training, by kind.
        leader: the kind that was registered.
        champion: the scorer in production, if there is one; left out where these loans lack a field that it needs.
        policy: which segments are judged, and how few loans are too few.
        blanked: what it does when these loans leave out a field; None where that was not measured.
        design: how the test loans were set apart.
        looks: how often these loans were looked at before, for the record.
        bootstrap: everyone is measured on the same draws of loans.
        coverage: of the test window, where it was measured.

    Returns:
        The judgement, and the leader's `pd`, `raw_score` and `decision` for each test loan.
    """
    outcomes, scores, leading = _outcomes(test), scores_of(test, leader), candidates[leader]
    leaderboard = {kind: _measure_scores(test, kind, scorer, bootstrap) for kind, scorer in candidates.items()}
    pds, raw = measurable_scores(test, leader)
    months = period_numbers(test, leading.contract)
    opinion_auc, opinion_gain = _measure_opinion(test, leading.contract, raw, bootstrap)
    evaluation = Evaluation(
        rows=test.height,
        defaults=int(outcomes.sum()),
        out_of_time=design.out_of_time,
        cutoff=leading.policy.decline_from,
        metrics=leaderboard[leader],
        opinion_auc=opinion_auc,
        segments=by_segment(outcomes, pds, raw, _segments(test, leading, policy), months=months),
        opinion_gain=opinion_gain,
        recalibration=recalibrate(outcomes, pds, months),
        looks=looks,
        blanked=blanked,
        coverage=coverage,
        cut_by=design.cut_by,
        cohort=design.cohort,
        several_terms=design.several_terms,
        approved=approved_share(scores),
    )
    decisions, groups = decision_shares(scores.with_columns(test[OUTCOME])), pd_groups(outcomes, scores["pd"])
    judgement = Judgement(evaluation, None, leaderboard, None, decisions, groups)
    if champion is not None and SCORES + CHAMPION in test.columns:
        judgement = _beside_champion(judgement, test, (leader, leading), champion, policy, bootstrap)
    return judgement, scores


def _beside_champion(
    judgement: Judgement,
    test: pl.DataFrame,
    leading: tuple[str, Scorer],
    champion: Scorer,
    policy: PromotionPolicy,
    bootstrap: Bootstrap,
) -> Judgement:
    """Add the champion on the loans that neither model was developed on; only their count where they are too few."""
    leader, scorer = leading
    common = test.filter(UNSEEN)
    comparable = ComparableLoans(common.height, int(common[OUTCOME].sum()))
    if not policy.are_enough(comparable.rows, comparable.defaults):
        return replace(judgement, comparable=comparable)
    comparison = _compare_scores(common, leader, scorer.contract, bootstrap)
    on_common = _measure_scores(common, CHAMPION, champion, bootstrap)
    return replace(judgement, comparable=comparable, comparison=comparison, champion=on_common)


def _measure_opinion(
    test: pl.DataFrame, contract: Contract, raw: Floats, bootstrap: Bootstrap
) -> tuple[float | None, Interval | None]:
    """Measure the lender's opinion alone, and what raw scores (n,) gain over it; None where there is none."""
    outcomes, opinion = _outcomes(test), opinion_scores(test, contract)
    if opinion is None:
        return None, None
    gain = auc_gain(outcomes, raw, opinion, bootstrap=bootstrap)
    return auc_of(outcomes, opinion), gain


def _outcomes(test: pl.DataFrame) -> Floats:
    outcomes: Floats = test[OUTCOME].to_numpy().astype(np.float64)
    return outcomes


def measurable_scores(test: pl.DataFrame, name: str) -> tuple[Floats, Floats]:
    """Return PDs and raw scores (n,) by the model of this name for each loan of `score_test`."""
    scores = scores_of(test, name)
    return scores["pd"].to_numpy(), scores["raw_score"].to_numpy()


def _measure_scores(test: pl.DataFrame, name: str, scorer: Scorer, bootstrap: Bootstrap) -> dict[str, Interval]:
    cutoff = scorer.policy.decline_from
    return measure(_outcomes(test), *measurable_scores(test, name), cutoff=cutoff, bootstrap=bootstrap)


def _compare_scores(test: pl.DataFrame, leader: str, contract: Contract, bootstrap: Bootstrap) -> Comparison:
    new, old = (measurable_scores(test, name) for name in (leader, CHAMPION))
    months = period_numbers(test, contract)
    return compare(_outcomes(test), new, old, months=months, bootstrap=bootstrap)


def _segments(test: pl.DataFrame, scorer: Scorer, policy: PromotionPolicy) -> pl.DataFrame:
    """Select term, issue year and quarter, the policy's fields, and the contract's segments of few enough levels.

    Those of which no loan has a value are left out. Without a date there is no year and no quarter; a cohort of few
    enough levels is a segment.
    """
    contract = scorer.contract
    columns = {name for name in test.columns if test[name].null_count() < test.height}
    named = [name for name in dict.fromkeys([TERM, *policy.segments]) if name in columns]
    segments = [field.name for field in contract.with_role("segment", "cohort") if field.name in columns - {*named}]
    reported = [name for name in segments if test[name].n_unique() <= SEGMENT_LEVELS]
    levels = [as_level(name, contract).alias(name) for name in [*named, *reported]]
    if not contract.has_time:
        return test.select(levels)
    issued = pl.col(contract.time_name)
    quarter = pl.format("{}-Q{}", issued.dt.year(), issued.dt.quarter()).alias(QUARTER)
    return test.select(*levels[: len(named)], issued.dt.year().alias(VINTAGE), quarter, *levels[len(named) :])


def _with_term(loans: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add the term of each loan where it follows from the product."""
    by_product = isinstance(contract.term, ProductTerm) and contract.term.by in loans.columns
    return loans.with_columns(term_months(contract).alias(TERM)) if by_product else loans


def approved_share(scores: pl.DataFrame) -> float:
    """Return the share of loans (n rows with `decision`, n > 0) that are approved."""
    return scores.filter(pl.col("decision") == DECISIONS[0]).height / scores.height


def decision_shares(tested: pl.DataFrame) -> pl.DataFrame:
    """Count what the cut-offs do to loans (n rows with `decision` and `outcome`).

    Returns:
        A row for each decision, in the order approve, review, decline: `decision`, `loans`, `share` of all loans,
        `default_rate` (null where there is no loan).
    """
    of_each = [tested.filter(pl.col("decision") == decision)[OUTCOME] for decision in DECISIONS]
    return pl.DataFrame(
        {
            "decision": DECISIONS,
            "loans": [len(outcomes) for outcomes in of_each],
            "share": [len(outcomes) / max(tested.height, 1) for outcomes in of_each],
            "default_rate": [outcomes.mean() for outcomes in of_each],
        },
        schema_overrides={"default_rate": pl.Float64},
    )
