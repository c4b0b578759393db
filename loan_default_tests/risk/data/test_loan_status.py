"""What outcome files told month by month counts for loans: since when an ending was known, and how open ones stand."""

from datetime import date
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import (
    EXPOSURE,
    FOLLOWED_FROM,
    MONTHS_PAID,
    OUTCOME,
    OUTCOME_KNOWN,
    STANDING_BALANCE,
    STANDING_MONTH,
)
from loan_default.risk.data.loan_status import as_told, date_endings, facts_of
from loan_default_tests.risk.data.test_as_of import ISSUED, OUTCOMES
from loan_default_tests.risk.small_books import make_contract

TOLD_BY_FILES = make_contract(ISSUED, term=24, outcome={**OUTCOMES, "known": {"months_after_default": 2}})
JANUARY, MARCH, JUNE = (date(2019, month, 1) for month in (1, 3, 6))


def outcome_table(**columns: list[Any]) -> pl.LazyFrame:
    """Return a table of outcomes, as `read_outcomes` writes it."""
    schema = {
        "id": pl.String, OUTCOME: pl.Int8, "month": pl.Date, "first": pl.Date, "ended": pl.Date,
        "days_past_due": pl.Float64, "balance": pl.Float64, "exposure": pl.Float64,
    }  # fmt: skip
    count = len(columns["id"])
    return pl.LazyFrame({name: columns.get(name, [None] * count) for name in schema}, schema=schema)


def test_an_ending_is_known_since_files_told_it_of_a_loan_that_ran_before(contract: Contract) -> None:
    ids = [*"abcdef"]
    loans = pl.LazyFrame(
        {"id": ids, OUTCOME: [1, 1, 0, None, 0, 1], OUTCOME_KNOWN: [JUNE, JUNE, JUNE, None, None, JUNE]},
        schema_overrides={OUTCOME: pl.Int8},
    )
    outcomes = outcome_table(
        id=[*"abcde"],
        outcome=[1, 1, 1, 0, 0],
        first=[JANUARY, MARCH, JANUARY, JANUARY, JANUARY],
        ended=[MARCH, MARCH, MARCH, MARCH, MARCH],
        exposure=[500.0, 400.0, 300.0, None, None],
    )
    facts = facts_of(loans, outcomes, contract)
    assert facts["id"].to_list() == ["a", "b", "e"]
    dated = date_endings(loans, facts, contract).collect()
    assert dated["id"].to_list() == ids
    assert dated[OUTCOME].to_list() == [1, 1, 0, None, 0, 1]
    assert dated[OUTCOME_KNOWN].to_list() == [MARCH, JUNE, JUNE, None, MARCH, JUNE]
    assert dated[EXPOSURE].to_list() == [500, 400, None, None, None, None]
    before = outcomes.drop("exposure")
    assert facts_of(loans, before, contract).is_empty(), "a table of before does not say it"


def test_where_files_alone_tell_it_loans_are_followed_since_they_were_told_to_run() -> None:
    """Loans a to d ended as the loan file says, e and f run by it, of g it says another ending; h was never told of."""
    issued = [date(2018, 12, 1), date(2018, 12, 1), date(2018, 1, 1), JANUARY, JANUARY, JANUARY, JANUARY, JANUARY]
    loans = pl.LazyFrame(
        {"id": [*"abcdefgh"], "issued": issued, OUTCOME: [1, 0, 1, 0, None, None, 1, 1]},
        schema_overrides={OUTCOME: pl.Int8},
    )
    outcomes = outcome_table(
        id=[*"abcdefg"],
        outcome=[1, 0, 1, 0, None, 1, 0],
        first=[JANUARY, JANUARY, JANUARY, MARCH, JANUARY, MARCH, JANUARY],
        ended=[JUNE, MARCH, JUNE, MARCH, JANUARY, MARCH, MARCH],
    )
    facts = facts_of(loans, outcomes, TOLD_BY_FILES)
    assert facts.select(OUTCOME_KNOWN, FOLLOWED_FROM, MONTHS_PAID).rows() == [
        (JUNE, JANUARY, 4),  # six months after its issue, of which the contract says that two bring no payment
        (MARCH, JANUARY, 3),
        (JUNE, JANUARY, None),  # it ran for a year before, and others like it may have ended then
        (MARCH, None, None),  # it had ended when it was first told of
        (None, JANUARY, None),
    ]
    assert facts["id"].to_list() == [*"abcde"]


def test_open_loans_stand_as_they_were_told_to_since_their_file_was_taken(contract: Contract) -> None:
    outcomes = outcome_table(
        id=[*"abc"], outcome=[None, 0, None], month=[MARCH, MARCH, JANUARY], balance=[90.0, 0.0, 80.0]
    )
    standing = as_told(pl.LazyFrame({"id": [*"abcd"]}), outcomes, contract, MARCH).collect()
    assert standing["id"].to_list() == ["a", "c", "d"], "one has ended since"
    assert standing[STANDING_MONTH].to_list() == [MARCH, None, None], "what is older than the file says less than it"
    assert standing[STANDING_BALANCE].to_list() == [90, None, None]
    before = as_told(pl.LazyFrame({"id": [*"abcd"]}), outcomes.drop("days_past_due", "balance"), contract, MARCH)
    assert before.collect()[STANDING_MONTH].to_list() == [MARCH, None, None], "a table of before says no more"
