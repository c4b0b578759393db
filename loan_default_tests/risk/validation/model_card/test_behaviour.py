"""What a version looks at and how it behaves, as it was measured."""

from dataclasses import replace

import pytest

from loan_default.risk.evaluation import BlankedField
from loan_default.risk.validation.examination.report import Parity
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.validation.model_card.cards import (
    CONTRACT,
    card_inputs,
    evaluated,
    examined,
    lines,
    section,
)


def test_fields_are_all_told_most_important_first() -> None:
    card = model_card(card_inputs())
    rows = lines(card, "Fields", "`")
    assert [row[0] for row in rows[:3]] == ["`int_rate`", "`dti`", "`purpose`"]
    assert {row[0].strip("`") for row in rows} == set(CONTRACT.feature_names)
    dti = CONTRACT.by_name["dti"]
    assert rows[1][1:] == ["30.0%", dti.description, "0 to 100 percent", "rises", dti.group]
    assert "**Not in the files.**" in next(row for row in rows if row[0] == "`mort_acc`")[2]
    allowed = {row[0]: row[3] for row in rows}
    assert allowed["`verification_status`"].startswith("one of Not Verified, Source Verified (its source was verified)")
    (derived,) = (row for row in rows if row[0] == "`payment_to_income`")
    assert derived[2].endswith(" Where it is not given, `payment(loan_amnt, int_rate, term) / annual_inc`.")
    opinions = "The lender's own opinion, or derived from it: `int_rate`, `grade`, `sub_grade`, `payment_to_income`."
    assert f"{opinions} It is told as a reason like any other." in section(card, "Fields")


@pytest.mark.parametrize(
    ("kind", "bound"), [("xgboost", True), ("random_forest", False), ("logistic_regression", False)]
)
def test_only_boosted_trees_are_said_to_be_bound_to_directions(kind: str, bound: bool) -> None:
    text = section(model_card(card_inputs(scorer=replace(card_inputs().scorer, kind=kind))), "Fields")
    assert ("the model cannot go against it" in text) == bound
    assert ("this kind of model is not bound to it" in text) != bound


def test_where_the_contract_gives_no_direction_none_is_spoken_of() -> None:
    fields = tuple(field.model_copy(update={"risk": None}) for field in CONTRACT.fields)
    contract = CONTRACT.model_copy(update={"fields": fields})
    card = model_card(card_inputs(scorer=replace(card_inputs().scorer, contract=contract)))
    assert "The contract does not say of any field how PD moves with it." in section(card, "Fields")
    assert "The contract gives no number a direction, so none was made worse." in section(card, "Sensitivity")
    assert "10% worse" not in section(card, "Sensitivity")
    assert "no number a direction" not in section(model_card(card_inputs()), "Sensitivity")


def test_fields_that_repeat_each_other_are_one_set_with_its_importance() -> None:
    card = model_card(card_inputs())
    assert lines(card, "Fields that repeat each other", "`grade`, ") == [["`grade`, `int_rate`, `sub_grade`", "40.0%"]]
    none = model_card(card_inputs(examination=examined(repeated=())))
    assert "No two fields have ranks" in section(none, "Fields that repeat each other")


def test_sensitivity_marks_what_no_loan_reaches() -> None:
    rows = lines(model_card(card_inputs()), "Sensitivity", "`dti`")
    assert rows == [["`dti`", "100 *", "20.0%", "50.0%", "20.0%"], ["`dti`", "12", "15.0%", "60.0%", "10.0%"]]
    assert lines(model_card(card_inputs()), "Sensitivity", "10% worse") == [["10% worse", "20.0%", "50.0%", "20.0%"]]


def test_fields_left_out_are_shown_by_what_they_move() -> None:
    blanked = (
        BlankedField("dti", 500, 0.01, 0.6, 0.55, 0.15, 0.16),
        BlankedField("pub_rec", 500, 0.0, 0.6, 0.6, 0.15, 0.15),
        BlankedField("mort_acc", 500, 1.0, 0.6, 0.6, 0.15, 0.15),  # which nobody had
    )
    card = model_card(card_inputs(evaluation=evaluated(blanked=blanked)))
    row = lines(card, "Missing values", "`dti`")[0]
    assert "Whichever of them is left out, some are still approved." in section(card, "Missing values")
    assert lines(card, "Missing values", "`")[0][0] == "`pub_rec`"
    assert row == ["`dti`", "1.0%", "60.0%", "55.0%", "-5.0", "15.0%", "16.0%"]
    assert "On 500 test loans" in section(card, "Missing values")
    assert "Not measured for this version." in section(model_card(card_inputs()), "Missing values")
    nobody = model_card(card_inputs(evaluation=evaluated(blanked=(BlankedField("dti", 9, 0.0, 0.0, 0.0, 0.6, 0.6),))))
    assert "Nobody is approved as they are" in section(nobody, "Missing values")
    assert "For 0 of these 1" not in section(nobody, "Missing values")


def test_shifts_name_what_moved_and_what_cannot_be_compared() -> None:
    text = section(model_card(card_inputs()), "From development to test")
    assert "By more than the policy's limits, and than chance explains, `dti` moved. The 2 that moved most:" in text
    assert "| `dti` | 0.310 |\n| `term` | 0.010 |" in text
    assert "Not compared, as development holds no value: `mort_acc`." in text


def test_parity_says_what_differs() -> None:
    text = section(model_card(card_inputs()), "One answer everywhere")
    assert "200 test loans one at a time" in text
    assert "PDs differ by 2.0e-08 at most, 0 decisions and 1 list of reasons differ." in text
    same = examined(parity=Parity(200, "onnx", 0.0, 1, 0))
    text = section(model_card(card_inputs(examination=same)), "One answer everywhere")
    assert "PDs are the same, 1 decision and 0 lists of reasons differ." in text
