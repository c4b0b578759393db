"""Back-tests: what is learned at a month knows nothing later, and is measured on the loans that came after."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.contract.columns import MATURES, OUTCOME, OUTCOME_KNOWN
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.policy import ValuePolicy, load_policy
from loan_default.risk.validation.backtest import (
    COLUMNS,
    LABELS,
    WAYS,
    BackTestPoint,
    Label,
    back_test,
    levels_of,
    months_between,
    reasons_of,
    rows_of,
)
from loan_default_tests.packages import full_search_space
from loan_default_tests.risk.conftest import published_loans

MONTH, SNAPSHOT = date(2013, 1, 1), date(2019, 3, 1)
VALUE = ValuePolicy(funding_rate=0.05)
RULE_NAMES = ("present", "pd", "npv")


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Clean loans of which all have ended, issued in the three years before `MONTH` and nearly two after it."""
    folder = tmp_path_factory.mktemp("backtest")
    raw = make_loans(3_000, seed=5, first_month=date(2010, 1, 1), last_month=date(2014, 9, 1))
    write_csv(raw, folder / "loans.csv")
    clean_loans([folder / "loans.csv"], load_contract(), cleaned=folder / "cleaned", rejected=folder / "rejected")
    return pl.read_parquet(folder / "cleaned", glob=False)


def measure(loans: pl.DataFrame, search: SearchSpace, *labels: Label) -> dict[str, BackTestPoint]:
    policy = load_policy().model_copy(update={"value": VALUE})
    points = back_test(loans.lazy(), load_contract(), search, policy, [MONTH], snapshot=SNAPSHOT, seed=7, labels=labels)
    return {point.label: point for point in points if point.leads}


def issued_in_2013(loans: pl.DataFrame) -> pl.DataFrame:
    """Return those of the year after `MONTH` that had matured when the file was taken."""
    issued = pl.col("issue_d")
    return loans.filter((issued >= MONTH) & (issued < date(2014, 1, 1)) & (pl.col(MATURES) <= SNAPSHOT))


@pytest.fixture(scope="module")
def points(loans: pl.DataFrame, quick_search: SearchSpace) -> dict[str, BackTestPoint]:
    return measure(loans, quick_search, *LABELS)


@pytest.mark.slow
def test_each_way_of_learning_is_measured_on_the_loans_of_the_year_after(
    loans: pl.DataFrame, points: dict[str, BackTestPoint]
) -> None:
    before, after = loans.filter(pl.col("issue_d") < MONTH), issued_in_2013(loans)
    assert points["matured"].reason
    assert points["platform"].reason
    assert (points["platform"].verdict, points["platform"].model) == ("", "")
    for point in points.values():
        assert point.loans == after.height
        assert point.default_rate == pytest.approx(after[OUTCOME].mean())
        assert sum(term.loans for term in point.terms) == (point.loans if point.auc else 0)
    open_then = before.filter(pl.col(OUTCOME_KNOWN) > MONTH).height
    for label in ("hazard", "open"):
        point = points[label]
        assert (point.learned, point.learned_open) == (before.height, open_then)
        assert point.auc is not None and point.auc > 0.58
        assert point.mean_pd == pytest.approx(point.default_rate, abs=0.06)
        assert point.year_mean_pd == pytest.approx(point.year_default_rate, abs=0.03)
        assert point.year_auc is not None and point.year_auc > 0.55
    assert points["hindsight"].learned == before.height


