from dataclasses import replace

import numpy as np
import pytest

from loan_default.risk.economics.cash_flows import Costs, RealisedLoans, balances, instalments, unit_values
from loan_default.risk.economics.loss import EndedLoans, estimate_endings, losses_by_vintage, measure_losses


def ended_loans(count: int = 4_000, seed: int = 0, *, short: float = 0.7) -> EndedLoans:
    """Loans of 36 and 12 months: a fifth defaults after a third of the term, and 40 % of that is recovered."""
    rng = np.random.default_rng(seed)
    terms = np.where(rng.random(count) < short, 36.0, 12.0)
    rates, lent = np.full(count, 0.12), 500.0 * rng.integers(1, 20, count).astype(np.float64)
    defaulted = rng.random(count) < 0.2
    months = np.where(defaulted, terms // 3, terms)
    principal, paid = lent.astype(np.float64), np.zeros(count)
    for term in (36, 12):
        rows = terms == term
        principal[rows & defaulted] = lent[rows & defaulted] * (1 - balances(rates[:1], term)[0, term // 3])
        paid[rows] = lent[rows] * instalments(rates[rows], term) * months[rows]
    recovered = np.where(defaulted, 0.4 * (lent - principal), 0.0)
    realised = RealisedLoans(lent, rates, terms, months.astype(np.float64), paid, recovered)
    return EndedLoans(realised, defaulted, principal, rng.integers(0, 24, count))


def test_endings_are_those_of_the_loans() -> None:
    endings = estimate_endings(ended_loans())
    assert {*endings} == {12, 36}
    for term, each in endings.items():
        assert each.defaulted.sum() == pytest.approx(1)
        assert each.repaid.sum() == pytest.approx(1)
        assert each.defaulted[term // 3] > 0.9
        assert each.repaid[-1] == pytest.approx(1)
        assert each.loss == pytest.approx(0.6)
        assert each.exposure == pytest.approx(1)


def test_a_rare_term_leans_on_the_others() -> None:
    loans = ended_loans(short=0.99)
    late = np.where(loans.defaulted & (loans.realised.terms == 12), 8.0, loans.realised.months)
    realised = RealisedLoans(
        *(late if name == "months" else getattr(loans.realised, name) for name in vars(loans.realised))
    )
    timing = estimate_endings(EndedLoans(realised, loans.defaulted, loans.principal))[12].defaulted
    assert timing[4] > timing[8] > 0


def test_losses_have_intervals_that_hold_the_truth() -> None:
    loans = ended_loans()
    by_term = {estimate.term: estimate for estimate in measure_losses(loans)}
    assert by_term[36].defaults == (loans.defaulted & (loans.realised.terms == 36)).sum()
    noise = np.random.default_rng(1).uniform(0, 2, len(loans.defaulted))
    recovered = loans.realised.recovered * noise
    realised = RealisedLoans(
        *(recovered if name == "recovered" else getattr(loans.realised, name) for name in vars(loans.realised))
    )
    (_, estimate) = measure_losses(EndedLoans(realised, loans.defaulted, loans.principal, loans.issued))
    assert estimate.loss.low < 0.6 < estimate.loss.high
    assert estimate.loss.high - estimate.loss.low < 0.06
    assert estimate.exposure.value == pytest.approx(balances(np.array([0.12]), 36)[0, 12])


def test_too_few_defaults_are_no_ground() -> None:
    loans = ended_loans(60)
    with pytest.raises(ValueError, match="defaulted"):
        estimate_endings(loans)


def test_what_was_not_paid_before_is_lost_too() -> None:
    """A default that owed more than its schedule says makes a larger exposure and a lower value."""
    loans = ended_loans()
    behind = EndedLoans(
        loans.realised, loans.defaulted, np.where(loans.defaulted, 0.9 * loans.principal, loans.principal)
    )
    on_time, late = (estimate_endings(each)[36] for each in (loans, behind))
    assert late.exposure > on_time.exposure
    rate = np.array([0.12])
    assert unit_values(rate, late, Costs(0.05)).defaulted < unit_values(rate, on_time, Costs(0.05)).defaulted


def test_a_recovery_that_is_still_to_come_is_no_loss() -> None:
    loans = ended_loans()
    settled = np.arange(len(loans.defaulted)) % 2 == 0
    young = replace(loans, realised=replace(loans.realised, recovered=np.where(settled, loans.realised.recovered, 0)))
    assert estimate_endings(young)[36].loss == pytest.approx(0.8, abs=0.02)
    assert estimate_endings(replace(young, settled=settled))[36].loss == pytest.approx(0.6)
    few = replace(young, settled=settled & (np.cumsum(loans.defaulted) < 20))
    assert estimate_endings(few)[36].loss == pytest.approx(0.8, abs=0.02), "of so few nothing could be said"


def test_losses_of_a_vintage_are_compared_with_what_was_expected_of_its_own_loans() -> None:
    loans, endings = ended_loans(), estimate_endings(ended_loans(seed=1))
    vintages = np.where(np.asarray(loans.issued) < 12, "2010", "2011")
    vintages[:3] = "2012"  # too few to say anything of
    first, second = losses_by_vintage(loans, vintages.tolist(), endings)
    assert (first.vintage, second.vintage) == ("2010", "2011")
    assert first.defaults == (loans.defaulted & (vintages == "2010")).sum()
    for each in (first, second):
        assert each.loss.value == pytest.approx(each.expected_loss)
        assert each.exposure.low <= each.expected_exposure <= each.exposure.high
    worse = EndedLoans(
        replace(loans.realised, recovered=0.5 * loans.realised.recovered), loans.defaulted, loans.principal
    )
    (lost, *_) = losses_by_vintage(worse, vintages.tolist(), endings)
    assert lost.loss.low > lost.expected_loss
