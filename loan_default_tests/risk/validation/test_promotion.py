"""Promotion, one failing signal at a time."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loan_default.risk.evaluation import Comparison, Evaluation, Interval, Segment
from loan_default.risk.policy import PromotionPolicy
from loan_default.risk.validation.promotion import PromotionDecision, decide_promotion

POLICY = PromotionPolicy(
    least_test_rows=500,
    least_test_defaults=100,
    require_out_of_time=True,
    auc_at_least=0.60,
    suspect_leak_above_auc=0.80,
    gain_over_grade_at_least=0.005,
    ece_at_most=0.03,
    auc_gain_at_least=0.001,
    auc_gain_low_at_least=-0.005,
    brier_rise_at_most=0.0005,
    segments=("term", "purpose"),
    segment_least_rows=500,
    segment_gap_at_most=0.08,
)
GOOD = Segment("term", "36", rows=800, default_rate=0.15, mean_pd=0.16, auc=0.69, brier=0.12)
# Every signal stands exactly at its limit, so that the smallest step beyond it fails.
EVIDENCE = Evaluation(
    rows=500,
    defaults=100,
    out_of_time=True,
    cutoff=0.3,
    metrics={"auc": Interval(0.80, 0.60, 0.85), "ece": Interval(0.03, 0.01, 0.05)},
    grade_auc=0.795,
    segments=(GOOD,),
)
BETTER = Comparison(Interval(0.001, -0.005, 0.007), 0.0005)

Evidence = tuple[Evaluation | None, Comparison | None]


def auc(value: float, low: float) -> Callable[[Evidence], Evidence]:
    return changed(metrics={**EVIDENCE.metrics, "auc": Interval(value, low, 0.85)})


def changed(**what: Any) -> Callable[[Evidence], Evidence]:
    return lambda evidence: (replace(EVIDENCE, **what), evidence[1])


def with_segment(**what: Any) -> Callable[[Evidence], Evidence]:
    return changed(segments=(GOOD, replace(GOOD, **what)))


def against(value: float = 0.001, low: float = -0.005, brier: float = 0.0005) -> Callable[[Evidence], Evidence]:
    return lambda evidence: (evidence[0], Comparison(Interval(value, low, 0.007), brier))


def decide(
    evidence: Evidence = (EVIDENCE, BETTER), champion: int | None = 4, policy: PromotionPolicy = POLICY
) -> PromotionDecision:
    return decide_promotion(5, champion, *evidence, policy)


def test_all_signals_at_their_limits_promote_and_say_what_was_found() -> None:
    decision = decide()
    assert (decision.verdict, decision.candidate, decision.champion) == ("promote", 5, 4)
    assert [finding.rule for finding in decision.findings] == [
        "enough_loans",
        "out_of_time",
        "auc_floor",
        "not_too_good_to_be_true",
        "better_than_the_grade_alone",
        "calibrated",
        "segments",
        "better_than_production",
        "brier_no_worse",
    ]
    assert len(decision.reasons) == 9
    assert "The test loans came after the training loans." in decision.reasons


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (changed(rows=499), "The test window holds 499 loans and 100 defaults; 500 and 100 are needed."),
        (changed(defaults=99), "The test window holds 500 loans and 99 defaults; 500 and 100 are needed."),
        (changed(out_of_time=False), "The test loans are of the same months as the training loans."),
        (auc(0.80, 0.599), "AUC 0.8000 (0.5990 to 0.8500); its lower end must be at least 0.60."),
        (auc(0.8001, 0.60), "AUC 0.8001; above 0.80 a leak is suspected."),
        (auc(float("nan"), 0.60), "AUC nan; above 0.80 a leak is suspected."),
        (
            changed(grade_auc=0.796),
            "The lender's grade alone reaches AUC 0.7960; the model gains +0.0040, at least +0.0050 is needed.",
        ),
        (
            changed(metrics={**EVIDENCE.metrics, "ece": Interval(0.0301, 0.01, 0.05)}),
            "Calibration error 0.0301; at most 0.03 is allowed.",
        ),
        (
            with_segment(level="60", default_rate=0.39, mean_pd=0.30),
            "The worst calibrated segment, term 60, has mean PD 0.300 and default rate 0.390; a gap of 0.08 is "
            "allowed.",
        ),
        (
            with_segment(field="purpose", level="car", default_rate=0.10, mean_pd=0.19, rows=500),
            "The worst calibrated segment, purpose car, has mean PD 0.190 and default rate 0.100; a gap of 0.08 is "
            "allowed.",
        ),
        (
            against(value=0.0009),
            "Against version 4 on the same loans AUC changes by +0.0009 (-0.0050 to +0.0070); at least +0.0010, lower "
            "end -0.0050, is needed.",
        ),
        (
            against(low=-0.0051),
            "Against version 4 on the same loans AUC changes by +0.0010 (-0.0051 to +0.0070); at least +0.0010, lower "
            "end -0.0050, is needed.",
        ),
        (
            against(brier=0.0006),
            "Against version 4 the Brier score changes by +0.0006; a rise of 0.0005 is allowed.",
        ),
        (lambda evidence: (None, evidence[1]), "Version 5 was not evaluated."),
        (lambda evidence: (evidence[0], None), "Version 4 in production was not measured on the same loans."),
    ],
)
def test_one_failing_signal_holds_and_is_the_only_reason(spoil: Callable[[Evidence], Evidence], sentence: str) -> None:
    decision = decide(spoil((EVIDENCE, BETTER)))
    assert decision.verdict == "hold"
    if "nan" in sentence:  # what cannot be known fails every rule that asks for it
        assert sentence in decision.reasons
    else:
        assert decision.reasons == (sentence,)


@pytest.mark.parametrize(
    "unimportant",
    [
        with_segment(field="addr_state", default_rate=0.9),
        with_segment(default_rate=0.9, rows=499),
        changed(grade_auc=None),
        changed(segments=()),
    ],
)
def test_what_the_policy_does_not_judge_stops_nothing(unimportant: Callable[[Evidence], Evidence]) -> None:
    assert decide(unimportant((EVIDENCE, BETTER))).verdict == "promote"


def test_first_version_is_promoted_without_a_comparison() -> None:
    decision = decide((EVIDENCE, None), champion=None)
    assert decision.verdict == "promote"
    assert decision.reasons[-1] == "There is no version in production to compare with."


def test_first_version_must_still_be_good() -> None:
    assert decide((replace(EVIDENCE, rows=10), None), champion=None).verdict == "hold"


def test_the_version_in_production_is_not_promoted_again() -> None:
    decision = decide(champion=5)
    assert (decision.verdict, decision.reasons) == ("hold", ("Version 5 is in production already.",))


def test_loans_of_the_same_months_may_be_allowed() -> None:
    allowed = POLICY.model_copy(update={"require_out_of_time": False})
    assert decide((replace(EVIDENCE, out_of_time=False), BETTER), policy=allowed).verdict == "promote"


def test_every_failing_signal_is_a_reason() -> None:
    decision = decide((replace(EVIDENCE, rows=1, out_of_time=False), Comparison(Interval(-0.1, -0.2, 0), 0.1)))
    assert [finding.rule for finding in decision.findings if not finding.passed] == [
        "enough_loans",
        "out_of_time",
        "better_than_production",
        "brier_no_worse",
    ]
    assert len(decision.reasons) == 4


def test_a_decision_is_a_json_record() -> None:
    record = json.loads(json.dumps(decide((None, None)).to_dict()))
    assert record == {
        "verdict": "hold",
        "candidate": 5,
        "champion": 4,
        "findings": [{"rule": "evidence", "passed": False, "sentence": "Version 5 was not evaluated."}],
        "reasons": ["Version 5 was not evaluated."],
    }


def test_a_record_of_before_whose_rules_were_phrases_is_still_read_and_shown() -> None:
    """Ids are shown as they stand in the record; nothing is looked up by them."""
    record = {
        "verdict": "hold",
        "candidate": 5,
        "champion": 4,
        "findings": [
            {"rule": "no leak", "passed": True, "sentence": "AUC 0.7012; above 0.80 a leak is suspected."},
            {"rule": "Brier no worse", "passed": False, "sentence": "The Brier score rises."},
        ],
        "reasons": ["The Brier score rises."],
        "by": "ann, by hand",
    }
    decision = PromotionDecision.from_dict(record)
    assert [finding.rule for finding in decision.findings] == ["no leak", "Brier no worse"]
    assert decision.reasons == ("The Brier score rises.",)
    assert decision.to_dict() == {key: value for key, value in record.items() if key != "by"} | {
        "findings": tuple(record["findings"])
    }
