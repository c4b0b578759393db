"""The model card: every number that a risk analyst looks for stands where it belongs."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract import load_contract
from loan_default.risk.data.cleaning_report import CleaningReport
from loan_default.risk.data.splitting import Splits, Window
from loan_default.risk.estimates import Estimate, Recalibration
from loan_default.risk.evaluation import (
    Comparison,
    Coverage,
    Evaluation,
    Interval,
    LevelCoverage,
    Segment,
    measure,
    pd_groups,
)
from loan_default.risk.model.calibration import Calibration
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.champion_challenger import VINTAGE, decision_shares
from loan_default.risk.validation.model_card import ModelCardInputs, leaderboard, model_card
from loan_default.risk.validation.promotion import decide_promotion

CONTRACT, POLICY = load_contract(), load_policy()


def scored_loans(rows=2_000):
    rng = np.random.default_rng(0)
    margins = rng.normal(-1.7, 1, rows)
    pds = 1 / (1 + np.exp(-margins))
    band = np.searchsorted([POLICY.decision.approve_below, POLICY.decision.decline_from], pds, side="right")
    decisions = np.array(["approve", "review", "decline"])[band]
    return pl.DataFrame({"outcome": (rng.random(rows) < pds).astype(int), "pd": pds, "decision": decisions})


TESTED = scored_loans()


@cache
def metrics_of_test():
    pds = TESTED["pd"]
    return measure(TESTED["outcome"], pds, pds, cutoff=0.3, rng=np.random.default_rng(0), resamples=20)


def evaluated(**changes):
    segments = (
        Segment(VINTAGE, "2014", 1_500, 0.17, 0.16, 0.69, 0.13),
        Segment("term", "36", 1_200, 0.15, 0.145, None, 0.12),
        *(Segment("addr_state", f"S{number:02}", 100 + number, 0.2, 0.18, 0.7, 0.15) for number in range(20)),
    )
    defaults = int(TESTED["outcome"].sum())
    coverage = Coverage("2018-01", "2018-12", (LevelCoverage("term", "36", 0.7, 300),))
    plain = Evaluation(TESTED.height, defaults, True, 0.3, metrics_of_test(), 0.6612, segments, coverage=coverage)
    return replace(plain, **changes)


def cleaned(**changes):
    report = CleaningReport(
        files=("/some/where/accepted.csv.gz",),
        fingerprint="0123456789abcdef",
        layouts=("published",),
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


def card_inputs(**changes):
    months = [
        date(2010, 1, 1),
        date(2012, 1, 1),
        date(2012, 2, 1),
        date(2013, 5, 1),
        date(2013, 6, 1),
        date(2014, 3, 1),
    ]
    windows = (
        Window("train", *months[0:2], 20_000, 4_000),
        Window("calibrate", *months[2:4], 5_000, 900),
        Window("test", *months[4:6], TESTED.height, int(TESTED["outcome"].sum())),
    )
    plain = {"auc": Interval(0.71, 0.7, 0.72), "ks": Interval(0.31, 0.3, 0.32), "brier": Interval(0.13, 0.12, 0.14)}
    metrics = {**plain, "ece": Interval(0.01, 0.008, 0.02)}
    weaker = {**metrics, "auc": Interval(0.65, 0.64, 0.66)}
    inputs = {
        "scorer": Scorer(None, "xgboost", Calibration(0.95, -0.1), POLICY.decision, CONTRACT),
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
        "git_commit": "abc1234",
        "libraries": {"xgboost": "3.2.0", "polars": "2.1.0"},
    }
    return ModelCardInputs(**{**inputs, **changes})


def section(card, heading):
    return re.search(rf"^## {heading}\n\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE).group(1)


def lines(card, heading, start):
    """Return the cells of the table rows of a section that begin with a text."""
    rows = [line for line in section(card, heading).splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_sections_come_in_order_and_every_table_is_whole():
    card = model_card(card_inputs())
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings[:4] == ["In short", "Model details", "Intended use", "Data"]
    assert headings[-3:] == ["Fair lending", "Limits", "How to reproduce"]
    for table in re.findall(r"(?:^\|.*\n?)+", card, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
    assert not re.search(r"\b(None|nan)\b(?! of them)", card)


def test_version_parameters_and_calibration_are_told():
    card = model_card(card_inputs(version=7))
    assert card.startswith("# Model card: loan default, version 7\n")
    assert "gradient-boosted trees (XGBoost), trained 2026-11-23 09:05 UTC." in card
    assert "(0.9500 m - 0.1000)" in section(card, "Model details")
    assert lines(card, "Model details", "learning_rate") == [["learning_rate", "0.02"]]
    assert lines(card, "Model details", "rounds") == [["rounds", "1250"]]


def test_data_are_told_with_what_was_lost_and_why():
    data = section(model_card(card_inputs()), "Data")
    assert "accepted.csv.gz (fingerprint `0123456789abcdef`), as of 2019-03. 4 lines are no loans." in data
    assert "/some/where" not in data
    assert "Of 42,996 loans 42,990 were kept and 6 rejected." in data
    assert "| annual_inc: missing | 4 |\n| dti: no \\| number | 2 |" in data
    assert "have empty throughout: `fico_range_low`, `mort_acc`." in data
    assert "sets aside 10,000 that are resolved but not matured, beside 3,000 that are not resolved" in data
    assert "never seen a value of 2 fields" in section(model_card(card_inputs()), "Limits")
    assert "| train | all | 2010-01 to 2012-01 | 20,000 | 4,000 | 20.0% |" in data


def test_only_the_most_frequent_problems_are_listed():
    problems = {f"field_{number}: missing": number for number in range(1, 15)}
    data = section(model_card(card_inputs(cleaning=cleaned(problems=problems))), "Data")
    assert data.index("field_14: missing") < data.index("field_5: missing")
    assert "field_4: missing" not in data
    assert "and 4 rarer problems." in data


def test_sound_file_has_no_table_of_problems_and_nothing_set_aside():
    all_matured = replace(card_inputs().splits, immature=0, unresolved=0)
    card = model_card(card_inputs(cleaning=cleaned(problems={}, rejected=0, missing_fields=()), splits=all_matured))
    assert "rejected for" not in card
    assert "sets aside" not in card
    assert "have empty throughout: none." in card
    assert "No field is empty throughout." in section(card, "Limits")


def test_windows_of_the_same_months_are_warned_of():
    mixed = card_inputs(
        splits=replace(card_inputs().splits, out_of_time=False), evaluation=evaluated(out_of_time=False)
    )
    assert "**The loans span too few months to be cut by month**" in section(model_card(mixed), "Data")
    assert "of the same months as the training" in section(model_card(mixed), "In short")
    assert "too few months" not in model_card(card_inputs())


def test_leaderboard_is_best_first_on_the_calibrate_window():
    table = card_inputs().leaderboard
    assert table["kind"].to_list() == ["xgboost", "random_forest"]
    assert table["calibrate_auc"].to_list() == [0.71, 0.65]
    assert table["test_auc"].to_list() == [evaluated().metrics["auc"].value, None]
    assert table.schema["test_ece"] == pl.Float64


def test_candidates_stand_beside_each_other_and_the_chosen_one_is_marked():
    card = model_card(card_inputs())
    assert lines(card, "Candidates", "Candidate")[0][1:3] == ["AUC, calibrate", "AUC, test"]
    auc = f"{evaluated().metrics['auc'].value:.4f}"
    assert lines(card, "Candidates", "**xgboost")[0][:3] == ["**xgboost**", "0.7100", auc]
    assert lines(card, "Candidates", "random_forest")[0][:3] == ["random_forest", "0.6500", "–"]


def test_results_have_intervals_and_stand_against_the_grade_and_the_champion():
    compared = Comparison(Interval(0.0045, -0.0007, 0.0094), Interval(-0.0014, -0.002, -0.001))
    card, auc = model_card(card_inputs(comparison=compared)), evaluated().metrics["auc"]
    assert lines(card, "Results on the test window", "AUC")[0][1:4] == [
        f"{value:.4f}" for value in (auc.value, auc.low, auc.high)
    ]
    opinion = ["the lender's opinion alone (AUC 0.6612)", f"{auc.value - 0.6612:+.4f}", "–"]
    assert lines(card, "Results on the test window", "the lender's opinion") == [opinion]
    champion = ["the version in production", "+0.0045 (-0.0007 to +0.0094)", "-0.0014"]
    assert lines(card, "Results on the test window", "the version in") == [champion]


def test_without_opinion_and_champion_nothing_is_compared():
    assert "Against" not in model_card(card_inputs(evaluation=evaluated(opinion_auc=None)))


def test_calibration_groups_are_those_of_the_test_window():
    card = model_card(card_inputs())
    assert f"the default rate {TESTED['outcome'].mean():.1%}" in section(card, "Calibration")
    safest = TESTED.sort("pd").head(200)
    (row,) = lines(card, "Calibration", "1 ")
    assert row[1:4] == ["200", f"{safest['pd'].mean():.1%}", f"{safest['outcome'].mean():.1%}"]


def test_vintages_come_first_and_long_lists_are_cut_to_the_largest_levels():
    text = section(model_card(card_inputs()), "Vintages and segments")
    assert text.index("By issue year:") < text.index("By `term`:")
    assert "| 2014 | 1,500 | 17.0% | 16.0% | -1.0 | 0.6900 | 0.1300 |" in text
    assert "| 36 | 1,200 | 15.0% | 14.5% | -0.5 | – | 0.1200 |" in text
    assert "S04" not in text
    assert text.index("S05") < text.index("S19")
    assert "and 5 smaller levels." in text


def test_decisions_share_out_every_loan():
    shares = decision_shares(TESTED)
    assert shares["decision"].to_list() == ["approve", "review", "decline"]
    assert shares["loans"].sum() == TESTED.height
    assert shares["share"].sum() == pytest.approx(1)
    approved = TESTED.filter(pl.col("pd") < 0.15)
    assert shares.row(0)[1:] == (approved.height, approved.height / 2_000, approved["outcome"].mean())
    (row,) = lines(model_card(card_inputs()), "Decisions", "approve")
    assert row[1:] == [f"{approved.height:,}", f"{approved.height / 2_000:.1%}", f"{approved['outcome'].mean():.1%}"]


def test_decision_that_no_loan_got_has_no_default_rate():
    careful = TESTED.with_columns(pl.lit("review").alias("decision"))
    assert decision_shares(careful)["default_rate"].to_list() == [None, TESTED["outcome"].mean(), None]
    assert lines(model_card(card_inputs(decisions=decision_shares(careful))), "Decisions", "decline") == [
        ["decline", "0", "0.0%", "–"]
    ]


def test_promotion_tells_each_finding():
    right = Estimate(0.0, 0.01)
    poor = evaluated(
        segments=(Segment("term", "36", 1_200, 0.15, 0.145, None, 0.12, calibration=right),),
        opinion_gain=Interval(0.04, 0.03, 0.05),
        recalibration=Recalibration(Estimate(0.5, 0.01), Estimate(1.0, 0.01)),
        blanked=(),
    )
    decision = decide_promotion(7, None, poor, None, POLICY.promotion)
    card = model_card(card_inputs(promotion=decision))
    assert "**Hold** version 7; no version was in production." in section(card, "Promotion")
    assert [row[1] for row in lines(card, "Promotion", "**failed**")] == ["calibrated"]
    assert len(lines(card, "Promotion", "passed")) == len(decision.findings) - 1
    assert "Promotion: **hold**." in section(card, "In short")


def test_card_written_before_the_decision_says_so():
    assert "Not decided when this card was written." in section(model_card(card_inputs()), "Promotion")


def test_fields_are_all_told_most_important_first():
    card = model_card(card_inputs())
    rows = lines(card, "Fields", "`")
    assert [row[0] for row in rows[:3]] == ["`int_rate`", "`dti`", "`purpose`"]
    assert {row[0].strip("`") for row in rows} == set(CONTRACT.feature_names)
    dti = CONTRACT.by_name["dti"]
    assert rows[1][1:] == ["30.0%", dti.description, "0 to 100 percent", "rises", dti.group]
    assert "**Not in the files.**" in next(row for row in rows if row[0] == "`mort_acc`")[2]
    opinions = "The lender's own opinion, or derived from it: `int_rate`, `grade`, `sub_grade`, `payment_to_income`."
    assert f"{opinions} It is told as a reason like any other." in section(card, "Fields")


@pytest.mark.parametrize(
    ("kind", "bound"), [("xgboost", True), ("random_forest", False), ("logistic_regression", False)]
)
def test_only_boosted_trees_are_said_to_be_bound_to_directions(kind, bound):
    text = section(model_card(card_inputs(scorer=replace(card_inputs().scorer, kind=kind))), "Fields")
    assert ("the model cannot go against it" in text) == bound
    assert ("this kind of model is not bound to it" in text) != bound


def test_fair_lending_names_what_is_for_reports_only():
    text = section(model_card(card_inputs()), "Fair lending")
    assert "Read for reports only, never features: `addr_state`, `zip_code`." in text


def test_reproduction_names_code_data_seed_and_libraries():
    text = section(model_card(card_inputs()), "How to reproduce")
    assert "`abc1234`" in text
    assert f"windows `{card_inputs().splits.fingerprint}`" in text
    assert "Seed: 17." in text
    assert "polars 2.1.0, xgboost 3.2.0." in text
    assert "git commit `not known`" in model_card(card_inputs(git_commit=None))