@pytest.mark.slow
def test_what_approved_loans_earned_is_summed_beside_what_was_expected(
    loans: pl.DataFrame, quick_search: SearchSpace
) -> None:
    all_approved = load_policy().decision.model_copy(update={"approve_below": 1.0, "decline_from": 1.0})
    policy = load_policy().model_copy(update={"value": ValuePolicy(funding_rate=0.0), "decision": all_approved})
    points = back_test(
        loans.lazy(),
        load_contract(),
        quick_search,
        policy,
        [MONTH],
        snapshot=SNAPSHOT,
        seed=7,
        labels=["hindsight", "hazard"],
    )
    paid = pl.sum_horizontal("amount_principal", "amount_interest", "amount_fees", "amount_recovered")
    tested = issued_in_2013(loans)
    earned = tested.select((paid - pl.col("amount_cost") - pl.col("amount_funded")).sum()).item()
    assert [point.model for point in points if point.label == "hazard"] == ["hazards"]
    assert {point.model for point in points[:-1]} == set(quick_search.enabled)
    assert [point.leads for point in points] == [True, *[False] * (len(points) - 2), True]
    for point in points:
        assert (point.approved, point.declined) == (1.0, 0.0)
        assert point.approved_npv == pytest.approx(earned)
        assert point.rules is not None
        assert {name: each.loans for name, each in point.rules.items()} == dict.fromkeys(
            ("present", "pd", "npv"), tested.height
        )
        assert point.rules["present"].expected_npv == point.approved_expected_npv
        for name in ("approved_npv", "approved_expected_npv"):
            assert sum(getattr(term, name) for term in point.terms) == pytest.approx(getattr(point, name))
        assert sum(each.loans * each.realised for each in point.deciles) == pytest.approx(earned)
        assert sum(each.loans * each.expected for each in point.deciles) == pytest.approx(point.approved_expected_npv)
        assert sum(each.is_inside for each in point.deciles) >= 7
        lent = tested.select(pl.col("amount_funded").sum()).item()
        assert point.approved_expected_npv == pytest.approx(earned, abs=0.06 * lent)


@pytest.mark.slow
def test_the_platform_stands_as_its_own_gates_had_it(loans: pl.DataFrame, quick_search: SearchSpace) -> None:
    """Who is promoted stays in production until another proves better; where the gates hold nothing is measured."""
    shipped = load_policy()
    loosened = {
        "least_test_rows": 20, "least_test_defaults": 3, "auc_at_least": 0.0, "suspect_leak_above_auc": 1.0,
        "gain_over_opinion_at_least": -1.0, "calibration_tolerance": 9.0, "slope_tolerance": 99.0,
        "segments": (), "blank_approvals_rise_at_most": 1.0, "approval_rate": (0.0, 1.0), "auc_gain_at_least": 1.0,
    }  # fmt: skip
    lenient = shipped.model_copy(update={"promotion": shipped.promotion.model_copy(update=loosened)})
    quick = SearchSpace({"logistic_regression": quick_search.sections["logistic_regression"]})
    months = [date(2014, 3, 1), date(2014, 6, 1)]
    first, second = back_test(
        loans.lazy(), load_contract(), quick, lenient, months, snapshot=SNAPSHOT, seed=7, labels=["platform"]
    )
    assert (first.verdict, first.model, first.reason) == ("promote", "logistic_regression", "")
    assert (second.verdict, second.model) == ("hold", "logistic_regression of 2014-03")
    assert second.reason
    assert second.learned == first.learned > 0
    assert first.auc is not None
    (strict,) = back_test(
        loans.lazy(), load_contract(), quick, shipped, months[1:], snapshot=SNAPSHOT, seed=7, labels=["platform"]
    )
    assert (strict.verdict, strict.model, strict.auc) == ("hold", "", None)
    assert "500 and 100 are needed" in strict.reason
    assert reasons_of([strict.to_dict()]) == [f"2014-06 platform, held: {strict.reason}"]


def test_it_is_said_by_how_much_pds_were_too_high_or_too_low() -> None:
    def point(month: str, mean_pd: float | None, **others: object) -> dict[str, object]:
        return {"month": month, "label": "open", "mean_pd": mean_pd, "default_rate": 0.1, "leads": True, **others}

    points = [
        point("2010-01", 0.2),
        point("2010-01", 0.4, leads=False),
        point("2011-01", 0.104),
        point("2012-01", 0.08),
        point("2013-01", 0.15),
        point("2010-01", None, label="platform"),
        point("2010-01", 0.2, label="hindsight"),
    ]
    assert [*levels_of(points)] == [
        "On average PDs of open were too high by 10.0 points as of 2010-01, 5.0 points as of 2013-01 and too low by "
        "2.0 points as of 2012-01."
    ]


