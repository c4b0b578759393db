"""Puts the loans of a book in order: by month of issue, by cohort, or, where it has neither, by a draw of their ids.

Cutting the order into windows belongs in `data.splitting`; what a book has to order by, its contract says.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.outcome import Horizon, ProductTerm

CutBy = Literal["cohort", "draw"]
Position = float | str  # of a cohort in its order, or a draw from 0 to 1

_ALL_HASHES = 2**64


def issue_order(contract: Contract) -> pl.Expr:
    """Return what puts loans in order, older first: the issue month, or the `Position` of the cohort.

    Raises:
        LookupError: the book has neither.
    """
    name = contract.order_name
    if name is None:
        raise LookupError(f"The book {contract.name} has neither a date nor a cohort.")
    field, column = contract.by_name[name], pl.col(name)
    return column.cast(pl.Enum(field.levels)).to_physical().cast(pl.Float64) if field.levels else column


def draw_of(id_name: str) -> pl.Expr:
    """Draw a number from 0 to 1 (Float64) for each loan by a hash of its id: the same in every file, for good.

    Null where a loan has no id, as an applicant over REST may have none.
    """
    return pl.col(id_name).map_batches(_draws, return_dtype=pl.Float64, is_elementwise=True)


def _draws(ids: pl.Series) -> pl.Series:
    named = ids.drop_nulls()
    hashes = [int.from_bytes(blake2b(loan.encode(), digest_size=8, person=b"window").digest()) for loan in named]
    draws = np.full(len(ids), np.nan)
    draws[ids.is_not_null().to_numpy()] = np.array(hashes, dtype=np.uint64) / _ALL_HASHES
    return pl.Series(ids.name, draws, dtype=pl.Float64).fill_nan(None)


def cohort_level(position: Position, contract: Contract) -> str:
    """Write a `Position` of the cohort as people read it: its level, text or number."""
    levels = contract.by_name[contract.cohort_name].levels if contract.cohort_name else ()
    if levels:
        return levels[int(position)]
    return position if isinstance(position, str) else f"{position:z.15g}"


def period_numbers(loans: pl.DataFrame, contract: Contract) -> NDArray[np.int64] | None:
    """Number the issue months, or the cohorts, of loans (n rows), by which outcomes may go together; None without."""
    if contract.order_name is None:
        return None
    order = loans.select(issue_order(contract).rank("dense").fill_null(0)).to_series()
    return order.to_numpy().astype(np.int64)


def term_months(contract: Contract) -> pl.Expr:
    """Return after how many months (Float64) from its issue a loan's term, or the horizon of a revolving book, is over.

    Null where the loan does not say it.
    """
    term = contract.term
    if isinstance(term, Horizon):
        return pl.lit(float(term.horizon))
    if isinstance(term, ProductTerm):
        months = {product: float(count) for product, count in term.months.items()}
        product = pl.col(term.by).cast(pl.String)
        return product.replace_strict(list(months), list(months.values()), default=None, return_dtype=pl.Float64)
    return pl.lit(float(term)) if term else pl.col(str(contract.term_source))


def has_term(contract: Contract) -> pl.Expr:
    """Return true for loans of which a term is known that is longer than nothing: they can be followed over it."""
    return (term_months(contract) > 0).fill_null(False)
