"""What a version is, who answers for it and what it predicts."""

from dataclasses import replace
from datetime import date

import polars as pl

from loan_default.risk.data.splits import OpenWindow
from loan_default.risk.economics.valuation import ValueModel
from loan_default.risk.evaluation import Looks
from loan_default.risk.metrics import Interval
from loan_default.risk.policy import GovernancePolicy, ValuePolicy
from loan_default.risk.validation.champion_challenger import decision_shares
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.validation.model_card.cards import (
    CONTRACT,
    POLICY,
    TESTED,
    card_inputs,
    evaluated,
    lines,
    section,
)


def test_version_parameters_and_calibration_are_told() -> None:
    card = model_card(card_inputs(version=7))
    assert card.startswith("# Model card: loan default, version 7\n")
    assert "gradient-boosted trees (XGBoost), trained 2026-11-23 09:05 UTC." in card
    assert "(0.9500 m - 0.1000)" in section(card, "Model details")
    assert lines(card, "Model details", "learning_rate") == [["learning_rate", "0.02"]]
    assert lines(card, "Model details", "rounds") == [["rounds", "1250"]]


def test_nobody_is_named_whom_the_policy_does_not_name() -> None:
    rows = lines(model_card(card_inputs()), "Governance", "")[2:]
    assert [row[0] for row in rows][:4] == ["Owner", "Developer", "Validator", "Approver"]
    assert {row[1] for row in rows} == {"not stated"}
    stated = GovernancePolicy(owner="Ann", expires=date(2027, 12, 31))
    card = model_card(card_inputs(policy=POLICY.model_copy(update={"governance": stated})))
    assert lines(card, "Governance", "Owner") == [["Owner", "Ann"]]
    assert lines(card, "Governance", "Expires") == [["Expires", "2027-12-31"]]


def test_what_is_never_decided_has_no_default_rate() -> None:
    all_reviewed = decision_shares(TESTED.with_columns(decision=pl.lit("review")))
    text = section(model_card(card_inputs(decisions=all_reviewed)), "In short")
    assert (
        "approves none of these loans; a person reviews 100.0% of these loans, of which 18.7% defaulted; it declines "
        "none of these loans." in text
    )
    assert "; it declines" in section(model_card(card_inputs()), "In short")


def test_a_calibration_error_within_chance_is_not_called_perfect() -> None:
    metrics = {**evaluated().metrics, "ece": Interval(0.01, 0.0, 0.02)}
    text = section(model_card(card_inputs(evaluation=replace(evaluated(), metrics=metrics))), "In short")
    assert "its PDs are off by 1.00 percentage points on average, less what chance alone makes" in text
    metrics = {**evaluated().metrics, "ece": Interval(0.0, 0.0, 0.009)}
    text = section(model_card(card_inputs(evaluation=replace(evaluated(), metrics=metrics))), "In short")
    assert "its PDs are off by no more on average than chance alone makes" in text


def test_default_is_defined_by_the_contract() -> None:
    text = section(model_card(card_inputs()), "What it predicts")
    assert CONTRACT.outcome.definition
    assert CONTRACT.outcome.definition in text
    assert "a `loan_status` of “Charged Off”, “Default”" in text
    assert "at the end of the term and 5 months of grace." in text
    outcome = CONTRACT.outcome.model_copy(update={"definition": None, "grace_months": 0})
    scorer = replace(card_inputs().scorer, contract=CONTRACT.model_copy(update={"outcome": outcome}))
    text = section(model_card(card_inputs(scorer=scorer)), "What it predicts")
    assert "what it is in the lender's operation is not stated" in text
    assert "at the end of the term." in text


def test_looks_are_told_where_they_were_counted() -> None:
    assert "had been looked at" not in model_card(card_inputs())
    looked = evaluated(looks=Looks(overlapping=3, same=2))
    assert "had been looked at 3 times before." in section(model_card(card_inputs(evaluation=looked)), "In short")
    unseen = evaluated(looks=Looks(overlapping=0, same=0))
    assert "Nobody had looked at loans of this test window before." in model_card(card_inputs(evaluation=unseen))


def test_law_is_named_only_where_the_policy_names_it() -> None:
    assert "## Law" not in model_card(card_inputs())
    stated = GovernancePolicy(law=("Section 12 of the Lending Act.",))
    card = model_card(card_inputs(policy=POLICY.model_copy(update={"governance": stated})))
    assert "- Section 12 of the Lending Act." in section(card, "Law")


def test_an_opinion_that_the_model_does_not_see_is_no_limit_of_it() -> None:
    assert "The lender's opinion is inside" in section(model_card(card_inputs()), "Limits")
    hidden = POLICY.decision.model_copy(update={"decide_without_opinion": True})
    card = model_card(card_inputs(scorer=replace(card_inputs().scorer, policy=hidden)))
    assert "The lender's opinion is inside" not in card
    assert "setting `int_rate`" not in card
    assert "the model does not see it" in section(card, "Fields")


def test_what_a_version_learns_and_tells_beyond_matured_outcomes_is_told() -> None:
    timing = "telling when a loan defaults, or how much is lost then"
    plain = model_card(card_inputs())
    assert timing in section(plain, "Intended use")
    assert "Only loans with an outcome are learned from" in section(plain, "Limits")
    assert "fitted on the calibrate window)" in section(plain, "Model details")
    inputs = card_inputs()
    young = OpenWindow(900, 400, date(2016, 1, 1), date(2018, 12, 1), date(2018, 4, 1))
    scorer = replace(inputs.scorer, value=ValueModel(ValuePolicy(funding_rate=0.05), {}, {}))
    card = model_card(card_inputs(scorer=scorer, splits=replace(inputs.splits, open_loans=young)))
    assert timing not in card
    assert section(card, "Intended use").strip().endswith(": the model takes what was set.")
    assert "Loans without an outcome are learned from" in section(card, "Limits")
    assert "Judged by matured loans only." in section(card, "Limits")
    assert "Only loans with an outcome" not in card
    assert "and the newest loans that had not matured)" in section(card, "Model details")
    assert "are of loans among those that the calibration was fitted on" in section(card, "Candidates")
