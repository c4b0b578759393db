"""Views of a book as of a month: what was known later changes nothing of them."""

from collections.abc import Sequence
from datetime import date
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from loan_default.risk.contract.columns import MONTHS_PAID, OUTCOME, OUTCOME_KNOWN
from loan_default.risk.data.as_of import LoanHistory, as_of, require_known
from loan_default.risk.errors import BadInput
from loan_default_tests.risk.small_books import CONSTANT, TIMELESS, make_contract

ISSUED = {"name": "issued", "kind": "month", "role": "time", "description": "The month of issue."}
OUTCOMES = {"column": "status", "defaulted": ["bad"], "repaid": ["good"], "unresolved": ["open"]}
BOOK = make_contract(
    ISSUED,
    term=24,
    outcome={**OUTCOMES, "known": {"last_payment": "paid_in"}, "amounts": {"paid": "paid"}},
)
SCHEMA = {"issued": pl.Date, OUTCOME: pl.Int8, OUTCOME_KNOWN: pl.Date, MONTHS_PAID: pl.Int32, "amount_paid": pl.Float64}
FIRST, LAST = 12 * 2010, 12 * 2016


def month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


Row = tuple[int, int | None, int | None, int, float]


@st.composite
def loans(draw: st.DrawFn) -> Row:
    """Draw the row of a loan: its issue, how it ended if it did, when that was known, and what was paid."""
    issued = draw(st.integers(FIRST, LAST))
    outcome = draw(st.sampled_from([0, 1, None]))
    ends = None if outcome is None else issued + draw(st.integers(0, 40))
    return issued, outcome, ends, draw(st.integers(0, 40)), draw(st.floats(0, 1e4))


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    dated = [
        (month(issued), outcome, None if ends is None else month(ends), paid, amount)
        for issued, outcome, ends, paid, amount in rows
    ]
    return pl.DataFrame(dated, schema=SCHEMA, orient="row")


@given(st.lists(loans(), max_size=30), st.integers(FIRST, LAST), st.randoms())
def test_what_happened_later_changes_nothing_of_a_view(rows: list[Row], number: int, random: Random) -> None:
    """Loans issued later, and outcomes known later, are as if they had never been."""
    view = as_of(frame_of(rows).lazy(), BOOK, month(number)).collect()
    assert (view["issued"] < month(number)).all()
    assert (view[OUTCOME_KNOWN].drop_nulls() <= month(number)).all()
    assert view[OUTCOME].is_null().to_list() == view[OUTCOME_KNOWN].is_null().to_list()
    other_future = [
        (issued, outcome, ends, paid, amount)
        if ends is not None and ends <= number
        else (issued, *random.choice([(0, number + 1), (1, number + 7), (None, None)]), max(paid, number - issued), 0.0)
        for issued, outcome, ends, paid, amount in rows
        if issued < number
    ]
    same = as_of(frame_of(other_future).lazy(), BOOK, month(number)).collect()
    assert_frame_equal(same.drop(MONTHS_PAID), view.drop(MONTHS_PAID))


def test_a_view_knows_what_its_month_knew() -> None:
    rows = [
        (24120, 1, 24130, 5, 9.0),
        (24120, 0, 24132, 12, 9.0),
        (24120, None, None, 20, 9.0),
        (24131, 0, 24131, 0, 9.0),
    ]
    view = as_of(frame_of(rows).lazy(), BOOK, month(24131)).collect()
    assert view.rows() == [
        (month(24120), 1, month(24130), 5, None),
        (month(24120), None, None, 11, None),
        (month(24120), None, None, 11, None),
    ]
    history = LoanHistory.of(view, BOOK, month(24131))
    assert history.observed.tolist() == [11, 11, 11]
    assert history.ended.tolist() == [10, float("inf"), float("inf")]
    assert history.is_open.tolist() == [False, True, True]
    assert (history.terms == 24).all()


def test_what_a_file_says_was_known_when_it_was_taken() -> None:
    rows = [(24120, 1, 24135, 10, 9.0)]
    assert as_of(frame_of(rows).lazy(), BOOK, month(24132), month(24132)).collect()[OUTCOME].to_list() == [1]
    assert as_of(frame_of(rows).lazy(), BOOK, month(24131), month(24132)).collect()[OUTCOME].to_list() == [None]
    still_open = as_of(frame_of([(24120, None, None, 10, 9.0)]).lazy(), BOOK, month(24132), month(24132)).collect()
    assert LoanHistory.of(still_open, BOOK, month(24132)).is_open.all()


def test_a_book_that_does_not_say_when_outcomes_were_known_has_no_views() -> None:
    with pytest.raises(BadInput, match=r"small does not say when an outcome was known; write outcome\.known"):
        as_of(pl.LazyFrame(), CONSTANT, date(2012, 1, 1))
    with pytest.raises(BadInput, match="has no date of issue, so nothing is known of it as of past months"):
        require_known(TIMELESS)


def test_amounts_are_known_once_a_loan_has_ended_and_what_is_recovered_only_when_it_came() -> None:
    outcome = {**OUTCOMES, "known": {"last_payment": "paid_in"}}
    book = make_contract(
        ISSUED, term=24, outcome={**outcome, "amounts": {"paid": "a", "principal": "b", "recovered": "c"}}
    )
    rows = [(24120, 1, 24125, 2, 9.0), (24120, 1, 24125, 8, 9.0), (24120, 0, 24140, 20, 9.0)]
    frame = frame_of(rows).with_columns(amount_principal="amount_paid", amount_recovered="amount_paid")
    view = as_of(frame.lazy(), book, month(24131), recovery_months=6).collect()
    assert view.select("amount_paid", "amount_principal", "amount_recovered").rows() == [
        (None, 9.0, 9.0),
        (None, 9.0, 0.0),
        (None, None, None),
    ]
