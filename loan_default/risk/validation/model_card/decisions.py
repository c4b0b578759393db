"""Writes what a version decides, by which cut-offs and reasons, of whom, who let it, and who watches it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

from loan_default.risk.contract.book import Contract
from loan_default.risk.markdown import EMPTY_CELL, markdown_table
from loan_default.risk.metrics import Interval
from loan_default.risk.model.calibration import PD_DIGITS
from loan_default.risk.policy import MonitoringTrigger
from loan_default.risk.text import percent, shorten_names
from loan_default.risk.validation.examination.fairness import PeopleGroup
from loan_default.risk.validation.examination.reason_audit import JITTER, LEAST_VALUES, ReasonAudit
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.wording import NOT_MEASURED, NOT_STATED, bullets, level_of, named

_RISK = "raise this applicant's risk most (exact SHAP values, before calibration)"
_VALUE = (
    "lower the value of this loan most, by its PD, rate and term (exact Shapley values; the PD's is divided as fields "
    "add to it)"
)
_AGAINST = {"pd": _RISK, "npv": _VALUE, "both": f"{_RISK}, or {_VALUE}, by the rule that turned it down, or both"}
_SMALL_GROUPS = 12  # that are named


def shares(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what the cut-offs are, why, and what they do to the test loans."""
    policy, stated = inputs.scorer.policy, inputs.policy.governance
    if policy.by_pd:
        yield (
            f"A PD below {percent(policy.approve_below)} is approved, from {percent(policy.decline_from)} on declined, "
            f"and a person reviews what lies between; a PD has {PD_DIGITS} decimals wherever it is compared."
        )
    if policy.by_value:
        yield (
            f"A net present value of {percent(policy.approve_npv_from)} of the amount or more is approved, one below "
            f"{percent(policy.decline_npv_below)} declined, and a person reviews what lies between, and what has no "
            "value." + (" Of both rules the stricter counts." if policy.by_pd else "")
        )
    if policy.missing_share_at_least:
        yield (
            f"Who lacks a field that fewer than {percent(policy.missing_share_at_least)} of the loans of development "
            "lacked is reviewed where the cut-offs alone would approve."
        )
    if policy.outside_population == "review":
        together = ", or two that hardly any had together," if inputs.scorer.population.apart else ""
        yield (
            f"Who has a value that no loan of development had{together} is reviewed where the cut-offs alone would "
            "approve, and that is the first reason."
        )
    yield f"Why the cut-offs are what they are: {stated.cut_offs or NOT_STATED}."
    yield "On the test window:"
    rows = [(decision, loans, percent(share), percent(rate)) for decision, loans, share, rate in _rows(inputs)]
    yield markdown_table(["Decision", "Loans", "Share of loans", "Default rate"], rows)


def _rows(inputs: ModelCardInputs) -> Iterator[tuple[str, int, float, float | None]]:
    yield from inputs.decisions.iter_rows()


