"""What readers rely on in each record of the storage: the keys that it always had, and the type of each value.

A record is held against its shape whenever it is read, so that nobody works with half of one; what else it holds is
not looked at. Keys that releases added later are those with a default. How a record comes to be is its asset's to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from loan_default.adapters.layout import RecordKind
from loan_default.risk.errors import DamagedRecord

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from upath import UPath


def _require_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, AfterValidator(_require_time)]  # ISO 8601
Figure = float | None
_Ends = Annotated[list[float], Field(min_length=2, max_length=2)]  # of an interval


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Interval(_Shape):
    value: float
    low: float
    high: float


class _Finding(_Shape):
    rule: str
    passed: bool
    sentence: str


class _Application(_Shape):
    fingerprint: str
    kept: int
    rejected: int


class _DecisionCount(_Shape):
    decision: str
    applications: int
    mean_pd: float


class _Prediction(_Shape):
    model_version: int
    scored_at: Time
    first_month: str | None
    last_month: str | None
    rejected: int
    problems: Mapping[str, int]
    decisions: list[_DecisionCount]


class _FeatureDrift(_Shape):
    feature: str
    psi: Figure
    decile_psi: Figure
    missing_psi: Figure
    missing_reference: float
    missing_batch: float
    mean_reference: Figure
    mean_batch: Figure
    top_reference: str | None
    top_batch: str | None
    drifted: bool


class _DriftLimits(_Shape):
    score_psi_limit: float
    drifted_share_limit: float


class _Drift(_Shape):
    batch: str
    model_version: int
    verdict: str
    reasons: list[str]
    drifted_features: list[str]
    share: float
    score_psi: Figure
    limits: _DriftLimits | None = None
    features: list[_FeatureDrift]


class _Bin(_Shape):
    reference: float
    batch: float
    low: Figure
    high: Figure
    level: str | None


class _FieldBins(_Shape):
    name: str
    bins: list[_Bin]


class _Distributions(_Shape):
    model_version: int
    fields: list[_FieldBins]


class _Looks(_Shape):
    overlapping: int


class _Window(_Shape):
    name: str
    rows: int
    first_month: str | None = None
    last_month: str | None = None


class _Evidence(_Shape):
    origin: Mapping[str, str] = {}
    decision_policy_fingerprint: str | None = None
    windows: list[_Window] | None = None
    metrics: Mapping[str, _Interval] = {}


class _Decision(_Shape):
    verdict: str
    candidate: int
    champion: int | None = None
    decided_at: Time
    decided_by: str
    reasons: list[str]
    findings: list[_Finding] = []
    test_looks: _Looks | None = None
    evidence: _Evidence | None = None


class _TermCount(_Shape):
    term: Figure
    rows: int
    defaults: int
    first_month: str
    last_month: str


class _SplitWindow(_Shape):
    name: str
    rows: int
    defaults: int
    first_month: str | None = None
    last_month: str | None = None
    terms: list[_TermCount] = []


class _Cleaning(_Shape):
    files: list[str]
    fingerprint: str
    snapshot: str | None = None


class _Splits(_Shape):
    snapshot: str | None = None
    windows: Annotated[list[_SplitWindow], Field(min_length=3, max_length=3)]
    out_of_time: bool
    data_fingerprint: str
    unresolved: int
    immature: int


class _TunedParameters(_Shape):
    parameters: Mapping[str, Any]


class _TrainedModel(_Shape):
    version: int
    run_id: str
    kind: str
    candidates: list[str]
    parameters: Mapping[str, Mapping[str, Any]]
    calibrate: Mapping[str, Mapping[str, _Interval]]
    training_fingerprint: str
    seed: int


class _Look(_Shape):
    looked_at: Time
    version: int
    test_fingerprint: str


class _Override(_Shape):
    decision_id: str
    decision: str
    reason: str
    words: str
    by: str
    recorded_at: Time
    decided: str
    pd: float
    model_version: int
    id: str | None


class _Roll(_Shape):
    month: str
    status: str
    next_status: str
    loans: int


class _Outcomes(_Shape):
    rejected: int
    monthly_rolls: list[_Roll] = []


class _Measured(_Shape):
    auc: _Interval
    ks: _Interval
    brier: _Interval


class _Expected(_Shape):
    default_rate: float


class _Estimated(_Shape):
    auc: float
    ks: float
    brier: float


class _VersionPerformance(_Shape):
    version: int
    loans: int
    matured: int
    known: int
    defaults: int
    real: _Measured | None
    expected: _Expected | None
    estimate: _Estimated | None


class _LoanGroup(_Shape):
    model_version: int
    loans: int
    matured: int
    known: int
    defaults: int
    mean_pd: float
    default_rate: Figure
    auc: Figure
    ks: Figure
    brier: Figure
    estimated_auc: Figure
    estimated_ks: Figure
    estimated_brier: Figure


class _Vintage(_LoanGroup):
    vintage: str


class _ByDecision(_LoanGroup):
    decision: str


class _PdGroup(_Shape):
    model_version: int
    group: int
    loans: int
    mean_pd: float
    default_rate: float


class _Early(_Shape):
    model_version: int
    vintage: str
    months_on_book: Figure
    loans: int
    defaults: int
    expected_defaults: float
    repaid: int
    expected_repaid: float


class _Performance(_Shape):
    measured_at: Time
    told_until: str | None
    unreadable: list[str] = []
    verdict: str
    model_version: int | None
    reasons: list[str]
    findings: list[_Finding]
    versions: list[_VersionPerformance]
    vintages: list[_Vintage]
    decisions: list[_ByDecision]
    groups: list[_PdGroup]
    early: list[_Early] = []
    estimates: str
    remark: str | None = None


class _Approved(_Shape):
    loans: int
    share: float
    volume: float
    mean_pd: Figure
    default_rate: Figure
    expected_loss: float
    loss: float
    expected_npv: float
    npv: float
    expected_return: Figure
    realised_return: Figure


class _ApprovedOfGroup(_Approved):
    approval_rate: float


class _RulePoint(_Shape):
    rule: str
    cutoff: float
    outcome: _Approved


class _Decile(_Shape):
    group: int
    loans: int
    expected: float
    realised: float
    low: float
    high: float
    is_inside: bool


class _VintageValue(_Shape):
    vintage: str
    loans: int
    mean_pd: float
    default_rate: float
    expected_loss: float
    loss: float
    expected_npv: float
    npv: float


class _VintageLoss(_Shape):
    vintage: str
    defaults: int
    loss: _Interval
    expected_loss: float
    exposure: _Interval
    expected_exposure: float


class _StrategyGroup(_Shape):
    field: str
    group: str
    loans: int
    pd: _ApprovedOfGroup
    npv: _ApprovedOfGroup


class _CutOffIntervals(_Shape):
    approve_below: _Ends
    npv_at_least: _Ends


class _Proposal(_Shape):
    approve_below: float
    npv_at_least: float
    outcome: _Approved
    intervals: _CutOffIntervals
    bound_by: list[str]


class _Rules(_Shape):
    pd: _Approved
    npv: _Approved


class _Costs(_Shape):
    funding_rate: float
    servicing_cost: float
    origination_cost: float
    capital_share: float


class _CutOffs(_Shape):
    by: Literal["pd", "npv", "both"] = "pd"


class _Strategy(_Shape):
    version: int
    window: str | None
    unit: str
    policy: _Costs
    cut_offs: _CutOffs
    loans: int
    present: Mapping[str, _Approved]
    equal_number: _Rules
    curve: list[_RulePoint]
    deciles: list[_Decile]
    vintages: list[_VintageValue]
    vintage_losses: list[_VintageLoss] = []
    groups: list[_StrategyGroup]
    proposals: Mapping[str, _Proposal | None]
    no_proposal: Mapping[str, str] = {}


class _Sums(_Shape):
    loans: int
    balance: float
    provision: float
    cecl: float
    year_pd: Figure
    lifetime_pd: Figure


class _Stage(_Sums):
    stage: Literal[1, 2, 3]


class _ProvisionGroup(_Sums):
    field: str
    group: str


class _Scenario(_Shape):
    scenario: str
    hazard: float
    prepayment: float
    lgd: float
    weight: float
    provision: float
    cecl: float
    by_stage: list[float]


class _Staging(_Shape):
    stage_2_months: int
    stage_2_pd_ratio: float


class _Assumed(_Shape):
    factor: float
    default_rate: float
    turned_down_default_rate: Figure


class _Band(_Shape):
    applications: int
    pd_from: float
    pd_to: float
    default_rates: list[float]


class _Declined(_Shape):
    applications: int
    approved: int
    factors: Annotated[list[_Assumed], Field(min_length=1)]
    bands: list[_Band]


class _Provision(_Shape):
    version: int
    unit: str
    snapshot: str
    policy: _Staging
    by_curve: bool = False
    with_granted_pd: int
    not_valued: int
    total: _Sums
    stages: list[_Stage]
    scenarios: list[_Scenario]
    groups: list[_ProvisionGroup]
    declined: _Declined | None = None


class _Problem(_Shape):
    """A record of what could not be computed, which says why instead."""

    version: int
    problem: str


class _TermPoint(_Shape):
    term: float
    loans: int
    mean_pd: Figure = None
    default_rate: Figure = None
    approved: Figure = None
    approved_expected_npv: Figure = None
    approved_npv: Figure = None


class _PastPoint(_Shape):
    month: str
    label: str
    learned: int
    loans: int
    default_rate: float
    auc: Figure = None
    brier: Figure = None
    mean_pd: Figure = None
    approved: Figure = None
    approved_default_rate: Figure = None
    approved_npv: Figure = None
    approved_expected_npv: Figure = None
    declined: Figure = None
    year_mean_pd: Figure = None
    year_default_rate: Figure = None
    rules: Mapping[str, _Approved] | None = None
    deciles: list[_Decile] = []
    terms: list[_TermPoint] = []
    model: str = ""
    leads: bool = True
    verdict: str = ""
    reason: str


class _BackTest(_Shape):
    measured_at: Time
    data_fingerprint: str
    tested_months: int
    unit: str | None = None
    points: list[_PastPoint]


SHAPES: Mapping[RecordKind, type[_Shape]] = {
    "cleaning_report": _Cleaning,
    "loan_splits": _Splits,
    "tuned_params": _TunedParameters,
    "trained_model": _TrainedModel,
    "promoted_model": _Decision,
    "application_report": _Application,
    "prediction_report": _Prediction,
    "drift_report": _Drift,
    "field_distributions": _Distributions,
    "outcomes_report": _Outcomes,
    "performance_report": _Performance,
    "strategy_report": _Strategy,
    "provision_report": _Provision,
    "backtest": _BackTest,
    "history": _Decision,
    "test_looks": _Look,
    "overrides": _Override,
}
_MAY_BE_A_PROBLEM = ("strategy_report", "provision_report")
_REMEDIES: Mapping[RecordKind, str] = {  # what writes a record again
    "application_report": "run loan-default score-again {name} --force, which writes it again",
    "prediction_report": "run loan-default score-again {name} --force, which writes it again",
    "drift_report": "run loan-default drift {name}, which writes it again",
    "field_distributions": "run loan-default drift {name}, which writes it again",
    "outcomes_report": "run loan-default performance, which writes it again",
    "performance_report": "run loan-default performance, which writes it again",
    "strategy_report": "run loan-default promote, which writes it again",
    "provision_report": "run loan-default provision, which writes it again",
    "backtest": "run loan-default backtest, which writes it again",
    **dict.fromkeys(
        ("cleaning_report", "loan_splits", "tuned_params", "trained_model", "model_evaluation", "promoted_model"),
        "run loan-default run --data FILE, which writes it again",
    ),
}
_NOUNS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "mapping_type": "an object",
    "model_type": "an object",
    "too_short": "a longer list",
    "too_long": "a shorter list",
    "value_error": "a time (ISO 8601)",
}
_LETTERS = 40  # of a value that is told


def parse_record(text: bytes, path: UPath, kind: RecordKind | None = None) -> Any:
    """Read a record of JSON, and hold it against the shape of its kind, if it has one.

    Raises:
        DamagedRecord: it is empty, cut off, no JSON, lacks a key, or has a value of another type.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8
        raise _damage(path, kind, f"is no JSON ({error})" if text.strip() else "is empty") from error
    shape = SHAPES.get(kind) if kind else None
    if kind in _MAY_BE_A_PROBLEM and isinstance(content, dict) and "problem" in content:
        shape = _Problem
    try:
        if shape:
            shape.model_validate(content)
        elif kind and not isinstance(content, dict):
            raise _damage(path, kind, "holds no object")
    except ValidationError as error:
        raise _damage(path, kind, _complaint(error.errors()[0])) from error
    return content


def _damage(path: UPath, kind: RecordKind | None, what: str) -> DamagedRecord:
    again = f"{_REMEDIES[kind].format(name=path.stem)}, or " if kind and kind in _REMEDIES else ""
    return DamagedRecord(path.stem, f"The record {path} {what}; {again}restore it from a backup.", kind)


def _complaint(error: ErrorDetails) -> str:
    """Say what is wrong with a record; where it is, as `jq` takes it."""
    location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    if error["type"] == "missing":
        return f"lacks {location}"
    value = json.dumps(error["input"], default=str)
    if len(value) > _LETTERS:
        value = f"{value[:_LETTERS]} …"
    noun = _NOUNS.get(error["type"]) or error.get("ctx", {}).get("expected") or error["msg"]
    return f"says {value}{' as ' + location if location else ''}, which has to be {noun}"
