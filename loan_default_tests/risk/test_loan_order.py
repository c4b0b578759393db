"""What puts loans in order: months, cohorts, or a draw of their ids that stays the same for good."""

from datetime import date

import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.loan_order import cohort_level, draw_of, issue_order, period_numbers, term_months
from loan_default_tests.risk.small_books import (
    BY_PRODUCT,
    BY_WAVE,
    CONSTANT,
    REVOLVING,
    TERM_AS_SUPPORT,
    TIMELESS,
    make_contract,
)


def test_a_draw_is_of_the_id_alone_and_even() -> None:
    ids = pl.DataFrame({"id": [str(number) for number in range(20_000)]})
    draws = ids.select(draw_of("id")).to_series()
    assert draws[:3].to_list() == pytest.approx([0.79806, 0.86859, 0.95698], abs=1e-5), "draws must never change"
    lazily = ids.lazy().filter(pl.col("id") == "2").select(draw_of("id")).collect(engine="streaming").item()
    assert lazily == draws[2]
    shares = draws.hist([step / 10 for step in range(1, 10)])["count"] / len(draws)
    assert shares.min() > 0.09  # type: ignore[operator]
    assert shares.max() < 0.11  # type: ignore[operator]


def test_a_loan_without_id_is_not_drawn() -> None:
    ids = pl.DataFrame({"id": ["1", None]}, schema={"id": pl.String})
    assert ids.select(draw_of("id")).to_series().to_list() == [pytest.approx(0.86859, abs=1e-5), None]
    assert ids.tail(1).select(draw_of("id")).to_series().to_list() == [None]


def test_months_order_a_book_with_a_date_and_levels_of_a_cohort_one_without() -> None:
    loans = pl.DataFrame({"issued": [date(2012, 3, 1), date(2012, 1, 1)], "wave": ["c", "a"], "id": ["1", "2"]})
    assert loans.select(issue_order(REVOLVING)).to_series().to_list() == [date(2012, 3, 1), date(2012, 1, 1)]
    assert loans.select(issue_order(BY_WAVE)).to_series().to_list() == [2.0, 0.0]
    with pytest.raises(LookupError, match="neither a date nor a cohort"):
        issue_order(TIMELESS)


def test_periods_are_numbered_where_there_are_any() -> None:
    loans = pl.DataFrame({"wave": ["c", "a", "c", None], "id": list("1234")})
    numbers = period_numbers(loans, BY_WAVE)
    assert numbers is not None
    assert numbers.tolist() == [2, 1, 2, 0]
    assert period_numbers(loans, TIMELESS) is None


def test_cohorts_are_written_as_people_know_them() -> None:
    year = {"name": "wave", "kind": "number", "role": "cohort", "description": "The year."}
    by_number = make_contract(year, time="none", outcomes="final")
    assert cohort_level(2.0, BY_WAVE) == "c"
    assert cohort_level(201503.0, by_number) == "201503"
    assert cohort_level("2015a", by_number) == "2015a"


def test_a_term_is_constant_by_product_or_the_loans_own() -> None:
    loans = pl.DataFrame({"product": ["S", "L", None], "term": [6.0, 12.0, None]})

    def months(contract: object) -> list[float | None]:
        return loans.select(pl.lit(0).alias("row"), term_months(contract).alias("term"))["term"].to_list()  # type: ignore[arg-type]

    assert months(BY_PRODUCT) == [12.0, 36.0, None]
    assert months(TERM_AS_SUPPORT) == months(load_contract()) == [6.0, 12.0, None]
    assert set(months(CONSTANT)) == {24.0}
    assert set(months(REVOLVING)) == {12.0}