def reasons(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what an applicant is told who is not approved, how often each reason is, and whether it is true."""
    policy = inputs.scorer.policy
    yield (
        f"An applicant who is not approved gets up to {policy.reasons_at_most} reasons: the groups of fields "
        f"that {_AGAINST[policy.by]}, each told by the field that adds most and "
        "the side of its value against the typical loan of development."
        + (
            " What is missing comes first where only that keeps from an approval."
            if policy.missing_share_at_least
            else ""
        )
    )
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    audit = inputs.examination.reasons
    if not audit.loans:
        yield "None of the test loans examined was declined or reviewed."
        return
    yield bullets(_audited(audit, inputs.scorer.contract))
    yield _frequencies(audit, bool(inputs.opinions))


def _frequencies(audit: ReasonAudit, with_opinions: bool) -> str:
    headings = ["Group of fields", *(["Lender's opinion"] if with_opinions else []), "Told to", "First reason of"]
    rows = [
        (
            f"`{group.group}`",
            *(["yes" if group.opinion else "no"] if with_opinions else []),
            percent(group.loans / audit.loans),
            percent(group.first / audit.loans),
        )
        for group in audit.groups
    ]
    return markdown_table(headings, rows)


def _audited(audit: ReasonAudit, contract: Contract) -> Iterator[str]:
    untrue = sum(audit.untrue.values())
    worst = ", ".join(f"{code} ({count:,})" for code, count in list(audit.untrue.items())[:5])
    yield (
        f"Of {audit.loans:,} test loans that were declined or reviewed {audit.without_reason:,} get no reason; the "
        f"others get {audit.codes:,} in all."
    )
    yield (
        "Truth: each was held against the loan's own value, whether it is as high, low or missing as the reason says; "
        + (f"{untrue:,} are untrue: {worst}." if untrue else "all are true.")
    )
    if contract.opinions:
        yield f"The lender's own opinion is the first reason of {percent(audit.led_by_opinion / audit.loans)} of them."
    if audit.first_lasts is not None and audit.decision_lasts is not None:
        yield (
            f"Stability: where each number of more than {LEAST_VALUES} different values moves by up to {JITTER:.0%} at "
            "random, whole ones to whole ones, "
            f"{percent(audit.first_lasts)} keep their first reason, and {percent(audit.decision_lasts)} their decision."
        )


def promotion(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what was decided on the version, by whom and why."""
    decision = inputs.promotion
    if decision is None:
        yield "Not decided when this card was written."
        return
    over = "no version was in production" if decision.champion is None else f"version {decision.champion} in production"
    by = f" Decided by {inputs.decided['decided_by']} at {inputs.decided_at}." if inputs.decided else ""
    yield f"**{decision.verdict.capitalize()}** version {decision.candidate}; {over}.{by}"
    rows = [("passed" if f.passed else "**failed**", f.rule, f.sentence) for f in decision.findings]
    yield markdown_table(["Finding", "Rule", "What was found"], rows)


def people(inputs: ModelCardInputs) -> Iterator[str]:
    """Say which fields speak of groups of people, as far as the contract does."""
    reported = named(field.name for field in inputs.scorer.contract.with_role("segment", "cohort", "protected"))
    protected = named(field.name for field in inputs.scorer.contract.with_role("protected"))
    yield bullets(
        [
            "The model sees the fields in the table “Fields” and no others"
            + ("." if inputs.opinions_used == inputs.opinions else f", and of these not {named(inputs.opinions)}."),
            f"Read for reports only, never by the model: {reported or 'none'}.",
            *([] if protected else [_NO_GROUPS]),
        ]
    )
    if protected:
        yield from _fairness(inputs, protected)


_NO_GROUPS = (
    "The contract does not say which fields are protected characteristics of people, or stand in for one. No "
    "difference between groups of people was measured but by the segments above."
)


def _fairness(inputs: ModelCardInputs, protected: str) -> Iterator[str]:
    """Show what the version does to groups of people, and the widest gaps."""
    yield (
        f"Protected by the contract: {protected}. Loan files are read for this to measure such groups alone: no model "
        "sees it, no reason names it, and no application is asked for it. Which other fields stand in for it was not "
        "measured."
    )
    if inputs.examination is None or not inputs.examination.fairness:
        yield NOT_MEASURED
        return
    contract = inputs.scorer.contract
    groups = [replace(g, level=level_of(contract, g.field, g.level)) for g in inputs.examination.fairness]
    large = [group for group in groups if group.approved]
    yield "On the test window, by level or by fifths of a number or a month, with 95% intervals:"
    rows = [
        (
            f"`{group.field}`",
            group.level,
            group.loans,
            *(_span(figure) for figure in (group.approved, group.mean_pd, group.default_rate)),
            EMPTY_CELL if group.auc is None else f"{group.auc.value:.3f} ({group.auc.low:.3f} to {group.auc.high:.3f})",
        )
        for group in large
    ]
    yield markdown_table(["Field", "Group", "Loans", "Approved", "Mean PD", "Default rate", "AUC"], rows)
    if small := [f"{group.field} {group.level} ({group.loans})" for group in groups if not group.approved]:
        yield f"Left out as too small to measure: {shorten_names(small, _SMALL_GROUPS)}."
    yield bullets(_gaps(large))


def _span(figure: Interval | None) -> str:
    if figure is None:
        return EMPTY_CELL
    return f"{percent(figure.value)} ({percent(figure.low)} to {percent(figure.high)})"


def _gaps(groups: Sequence[PeopleGroup]) -> Iterator[str]:
    """Say for each field between which groups approvals differ most, and how these defaulted."""
    for field in dict.fromkeys(group.field for group in groups):
        of_field = [(group.approved.value, group) for group in groups if group.field == field and group.approved]
        (low, least), (high, most) = (pick(of_field, key=lambda entry: entry[0]) for pick in (min, max))
        if least is most:
            yield f"`{field}` has one group that is large enough to measure."
            continue
        yield (
            f"By `{field}` approvals differ most between {least.level} ({percent(low)} approved; of the whole group "
            f"{_rate(least)} defaulted) and {most.level} ({percent(high)}; {_rate(most)})."
        )


def _rate(group: PeopleGroup) -> str:
    return percent(group.default_rate.value if group.default_rate else None)


def monitoring(inputs: ModelCardInputs) -> Iterator[str]:
    """Say when the version is doubted, who acts then, and what decides when it cannot."""
    policy, stated = inputs.policy, inputs.policy.governance
    drift, performance, retraining = policy.drift, policy.performance, policy.retraining
    of = "of issue" if inputs.scorer.contract.has_time else "of scoring"
    owners = {**dict.fromkeys(get_args(MonitoringTrigger), NOT_STATED), **stated.monitoring}
    early = (
        "; before loans mature, where files tell of them month by month: more defaults than hazards so far above the "
        "version's explain"
        if inputs.scorer.hazard
        else ""
    )
    rows = [
        (
            "drift",
            f"each batch of {drift.least_rows:,} rows or more: PSI of the score above {drift.score_psi_limit:g}, or of "
            f"{percent(drift.drifted_share_limit)} of the fields above {drift.feature_psi_limit:g}, beyond chance",
            owners["drift"],
        ),
        (
            "performance",
            f"outcomes of the newest quarters {of} that hold {performance.least_loans:,} loans and "
            f"{performance.least_defaults:,} defaults: AUC below {performance.auc_at_least:g} or "
            f"{performance.auc_shortfall_at_most:g} below what the PDs let expect, or PDs off by more than "
            f"{performance.calibration_tolerance:g} in log-odds, beyond chance{early}",
            owners["performance"],
        ),
        ("failure", "a run or the server fails", owners["failure"]),
    ]
    yield markdown_table(["What is watched", "When it alerts", "Who acts"], rows)
    yield (
        f"By the policy drift or a degradation leads to a new training, at most {retraining.most_per_week} a week and "
        "not within "
        f"{retraining.cooldown_hours:g} hours of the last."
    )
    yield f"Fall-back: {stated.fall_back or NOT_STATED}."
