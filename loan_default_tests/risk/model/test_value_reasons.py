import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.economics.cash_flows import Endings
from loan_default.risk.economics.valuation import PricedLoans, ValueModel
from loan_default.risk.estimates import Estimate
from loan_default.risk.model.value_reasons import lost_value
from loan_default.risk.policy import ValuePolicy


def endings(months: int) -> Endings:
    shares = np.full(months, 1 / months)
    return Endings(shares, shares[::-1].copy(), np.full(months, 0.7), 1.1)


CORRECTIONS = {36: Estimate(0.01, 0.001, None), 60: Estimate(-0.02, 0.001, None)}
MODEL = ValueModel(ValuePolicy(funding_rate=0.05), {36: endings(36), 60: endings(60)}, CORRECTIONS)
TYPICAL = (0.12, 36.0)


def margins(pds: np.ndarray, rates: np.ndarray, terms: np.ndarray) -> np.ndarray:
    return MODEL.value(pds, PricedLoans(np.ones(len(pds)), rates, terms)).margins


@given(
    st.lists(
        st.tuples(st.floats(0.01, 0.9), st.floats(-3, 3), st.floats(0, 0.4), st.sampled_from([36.0, 60.0])), min_size=1
    )
)
def test_what_all_parts_take_away_is_what_the_typical_loan_is_worth_more(
    rows: list[tuple[float, float, float, float]],
) -> None:
    pds, added, rates, terms = (np.array(column) for column in zip(*rows, strict=True))
    lost = lost_value(MODEL, pds, added, PricedLoans(np.ones(len(pds)), rates, terms), TYPICAL)
    odds = pds / (1 - pds) * np.exp(-added)
    typical = margins(odds / (1 + odds), np.full(len(pds), TYPICAL[0]), np.full(len(pds), TYPICAL[1]))
    together = lost.rate + lost.term + lost.per_log_odds * added
    assert together == pytest.approx(typical - margins(pds, rates, terms), abs=1e-7)


def test_a_higher_risk_and_a_lower_rate_take_away() -> None:
    loans = PricedLoans(np.ones(2), np.array([0.05, 0.2]), np.array([36.0, 36.0]))
    lost = lost_value(MODEL, np.array([0.1, 0.1]), np.array([0.5, 0.0]), loans, TYPICAL)
    assert (lost.per_log_odds > 0).all()
    assert lost.rate[0] > 0 > lost.rate[1]
    assert lost.term.tolist() == [0, 0]


def test_what_is_typical_and_not_known_takes_nothing_away() -> None:
    loans = PricedLoans(np.ones(1), np.array([0.05]), np.array([60.0]))
    lost = lost_value(MODEL, np.array([0.1]), np.array([0.5]), loans, (math.nan, 48.0))
    assert (lost.rate[0], lost.term[0]) == (0, 0)
