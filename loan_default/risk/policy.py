"""Describes what the lender has decided: the typed form of `conf/policy.yaml`, and the finding of one rule.

Only limits live here. Holding evidence against them belongs in `validation.promotion`, `validation.quality_gates`,
`monitoring.drift`, `monitoring.performance` and `monitoring.retraining`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import TERM
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.reviewed_file import CONF, load_reviewed
from loan_default.risk.section import OneLine, Problem, Section

_SCENARIO = re.compile(r"\w+")
SEGMENT_LEVELS = 60  # that a person can read
_NO_COSTS = "The policy has no section value, so nothing is said of value."
_SEGMENTLESS = {"id": "the number of the loan", "time": "the month of issue"}
UnknownFields = Literal["refuse", "ignore"]
DecidedBy = Literal["pd", "npv", "both"]
TrainingLabel = Literal["matured", "open"]
MARGIN_DIGITS = 9  # decimals of the value of one unit lent, with which it is compared
HIGHEST_CUT_OFF = 0.999  # a cut-off of the PD lies below 1
CUT_OFFS = ("by", "approve_below", "decline_from", "approve_npv_from", "decline_npv_below")
MonitoringTrigger = Literal["drift", "performance", "failure"]


class DecisionPolicy(Section):
    """Says what a PD means for one applicant: cut-offs, score points, how many reasons, and what it may rest on.

    Attributes:
        approve_below: a PD below this is approved.
        decline_from: a PD from this on is declined; between the two a person reviews.
        by: by what is decided: the PD, the net present value of one unit lent, or both, where the stricter counts. The
            last two need the section `value`.
        approve_npv_from: a value of one unit lent from this on is approved, where it is decided by it.
        decline_npv_below: one below this is declined; between the two, and where there is none, a person reviews.
        points_at_odds: score points of an applicant with the odds below.
        odds: repaid loans for one default, at these points.
        points_to_double_odds: score points by which the odds of repayment double.
        reasons_at_most: reasons that an applicant gets who is declined or reviewed.
        missing_share_at_least: an application that lacks what a smaller share of the loans of development lacked is not
            approved but reviewed; 0 lets every missing value pass.
        decide_without_opinion: whether models are trained, judged and decide without the lender's own opinion.
        outside_population: what happens to an application with a value that no loan of development had, or with two
            that hardly any had together: `decide` as on any, or `review`, where the cut-offs alone would approve it.
    """

    approve_below: float = Field(gt=0, lt=1)
    decline_from: float = Field(gt=0, lt=1)
    by: DecidedBy = "pd"
    approve_npv_from: float = Field(default=0.0, ge=-1, le=1)
    decline_npv_below: float = Field(default=0.0, ge=-1, le=1)
    points_at_odds: float
    odds: float = Field(gt=0)
    points_to_double_odds: float = Field(gt=0)
    reasons_at_most: int = Field(ge=1)
    missing_share_at_least: float = Field(default=0.01, ge=0, le=1)
    decide_without_opinion: bool = False
    outside_population: Literal["decide", "review"] = "decide"

    def problems(self) -> Iterator[Problem]:
        """Yield cut-offs that overlap."""
        if self.approve_below > self.decline_from:
            problem = f"approve_below ({self.approve_below}) is above decline_from ({self.decline_from})"
            yield Problem(f"{problem}; write a smaller one", ("approve_below",))
        if self.decline_npv_below > self.approve_npv_from:
            above = f"is above approve_npv_from ({self.approve_npv_from})"
            problem = f"decline_npv_below ({self.decline_npv_below}) {above}"
            yield Problem(f"{problem}; write a smaller one", ("decline_npv_below",))

    @property
    def by_pd(self) -> bool:
        """Tell whether PDs are compared with their cut-offs."""
        return self.by != "npv"

    @property
    def by_value(self) -> bool:
        """Tell whether values are compared with theirs."""
        return self.by != "pd"

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Return factor and offset of the score points: points = offset + factor · ln(odds of repayment)."""
        factor = self.points_to_double_odds / math.log(2)
        return factor, self.points_at_odds - factor * math.log(self.odds)


