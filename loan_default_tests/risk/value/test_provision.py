"""Provisions: sums are those of the loans, a loan that has just been granted is expected to lose its expected loss."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.economics.cash_flows import Endings
from loan_default.risk.economics.valuation import PricedLoans, ValueModel
from loan_default.risk.policy import ProvisionPolicy, Scenario, ValuePolicy
from loan_default.risk.value.provision import (
    STAGES,
    LossModel,
    OpenLoans,
    expected_losses,
    provision_loans,
    stage_loans,
    summarise,
)
from loan_default_tests.packages import timed_scorer

TERMS = (12, 36)


def endings(months: int) -> Endings:
    rng = np.random.default_rng(months)
    defaulted, repaid = (shares / shares.sum() for shares in (rng.random(months), rng.random(months)))
    return Endings(defaulted, repaid, np.linspace(0.8, 0.4, months), 0.95)


VALUE = ValueModel(ValuePolicy(funding_rate=0.05), {months: endings(months) for months in TERMS}, {})
BY_TERM = LossModel(VALUE)
SCENARIOS = {"base": Scenario(weight=3), "severe": Scenario(hazard=2.0, prepayment=0.7, lgd=1.3, weight=1)}
POLICY = ProvisionPolicy(scenarios=SCENARIOS)


def open_loans(rows: list[tuple[Any, ...]]) -> OpenLoans:
    """Return loans with log-odds of hazards, about as high as those of real ones, but unlike each other."""
    margins = np.random.default_rng(len(rows)).normal(-3, 1.5, (len(rows), 12))
    columns = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return replace(OpenLoans(*columns), hazard_margins=margins)


@pytest.fixture(scope="module", params=["by term", "by curve"])
def model(request: pytest.FixtureRequest) -> LossModel:
    return BY_TERM if request.param == "by term" else LossModel(VALUE, timed_scorer("xgboost").hazard, 5)


LOANS = st.lists(
    st.tuples(
        st.floats(0.001, 0.9),
        st.floats(10, 50_000),
        st.floats(0, 0.4),
        st.sampled_from([12.0, 36.0, 48.0]),
        st.integers(0, 40),
        st.integers(0, 6),
        st.floats(0.001, 0.9) | st.just(float("nan")),
    ),
    min_size=1,
    max_size=20,
)


@given(LOANS)
def test_every_sum_is_that_of_the_loans(model: LossModel, rows: list[tuple[Any, ...]]) -> None:
    loans = open_loans(rows)
    table = provision_loans(model, loans, POLICY).with_columns(term=pl.Series(loans.terms))
    report = summarise(table, POLICY, {"term": "term"})
    valued = np.isin(loans.terms, TERMS)
    assert (report["loans"], report["not_valued"]) == (len(rows), int((~valued).sum()))
    assert table["provision"].is_null().to_list() == (~valued).tolist()
    alone = [provision_loans(model, loans.take(np.array([row])), POLICY) for row in range(len(rows))]
    for name in ("balance", "provision", "cecl"):
        total = report["total"][name]
        own = [each[name].item() or 0.0 for each, is_valued in zip(alone, valued, strict=True) if is_valued]
        assert total == pytest.approx(sum(own))
        for parts in (report["stages"], report["groups"]):
            assert sum(part[name] for part in parts) == pytest.approx(total)
    assert sum(part["loans"] for part in report["stages"]) == report["total"]["loans"]
    for name in ("provision", "cecl"):
        mean = sum(POLICY.weights[each["scenario"]] * each[name] for each in report["scenarios"])
        assert mean == pytest.approx(report["total"][name])
    for scenario in report["scenarios"]:
        assert sum(scenario["by_stage"]) == pytest.approx(scenario["provision"])


@given(LOANS)
def test_a_year_is_part_of_a_life_and_stress_costs_more(model: LossModel, rows: list[tuple[Any, ...]]) -> None:
    loans = open_loans([row for row in rows if row[3] in TERMS] or [(0.1, 100, 0.1, 12.0, 0, 0, 0.1)])
    base, severe = (expected_losses(model, loans, scenario) for scenario in SCENARIOS.values())
    for expected in (base, severe):
        assert (expected.year_pd <= expected.lifetime_pd + 1e-12).all()
        assert (expected.year_loss <= expected.lifetime_loss + 1e-9).all()
        assert (expected.lifetime_pd <= 1 + 1e-12).all()
        assert (expected.lifetime_loss <= loans.balances + 1e-9).all()
    assert (severe.lifetime_pd >= base.lifetime_pd - 1e-12).all()
    assert (severe.lifetime_loss >= base.lifetime_loss - 1e-9).all()


def test_a_loan_that_was_just_granted_is_expected_to_lose_its_expected_loss() -> None:
    loans = open_loans([(0.1, 1_000, 0.0, 36, 0, 0, 0.1), (0.3, 500, 0.0, 12, 0, 0, 0.3)])
    expected = expected_losses(BY_TERM, loans)
    assert expected.lifetime_pd == pytest.approx(loans.pds)
    worth = VALUE.value(loans.pds, PricedLoans(loans.balances, loans.rates, loans.terms))
    assert expected.lifetime_loss == pytest.approx(worth.expected_loss)  # at no interest nothing is discounted
    assert expected.year_pd[1] == pytest.approx(0.3)


def test_the_curve_divides_the_pd_and_says_when() -> None:
    """The PD stays that of the version; of two loans alike in it the one that defaults early has lost more by then."""
    hazard = timed_scorer("xgboost").hazard
    assert hazard is not None
    early, late = np.full(12, -3.0), np.full(12, -3.0)
    early[:6], late[:6] = np.linspace(0, -5, 6), np.linspace(-5, 0, 6)  # log-odds of default by phase
    loans = replace(open_loans([(0.2, 1_000, 0.1, 36, 0, 0, 0.2)] * 2), hazard_margins=np.array([early, late]))
    expected = expected_losses(LossModel(VALUE, hazard, 5), loans)
    assert expected.lifetime_pd == pytest.approx([0.2, 0.2])
    assert expected.year_pd[0] > expected.year_pd[1] + 0.02
    assert expected.lifetime_loss[0] > expected.lifetime_loss[1]  # more is owed early
    still = expected_losses(LossModel(VALUE, hazard, 5), replace(loans, months=np.array([24.0, 24.0])))
    assert still.lifetime_pd[0] < still.lifetime_pd[1]


def test_a_loan_that_still_runs_has_outlived_part_of_its_risk() -> None:
    early, late = (expected_losses(BY_TERM, open_loans([(0.2, 1_000, 0.1, 36, months, 0, 0.2)])) for months in (0, 35))
    assert late.lifetime_pd == late.year_pd
    own = VALUE.endings[36]
    last = 0.2 * own.defaulted[35]
    assert late.lifetime_pd[0] == pytest.approx(last / (last + 0.8 * own.repaid[35]))
    assert early.lifetime_pd[0] == pytest.approx(0.2)


def test_a_loan_is_staged_by_missed_payments_and_by_its_pd_since_the_grant() -> None:
    loans = open_loans(
        [
            (0.10, 1, 0.1, 36, 5, 0, 0.06),
            (0.10, 1, 0.1, 36, 5, 0, 0.05),
            (0.10, 1, 0.1, 36, 5, 0, np.nan),
            (0.10, 1, 0.1, 36, 5, 1, 0.1),
            (0.10, 1, 0.1, 36, 5, 3, 0.1),
            (0.10, 1, 0.1, 36, 5, np.nan, np.nan),
        ]
    )
    assert stage_loans(loans, POLICY).tolist() == [1, 2, 1, 2, 3, 1]
    table = provision_loans(BY_TERM, loans, ProvisionPolicy())
    expected = expected_losses(BY_TERM, loans)
    assert table["provision"][0] == pytest.approx(expected.year_loss[0])
    assert table["provision"][1] == pytest.approx(expected.lifetime_loss[1])
    assert table["provision"][4] == table["cecl"][4] == pytest.approx(VALUE.endings[36].loss[5])
    assert {*table["stage"]} == {*STAGES}
