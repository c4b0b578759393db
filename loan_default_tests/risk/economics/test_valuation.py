import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.economics.cash_flows import realised_values
from loan_default.risk.economics.valuation import PricedLoans, ValueModel, fit_value
from loan_default.risk.policy import ValuePolicy
from loan_default_tests.risk.economics.test_loss import ended_loans

POLICY = ValuePolicy(funding_rate=0.05, servicing_cost=0.01)
LOANS = ended_loans()
PDS = np.where(LOANS.defaulted, 0.2, 0.2)
MODEL = fit_value(LOANS, PDS, POLICY)


def priced(amounts: list[float], rates: list[float], terms: list[float]) -> PricedLoans:
    return PricedLoans(*(np.array(values, dtype=np.float64) for values in (amounts, rates, terms)))


def test_development_earns_what_is_expected_of_it() -> None:
    loans = PricedLoans(LOANS.realised.lent, LOANS.realised.rates, LOANS.realised.terms)
    pds = np.full(len(LOANS.defaulted), LOANS.defaulted.mean())
    expected = fit_value(LOANS, pds, POLICY).value(pds, loans)
    realised = realised_values(LOANS.realised, MODEL.costs)
    assert expected.npv.mean() == pytest.approx(realised.mean(), abs=0.02 * loans.amounts.mean())
    lost = LOANS.exposure - LOANS.realised.recovered
    assert expected.expected_loss.sum() == pytest.approx(lost[LOANS.defaulted].sum(), rel=0.05)


def test_a_model_whose_pds_are_too_low_is_corrected_beyond_chance() -> None:
    corrected = fit_value(LOANS, np.full(len(PDS), 0.1), POLICY)
    loans = priced([1_000], [0.12], [36])
    uncorrected = ValueModel(POLICY, corrected.endings, {})
    pd = np.array([0.1])
    assert corrected.value(pd, loans).npv < uncorrected.value(pd, loans).npv - 30
    assert corrected.errors(loans)[0] > 0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(100, 1e5), st.floats(0, 0.5), st.sampled_from([12.0, 36.0]))
def test_a_higher_pd_is_a_higher_loss_and_a_lower_value(
    pd: float, other: float, amount: float, rate: float, term: float
) -> None:
    low, high = sorted((pd, other))
    loans = priced([amount] * 2, [rate] * 2, [term] * 2)
    values = MODEL.value(np.array([low, high]), loans)
    assert values.expected_loss[0] <= values.expected_loss[1]
    assert values.npv[0] >= values.npv[1] - 1e-9 * amount
    assert (values.years > 0).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 1e6), st.floats(0, 0.9)), min_size=1, max_size=5))
def test_a_loan_has_the_same_value_alone_and_among_others(rows: list[tuple[float, float, float]]) -> None:
    pds, amounts, rates = (np.array(column) for column in zip(*rows, strict=True))
    terms = np.resize([12.0, 36.0], len(rows))
    values = MODEL.value(pds, PricedLoans(amounts, rates, terms))
    for row, (pd, amount, rate) in enumerate(rows):
        alone = MODEL.value_application(pd, amount, rate, float(terms[row]))
        assert alone == (values.expected_loss[row], values.npv[row], values.margins[row])


def test_what_was_not_learned_has_no_value() -> None:
    loans = priced([1_000, np.nan, 1_000, 1_000], [0.1, 0.1, np.nan, 0.1], [48, 36, 36, np.nan])
    values = MODEL.value(np.full(4, 0.1), loans)
    assert np.isnan(values.npv).all()
    assert np.isnan(values.expected_loss).all()
    for row in range(4):
        assert np.isnan(MODEL.value_application(0.1, *(float(column[row]) for column in loans))).all()


def test_it_is_the_same_when_it_was_stored() -> None:
    stored = ValueModel.from_dict(json.loads(json.dumps(MODEL.to_dict())))
    loans = priced([5_000, 900], [0.1, 0.2], [36, 12])
    pds = np.array([0.05, 0.3])
    assert stored.policy == POLICY
    assert (stored.value(pds, loans).npv == MODEL.value(pds, loans).npv).all()
    assert stored.corrections == MODEL.corrections


def test_few_loans_are_looked_up_and_have_the_same_values_as_many() -> None:
    rates, terms = np.linspace(-0.5, 0.4, 60), np.resize([12.0, 36.0, 48.0, np.nan], 60)
    loans = PricedLoans(np.full(60, 1_000.0), rates, terms)
    together = MODEL.units(loans)
    for row in range(60):
        alone = MODEL.units(PricedLoans(*(column[[row]] for column in loans)))
        assert np.array_equal(
            [getattr(alone, name)[0] for name in vars(alone)],
            [getattr(together, name)[row] for name in vars(together)],
            equal_nan=True,
        )