class PromotionPolicy(Section):
    """Limits within which a candidate may take over production, measured on the test window.

    Attributes:
        least_test_rows: loans of the test window, below which the version is held.
        least_test_defaults: defaults among them, below which the version is held.
        require_out_of_time: whether the test window has to be later than what the model was developed on; a decision on
            a book without a date says that it has none.
        auc_at_least: the lower end of the interval of the AUC.
        suspect_leak_above_auc: above this AUC the run stops, as a field may tell the outcome.
        gain_over_opinion_at_least: AUC beyond ranking by the lender's own opinion alone; its interval must lie above.
        calibration_size: chance at most that a model whose PDs are right is held by the tests of calibration; half of
            it is the segments'.
        calibration_tolerance: error of the PDs of all loans that is let pass, in log-odds.
        slope_tolerance: error of the slope of the log-odds that is let pass; below 1 high PDs are too high and low
            ones too low.
        auc_gain_at_least: gain in AUC over the version in production, on the same loans; this or the next.
        brier_fall_at_least: fall of the Brier score against that version.
        gain_low_above: the lower end of the interval of that gain must lie above this.
        auc_loss_at_most: loss of AUC against that version, at the lower end of its interval.
        brier_rise_at_most: rise of the Brier score against that version.
        segments: fields by whose levels calibration is judged; by default the term and every nominal feature.
        segment_least_rows: loans of a level from which on it is judged; where none holds so many, the version is held.
        segment_calibration_tolerance: as `calibration_tolerance`, for a level.
        blank_approvals_rise_at_most: rise of the share of loans that are approved, when a field is left out of all.
        recent_share_at_least: levels of the segments that make up so much of the newest year's loans must be in the
            test window.
        covered_rows_at_least: loans of the test window by which such a level counts as being there.
        approval_rate: share of the test loans that the cut-offs may approve, least and most.
        decision_days_at_most: days after which the newest decision on a version is stale.
    """

    least_test_rows: int = Field(ge=1)
    least_test_defaults: int = Field(ge=1)
    require_out_of_time: bool
    auc_at_least: float = Field(ge=0.5, le=1)
    suspect_leak_above_auc: float = Field(gt=0.5, le=1)
    gain_over_opinion_at_least: float
    calibration_size: float = Field(gt=0, lt=0.5)
    calibration_tolerance: float = Field(ge=0)
    slope_tolerance: float = Field(ge=0)
    auc_gain_at_least: float
    brier_fall_at_least: float
    gain_low_above: float
    auc_loss_at_most: float = Field(ge=0)
    brier_rise_at_most: float
    segments: tuple[str, ...] = ()
    segment_least_rows: int = Field(ge=1)
    segment_calibration_tolerance: float = Field(ge=0)
    blank_approvals_rise_at_most: float = Field(ge=0)
    recent_share_at_least: float = Field(default=0.05, gt=0, le=1)
    covered_rows_at_least: int = Field(default=30, ge=1)
    approval_rate: tuple[float, float] = Field(default=(0.02, 0.98), examples=["[0.02, 0.98]"])
    decision_days_at_most: int = Field(default=365, ge=1)
    advice: ClassVar[Mapping[tuple[str, str], str]] = {
        ("ece_at_most", ""): "ece_at_most is now a test of known size; write calibration_size: 0.05, "
        "calibration_tolerance: 0.10 and slope_tolerance: 0.15",
        ("segment_gap_at_most", ""): "segment_gap_at_most is now a test of known size; write "
        "segment_calibration_tolerance: 0.20",
        ("auc_gain_low_at_least", ""): "auc_gain_low_at_least is now told of a gain and of a loss; write "
        "gain_low_above: 0.0, brier_fall_at_least: 0.0005 and auc_loss_at_most: 0.005",
    }

    def problems(self) -> Iterator[Problem]:
        """Yield limits between which nothing lies."""
        least, most = self.approval_rate
        if not 0 <= least < most <= 1:
            written = f"approval_rate [{least:.10g}, {most:.10g}] is no band"
            yield Problem(f"{written}; write two shares of 0 to 1, the lower first", ("approval_rate",))
        if self.auc_at_least >= self.suspect_leak_above_auc:
            problem = f"auc_at_least ({self.auc_at_least}) is not below suspect_leak_above_auc"
            problem += f" ({self.suspect_leak_above_auc}), so no version could pass; write a smaller one"
            yield Problem(problem, ("auc_at_least",))

    def are_enough(self, rows: int, defaults: int) -> bool:
        """Tell whether so many test loans suffice to judge by."""
        return rows >= self.least_test_rows and self.least_test_defaults <= defaults < rows


