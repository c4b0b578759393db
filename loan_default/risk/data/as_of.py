"""Shows a book as it stood in a month: the loans issued before it, and of their outcomes those known by then.

A back-test learns from such a view and is judged by what became of later loans. What is read of last payments belongs
in `field_values`, hazards and labels of open loans in `model.hazard`, the back-test in `validation.backtest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import AMOUNT, FOLLOWED_FROM, MONTHS_PAID, OUTCOME, OUTCOME_KNOWN
from loan_default.risk.errors import BadInput
from loan_default.risk.loan_order import term_months
from loan_default.risk.month_texts import month_number


def require_known(contract: Contract) -> None:
    """See that the book says when outcomes were known.

    Raises:
        BadInput: it does not.
    """
    if not contract.has_time:
        raise BadInput(f"The book {contract.name} has no date of issue, so nothing is known of it as of past months.")
    if contract.outcome.known is None:
        final = ", and take outcomes: final out" if contract.outcomes_are_final else ""
        raise BadInput(
            f"The book {contract.name} does not say when an outcome was known; write outcome.known with the column of "
            f"the last payment into its contract, or {{}} where outcome files tell it{final}."
        )


def as_of(
    loans: pl.LazyFrame,
    contract: Contract,
    month: date,
    snapshot: date | None = None,
    recovery_months: int | None = None,
) -> pl.LazyFrame:
    """Return the loans issued before a month, with what a file taken in that month would have said of them.

    An outcome is null unless it was known by the month, and so are amounts, as files say them as they were at the last.

    Args:
        loans: cleaned loans.
        contract: what a loan is.
        month: its first day.
        snapshot: the month in which the files were taken, by which every outcome in them was known.
        recovery_months: from the last payment of a loan until what is recovered of it comes; where it had not come by
            the month it is 0. Without it there are no amounts at all.

    Raises:
        BadInput: the book does not say when an outcome was known.
    """
    require_known(contract)
    issued, month_known = pl.col(contract.time_name), _month_known(snapshot)
    elapsed = month_number(pl.lit(month)) - month_number(issued)
    is_known = (month_known <= month).fill_null(False)
    return loans.filter(issued < month).with_columns(
        pl.when(is_known).then(OUTCOME).alias(OUTCOME),
        pl.when(is_known).then(month_known).alias(OUTCOME_KNOWN),
        pl.min_horizontal(MONTHS_PAID, elapsed.cast(pl.Int32)).alias(MONTHS_PAID),
        *_amounts_as_of(contract, is_known, elapsed, recovery_months),
    )


def _amounts_as_of(
    contract: Contract, is_known: pl.Expr, elapsed: pl.Expr, recovery_months: int | None
) -> Iterator[pl.Expr]:
    """Yield the amounts of loans whose outcome is known; all that was paid holds what is recovered, and is left out."""
    for name in contract.labels:
        if not name.startswith(AMOUNT):
            continue
        value = pl.lit(None, dtype=pl.Float64)
        if recovery_months is not None and name != f"{AMOUNT}paid":
            value = pl.when(is_known).then(name)
        if recovery_months is not None and name in (f"{AMOUNT}recovered", f"{AMOUNT}cost"):
            has_come = pl.col(MONTHS_PAID) + recovery_months <= elapsed
            value = pl.when(is_known).then(pl.when(has_come).then(name).otherwise(0.0))
        yield value.alias(name)


def _month_known(snapshot: date | None) -> pl.Expr:
    """Return the month in which an outcome was known, at the latest that of the file that says it; null without one."""
    latest = pl.min_horizontal(OUTCOME_KNOWN, pl.lit(snapshot, dtype=pl.Date)) if snapshot else OUTCOME_KNOWN
    return pl.when(pl.col(OUTCOME).is_not_null()).then(latest)


def months_until_known(contract: Contract) -> pl.Expr:
    """Count the months from the issue of a loan until its outcome was known, at least 1; null while it is open."""
    return (month_number(pl.col(OUTCOME_KNOWN)) - month_number(pl.col(contract.time_name))).clip(1)


def is_followed(contract: Contract) -> pl.Expr:
    """Return true for loans of which it is known since when they were seen to run."""
    return pl.col(FOLLOWED_FROM).is_not_null() if contract.outcome.is_told_by_files else pl.lit(True)


def _months_until_followed(contract: Contract) -> pl.Expr:
    """Count the months from the issue of a loan until files told that it ran; null where none did."""
    if not contract.outcome.is_told_by_files:
        return pl.lit(0)
    return (month_number(pl.col(FOLLOWED_FROM)) - month_number(pl.col(contract.time_name))).clip(0)


@dataclass(frozen=True)
class LoanHistory:
    """Holds what was observed of n loans, in months from the issue of each.

    Attributes:
        terms: (n,) months from the first payment to the last.
        observed: (n,) months until the month of the view.
        entered: (n,) months until it was known that the loan ran: 0 but where only outcome files say that, infinite
            where none did. What had ended before is not among the loans that were seen then (delayed entry).
        ended: (n,) months until the outcome was known, at least 1; infinite while it is not.
        defaulted: (n,) true where it is known to be default.
    """

    terms: Floats
    observed: Floats
    entered: Floats
    ended: Floats
    defaulted: NDArray[np.bool_]

    @classmethod
    def of(cls, view: pl.DataFrame, contract: Contract, month: date) -> LoanHistory:
        """Read the loans of a view as of a month."""
        elapsed = month_number(pl.lit(month)) - month_number(pl.col(contract.time_name))
        columns = view.select(
            term_months(contract).alias("terms"),
            elapsed.cast(pl.Float64).alias("observed"),
            _months_until_followed(contract).cast(pl.Float64).fill_null(np.inf).alias("entered"),
            months_until_known(contract).cast(pl.Float64).fill_null(np.inf).alias("ended"),
            (pl.col(OUTCOME) == 1).fill_null(False).alias("defaulted"),
        )
        return cls(**{name: columns[name].to_numpy() for name in columns.columns})

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Tell which loans have no outcome yet."""
        return np.isinf(self.ended)

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, loans: NDArray[np.bool_] | NDArray[np.int64] | slice) -> LoanHistory:
        """Return the history of some of the loans."""
        return LoanHistory(**{name: values[loans] for name, values in vars(self).items()})
