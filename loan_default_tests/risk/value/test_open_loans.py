from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.economics.cash_flows import balances
from loan_default.risk.value.open_loans import provision_problem, read_open, select_open
from loan_default_tests.packages import valued_scorer

CONTRACT = load_contract()


@pytest.fixture(scope="module")
def loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"].head(60).with_columns(granted_pd=pl.lit(0.1))


def test_what_is_owed_is_what_was_lent_less_what_was_repaid(loans: pl.DataFrame) -> None:
    snapshot = date(2014, 6, 1)
    half = loans.with_columns(amount_principal=pl.when(pl.int_range(pl.len()) % 2 == 0).then("amount_principal"))
    read = read_open(valued_scorer("xgboost"), half, snapshot)
    lent, repaid = (loans[name].to_numpy() for name in ("amount_funded", "amount_principal"))
    assert read.balances[::2] == pytest.approx((lent - repaid)[::2])
    row = 1
    issued = loans["issue_d"][row]
    months = 12 * (snapshot.year - issued.year) + snapshot.month - issued.month
    assert read.months[row] == months
    term, rate = int(loans["term"][row]), loans["int_rate"][row] / 100
    assert read.balances[row] == pytest.approx(lent[row] * balances(np.array([rate]), term)[0, min(months, term)])
    assert (read.granted_pds == 0.1).all()


def test_a_payment_in_the_month_before_is_none_too_late(loans: pl.DataFrame) -> None:
    snapshot = date(2014, 6, 1)
    months = pl.lit(12 * 2014 + 5) - (12 * pl.col("issue_d").dt.year() + pl.col("issue_d").dt.month() - 1)
    paid = loans.with_columns(months_paid=(months - pl.int_range(pl.len()) % 5).cast(pl.Int32))
    read = read_open(valued_scorer("xgboost"), paid, snapshot)
    assert read.overdue[:5].tolist() == [0, 0, 1, 2, 3]


def test_only_loans_without_an_outcome_are_open() -> None:
    loans = pl.DataFrame({"outcome": [1, 0, None]}).lazy()
    assert select_open(loans).collect()["outcome"].to_list() == [None]


def test_a_book_says_why_it_has_no_provision() -> None:
    assert provision_problem(CONTRACT) is None
    assert "pricing" in str(provision_problem(CONTRACT.model_copy(update={"pricing": None})))
    final = CONTRACT.model_copy(update={"outcomes": "final"})
    assert "no open loans" in str(provision_problem(final))
