"""Hazards over periods on book: those of simulated loans are recovered, and incidences add up."""

import warnings
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.as_of import LoanHistory
from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.boosting import BoostingParameters
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import (
    PERIOD_MONTHS,
    Hazard,
    Incidence,
    LoanPeriods,
    expected_outcomes,
    fit_hazard,
)
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.past_models import PastBook
from loan_default_tests.packages import full_search_space
from loan_default_tests.risk.conftest import published_loans
from loan_default_tests.risk.data.test_as_of import BOOK

ROWS, TERM, RISK, REPAYMENT = 40_000, 24, (0.01, 0.06), 0.05
SPACE = FeatureSpace(BOOK)


@pytest.fixture(scope="module")
def parameters() -> BoostingParameters:
    quick = {"max_depth": 2, "learning_rate": 0.25, "min_child_weight": 30.0, "subsample": 1.0, "colsample_bynode": 1.0}
    search = full_search_space().tunable("xgboost")
    return search.model_copy(
        update={"start": quick, "search": {}, "full_size": {}, "rounds_at_most": 150, "stop_after_rounds": 40}
    )


def simulate(rows: int, seed: int) -> tuple[pl.DataFrame, LoanHistory, LoanHistory]:
    """Draw loans of which one in `RISK`, by housing, defaults each month; return them, what was observed, and all."""
    rng = np.random.default_rng(seed)
    rents = rng.random(rows) < 0.5
    defaults = rng.geometric(np.where(rents, RISK[1], RISK[0]), rows).astype(float)
    repaid = np.minimum(rng.geometric(REPAYMENT, rows), TERM).astype(float)
    ended, observed = np.minimum(defaults, repaid), rng.integers(1, 40, rows).astype(float)
    observable = ended <= observed
    since_issue = np.zeros(rows)
    everything = LoanHistory(np.full(rows, float(TERM)), np.full(rows, 100.0), since_issue, ended, defaults < repaid)
    history = replace(
        everything,
        observed=observed,
        ended=np.where(observable, ended, np.inf),
        defaulted=everything.defaulted & observable,
    )
    loans = pl.DataFrame({"income": 5e4, "home": np.where(rents, "rent", "own"), "debt": 25.0})
    return loans, history, everything


@pytest.fixture(scope="module")
def hazard(parameters: BoostingParameters) -> Hazard:
    xgboost.set_config(verbosity=0)
    loans, history, _ = simulate(ROWS, seed=1)
    assert 0.2 < history.is_open.mean() < 0.8
    return fit_hazard(SPACE.matrix(loans), history, SPACE, parameters, seed=1, at_most=90_000)


def cumulative(monthly_default: float) -> Floats:
    """Return by month the incidence of default of the simulated loans, of which the last is repaid with the term."""
    months = np.arange(TERM)
    running = ((1 - monthly_default) * (1 - REPAYMENT)) ** months
    repaid_too = np.where(months < TERM - 1, REPAYMENT, 1.0)
    return np.cumsum(running * monthly_default * (1 - repaid_too))


@pytest.mark.slow
def test_simulated_hazards_are_recovered_though_most_loans_are_open(hazard: Hazard) -> None:
    loans, _, _ = simulate(1_000, seed=6)
    incidence = hazard.incidence(SPACE.matrix(loans), np.full(1_000, float(TERM)))
    for level, monthly in zip(("own", "rent"), RISK, strict=True):
        rows, expected = (loans["home"] == level).to_numpy(), cumulative(monthly)
        assert incidence.lifetime[rows].mean() == pytest.approx(expected[-1], rel=0.1)
        assert incidence.defaulted_by(np.full(1_000, 12.0))[rows].mean() == pytest.approx(expected[11], rel=0.1)


@pytest.mark.slow
def test_labels_of_open_loans_are_right_on_average(hazard: Hazard) -> None:
    loans, history, everything = simulate(ROWS, seed=2)
    expected = expected_outcomes(hazard, SPACE.matrix(loans), history)
    assert (expected[~history.is_open] == history.defaulted[~history.is_open]).all()
    for level in ("rent", "own"):
        rows = history.is_open & (loans["home"] == level).to_numpy()
        assert expected[rows].mean() == pytest.approx(everything.defaulted[rows].mean(), abs=0.03)