class DriftPolicy(Section):
    """Limits beyond which a batch counts as drifted. PSI follows the usual reading: 0.1 moderate, 0.25 a shift.

    Attributes:
        feature_psi_limit: PSI, less its mean by chance, above which a feature has drifted.
        score_psi_limit: the same of the score, above which the batch has drifted.
        drifted_share_limit: share of drifted features from which on the batch has drifted.
        least_rows: rows below which a batch is not judged.
        report_sample_rows: rows of each side that Evidently's report shows.
        report_days_at_most: days after which the newest report is stale.
    """

    feature_psi_limit: float = Field(gt=0)
    score_psi_limit: float = Field(gt=0)
    drifted_share_limit: float = Field(gt=0, le=1)
    least_rows: int = Field(ge=1)
    report_sample_rows: int = Field(ge=100)
    report_days_at_most: int = Field(default=35, ge=1)


class PerformancePolicy(Section):
    """Limits below which the version in production has degraded, by the newest vintages that hold enough outcomes.

    Attributes:
        least_loans: matured loans that the judged quarters of issue hold together.
        least_defaults: defaults among them.
        size: chance at most that a version whose PDs are right counts as degraded, by all rules together.
        auc_at_least: AUC below which it has degraded.
        auc_shortfall_at_most: AUC below what the PDs of the same loans let expect.
        calibration_tolerance: error of the PDs that is let pass, in log-odds.
        report_days_at_most: days after which the newest report is stale.
    """

    least_loans: int = Field(ge=30)
    least_defaults: int = Field(ge=10)
    size: float = Field(gt=0, lt=0.5)
    auc_at_least: float = Field(ge=0, le=1)
    auc_shortfall_at_most: float = Field(ge=0)
    calibration_tolerance: float = Field(ge=0)
    report_days_at_most: int = Field(default=35, ge=1)
    advice: ClassVar[Mapping[tuple[str, str], str]] = {
        ("calibration_gap_at_most", ""): "calibration_gap_at_most is now a test of known size; write size: 0.05 and "
        "calibration_tolerance: 0.15"
    }


class RetrainingPolicy(Section):
    """Limits on how often drift, or a degradation, may lead to a new model.

    Attributes:
        cooldown_hours: hours after a retraining in which none is asked for.
        most_per_week: retrainings in seven days.
    """

    cooldown_hours: float = Field(ge=0)
    most_per_week: int = Field(ge=0)


class ServingPolicy(Section):
    """Shares of the loans, drawn by a hash of their id, that the version in `staging` decides or scores unseen.

    Attributes:
        challenger_share: share that it answers.
        shadow_share: share that it scores too, for the prediction log only.
        unknown_fields: what happens to an application with a field that the contract does not know.
    """

    challenger_share: float = Field(ge=0, le=1)
    shadow_share: float = Field(ge=0, le=1)
    unknown_fields: UnknownFields = "refuse"


class GovernancePolicy(Section):
    """Names who answers for the model, and says what documents show of it; what is not said is shown as not stated.

    Attributes:
        owner: who answers for its use.
        developer: who made it.
        validator: who examines it independently.
        approver: who lets it into production.
        tier: how much depends on it, in the lender's own classes.
        review_due: day by which it is examined again.
        expires: day from which it is not used without a new approval.
        cut_offs: why the cut-offs are what they are.
        fall_back: what decides when it cannot.
        monitoring: who acts on what: trigger → person or team.
        law: what the lender holds itself to, a sentence each.
    """

    owner: OneLine | None = None
    developer: OneLine | None = None
    validator: OneLine | None = None
    approver: OneLine | None = None
    tier: OneLine | None = None
    review_due: date | None = None
    expires: date | None = None
    cut_offs: OneLine | None = None
    fall_back: OneLine | None = None
    monitoring: Mapping[MonitoringTrigger, OneLine] = {}
    law: tuple[OneLine, ...] = ()


class OverridePolicy(Section):
    """Lists why a person may decide otherwise on an application than the version did.

    Attributes:
        reasons: what each code means, as people choose it and reports count it.
    """

    reasons: Mapping[str, OneLine] = Field(
        min_length=1, examples=["{income_verified: Income was verified by documents}"]
    )

    def problems(self) -> Iterator[Problem]:
        """Yield codes and meanings that nobody could choose by."""
        for code, meaning in self.reasons.items():
            if not (code.strip() and meaning.strip()):
                sentence = f"the reason {json.dumps(code)} has no {'meaning' if code.strip() else 'code'}; write both"
                yield Problem(f"{sentence}, as error: A mistake in the application", ("reasons", code))


