"""What a version decides, by which reasons, who let it and who watches it."""

from dataclasses import replace
from typing import cast

import polars as pl
import pytest

from loan_default.risk.data.splits import Splits
from loan_default.risk.estimates import Estimate, Recalibration
from loan_default.risk.evaluation import Segment
from loan_default.risk.loan_order import CutBy
from loan_default.risk.metrics import Interval
from loan_default.risk.model.hazard import Hazard
from loan_default.risk.policy import GovernancePolicy
from loan_default.risk.validation.champion_challenger import decision_shares
from loan_default.risk.validation.examination.fairness import PeopleGroup
from loan_default.risk.validation.model_card.page import model_card
from loan_default.risk.validation.promotion import decide_promotion
from loan_default_tests.risk.small_books import BY_WAVE, TIMELESS
from loan_default_tests.risk.validation.model_card.cards import (
    POLICY,
    TESTED,
    card_inputs,
    evaluated,
    examined,
    lines,
    mean_of,
    section,
)


def test_decisions_share_out_every_loan() -> None:
    shares = decision_shares(TESTED)
    assert shares["decision"].to_list() == ["approve", "review", "decline"]
    assert shares["loans"].sum() == TESTED.height
    assert shares["share"].sum() == pytest.approx(1)
    approved = TESTED.filter(pl.col("pd") < 0.15)
    assert shares.row(0)[1:] == (approved.height, approved.height / 2_000, approved["outcome"].mean())
    (row,) = lines(model_card(card_inputs()), "Decisions", "approve")
    assert row[1:] == [f"{approved.height:,}", f"{approved.height / 2_000:.1%}", f"{mean_of(approved['outcome']):.1%}"]


def test_decision_that_no_loan_got_has_no_default_rate() -> None:
    careful = TESTED.with_columns(pl.lit("review").alias("decision"))
    assert decision_shares(careful)["default_rate"].to_list() == [None, TESTED["outcome"].mean(), None]
    assert lines(model_card(card_inputs(decisions=decision_shares(careful))), "Decisions", "decline") == [
        ["decline", "0", "0.0%", "–"]
    ]


def test_promotion_tells_each_finding() -> None:
    right = Estimate(0.0, 0.01)
    poor = evaluated(
        segments=(Segment("term", "36", 1_200, 0.15, 0.145, None, 0.12, calibration=right),),
        opinion_gain=Interval(0.04, 0.03, 0.05),
        recalibration=Recalibration(Estimate(0.5, 0.01), Estimate(1.0, 0.01)),
        blanked=(),
    )
    policy = POLICY.promotion.model_copy(update={"segments": ("term",)})
    decision = decide_promotion(7, None, poor, None, policy)
    card = model_card(card_inputs(promotion=decision))
    assert "**Hold** version 7; no version was in production." in section(card, "Promotion")
    assert [row[1] for row in lines(card, "Promotion", "**failed**")] == ["calibrated"]
    assert len(lines(card, "Promotion", "passed")) == len(decision.findings) - 1
    assert "Promotion: **hold**." in section(card, "In short")


def test_card_written_before_the_decision_says_so() -> None:
    assert "Not decided when this card was written." in section(model_card(card_inputs()), "Promotion")


def test_the_order_of_reasons_is_that_of_the_policy() -> None:
    sentence, inputs = "What is missing comes first where only that keeps from an approval.", card_inputs()
    assert sentence in section(model_card(inputs), "Reasons")
    policy = inputs.scorer.policy.model_copy(update={"missing_share_at_least": 0.0})
    assert sentence not in model_card(card_inputs(scorer=replace(inputs.scorer, policy=policy)))


def test_reasons_are_counted_held_against_the_truth_and_asked_for_again() -> None:
    text = section(model_card(card_inputs()), "Reasons")
    assert "Of 400 test loans that were declined or reviewed 3 get no reason; the others get 1,000 in all." in text
    assert "missing as the reason says; all are true." in text
    assert "The lender's own opinion is the first reason of 62.5% of them." in text
    assert "99.0% keep their first reason, and 99.5% their decision." in text
    assert "| `assigned_terms` | yes | 75.0% | 62.5% |" in text
    untrue = replace(examined().reasons, untrue={"dti: dti high": 7})
    text = section(model_card(card_inputs(examination=examined(reasons=untrue))), "Reasons")
    assert "7 are untrue: dti: dti high (7)." in text


def test_what_nobody_has_stated_is_shown_as_not_stated() -> None:
    card = model_card(card_inputs())
    assert "Why the cut-offs are what they are: not stated." in section(card, "Decisions")
    assert "Fall-back: not stated." in section(card, "Monitoring and fall-back")
    assert [row[2] for row in lines(card, "Monitoring and fall-back", "")[2:]] == ["not stated"] * 3


