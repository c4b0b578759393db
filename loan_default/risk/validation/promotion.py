"""Decides whether a candidate takes over production: a pure function of evidence and policy.

Every rule that was checked stands in the decision as a sentence; without evidence it holds. Measuring the evidence
belongs in `champion_challenger`, moving the alias in `adapters.model_store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from loan_default.risk.policy import Finding, PromotionPolicy
from loan_default.risk.text import plural
from loan_default.risk.validation.quality_gates import judge_auc_floor, judge_calibration, judge_leak, judge_opinion

if TYPE_CHECKING:  # importing this must stay cheap: definitions do it in every process
    from loan_default.risk.evaluation import ComparableLoans, Comparison, Evaluation, LevelCoverage, Looks, Segment
    from loan_default.risk.metrics import Interval

MISSING = "missing_is_no_safer"


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
    comparable: ComparableLoans | None = None,
) -> PromotionDecision:
    """Promote where every rule passes; hold otherwise, and where there is nothing to judge by.

    Args:
        candidate: version number of the new model.
        champion: version number of the model in production, if there is one.
        evaluation: the candidate on the test window.
        comparison: candidate and champion on the comparable rows of it; needed where there is a champion.
        policy: the limits.
        comparable: which these are; needed where there is a champion.
    """
    if evaluation is None:
        findings = [Finding("evidence", False, f"Version {candidate} was not evaluated.")]
    elif champion == candidate:
        findings = [Finding("evidence", False, f"Version {candidate} is in production already.")]
    else:
        findings = [*_judge_alone(evaluation, policy), *_judge_against(champion, comparison, comparable, policy)]
    verdict: Literal["promote", "hold"] = "promote" if all(f.passed for f in findings) else "hold"
    return PromotionDecision(verdict, candidate, champion, tuple(findings))


def _judge_alone(evaluation: Evaluation, policy: PromotionPolicy) -> Iterator[Finding]:
    rows, defaults, auc = evaluation.rows, evaluation.defaults, evaluation.metrics["auc"]
    yield Finding(
        "enough_loans",
        policy.are_enough(rows, defaults),
        f"The test window holds {plural(rows, 'loan')} and {plural(defaults, 'default')}; "
        f"{policy.least_test_rows:,} and {policy.least_test_defaults:,} are needed.",
    )
    if evaluation.cut_by:
        yield Finding("out_of_time", True, _without_date(evaluation, policy))
    elif policy.require_out_of_time:
        yield Finding("out_of_time", evaluation.out_of_time, f"The test loans {evaluation.came}.")
    yield _judge_coverage(evaluation, policy)
    if evaluation.looks is not None:
        yield Finding("looks_counted", True, _looks(evaluation.looks))
    yield judge_auc_floor(auc, policy)
    yield judge_leak(auc.value, policy)
    yield judge_opinion(auc, evaluation.opinion_auc, evaluation.opinion_gain, policy)
    size = policy.calibration_size / 2  # the rule on segments has the other half
    yield judge_calibration(evaluation.recalibration, policy, size)
    yield _judge_segments(evaluation, policy, size)
    yield _judge_blanked(evaluation, policy)
    yield _judge_approvals(evaluation, policy)


def _without_date(evaluation: Evaluation, policy: PromotionPolicy) -> str:
    """Say what stands in the place of a test out of time where the contract says that loans have no date."""
    tested = (
        f"its test loans are of later cohorts ({evaluation.cohort}) than the others, older first"
        if evaluation.cut_by == "cohort"
        else "its test loans were drawn by a hash of their ids, and what comes later was not tested"
    )
    clause = ", and require_out_of_time asks it of books with a date only" if policy.require_out_of_time else ""
    return f"By its contract the book has no date, so no test of it is out of time{clause}; {tested}."


def _looks(looks: Looks) -> str:
    if not looks.overlapping:
        return "Nobody looked at these test loans before."
    times = "once" if looks.overlapping == 1 else f"{looks.overlapping:,} times"
    return (
        f"Loans of this test window were looked at {times} before, {looks.same:,} of them in just this window; each "
        "look makes it likelier that a version passes by chance."
    )


def _judge_coverage(evaluation: Evaluation, policy: PromotionPolicy) -> Finding:
    """Ask that what is sold now is in the test window: what was never tested is not known to be sound."""
    rule, coverage, least = "covers_what_is_sold", evaluation.coverage, policy.covered_rows_at_least
    if coverage is None:
        return Finding(rule, False, "It was not measured whether the test window holds what is sold; evaluate again.")
    if not policy.segments:
        return Finding(rule, True, "The policy names no fields whose levels must be in the test window.")
    measured = {*coverage.empty, *(level.field for level in coverage.levels)}
    if unknown := ", ".join(name for name in policy.segments if name not in measured):
        return Finding(rule, False, f"It was not measured which levels of {unknown} are sold; evaluate again.")
    levels = [level for level in coverage.levels if level.field in policy.segments]
    sold = [level for level in levels if level.recent_share >= policy.recent_share_at_least]
    untested = [level for level in sold if level.test_rows < least]
    recent = coverage.recent_loans
    empty = ", ".join(name for name in policy.segments if name in coverage.empty)
    left_out = f" Left out, as no loan has a value: {empty}." if empty else ""
    if not levels:
        nothing = "The book has none of the fields whose levels must be in the test window; name others in the policy."
        return Finding(rule, False, nothing + left_out)
    if untested:
        sentence = f"Of {recent} {', '.join(map(_level_of, untested))}; {least:,} of each are needed."
        return Finding(rule, False, sentence + left_out)
    named = ", ".join(dict.fromkeys(level.field for level in levels))
    return Finding(
        rule,
        True,
        f"Of each level of {named} with {policy.recent_share_at_least:.0%} or more of {recent} the test window holds "
        f"{least:,} loans or more.{left_out}",
    )


def _level_of(level: LevelCoverage) -> str:
    return (
        f"{level.recent_share:.1%} are of {level.field} {level.level}, of which the test window holds "
        f"{level.test_rows:,}"
    )


def _judge_segments(evaluation: Evaluation, policy: PromotionPolicy, size: float) -> Finding:
    """Hold each level of the policy's fields against the tolerance, where its error is more than chance explains.

    Where all PDs are right some segment fails with a chance of at most `size`.
    """
    tolerance, fields = policy.segment_calibration_tolerance, ", ".join(policy.segments)
    if not policy.segments:
        return Finding("segments", True, "The policy names no fields whose segments are judged.")
    judged = [
        (segment, segment.calibration)
        for segment in evaluation.segments
        if segment.field in policy.segments and segment.rows >= policy.segment_least_rows and segment.calibration
    ]
    if not judged:
        sentence = f"No segment by {fields} holds {policy.segment_least_rows:,} loans, so none can be judged."
        return Finding("segments", False, sentence)
    fallen = _holm([calibration.p_value() for _, calibration in judged], size)
    of_segments = f"{plural(len(judged), 'segment')} of {policy.segment_least_rows:,} loans or more"
    failed = [
        segment
        for (segment, calibration), falls in zip(judged, fallen, strict=True)
        if falls and abs(calibration.value) > tolerance
    ]
    if failed:
        worst = sorted(failed, key=lambda segment: -abs(segment.z or 0.0))
        return Finding(
            "segments",
            False,
            f"Of {of_segments} {len(failed)} {'is' if len(failed) == 1 else 'are'} off by more than {tolerance:.2f} in "
            f"log-odds, and not by chance: {'; '.join(map(_described, worst))}.",
        )
    furthest = max((segment for segment, _ in judged), key=lambda segment: abs(segment.z or 0.0))
    reaches = [calibration.reach(tolerance, size / len(judged)) for _, calibration in judged]
    power = (
        f"errors from {min(reaches):.2f} (the largest segment) to {max(reaches):.2f} (the smallest) would have been "
        "seen 19 times of 20"
    )
    return Finding(
        "segments",
        True,
        f"None of {of_segments} is off by more than {tolerance:.2f} in log-odds beyond chance; {power}. "
        f"Furthest off is {_described(furthest)}.",
    )


def _holm(p_values: Sequence[float], size: float) -> list[bool]:
    """Tell which hypotheses fall if no true one may with a greater chance than `size`: S. Holm, 1979."""
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    for rank, position in enumerate(order):
        if p_values[position] > size / (len(p_values) - rank):
            break
        rejected[position] = True
    return rejected


def _described(segment: Segment) -> str:
    error = segment.calibration.value if segment.calibration else 0.0
    return (
        f"{segment.field} {segment.level} (mean PD {segment.mean_pd:.3f}, default rate {segment.default_rate:.3f}, "
        f"{error:+z.2f} would have to be added, z {segment.z:+z.1f})"
    )


def _judge_blanked(evaluation: Evaluation, policy: PromotionPolicy) -> Finding:
    if evaluation.blanked is None:
        return Finding(MISSING, False, "It was not measured what leaving out a field does; evaluate the version again.")
    worst = max(evaluation.blanked, key=lambda blanked: blanked.approvals_rise, default=None)
    if worst is None:
        return Finding(MISSING, True, "No field can be left out.")
    drawn = f"{worst.rows:,} test loans" + (" that were drawn" if worst.rows < evaluation.rows else "")
    if worst.approvals_rise <= 0:
        sentence = f"None of {plural(len(evaluation.blanked), 'field')} raises approvals where all of {drawn}"
        return Finding(MISSING, True, f"{sentence} leave it out.")
    return Finding(
        MISSING,
        worst.approvals_rise <= policy.blank_approvals_rise_at_most,
        f"Of the fields that can be left out {worst.field} raises approvals most: from {worst.approved:.1%} to "
        f"{worst.approved_without:.1%} of {drawn} where all leave it out; a rise of "
        f"{100 * policy.blank_approvals_rise_at_most:.10g} points is allowed.",
    )


def _judge_approvals(evaluation: Evaluation, policy: PromotionPolicy) -> Finding:
    """Ask that the cut-offs divide the applicants: a version that approves nearly all or nobody decides nothing."""
    rule, share = "approves_some", evaluation.approved
    if share is None:
        return Finding(rule, False, "It was not measured how many of the test loans it would approve; evaluate again.")
    least, most = policy.approval_rate
    sentence = f"It would approve {share:.2%} of the test loans; {least:.0%} to {most:.0%} is allowed."
    if least <= share <= most:
        return Finding(rule, True, sentence)
    remedy = "See the cut-offs (section decision), or widen promotion.approval_rate if they are meant so."
    return Finding(rule, False, f"{sentence} {remedy}")


def _judge_against(
    champion: int | None, comparison: Comparison | None, comparable: ComparableLoans | None, policy: PromotionPolicy
) -> Iterator[Finding]:
    """Ask for a comparison with production on enough loans, and for what it has to say."""
    if champion is None:
        yield Finding("no_champion", True, "There is no version in production to compare with.")
        return
    if comparable is None:
        sentence = "was not measured on loans that it was not developed on; evaluate again."
        yield Finding("evidence", False, f"Version {champion} in production {sentence}")
        return
    yield Finding(
        "comparable_loans",
        policy.are_enough(comparable.rows, comparable.defaults),
        f"Version {champion} was not developed on {comparable.rows:,} of the test loans, {comparable.defaults:,} of "
        f"them defaults; {policy.least_test_rows:,} and {policy.least_test_defaults:,} are needed to compare on.",
    )
    if comparison is not None:
        yield from _judge_changes(champion, comparison, policy)


def _judge_changes(champion: int, comparison: Comparison, policy: PromotionPolicy) -> Iterator[Finding]:
    """Ask for a proven gain, in AUC or in Brier score, and for no loss in either.

    Each interval lies above 0 by chance 1 time of 80, so an equal model is promoted about 1 time of 40.
    """
    gain, rise, least = comparison.auc_gain, comparison.brier_rise, policy.gain_low_above
    ranks_better = gain.low > least and gain.value >= policy.auc_gain_at_least
    fits_better = -rise.high > least and -rise.value >= policy.brier_fall_at_least
    against = f"Against version {champion} on the same loans"
    yield Finding(
        "better_than_production",
        ranks_better or fits_better,
        f"{against} AUC changes by {_signed(gain)} and the Brier score by {_signed(rise)}; a gain in AUC of at least "
        f"{policy.auc_gain_at_least:.4f} or a fall of the Brier score of at least {policy.brier_fall_at_least:.4f} is "
        f"needed, whose interval lies beyond {least:g}.",
    )
    yield Finding(
        "auc_no_worse",
        gain.low >= -policy.auc_loss_at_most,
        f"{against} AUC changes by {gain.low:+z.4f} at the lower end; a loss of {policy.auc_loss_at_most:.4f} is "
        "allowed.",
    )
    yield Finding(
        "brier_no_worse",
        rise.value <= policy.brier_rise_at_most,
        f"{against} the Brier score changes by {rise.value:+z.4f}; a rise of {policy.brier_rise_at_most:.4f} is "
        "allowed.",
    )


def _signed(interval: Interval) -> str:
    return f"{interval.value:+z.4f} ({interval.low:+z.4f} to {interval.high:+z.4f})"
