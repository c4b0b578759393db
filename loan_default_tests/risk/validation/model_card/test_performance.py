"""Every number that a risk analyst looks for on the test window stands where it belongs."""

import polars as pl
import pytest

from loan_default.risk.estimates import Estimate, Recalibration
from loan_default.risk.evaluation import ComparableLoans, Comparison, Segment
from loan_default.risk.metrics import Interval
from loan_default.risk.validation.model_card import performance
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.validation.model_card.cards import (
    TESTED,
    card_inputs,
    evaluated,
    lines,
    mean_of,
    section,
)


def test_leaderboard_is_best_first_on_the_calibrate_window() -> None:
    table = card_inputs().leaderboard
    assert table["kind"].to_list() == ["xgboost", "random_forest"]
    assert table["calibrate_auc"].to_list() == [0.71, 0.65]
    assert table["test_auc"].to_list() == [evaluated().metrics["auc"].value, None]
    assert table.schema["test_ece"] == pl.Float64


def test_candidates_stand_beside_each_other_and_the_chosen_one_is_marked() -> None:
    card = model_card(card_inputs())
    assert lines(card, "Candidates", "Candidate")[0][1:3] == ["AUC, calibrate", "AUC, test"]
    auc = f"{evaluated().metrics['auc'].value:.4f}"
    assert lines(card, "Candidates", "**xgboost")[0][:3] == ["**xgboost**", "0.7100", auc]
    assert lines(card, "Candidates", "random_forest")[0][:3] == ["random_forest", "0.6500", "–"]


def test_results_have_intervals_and_stand_against_the_grade_and_the_champion() -> None:
    compared = Comparison(Interval(0.0045, -0.0007, 0.0094), Interval(-0.0014, -0.002, -0.001))
    card, auc = (
        model_card(card_inputs(comparison=compared, comparable=ComparableLoans(1_500, 300))),
        evaluated().metrics["auc"],
    )
    assert lines(card, "Results on the test window", "AUC")[0][1:4] == [
        f"{value:.4f}" for value in (auc.value, auc.low, auc.high)
    ]
    opinion = ["the lender's opinion alone (AUC 0.6612)", f"{auc.value - 0.6612:+.4f}", "–"]
    assert lines(card, "Results on the test window", "the lender's opinion") == [opinion]
    champion = [
        "the version in production, on the 1,500 it was not developed on",
        "+0.0045 (-0.0007 to +0.0094)",
        "-0.0014 (-0.0020 to -0.0010)",
    ]
    assert lines(card, "Results on the test window", "the version in") == [champion]


def test_where_no_default_is_flagged_the_card_says_so_whatever_else_declines() -> None:
    sentence = "No test loan that defaulted is, so precision, recall and F1 are 0."
    assert sentence not in model_card(card_inputs())
    metrics = {**evaluated().metrics, "recall": Interval(0.0, 0.0, 0.0)}
    card = model_card(card_inputs(evaluation=evaluated(metrics=metrics)))
    assert sentence in section(card, "Results on the test window")


def test_without_opinion_and_champion_nothing_is_compared() -> None:
    assert "Against others" not in model_card(card_inputs(evaluation=evaluated(opinion_auc=None)))


def test_calibration_groups_are_those_of_the_test_window() -> None:
    card = model_card(card_inputs())
    assert f"the default rate {mean_of(TESTED['outcome']):.1%}" in section(card, "Calibration")
    safest = TESTED.sort("pd").head(200)
    (row,) = lines(card, "Calibration", "1 ")
    assert row[1:4] == ["200", f"{mean_of(safest['pd']):.1%}", f"{mean_of(safest['outcome']):.1%}"]


def test_vintages_come_first_and_long_lists_are_cut_to_the_largest_levels() -> None:
    text = section(model_card(card_inputs()), "Vintages and segments")
    assert text.index("By issue year:") < text.index("By `term`:")
    assert "| 2014 | 1,500 | 17.0% | 16.0% | -1.0 | – | 0.6900 | 0.1300 |" in text
    assert "| 36 | 1,200 | 15.0% | 14.5% | -0.5 | – | – | 0.1200 |" in text
    assert "S04" not in text
    assert text.index("S05") < text.index("S19")
    assert "and 5 smaller levels." in text


def test_alternatives_are_named_and_paired() -> None:
    card = model_card(card_inputs())
    rows = lines(card, "Alternatives", "")[2:]
    assert [row[0] for row in rows] == [
        "a logistic regression (scikit-learn)",
        "the same with seed 18 instead of 17",
        "the same without the lender's opinion",
    ]
    assert rows[0][1:] == ["0.7000", "+0.0040 (+0.0010 to +0.0070)", "0.1200", "-0.0010 (-0.0020 to +0.0005)", "55.0%"]
    assert "Not measured for this version." in section(model_card(card_inputs(examination=None)), "Alternatives")


def test_alternatives_that_were_fitted_on_a_sample_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = card_inputs()
    monkeypatch.setattr(performance, "SAMPLED_AT_MOST", sum(window.rows for window in inputs.splits.windows[:2]) // 4)
    rows = lines(model_card(inputs), "Alternatives", "the same")
    assert {row[0].rpartition(", ")[2] for row in rows} == {"fitted on 25.0% of the loans"}


def test_auc_and_ks_stand_within_each_term_and_each_decision() -> None:
    card = model_card(card_inputs())
    (term,) = lines(card, "Results on the test window", "term")
    assert term[1:4] == ["36", "1,200", "15.0%"]
    (approved,) = lines(card, "Results on the test window", "decision")
    assert approved == ["decision", "approve", "1,200", "9.0%", "8.5%", "0.6100", "0.2000"]


def test_calibration_is_told_in_the_large_by_slope_and_by_quarter() -> None:
    quarter = Segment("quarter", "2014-Q1", 500, 0.2, 0.16, 0.7, 0.1, calibration=Estimate(0.25, 0.05))
    good = Segment("term", "36", 1_200, 0.15, 0.145, 0.7, 0.12, calibration=Estimate(0.01, 0.05))
    inputs = evaluated(segments=(quarter, good), recalibration=Recalibration(Estimate(0.02, 0.01), Estimate(0.9, 0.02)))
    card = model_card(card_inputs(evaluation=inputs))
    assert "In the large, +0.020 (+0.000 to +0.040) would have to be added" in section(card, "Calibration")
    assert "Slope +0.900 (+0.861 to +0.939)" in section(card, "Calibration")
    (row,) = lines(card, "Calibration", "2014-Q1")
    assert row == ["2014-Q1", "500", "20.0%", "16.0%", "-4.0", "+0.250 (+0.152 to +0.348)", "+5.0"]
    worst = lines(card, "Vintages and segments", "`")
    assert [row[:2] for row in worst] == [["`quarter`", "2014-Q1"], ["`term`", "36"]]
    assert "in standard errors. Were all PDs right, chance alone would put about 0.1 of" in (
        section(card, "Vintages and segments")
    )