def test_what_the_policy_states_of_decisions_and_monitoring_stands_on_the_card() -> None:
    stated = GovernancePolicy(cut_offs="They were set in May", fall_back="People", monitoring={"drift": "The desk"})
    card = model_card(card_inputs(policy=POLICY.model_copy(update={"governance": stated})))
    assert "Why the cut-offs are what they are: They were set in May." in section(card, "Decisions")
    assert "Fall-back: People." in section(card, "Monitoring and fall-back")
    assert lines(card, "Monitoring and fall-back", "drift")[0][2] == "The desk"


def test_what_watches_loans_before_they_mature_is_said_of_versions_with_hazards() -> None:
    inputs = card_inputs()
    timed = model_card(replace(inputs, scorer=replace(inputs.scorer, hazard=cast(Hazard, object()))))
    alerts = [lines(card, "Monitoring and fall-back", "performance")[0][1] for card in (timed, model_card(inputs))]
    assert ["before loans mature" in alert for alert in alerts] == [True, False]


def test_who_decided_is_named() -> None:
    decision = decide_promotion(7, None, evaluated(), None, POLICY.promotion)
    decided = {"decided_by": "policy, run 9", "decided_at": "2026-03-01T00:00:00+00:00"}
    card = model_card(card_inputs(promotion=decision, decided=decided))
    assert "Decided by policy, run 9 at 2026-03-01 00:00 UTC." in section(card, "Promotion")
    later = (
        f"Promotion: **{decision.verdict}**, at 2026-03-01 00:00 UTC; this card does not follow what was decided later."
    )
    assert later in section(card, "In short")


def test_groups_of_people_are_spoken_of_as_far_as_the_contract_does() -> None:
    text = section(model_card(card_inputs()), "Groups of people")
    assert "Read for reports only, never by the model: `addr_state`, `zip_code`." in text


def test_groups_of_people_are_shown_and_protected_fields_said_to_be_read_for_reports() -> None:
    half, most = Interval(0.5, 0.4, 0.6), Interval(0.75, 0.7, 0.8)
    groups = (
        PeopleGroup("sex", "f", 100, half, half, half, half),
        PeopleGroup("sex", "m", 90, most, half, half, None),
        PeopleGroup("sex", "missing", 7),
    )
    scorer = replace(card_inputs().scorer, contract=TIMELESS)
    card = model_card(card_inputs(scorer=scorer, examination=replace(examined(), fairness=groups)))
    people = section(card, "Groups of people")
    assert "Read for reports only, never by the model: `sex`, `age`." in people
    assert "The contract does not say which fields are protected" not in people
    assert [row[1:4] for row in lines(card, "Groups of people", "`sex`")] == [
        ["f", "100", "50.0% (40.0% to 60.0%)"],
        ["m", "90", "75.0% (70.0% to 80.0%)"],
    ]
    assert "Left out as too small to measure: sex missing (7)." in people
    assert "between f (50.0% approved; of the whole group 50.0% defaulted) and m (75.0%; 50.0%)." in people


@pytest.mark.parametrize(
    ("cut_by", "phrase"), [("draw", "drawn by a hash of their ids"), ("cohort", "later cohorts than")]
)
def test_a_card_of_a_book_without_a_date_tells_of_no_month_and_is_nowhere_out_of_time(
    cut_by: CutBy, phrase: str
) -> None:
    contract, test = {"draw": TIMELESS, "cohort": BY_WAVE}[cut_by], card_inputs().splits.window("test")
    cohorts = ("g", "h") if cut_by == "cohort" else ()
    parts = [replace(w, first_month=None, last_month=None, cohorts=cohorts) for w in card_inputs().splits.windows]
    splits = Splits(None, (parts[0], parts[1], parts[2]), False, "f", 0, 0, cut_by=cut_by, cohort=contract.cohort_name)
    card = model_card(
        card_inputs(
            scorer=replace(card_inputs().scorer, contract=contract),
            cleaning={**card_inputs().cleaning, "first_month": None, "last_month": None, "snapshot": None},
            splits=splits,
            evaluation=replace(evaluated(), out_of_time=False, cut_by=cut_by, cohort=contract.cohort_name, segments=()),
        )
    )
    assert f"tested on {test.rows:,} loans" in section(card, "In short")
    assert phrase in section(card, "In short")
    for heading in ("In short", "What it predicts", "Data", "Limits", "Monitoring and fall-back"):
        words = section(card, heading)
        for claim in (
            "issued 20",
            "mature",
            "vintage",
            "quarters of issue",
            "None",
            "are out of time",
            "too few months",
        ):
            assert claim not in words, (heading, claim)
    assert "## Segments" in card
    assert "## Vintages" not in card