def test_incidences_add_up(hazard: Hazard) -> None:
    loans, _, _ = simulate(200, seed=3)
    incidence = hazard.incidence(SPACE.matrix(loans), np.linspace(1, 60, 200))
    total = incidence.defaulted + incidence.repaid
    assert total.max() <= 1 + 1e-9
    assert (np.diff(incidence.defaulted) >= 0).all()
    assert (np.diff(incidence.repaid) >= 0).all()
    assert (incidence.expected_life <= 60 + PERIOD_MONTHS).all()
    for term, delay in ((1, 0), (36, 5), (60, 70)):
        for shares in incidence.by_month(term, delay):
            assert shares.shape == (200, term)
            assert (shares >= 0).all()
            assert shares.sum(axis=1) == pytest.approx(1)


@given(st.integers(1, 40), st.one_of(st.just(np.inf), st.integers(1, 60)), st.booleans())
def test_a_loan_has_a_row_for_each_period_that_was_observed_of_it(observed: int, ended: float, bad: bool) -> None:
    ended = ended if ended <= observed else np.inf
    terms, months, ends = (np.array([value], dtype=float) for value in (TERM, observed, ended))
    history = LoanHistory(terms, months, np.zeros(1), ends, np.array([bad]))
    periods = LoanPeriods.of(history, grace_months=3)
    assert periods.periods.tolist() == [*range(len(periods))]
    assert len(periods) <= min(observed // PERIOD_MONTHS, (TERM + 3) // PERIOD_MONTHS)
    events = periods.defaulted + periods.repaid
    assert events[:-1].sum() == 0
    period_end = PERIOD_MONTHS * np.ceil(ended / PERIOD_MONTHS)  # the event's period has to be over, and in the grace
    assert events.sum() == (period_end <= min(observed, TERM + 3))
    assert periods.defaulted.sum() == (bad and events.sum())


def test_loans_that_were_seen_to_run_later_count_from_then_on() -> None:
    """What had ended before is not among them: counted from the issue, the rate would be too low."""
    loans, _, everything = simulate(60_000, seed=8)
    rents = (loans["home"] == "rent").to_numpy()
    entered = np.random.default_rng(8).integers(0, 20, len(rents)).astype(float)
    seen = everything[rents & (everything.ended > entered)]
    entered = entered[rents & (everything.ended > entered)]
    rates = []
    for since in (entered, np.zeros(len(entered)), np.full(len(entered), np.inf)):
        periods = LoanPeriods.of(replace(seen, entered=since), grace_months=0)
        first = periods[(periods.periods > 0) & (periods.periods < 4)]
        rates.append(first.defaulted.sum() / len(first) if len(periods) else None)
    survived = (1 - RISK[1]) * (1 - REPAYMENT)
    expected = RISK[1] * (1 - REPAYMENT) * (1 + survived + survived**2)  # who would do both in a month repays
    assert rates[0] == pytest.approx(expected, rel=0.05)
    assert rates[1] is not None
    assert rates[1] < 0.8 * expected
    assert rates[2] is None, "of which nothing was seen nothing is learned"


def test_weights_make_up_for_periods_that_were_not_drawn() -> None:
    _, history, _ = simulate(20_000, seed=4)
    periods = LoanPeriods.of(history, grace_months=0)
    drawn = periods.draw(9_000, np.random.default_rng(0))
    assert 7_000 < len(drawn) < 9_500
    for name in ("defaulted", "repaid"):
        total = (getattr(drawn, name) * drawn.weights).sum()
        assert total == pytest.approx(getattr(periods, name).sum(), rel=0.05)
    assert drawn.weights.sum() == pytest.approx(len(periods), rel=0.05)
    assert periods.draw(len(periods), np.random.default_rng(0)) is periods


def test_the_share_of_the_loan_that_still_runs_counts_when_it_is_asked_later() -> None:
    incidence = Incidence(np.array([[0.0, 0.1, 0.3]]), np.array([[0.0, 0.4, 0.7]]))
    assert incidence.defaulted_after(np.array([3.0])) == pytest.approx(0.2 / 0.5)
    assert incidence.defaulted_by(np.array([4.5])) == pytest.approx(0.2)
    assert incidence.expected_life == pytest.approx(3 * (1 + 0.5) / 2 + 3 * 0.5 / 2)


def test_endings_are_divided_among_the_months_of_the_term() -> None:
    incidence = Incidence(np.array([[0.0, 0.1, 0.3]]), np.array([[0.0, 0.4, 0.6]]))
    defaults, repayments = incidence.by_month(6, months_after_default=2)
    assert defaults[0] == pytest.approx(np.array([2, 1, 2, 2, 2, 0]) / 9)  # known two months after the last payment
    assert repayments[0] == pytest.approx(np.array([4, 4, 4, 2, 2, 2 + 3]) / 21)  # what runs on is repaid at the end


def test_without_a_default_there_is_no_hazard(parameters: BoostingParameters) -> None:
    loans, history, _ = simulate(50, seed=5)
    none = replace(history, defaulted=np.zeros(50, dtype=bool))
    with pytest.raises(BadInput, match="No default was observed among 50 loans"):
        fit_hazard(SPACE.matrix(loans), none, SPACE, parameters, seed=1)


def aalen_johansen(history: LoanHistory, months: int, event: int) -> tuple[float, float]:
    """Return the interval of 95% of the incidence of default (1) or repayment (2) by so many months, all observed."""
    lifelines = pytest.importorskip("lifelines", reason="pip install lifelines")
    kind = np.where(history.ended > months, 0, np.where(history.defaulted, 1, 2))
    fitter = lifelines.AalenJohansenFitter(seed=1)
    # It breaks ties by chance, and warns of it: so who still runs leaves half a month later.
    with warnings.catch_warnings(action="ignore"):
        fitter.fit(np.minimum(history.ended, months + 0.5), kind, event_of_interest=event)
    low, high = fitter.confidence_interval_.iloc[-1]
    return low, high


def incidence_of(incidence: Incidence, months: int, event: int) -> Floats:
    """Return the incidence of default (1) or repayment (2) of each loan by so many months."""
    return (incidence.defaulted if event == 1 else incidence.repaid)[:, months // PERIOD_MONTHS]


@pytest.mark.parametrize("event", [1, 2], ids=["default", "repayment"])
def test_incidences_of_each_vintage_lie_within_the_interval_of_aalen_and_johansen(hazard: Hazard, event: int) -> None:
    loans, history, _ = simulate(3_000, seed=7)
    rents = (loans["home"] == "rent").to_numpy()
    for observed in (6, 12, 18):  # the months until the view, of a vintage
        rows = (history.observed >= observed) & rents
        low, high = aalen_johansen(history[rows], observed, event)
        incidence = hazard.incidence(SPACE.matrix(loans.filter(rows)), history.terms[rows])
        assert low <= incidence_of(incidence, observed, event).mean() <= high


@pytest.mark.real_data
@pytest.mark.long
def test_incidences_of_published_vintages_lie_within_the_interval_too(real_data: Path, tmp_path: Path) -> None:
    """Hold each quarter of issue, as it was known in January 2011, against what hazards of all of them say."""
    published, splits = published_loans(real_data, tmp_path)
    assert splits.snapshot
    month, search = date(2011, 1, 1), full_search_space()
    past = PastBook(published, load_contract(), month, splits.snapshot, search, load_policy(), seed=7)
    incidence = past.hazard.incidence(past.space.matrix(past.view), past.history.terms)
    assert (incidence.defaulted + incidence.repaid).max() <= 1 + 1e-9
    quarters = past.view["issue_d"].dt.truncate("1q")
    inside = []
    for quarter in quarters.unique():
        rows = (quarters == quarter).to_numpy() & (past.history.terms == 36)
        months = [each for each in (12, 24, 36) if each <= past.history.observed[rows].min(initial=np.inf)]
        for event, by in product((1, 2), months if rows.sum() >= 200 else ()):
            low, high = aalen_johansen(past.history[rows], by, event)
            inside.append(low <= incidence_of(incidence, by, event)[rows].mean() <= high)
    assert len(inside) == 30
    assert np.mean(inside) >= 0.95
