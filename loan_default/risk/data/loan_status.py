"""Takes into loans what outcome files told of them by month: since when it is known how they ended, how they stand.

Reading these files is `outcomes`'; what a loan file says by itself of last payments, `field_values`'.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import (
    EXPOSURE,
    OUTCOME,
    OUTCOME_KNOWN,
    STANDING_BALANCE,
    STANDING_DAYS,
    STANDING_MONTH,
)
from loan_default.risk.data.outcomes import BALANCE, DAYS_PAST_DUE, MONTH

_ENDING = {"first", "ended", "exposure"}  # columns that a table of outcomes of before lacks
_STATED, _ENDED = ":outcome", ":ended"


def date_endings(loans: pl.LazyFrame, outcomes: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Return cleaned loans with the month in which files first told how they ended, and what was owed at a default.

    That month counts of a loan that was told to run before, and of which the loan file tells the same ending; of others
    nobody knows since when it could be told, and the contract's rule stands.
    """
    if not {*outcomes.collect_schema()} >= _ENDING:
        return loans
    was_running = pl.col("first") < pl.col("ended")
    endings = outcomes.select(
        contract.id_name,
        pl.col(OUTCOME).alias(_STATED),
        pl.when(was_running).then("ended").alias(_ENDED),
        pl.col("exposure").alias(EXPOSURE),
    ).drop_nulls(_STATED)
    agrees = (pl.col(OUTCOME) == pl.col(_STATED)).fill_null(False)
    joined = loans.join(endings, on=contract.id_name, how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce(pl.when(agrees).then(_ENDED), OUTCOME_KNOWN).alias(OUTCOME_KNOWN),
        pl.when(agrees).then(EXPOSURE).alias(EXPOSURE),
    ).drop(_STATED, _ENDED)


def as_told(open_loans: pl.LazyFrame, outcomes: pl.LazyFrame, contract: Contract, snapshot: date) -> pl.LazyFrame:
    """Return open loans without those that were told to have ended since, and how the others stand.

    Only what was told of the month of the loan file (`snapshot`) or of a later one counts.
    """
    unsaid = {DAYS_PAST_DUE, BALANCE} - {*outcomes.collect_schema()}  # by a table of before
    outcomes = outcomes.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in unsaid)
    standing = outcomes.filter(pl.col(MONTH) >= snapshot).select(
        contract.id_name,
        pl.col(OUTCOME).alias(_STATED),
        pl.col(MONTH).alias(STANDING_MONTH),
        pl.col(DAYS_PAST_DUE).alias(STANDING_DAYS),
        pl.col(BALANCE).alias(STANDING_BALANCE),
    )
    joined = open_loans.join(standing, on=contract.id_name, how="left", maintain_order="left")
    return joined.filter(pl.col(_STATED).is_null()).drop(_STATED)
