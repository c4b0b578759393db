"""Decides whether drift, or a degradation, leads to a new model now: a pure decision with its reasons.

Every rule that speaks against it says when, or by what, that changes. Seeing drift is `drift`, seeing a degradation
`performance`, the limits are `policy`'s, and who asks and who runs a training is `defs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from loan_default.risk.policy import RetrainingPolicy
from loan_default.risk.text import shorten_names

_WEEK = timedelta(days=7)
_BATCHES_NAMED = 3  # batches in a sentence


@dataclass(frozen=True)
class DriftedBatch:
    """A batch that drifted against the population of the version that scored it."""

    batch: str
    version: int


@dataclass(frozen=True)
class DegradedVersion:
    """A version that proved worse on matured loans than the policy allows, and how."""

    version: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Retraining:
    """One retraining: when it was asked for, how it stands, and from what it was made.

    `version` was in production and `data` was the signature of the loan files; both are empty where a person started
    it.
    """

    run: str
    asked_at: datetime
    status: Literal["under way", "succeeded", "failed"]
    version: int | None = None
    data: str | None = None


@dataclass(frozen=True)
class RetrainingDecision:
    """A retraining asked for or put off, with what led to it or what speaks against it."""

    verdict: Literal["retrain", "wait"]
    reasons: tuple[str, ...]
    batches: tuple[str, ...] = ()


def decide_retraining(
    drifted: Sequence[DriftedBatch],
    production: int | None,
    data: str,
    past: Sequence[Retraining],
    policy: RetrainingPolicy,
    now: datetime,
    degraded: DegradedVersion | None = None,
) -> RetrainingDecision:
    """Retrain where a batch drifted against the version in production, or it degraded, and no rule speaks against it.

    Args:
        drifted: batches whose last verdict is that they drifted, with the version that each was compared with.
        production: the version in production.
        data: signature of the loan files as they lie there now; it changes when they do. Empty where there are none.
        past: retrainings, in any order.
        policy: cool-down and the most in a week.
        now: with a time zone, as all times here.
        degraded: the version that was last measured as degraded, if any.
    """
    if production is None:
        return RetrainingDecision("wait", ("No version is in production, so there is nothing to retrain.",))
    batches = tuple(sorted(batch.batch for batch in drifted if batch.version == production))
    reasons = [f"{_batches(batches)} drifted against version {production}."] if batches else []
    if degraded is not None and degraded.version == production:
        reasons.append(f"Version {production} has degraded: {' '.join(degraded.reasons)}")
    if not reasons:
        return RetrainingDecision("wait", (f"No batch has drifted against version {production}, in production.",))
    against = tuple(_against(production, data, past, policy, now))
    if against:
        return RetrainingDecision("wait", against, batches)
    return RetrainingDecision("retrain", tuple(reasons), batches)


def _against(
    production: int, data: str, past: Sequence[Retraining], policy: RetrainingPolicy, now: datetime
) -> Iterator[str]:
    if not data:
        yield "LOAN_DEFAULT_DATA names no loan file, so there is nothing to train on."
    for run in past:
        if run.status == "under way":
            yield f"Retraining {run.run} is under way since {_minute(run.asked_at)}."
        elif run.status == "succeeded" and (run.version, run.data) == (production, data):
            yield (
                f"Retraining {run.run} had the same loan files and the same version {production} in production: "
                "another would make the same model; deliver newer loans."
            )
    latest = max((run.asked_at for run in past), default=None)
    if latest is not None and now < (free := latest + timedelta(hours=policy.cooldown_hours)):
        yield (
            f"The last retraining was asked for at {_minute(latest)}; the next is allowed from {_minute(free)}, after "
            f"a cool-down of {policy.cooldown_hours:g} hours."
        )
    lately = sorted(run.asked_at for run in past if run.asked_at > now - _WEEK)
    if len(lately) >= policy.most_per_week:
        remedy = "the policy allows none"
        if policy.most_per_week:
            remedy = f"the next is allowed from {_minute(lately[-policy.most_per_week] + _WEEK)}"
        yield (
            f"{len(lately)} retrainings were asked for within seven days and {policy.most_per_week} are allowed; "
            f"{remedy}."
        )


def _batches(batches: Sequence[str]) -> str:
    return f"{'Batch' if len(batches) == 1 else 'Batches'} {shorten_names(batches, _BATCHES_NAMED)}"


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M %Z}"
