"""Decides whether a candidate takes over production: a pure function of evidence and policy.

Every rule that was checked stands in the decision as a sentence; without evidence it holds. Measuring the evidence
belongs in `champion_challenger`, moving the alias in `adapters.model_store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from loan_default.risk.policy import Finding, PromotionPolicy
from loan_default.risk.validation.quality_gates import judge_leak

if TYPE_CHECKING:  # importing this must stay cheap: definitions do it in every process
    from loan_default.risk.evaluation import Comparison, Evaluation


@dataclass(frozen=True)
class PromotionDecision:
    """A promotion or a hold of a candidate, and what each rule found."""

    verdict: Literal["promote", "hold"]
    candidate: int
    champion: int | None
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what spoke against it on a hold, all that was found on a promotion."""
        return tuple(f.sentence for f in self.findings if self.verdict == "promote" or not f.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PromotionDecision:
        """Read what `to_dict` returned; a record may say more than the decision itself."""
        findings = tuple(Finding(**finding) for finding in data["findings"])
        return cls(data["verdict"], data["candidate"], data["champion"], findings)


def decide_promotion(
    candidate: int,
    champion: int | None,
    evaluation: Evaluation | None,
    comparison: Comparison | None,
    policy: PromotionPolicy,
) -> PromotionDecision:
    """Promote where every rule passes; hold otherwise, and where there is nothing to judge by.

    Args:
        candidate: version number of the new model.
        champion: version number of the model in production, if there is one.
        evaluation: the candidate on the test window.
        comparison: candidate and champion on the same rows of it; needed where there is a champion.
        policy: the limits.
    """
    if evaluation is None:
        findings = [Finding("evidence", False, f"Version {candidate} was not evaluated.")]
    elif champion == candidate:
        findings = [Finding("evidence", False, f"Version {candidate} is in production already.")]
    else:
        findings = [*_judge_alone(evaluation, policy), *_judge_against(champion, comparison, policy)]
    verdict: Literal["promote", "hold"] = "promote" if all(f.passed for f in findings) else "hold"
    return PromotionDecision(verdict, candidate, champion, tuple(findings))


def _judge_alone(evaluation: Evaluation, policy: PromotionPolicy) -> Iterator[Finding]:
    rows, defaults, auc, ece = (
        evaluation.rows,
        evaluation.defaults,
        evaluation.metrics["auc"],
        evaluation.metrics["ece"],
    )
    yield Finding(
        "enough_loans",
        rows >= policy.least_test_rows and defaults >= policy.least_test_defaults,
        f"The test window holds {rows:,} loans and {defaults:,} defaults; "
        f"{policy.least_test_rows:,} and {policy.least_test_defaults:,} are needed.",
    )
    if policy.require_out_of_time:
        came = "came after" if evaluation.out_of_time else "are of the same months as"
        yield Finding("out_of_time", evaluation.out_of_time, f"The test loans {came} the training loans.")
    yield Finding(
        "auc_floor",
        auc.low >= policy.auc_at_least,
        f"AUC {auc}; its lower end must be at least {policy.auc_at_least:.2f}.",
    )
    yield judge_leak(auc.value, policy)
    if evaluation.grade_auc is not None:
        gain = auc.value - evaluation.grade_auc
        yield Finding(
            "better_than_the_grade_alone",
            gain >= policy.gain_over_grade_at_least,
            f"The lender's grade alone reaches AUC {evaluation.grade_auc:.4f}; the model gains {gain:+.4f}, "
            f"at least {policy.gain_over_grade_at_least:+.4f} is needed.",
        )
    yield Finding(
        "calibrated",
        ece.value <= policy.ece_at_most,
        f"Calibration error {ece.value:.4f}; at most {policy.ece_at_most:.2f} is allowed.",
    )
    yield _judge_segments(evaluation, policy)


def _judge_segments(evaluation: Evaluation, policy: PromotionPolicy) -> Finding:
    judged = [
        segment
        for segment in evaluation.segments
        if segment.field in policy.segments and segment.rows >= policy.segment_least_rows
    ]
    worst = max(judged, key=lambda segment: abs(segment.gap), default=None)
    if worst is None:
        return Finding("segments", True, f"No segment holds {policy.segment_least_rows:,} loans, so none is judged.")
    return Finding(
        "segments",
        abs(worst.gap) <= policy.segment_gap_at_most,
        f"The worst calibrated segment, {worst.field} {worst.level}, has mean PD {worst.mean_pd:.3f} and default rate "
        f"{worst.default_rate:.3f}; a gap of {policy.segment_gap_at_most:.2f} is allowed.",
    )


def _judge_against(champion: int | None, comparison: Comparison | None, policy: PromotionPolicy) -> Iterator[Finding]:
    if champion is None:
        yield Finding("no_champion", True, "There is no version in production to compare with.")
        return
    if comparison is None:
        yield Finding("evidence", False, f"Version {champion} in production was not measured on the same loans.")
        return
    gain = comparison.auc_gain
    yield Finding(
        "better_than_production",
        gain.value >= policy.auc_gain_at_least and gain.low >= policy.auc_gain_low_at_least,
        f"Against version {champion} on the same loans AUC changes by {gain.value:+.4f} ({gain.low:+.4f} to "
        f"{gain.high:+.4f}); at least {policy.auc_gain_at_least:+.4f}, lower end {policy.auc_gain_low_at_least:+.4f}, "
        "is needed.",
    )
    yield Finding(
        "brier_no_worse",
        comparison.brier_rise <= policy.brier_rise_at_most,
        f"Against version {champion} the Brier score changes by {comparison.brier_rise:+.4f}; a rise of "
        f"{policy.brier_rise_at_most:.4f} is allowed.",
    )
