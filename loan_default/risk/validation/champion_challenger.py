"""Measures the newest candidates, and the model in production, on the test window: the evidence for promotion.

This is the only module that scores test loans. The numbers are `evaluation`'s, what follows from them is `promotion`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract import OUTCOME, TERM
from loan_default.risk.estimates import Months, recalibrate
from loan_default.risk.evaluation import (
    BlankedField,
    Comparison,
    Evaluation,
    Interval,
    Looks,
    auc_gain,
    auc_of,
    by_segment,
    compare,
    measure,
    month_numbers,
    pd_groups,
    read_intervals,
)
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.risk.model.training import opinion_scores
from loan_default.risk.policy import PromotionPolicy

VINTAGE, QUARTER, CHAMPION = "vintage", "quarter", "champion"


@dataclass(frozen=True)
class Judgement:
    """The candidate that leads, beside the others and the champion, on the same test loans."""

    evaluation: Evaluation
    comparison: Comparison | None
    leaderboard: Mapping[str, Mapping[str, Interval]]
    champion: Mapping[str, Interval] | None
    decisions: pl.DataFrame
    groups: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        frames = {"decisions": self.decisions.to_dicts(), "groups": self.groups.to_dicts()}
        rest = asdict(replace(self, decisions=pl.DataFrame(), groups=pl.DataFrame()))
        return {**rest, "evaluation": self.evaluation.to_dict(), **frames}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """Read what `to_dict` returned."""
        comparison = data["comparison"]
        return cls(
            evaluation=Evaluation.from_dict(data["evaluation"]),
            comparison=comparison and Comparison.from_dict(comparison),
            leaderboard={kind: read_intervals(metrics) for kind, metrics in data["leaderboard"].items()},
            champion=data["champion"] and read_intervals(data["champion"]),
            decisions=pl.DataFrame(data["decisions"], schema_overrides={"default_rate": pl.Float64}),
            groups=pl.DataFrame(data["groups"]),
        )


def score_test(
    candidates: Mapping[str, Scorer], champion: Scorer | None, policy: PromotionPolicy, loans: pl.DataFrame
) -> pl.DataFrame:
    """Score the loans of the test window by every model, and keep what measuring needs of them and no more.

    Returns:
        n rows: outcome, issue month, the fields that segments are made of and the opinions of the lender; of each
        candidate, and of the champion where the loans have all that it needs, `pd`, `raw_score` and `decision`.
    """
    contract = next(iter(candidates.values())).contract
    measured = [field.name for field in contract.fields if field.role == "segment" or field.opinion]
    needed = dict.fromkeys([OUTCOME, contract.time_name, TERM, *policy.segments, *measured])
    everyone = dict(candidates)
    if champion and set(champion.contract.feature_names) <= set(loans.columns):
        everyone[CHAMPION] = champion
    scored = {
        name: scorer.score(loans, with_reasons=False).select("pd", "raw_score", "decision").to_struct(name)
        for name, scorer in everyone.items()
    }
    return loans.select(name for name in needed if name in loans.columns).with_columns(**scored)


def judge_on_test(
    test: pl.DataFrame,
    candidates: Mapping[str, Scorer],
    leader: str,
    champion: Scorer | None,
    policy: PromotionPolicy,
    *,
    blanked: tuple[BlankedField, ...] | None = None,
    out_of_time: bool,
    looks: Looks | None = None,
    seed: int,
    resamples: int,
) -> tuple[Judgement, pl.DataFrame]:
    """Measure everyone on the test window.

    Args:
        test: its loans, as `score_test` gives them.
        candidates: the scorers of one training, by kind.
        leader: the kind that was registered.
        champion: the scorer in production, if there is one; left out where these loans lack a field that it needs.
        policy: which segments are judged.
        blanked: what it does when these loans leave out a field; None where that was not measured.
        out_of_time: whether the test loans came after the training loans.
        looks: how often these loans were looked at before, for the record.
        seed: of the bootstrap; everyone is measured on the same resamples.
        resamples: how many.

    Returns:
        The judgement, and the leader's `pd`, `raw_score` and `decision` for each test loan.
    """
    outcomes = test[OUTCOME].to_numpy().astype(np.float64)
    scored = {kind: test[kind].struct.unnest() for kind in candidates}

    def measure_scores(scores: pl.DataFrame, scorer: Scorer) -> dict[str, Interval]:
        rng, cutoff = np.random.default_rng(seed), scorer.policy.decline_from
        return measure(outcomes, *_arrays(scores), cutoff=cutoff, rng=rng, resamples=resamples)

    leaderboard = {kind: measure_scores(scores, candidates[kind]) for kind, scores in scored.items()}
    leading = candidates[leader]
    pds, raw = _arrays(scored[leader])
    months = month_numbers(test[leading.contract.time_name])
    opinion = opinion_scores(test, leading.contract)
    evaluation = Evaluation(
        rows=test.height,
        defaults=int(outcomes.sum()),
        out_of_time=out_of_time,
        cutoff=leading.policy.decline_from,
        metrics=leaderboard[leader],
        opinion_auc=None if opinion is None else auc_of(outcomes, opinion),
        segments=by_segment(outcomes, pds, raw, _segments(test, leading, policy), months=months),
        opinion_gain=None
        if opinion is None
        else auc_gain(outcomes, raw, opinion, rng=np.random.default_rng(seed), resamples=resamples),
        recalibration=recalibrate(outcomes, pds, months),
        looks=looks,
        blanked=blanked,
    )
    old = test[CHAMPION].struct.unnest() if CHAMPION in test.columns else None
    judgement = Judgement(
        evaluation=evaluation,
        comparison=None if old is None else _compare_scores(outcomes, scored[leader], old, months, seed, resamples),
        leaderboard=leaderboard,
        champion=measure_scores(old, champion) if old is not None and champion else None,
        decisions=decision_shares(scored[leader].with_columns(test[OUTCOME])),
        groups=pd_groups(outcomes, scored[leader]["pd"]),
    )
    return judgement, scored[leader]


def _arrays(scores: pl.DataFrame) -> tuple[Floats, Floats]:
    return scores["pd"].to_numpy(), scores["raw_score"].to_numpy()


def _compare_scores(
    outcomes: Floats, new: pl.DataFrame, old: pl.DataFrame, months: Months, seed: int, resamples: int
) -> Comparison:
    rng = np.random.default_rng(seed)
    return compare(outcomes, _arrays(new), _arrays(old), months=months, rng=rng, resamples=resamples)


def _segments(test: pl.DataFrame, scorer: Scorer, policy: PromotionPolicy) -> pl.DataFrame:
    """Select term, issue year and quarter, the policy's fields, and the contract's segments of few enough levels."""
    contract, issued = scorer.contract, pl.col(scorer.contract.time_name)
    named = [name for name in dict.fromkeys([TERM, *policy.segments]) if name in test.columns]
    reported = [f.name for f in contract.with_role("segment") if test[f.name].n_unique() <= 60]
    rounded = [
        pl.col(name).cast(pl.Int64).alias(name) if contract.by_name[name].kind == "number" else pl.col(name)
        for name in named
    ]
    quarter = pl.format("{}-Q{}", issued.dt.year(), issued.dt.quarter()).alias(QUARTER)
    return test.select(*rounded, issued.dt.year().alias(VINTAGE), quarter, *reported)


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