class StrategyLimits(Section):
    """Limits within which cut-offs are proposed; what is left out is not limited.

    Attributes:
        default_rate_at_most: mean PD of the loans that are approved.
        approve_at_least: share of the applications that are approved.
        volume_at_most: money lent to those of the test window, in the money of the book.
        capital_at_most: own capital that they tie up, `capital_share` of what is lent, in the same money.
        group_ratio_at_least: the approval rate of each group of people of 30 test loans or more, over that of the group
            approved most often.
    """

    default_rate_at_most: float | None = Field(default=None, gt=0, le=1)
    approve_at_least: float | None = Field(default=None, ge=0, le=1)
    volume_at_most: float | None = Field(default=None, gt=0)
    capital_at_most: float | None = Field(default=None, gt=0)
    group_ratio_at_least: float | None = Field(default=None, ge=0, le=1)


class ValuePolicy(Section):
    """Says what a loan costs its lender, so that value can be computed beside the PD; it travels with each version.

    Attributes:
        funding_rate: share a year that the money lent costs; payments count less by it the later they come.
        servicing_cost: share a year of what is owed.
        origination_cost: share of the amount, when the loan is granted.
        capital_share: of what is owed, held as own capital; the return on it is shown.
        recovery_months: from the last payment of a defaulted loan until what is recovered comes.
        limits: within which `strategy_report` proposes cut-offs.
    """

    funding_rate: float = Field(ge=0, le=1, examples=[0.05])
    servicing_cost: float = Field(default=0.0, ge=0, le=1)
    origination_cost: float = Field(default=0.0, ge=0, le=1)
    capital_share: float = Field(default=0.1, gt=0, le=1)
    recovery_months: int = Field(default=12, ge=0, le=120)
    limits: StrategyLimits = StrategyLimits()


class Scenario(Section):
    """Multiplies what is expected of open loans, month by month.

    Attributes:
        hazard: of the share of the loans still running that default in a month.
        prepayment: of the share that is repaid in one, before its term is over.
        lgd: of what is lost of what is owed then; never more than all of it.
        weight: of the scenario among all, in the provision that is the mean of them.
    """

    hazard: float = Field(default=1.0, ge=0, le=20)
    prepayment: float = Field(default=1.0, ge=0, le=20)
    lgd: float = Field(default=1.0, ge=0, le=20)
    weight: float = Field(default=1.0, ge=0)


