"""Takes into loans what outcome files told of them by month: since when it is known how they ended, how they stand.

Reading these files is `outcomes`'; what a loan file says by itself of last payments, `field_values`'.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import (
    EXPOSURE,
    FOLLOWED_FROM,
    MONTHS_PAID,
    OUTCOME,
    OUTCOME_KNOWN,
    STANDING_BALANCE,
    STANDING_DAYS,
    STANDING_MONTH,
)
from loan_default.risk.data.outcomes import BALANCE, DAYS_PAST_DUE, MONTH
from loan_default.risk.month_texts import month_number

_ENDING = {"first", "ended", "exposure"}  # columns that a table of outcomes of before lacks
_STATED = ":outcome"
_FIRST_MONTHS = 3  # a loan that was told of by then is followed from its issue on


def facts_of(loans: pl.LazyFrame, outcomes: pl.LazyFrame, contract: Contract) -> pl.DataFrame:
    """Return what files told of cleaned loans that these do not say, by id; a column is null where nothing counts.

    `OUTCOME_KNOWN` is the month in which they first told how a loan ended, of one that was told to run before, and of
    which the loan file tells the same ending; of others nobody knows since when it could be told, and the contract's
    rule stands. `EXPOSURE` is what was owed at a default. Where the contract has no rule (`Outcome.is_told_by_files`)
    an ending was known at the latest when it was told; `FOLLOWED_FROM` is the month in which a loan was first told to
    run, and `MONTHS_PAID` how long one that was followed from its issue on paid, by the contract's months until a
    default is known.
    """
    by_files = contract.outcome.is_told_by_files
    columns = [OUTCOME_KNOWN, EXPOSURE, *([FOLLOWED_FROM, MONTHS_PAID] if by_files else [])]
    if not {*outcomes.collect_schema()} >= _ENDING:
        return loans.select(contract.id_name, *(pl.lit(None).alias(name) for name in columns)).limit(0).collect()
    stated = outcomes.select(contract.id_name, pl.col(OUTCOME).alias(_STATED), "first", "ended", "exposure")
    joined = loans.join(stated, on=contract.id_name)
    agrees, is_ended = (pl.col(OUTCOME) == pl.col(_STATED)).fill_null(False), pl.col(_STATED).is_not_null()
    ran = pl.col("first") < pl.col("ended")
    joined = joined.with_columns(
        pl.when(agrees & (True if by_files else ran)).then("ended").alias(OUTCOME_KNOWN),
        pl.when(agrees).then("exposure").alias(EXPOSURE),
    )
    if by_files:
        contradicts = pl.col(OUTCOME).is_not_null() & is_ended & ~agrees
        joined = joined.with_columns(pl.when((ran | ~is_ended) & ~contradicts).then("first").alias(FOLLOWED_FROM))
        joined = joined.with_columns(_months_paid(contract).alias(MONTHS_PAID))
    facts = joined.select(contract.id_name, *columns)
    return facts.filter(pl.any_horizontal(pl.col(columns).is_not_null())).sort(contract.id_name).collect()


def _months_paid(contract: Contract) -> pl.Expr:
    """Count the months that an ended loan paid, if it was followed from its issue on."""
    assert contract.outcome.known, "files tell nothing that the contract does not ask for"
    issued, until_known = pl.col(contract.time_name), month_number(pl.col(OUTCOME_KNOWN))
    from_issue = month_number(pl.col(FOLLOWED_FROM)) - month_number(issued) < _FIRST_MONTHS
    delay = pl.when(pl.col(OUTCOME) == 1).then(contract.outcome.known.months_after_default).otherwise(0)
    return pl.when(from_issue).then((until_known - month_number(issued) - delay).clip(0)).cast(pl.Int32)


def date_endings(loans: pl.LazyFrame, facts: pl.DataFrame, contract: Contract) -> pl.LazyFrame:
    """Return cleaned loans with what files told of them, by `facts_of`; what they did not tell stays."""
    if EXPOSURE not in loans.collect_schema():
        loans = loans.with_columns(pl.lit(None, dtype=pl.Float64).alias(EXPOSURE))
    return loans.update(facts.lazy(), on=contract.id_name)


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