@pytest.mark.slow
def test_what_was_known_later_changes_nothing_that_is_learned(
    loans: pl.DataFrame, points: dict[str, BackTestPoint], quick_search: SearchSpace
) -> None:
    hidden = (pl.col("issue_d") < MONTH) & (pl.col(OUTCOME_KNOWN) > MONTH)
    other = loans.with_columns(pl.when(hidden).then(1 - pl.col(OUTCOME)).otherwise(OUTCOME).alias(OUTCOME))
    assert measure(other, quick_search, "open", "hindsight")["open"] == points["open"]
    assert measure(other, quick_search, "hindsight")["hindsight"].mean_pd != points["hindsight"].mean_pd


def test_where_too_few_had_matured_the_point_says_so(loans: pl.DataFrame, quick_search: SearchSpace) -> None:
    young = loans.filter(pl.col("issue_d") >= date(2011, 1, 1))
    point = measure(young, quick_search, "matured")["matured"]
    assert (point.learned, point.auc) == (0, None)
    assert point.reason == "0 loans had matured, of which 0 defaulted: too few."
    (row,) = rows_of([point.to_dict()])
    assert len(row) == len(COLUMNS)
    assert row[:2] == ("2013-01", "matured")


def test_a_month_that_no_matured_loans_follow_cannot_be_tested(loans: pl.DataFrame, quick_search: SearchSpace) -> None:
    policy = load_policy()
    with pytest.raises(BadInput, match="No month from 2014-10 to 2015-04 is followed by 100 loans that had matured"):
        months = [date(2014, 10, 1), date(2015, 4, 1)]
        back_test(loans.lazy(), load_contract(), quick_search, policy, months, snapshot=SNAPSHOT, seed=7)


def test_months_follow_each_other() -> None:
    expected = [date(2010, 11, 1), date(2011, 3, 1), date(2011, 7, 1)]
    assert months_between(date(2010, 11, 1), date(2011, 10, 1), 4) == expected


# --- on the published loans -----------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.long
def test_open_loans_of_january_2011_tell_how_the_loans_of_2011_ended(real_data: Path, tmp_path: Path) -> None:
    """Of the 20,810 loans then issued 155 had matured; with all outcomes known the model of then is as good as ever."""
    loans, splits = published_loans(real_data, tmp_path)
    assert splits.snapshot
    policy, search = load_policy(), full_search_space()
    points = back_test(loans, load_contract(), search, policy, [date(2011, 1, 1)], snapshot=splits.snapshot, seed=7)
    of = {point.label: point for point in points if point.model in ("", "hazards", "xgboost")}
    matured, hazard, with_open, hindsight = (of[label] for label in WAYS)
    assert of["platform"].auc is None
    for point in (hazard, with_open):
        assert point.auc is not None and point.auc >= 0.675
        assert point.brier is not None and point.brier <= 0.1230
        assert point.mean_pd == pytest.approx(0.152, abs=0.01)
        assert all(abs(term.mean_pd - term.default_rate) <= 0.02 for term in point.terms)
        assert point.year_auc is not None and point.year_auc >= 0.675
        assert point.year_mean_pd == pytest.approx(0.0267, abs=0.003)
    assert (matured.learned, with_open.learned) == (155, 20_810)
    assert matured.brier is not None and with_open.brier is not None and matured.auc is not None
    assert with_open.brier < matured.brier
    assert with_open.auc is not None and with_open.auc > matured.auc + 0.02
    assert hindsight.auc is not None and hindsight.auc >= 0.702
    assert hindsight.brier is not None and hindsight.brier <= 0.1203
