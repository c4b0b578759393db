"""What approved loans come to: parts add up, and a rule approves what it ranks first."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.economics.approval import RULES, approved_by, outcome_of, realised_by_decile
from loan_default_tests.risk.economics.valued import valued_loans

LOANS = valued_loans()


def test_the_parts_of_a_book_add_up_to_the_whole() -> None:
    everything = np.ones(len(LOANS.pds), dtype=np.bool_)
    low = LOANS.pds < 0.1
    totals, first, second = (outcome_of(LOANS, rows, 0.1) for rows in (everything, low, ~low))
    for name in ("loans", "share", "volume", "expected_loss", "loss", "expected_npv", "npv"):
        assert getattr(totals, name) == pytest.approx(getattr(first, name) + getattr(second, name))
    assert totals.npv == pytest.approx(LOANS.npv.sum())
    assert totals.loss == pytest.approx(LOANS.loss.sum())
    assert totals.realised_return == pytest.approx(LOANS.npv.sum() / (0.1 * LOANS.years.sum()))
    nothing = outcome_of(LOANS, ~everything, 0.1)
    assert (nothing.loans, nothing.default_rate, nothing.realised_return) == (0, None, None)


@given(st.floats(0.01, 0.99))
def test_the_rule_by_value_has_the_highest_margins(share: float) -> None:
    cutoff, approved = approved_by(LOANS, "npv", share)
    assert LOANS.margins[approved].min() >= cutoff
    assert LOANS.margins[~approved].max() < cutoff
    cutoff, approved = approved_by(LOANS, "pd", share)
    assert LOANS.pds[approved].max() < cutoff <= LOANS.pds[~approved].min()


def test_no_share_is_nobody() -> None:
    assert not any(approved_by(LOANS, rule, 0.0)[1].any() for rule in RULES)


def test_realised_values_lie_where_a_right_model_expects_them() -> None:
    groups = realised_by_decile(LOANS)
    assert sum(group.loans for group in groups) == len(LOANS.pds)
    assert [group.expected for group in groups] == sorted(group.expected for group in groups)
    assert sum(group.is_inside for group in groups) >= 9
    wrong = replace(LOANS, npv=LOANS.npv - 0.1 * LOANS.amounts)
    assert not any(group.is_inside for group in realised_by_decile(wrong))
    unsure = replace(LOANS, npv_error=0.05 * LOANS.amounts)
    assert all(
        wide.high - wide.low > narrow.high - narrow.low
        for wide, narrow in zip(realised_by_decile(unsure), groups, strict=True)
    )
