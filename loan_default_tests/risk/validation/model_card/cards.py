"""Inputs of a card that are cheap to make, and ways to read a card: its sections, and the rows of its tables."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, cast

import numpy as np
import polars as pl

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning_report import CleaningReport
from loan_default.risk.data.splits import Splits, Window
from loan_default.risk.evaluation import Coverage, Evaluation, LevelCoverage, Segment
from loan_default.risk.metrics import Bootstrap, Interval, measure, pd_groups
from loan_default.risk.model.calibration import Calibration
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.alternatives import ANOTHER_SEED, WITHOUT_OPINION, Alternative
from loan_default.risk.validation.champion_challenger import VINTAGE, decision_shares
from loan_default.risk.validation.examination.data_quality import FieldQuality
from loan_default.risk.validation.examination.reason_audit import GroupFrequency, ReasonAudit
from loan_default.risk.validation.examination.repeated_fields import CorrelatedPair
from loan_default.risk.validation.examination.report import Examination, FieldShift, Parity
from loan_default.risk.validation.examination.sensitivity import FieldResponse, Response, Sensitivity, Stress
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.performance import leaderboard

CONTRACT, POLICY = load_contract(), load_policy()


def scored_loans(rows: int = 2_000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    margins = rng.normal(-1.7, 1, rows)
    pds = 1 / (1 + np.exp(-margins))
    band = np.searchsorted([POLICY.decision.approve_below, POLICY.decision.decline_from], pds, side="right")
    decisions = np.array(["approve", "review", "decline"])[band]
    return pl.DataFrame({"outcome": (rng.random(rows) < pds).astype(int), "pd": pds, "decision": decisions})


TESTED = scored_loans()


@cache
def metrics_of_test() -> dict[str, Interval]:
    pds = TESTED["pd"]
    return measure(TESTED["outcome"], pds, pds, cutoff=0.3, bootstrap=Bootstrap(0, 20))


def evaluated(**changes: Any) -> Evaluation:
    segments = (
        Segment(VINTAGE, "2014", 1_500, 0.17, 0.16, 0.69, 0.13),
        Segment("term", "36", 1_200, 0.15, 0.145, None, 0.12),
        *(Segment("addr_state", f"S{number:02}", 100 + number, 0.2, 0.18, 0.7, 0.15) for number in range(20)),
    )
    defaults = int(TESTED["outcome"].sum())
    coverage = Coverage("2018-01", "2018-12", (LevelCoverage("term", "36", 0.7, 300),))
    plain = Evaluation(
        TESTED.height, defaults, True, 0.3, metrics_of_test(), 0.6612, segments, coverage=coverage, approved=0.45
    )
    return replace(plain, **changes)


def cleaned(**changes: Any) -> dict[str, Any]:
    report = CleaningReport(
        files=("/some/where/accepted.csv.gz",),
        fingerprint="0123456789abcdef",
        layouts=("main",),
        rows_read=43_000,
        lines_not_loans=4,
        kept=42_990,
        rejected=6,
        problems={"annual_inc: missing": 4, "dti: no | number": 2},
        missing_fields=("fico_range_low", "mort_acc"),
        snapshot=date(2019, 3, 1),
        first_month=date(2007, 6, 1),
        last_month=date(2018, 12, 1),
        resolved=40_000,
        matured=30_000,
        default_rate=0.18,
    )
    return {**report.to_dict(), **changes}


def examined(**changes: Any) -> Examination:
    base, moved = Response(0.15, 0.6, 0.1), Response(0.2, 0.5, 0.2)
    audit = ReasonAudit(
        loans=400,
        without_reason=3,
        codes=1_000,
        untrue={},
        led_by_opinion=250,
        first_lasts=0.99,
        decision_lasts=0.995,
        groups=(GroupFrequency("assigned_terms", True, 300, 250), GroupFrequency("dti", False, 200, 147)),
    )
    gained = Interval(0.004, 0.001, 0.007), Interval(-0.001, -0.002, 0.0005)
    others = ("logistic_regression", ANOTHER_SEED, WITHOUT_OPINION)
    examination = Examination(
        rows=2_000,
        quality=(
            FieldQuality("dti", 0.0, 0.01, {"2017": 0.0, "2018": 0.0}),
            FieldQuality("mort_acc", 0.4, 0.6, {"2017": 0.9, "2018": 0.1}),
        ),
        shifts=(FieldShift("dti", 0.31, True), FieldShift("term", 0.01, False), FieldShift("mort_acc", None, False)),
        repeated=(
            CorrelatedPair("grade", "sub_grade", 0.97, 1_990),
            CorrelatedPair("int_rate", "sub_grade", 0.95, 2_000),
        ),
        importance={"int_rate": 0.4, "dti": 0.3, "purpose": 0.2},
        sensitivity=Sensitivity(
            2_000,
            base,
            (FieldResponse("dti", "100", True, moved), FieldResponse("dti", "12", False, base)),
            (Stress(0.1, moved),),
        ),
        reasons=audit,
        parity=Parity(200, "onnx", 2e-8, 0, 1),
        alternatives=tuple(Alternative(name, 0.7, 0.12, *gained, 0.55) for name in others),
        by_decision=(Segment("decision", "approve", 1_200, 0.09, 0.085, 0.61, 0.08, 0.2),),
    )
    return replace(examination, **changes)


def card_inputs(**changes: Any) -> ModelCardInputs:
    windows = (
        Window("train", date(2010, 1, 1), date(2012, 1, 1), 20_000, 4_000),
        Window("calibrate", date(2012, 2, 1), date(2013, 5, 1), 5_000, 900),
        Window("test", date(2013, 6, 1), date(2014, 3, 1), TESTED.height, int(TESTED["outcome"].sum())),
    )
    plain = {"auc": Interval(0.71, 0.7, 0.72), "ks": Interval(0.31, 0.3, 0.32), "brier": Interval(0.13, 0.12, 0.14)}
    metrics = {**plain, "ece": Interval(0.01, 0.008, 0.02)}
    weaker = {**metrics, "auc": Interval(0.65, 0.64, 0.66)}
    inputs: dict[str, Any] = {
        "scorer": Scorer(cast("RiskModel", None), "xgboost", Calibration(0.95, -0.1), POLICY.decision, CONTRACT),
        "parameters": {"learning_rate": 0.02, "rounds": 1_250},
        "cleaning": cleaned(),
        "splits": Splits(date(2019, 3, 1), windows, True, "0123456789abcdef", 3_000, 10_000),
        "leaderboard": leaderboard({"random_forest": weaker, "xgboost": metrics}, {"xgboost": evaluated().metrics}),
        "evaluation": evaluated(),
        "decisions": decision_shares(TESTED),
        "groups": pd_groups(TESTED["outcome"], TESTED["pd"]),
        "importance": {"int_rate": 0.4, "dti": 0.3, "purpose": 0.2},
        "seed": 17,
        "trained_at": datetime(2026, 11, 23, 9, 5, tzinfo=UTC),
        "policy": POLICY,
        "origin": {"git_commit": "abc1234", "policy_fingerprint": "00aa11bb22cc33dd"},
        "examination": examined(),
        "libraries": {"xgboost": "3.2.0", "polars": "2.1.0"},
    }
    return ModelCardInputs(**{**inputs, **changes})


def section(card: str, heading: str) -> str:
    match = re.search(rf"^## {heading}\n\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    assert match, f"the card has no section {heading}"
    return match.group(1)


def lines(card: str, heading: str, start: str) -> list[list[str]]:
    """Return the cells of the table rows of a section that begin with a text."""
    rows = [line for line in section(card, heading).splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def mean_of(values: pl.Series) -> float:
    """Return the mean of numbers as a number."""
    return float(values.to_numpy().mean())
