"""Back-tests: what is learned at a month knows nothing later, and is measured on the loans that came after."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.contract.columns import OUTCOME, OUTCOME_KNOWN
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.policy import ValuePolicy, load_policy
from loan_default.risk.validation.backtest import (
    COLUMNS,
    LABELS,
    BackTestPoint,
    Label,
    back_test,
    months_between,
    rows_of,
)
from loan_default_tests.packages import full_search_space
from loan_default_tests.risk.conftest import published_loans

MONTH, SNAPSHOT = date(2013, 1, 1), date(2019, 3, 1)
VALUE = ValuePolicy(funding_rate=0.05)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Clean loans of which all have ended, issued in the three years before `MONTH` and the one after it."""
    folder = tmp_path_factory.mktemp("backtest")
    raw = make_loans(2_400, seed=5, first_month=date(2010, 1, 1), last_month=date(2013, 10, 1))
    write_csv(raw, folder / "loans.csv")
    clean_loans([folder / "loans.csv"], load_contract(), cleaned=folder / "cleaned", rejected=folder / "rejected")
    return pl.read_parquet(folder / "cleaned", glob=False)


def measure(loans: pl.DataFrame, search: SearchSpace, *labels: Label) -> dict[str, BackTestPoint]:
    policy = load_policy().model_copy(update={"value": VALUE})
    points = back_test(loans.lazy(), load_contract(), search, policy, [MONTH], snapshot=SNAPSHOT, seed=7, labels=labels)
    return {point.label: point for point in points}


@pytest.fixture(scope="module")
def points(loans: pl.DataFrame, quick_search: SearchSpace) -> dict[str, BackTestPoint]:
    return measure(loans, quick_search, *LABELS)


def test_each_way_of_learning_is_measured_on_the_loans_of_the_year_after(
    loans: pl.DataFrame, points: dict[str, BackTestPoint]
) -> None:
    before, after = (loans.filter(in_time) for in_time in (pl.col("issue_d") < MONTH, pl.col("issue_d") >= MONTH))
    assert points["matured"].reason
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


def test_what_approved_loans_earned_is_summed(loans: pl.DataFrame, quick_search: SearchSpace) -> None:
    all_approved = load_policy().decision.model_copy(update={"approve_below": 1.0, "decline_from": 1.0})
    policy = load_policy().model_copy(update={"value": ValuePolicy(funding_rate=0.0), "decision": all_approved})
    (point,) = back_test(
        loans.lazy(), load_contract(), quick_search, policy, [MONTH], snapshot=SNAPSHOT, seed=7, labels=["hindsight"]
    )
    paid = pl.sum_horizontal("amount_principal", "amount_interest", "amount_fees", "amount_recovered")
    earned = loans.filter(pl.col("issue_d") >= MONTH).select(
        (paid - pl.col("amount_cost") - pl.col("amount_funded")).sum()
    )
    assert point.approved_npv == pytest.approx(earned.item())


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
    with pytest.raises(BadInput, match="No month from 2014-01 to 2014-07 is followed by 100 loans that had matured"):
        months = [date(2014, 1, 1), date(2014, 7, 1)]
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
    matured, hazard, with_open, hindsight = points
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