class ProvisionPolicy(Section):
    """Says when the risk of an open loan has risen, and which scenarios its provision is computed in.

    Attributes:
        stage_2_months: months without a payment, beyond the one in which it is due, from which on the risk has risen.
        stage_3_months: from which on the loan is impaired.
        stage_2_pd_ratio: PD over that of the grant, from which on the risk has risen; of loans whose PD at the grant
            the prediction history holds.
        scenarios: by name.
    """

    stage_2_months: int = Field(default=1, ge=1)
    stage_3_months: int = Field(default=3, ge=1)
    stage_2_pd_ratio: float = Field(default=2.0, gt=1)
    scenarios: Mapping[str, Scenario] = Field(
        default={"base": Scenario()}, min_length=1, examples=["{base: {weight: 0.6}, severe: {hazard: 2, weight: 0.4}}"]
    )

    def problems(self) -> Iterator[Problem]:
        """Yield stages that overlap, weights that are all 0, and names that are no column's."""
        if self.stage_2_months > self.stage_3_months:
            above = f"is above stage_3_months ({self.stage_3_months})"
            yield Problem(f"stage_2_months ({self.stage_2_months}) {above}; write a smaller one", ("stage_2_months",))
        if not sum(scenario.weight for scenario in self.scenarios.values()):
            yield Problem("all scenarios have the weight 0; write a larger one", ("scenarios",))
        for name in self.scenarios:
            if not _SCENARIO.fullmatch(name):
                yield Problem(f"the scenario {name} has a name of more than letters, figures and _", ("scenarios",))

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each scenario as a share of all."""
        total = sum(scenario.weight for scenario in self.scenarios.values())
        return {name: scenario.weight / total for name, scenario in self.scenarios.items()}


class Policy(Section):
    """Holds all sections of what the lender has decided.

    Attributes:
        decision: what a PD means for one applicant; it travels with each model version.
        promotion: when a new version may take over production.
        drift: when a batch counts as drifted.
        performance: when the version in production has degraded.
        retraining: how often drift or a degradation may lead to a new model.
        serving: what the scoring server does with the version in staging, and with unknown fields.
        governance: who answers for the model, for its card.
        overrides: why a person may decide otherwise than the version did.
        value: what a loan costs its lender; without it no value is computed.
        provision: when the risk of an open loan has risen, and the scenarios of its expected loss.
        label: what trainings learn from: `matured` loans alone, or `open`: also all others, each by the probability
            that hazards give it of ending in default. Versions are judged by matured loans either way.
    """

    decision: DecisionPolicy
    promotion: PromotionPolicy
    drift: DriftPolicy
    performance: PerformancePolicy
    retraining: RetrainingPolicy
    serving: ServingPolicy
    overrides: OverridePolicy
    governance: GovernancePolicy = GovernancePolicy()
    value: ValuePolicy | None = Field(default=None, examples=["{funding_rate: 0.05, servicing_cost: 0.01}"])
    provision: ProvisionPolicy = ProvisionPolicy()
    label: TrainingLabel = "matured"

    def problems(self) -> Iterator[Problem]:
        """Yield a label by which no version could be promoted."""
        if self.label == "open" and self.promotion.require_out_of_time:
            problem = "label: open learns from loans that are younger than those that test, which promotion"
            problem += ".require_out_of_time: true forbids; write false there, or label: matured"
            yield Problem(problem, ("label",))


def load_policy(path: Path | None = None, contract: Contract | None = None) -> Policy:
    """Load a policy for a loan book; where it names no segments, they are the book's own (`Contract.segments`).

    Args:
        path: the file, by default the one that the package ships, which holds where another says nothing.
        contract: the book's, by default the one that the package ships.

    Raises:
        BadInput: the file cannot be read, says something that is not allowed, or names what the book does not have.
    """
    book = contract or load_contract()
    shipped = CONF / "policy.yaml"
    base = shipped if path else None
    policy = load_reviewed(path or shipped, Policy, check=lambda policy: _book_problems(policy, book), base=base)
    if "segments" in policy.promotion.model_fields_set:
        return policy
    promotion = policy.promotion.model_copy(update={"segments": book.segments})
    return policy.model_copy(update={"promotion": promotion})


def _book_problems(policy: Policy, contract: Contract) -> Iterator[Problem]:
    """Yield what the policy asks for and a book cannot give."""
    yield from segment_problems(policy, contract)
    if policy.decision.by_value and (problem := value_problem(contract) if policy.value else _NO_COSTS):
        sentence = f"decision.by: {policy.decision.by} decides by value. {problem.removesuffix('.')}; write pd"
        yield Problem(sentence, ("decision", "by"))
    groups = [field for field in contract.with_role("protected") if field.kind != "month"]
    if policy.value and policy.value.limits.group_ratio_at_least is not None and not groups:
        sentence = f"value.limits: the contract {contract.name} has no protected field that divides people into groups"
        yield Problem(f"{sentence}; delete group_ratio_at_least", ("value", "limits", "group_ratio_at_least"))


def segment_problems(policy: Policy, contract: Contract) -> Iterator[Problem]:
    """Yield the segments by which the loans of a book cannot be told apart."""
    for number, name in enumerate(policy.promotion.segments):
        field, location = contract.by_name.get(name), ("promotion", "segments", number)
        if field is None:
            owns = f"write fields of it, as {', '.join(contract.segments)}" if contract.segments else "delete it"
            yield Problem(f"promotion.segments: {name} is no field of the contract {contract.name}; {owns}", location)
        elif field not in contract.stored:
            problem = f"promotion.segments: {name} is read for derived fields alone and not kept; delete it"
            yield Problem(problem, location)
        elif field.role == "protected":
            problem = f"promotion.segments: {name} is protected, and so for reports on fairness alone; delete it"
            yield Problem(problem, location)
        elif not _has_levels(field):
            others = [other for other in contract.segments if other != name]
            remedy = f"write fields with levels, as {', '.join(others)}" if others else "delete it"
            says = f"promotion.segments: {name} is {_SEGMENTLESS.get(field.role, f'a {field.kind}')} and no field of"
            yield Problem(f"{says} few levels, by which loans are judged; {remedy}", location)
        elif name in policy.promotion.segments[:number]:
            yield Problem(f"promotion.segments: {name} stands twice; delete one", location)


def _has_levels(field: LoanField) -> bool:
    """Tell whether loans can be judged by each value of the field: it has levels, is the term, or counts up to few."""
    counts = field.unit == "count" and field.range is not None and field.range[1] - field.range[0] < SEGMENT_LEVELS
    return bool(field.levels) or (field.kind == "number" and (field.name == TERM or counts))


@dataclass(frozen=True)
class Finding:
    """One rule of the policy held against the evidence, as a sentence."""

    rule: str
    passed: bool
    sentence: str
