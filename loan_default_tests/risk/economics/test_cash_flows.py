import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.cash_flows import (
    Costs,
    Endings,
    RealisedLoans,
    balances,
    instalments,
    realised_values,
    scheduled_balances,
    unit_values,
)

RATES = st.floats(0.0, 0.6)
TERMS = st.integers(1, 120)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def repaid_at_term(months: int, loss: float = 0.9) -> Endings:
    """Loans of which all that are repaid are at their term, and of which defaults pay nothing."""
    first, last = np.zeros(months), np.zeros(months)
    first[0], last[-1] = 1, 1
    return Endings(defaulted=first, repaid=last, loss=np.full(months, loss))


def test_a_payment_is_that_of_the_textbook() -> None:
    """10,000 at 6 % over 36 months is paid back by 304.22 a month, as any table of annuities says."""
    assert 10_000 * instalments(floats(0.06), 36)[0] == pytest.approx(304.22, abs=0.005)
    assert instalments(floats(0.0), 8)[0] == 1 / 8


@given(RATES, TERMS)
def test_what_is_owed_follows_from_month_to_month(rate: float, months: int) -> None:
    owed, payment = balances(floats(rate), months)[0], instalments(floats(rate), months)[0]
    assert owed[0] == pytest.approx(1)
    assert owed[-1] == pytest.approx(0, abs=1e-9)
    assert owed[1:] == pytest.approx(owed[:-1] * (1 + rate / 12) - payment, abs=1e-9)


@given(RATES, TERMS)
def test_a_certain_repayment_at_the_rate_of_funding_is_worth_nothing(rate: float, months: int) -> None:
    values = unit_values(floats(rate), repaid_at_term(months), Costs(funding=rate))
    assert values.repaid[0] == pytest.approx(0, abs=1e-9)


@given(RATES, TERMS, st.data())
def test_early_repayment_ends_the_interest(rate: float, months: int, data: st.DataObject) -> None:
    """At the rate of funding a loan is worth nothing whenever it is repaid, and without funding its interest."""
    month = data.draw(st.integers(1, months))
    repaid = np.zeros(months)
    repaid[month - 1] = 1
    endings = Endings(repaid_at_term(months).defaulted, repaid, np.zeros(months))
    assert unit_values(floats(rate), endings, Costs(funding=rate)).repaid[0] == pytest.approx(0, abs=1e-9)
    owed = balances(floats(rate), months)[0]
    interest = owed[:month].sum() * rate / 12
    free = unit_values(floats(rate), endings, Costs(funding=0))
    assert free.repaid[0] == pytest.approx(interest, abs=1e-8)
    assert free.years_repaid[0] == pytest.approx(owed[:month].sum() / 12)


def test_a_default_before_the_first_payment_loses_what_is_not_recovered() -> None:
    values = unit_values(floats(0.2), repaid_at_term(24, loss=0.75), Costs(funding=0.12, recovery_months=12))
    assert values.exposure[0] == pytest.approx(1)
    assert values.loss[0] == pytest.approx(0.75)
    assert values.defaulted[0] == pytest.approx(0.25 / 1.01**12 - 1)


@given(RATES, st.floats(0, 0.2), st.floats(0, 0.05), st.floats(0, 0.05))
def test_costs_and_losses_take_value(rate: float, funding: float, servicing: float, origination: float) -> None:
    costs = Costs(funding, servicing, origination, 6)
    cheap, dear = (
        unit_values(floats(rate), repaid_at_term(36), Costs(funding)),
        unit_values(floats(rate), repaid_at_term(36), costs),
    )
    assert dear.repaid[0] <= cheap.repaid[0] + 1e-12
    worse = unit_values(floats(rate), repaid_at_term(36, loss=1.0), costs)
    assert worse.defaulted[0] <= dear.defaulted[0]
    assert worse.loss[0] >= dear.loss[0]


@given(st.lists(RATES, min_size=1, max_size=5), st.sampled_from([6, 36, 60]))
def test_what_is_realised_is_what_is_expected_of_a_certain_end(rates: list[float], months: int) -> None:
    """A loan that pays every payment, and then no more, is worth what its schedule is worth."""
    costs = Costs(0.05, 0.01, 0.02, 9)
    each, count = np.array(rates), len(rates)
    lent, terms = np.full(count, 1_000.0), np.full(count, float(months))
    paid = lent * instalments(each, months) * months
    loans = RealisedLoans(lent, each, terms, terms, paid, np.zeros(count))
    assert realised_values(loans, costs) == pytest.approx(
        lent * unit_values(each, repaid_at_term(months), costs).repaid, abs=1e-6
    )


def test_recovered_money_counts_when_it_comes() -> None:
    loans = RealisedLoans(*(floats(value) for value in (1_000.0, 0.1, 36.0, 0.0, 0.0, 300.0)))
    (value,) = realised_values(loans, Costs(0.12, recovery_months=2))
    assert value == pytest.approx(300 / 1.01**2 - 1_000)
    assert scheduled_balances(loans)[0] == 1_000


def test_many_rates_are_valued_as_one_is() -> None:
    rates, endings = np.linspace(0.01, 0.3, 20_001), repaid_at_term(12)
    together = unit_values(rates, endings, Costs(0.03))
    for row in (0, 19_999, 20_000):
        alone = unit_values(rates[[row]], endings, Costs(0.03))
        assert together.take([row]).repaid == pytest.approx(alone.repaid, abs=1e-12)
