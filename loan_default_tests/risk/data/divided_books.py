"""Books of a few loans, and how they are divided."""

from datetime import date
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default_tests.risk.small_books import make_file

SNAPSHOT, GRACE = date(2019, 3, 1), load_contract().outcome.grace_months


def book(counts: dict[date, int], *, outcomes: tuple[int | None, ...] = (0, 1), term: int = 36) -> pl.LazyFrame:
    """Make loans of these issue months, `outcomes` in turn."""
    months = [month for month, count in counts.items() for _ in range(count)]
    return pl.LazyFrame({"id": [str(number) for number in range(len(months))], "issue_d": months}).with_columns(
        pl.Series("outcome", [outcomes[row % len(outcomes)] for row in range(len(months))], dtype=pl.Int8),
        matures=pl.col("issue_d").dt.offset_by(f"{term + GRACE}mo"),
    )


def months_of(year: int, count: int) -> list[date]:
    return [date(year + month // 12, month % 12 + 1, 1) for month in range(count)]


def split_book(
    loans: pl.LazyFrame, contract: Contract, plan: SplitPlan | None = None, fingerprint: str = "a"
) -> Splits:
    return split_loans(loans, contract, plan or SplitPlan(), snapshot=SNAPSHOT, data_fingerprint=fingerprint)


def two_products(long_from: int = 2009, long_rows: int = 10) -> pl.LazyFrame:
    """Loans of 36 months of 2008 to 2018, and of 60 months from January of a year on, each month as many."""
    short = book(dict.fromkeys(months_of(2008, 132), 20))
    long = book(dict.fromkeys(months_of(long_from, 12 * (2019 - long_from)), long_rows), term=60)
    return pl.concat([short, long])


def small_loans(rows: int = 3_000, seed: int = 1) -> pl.LazyFrame:
    """Make cleaned loans that have the columns of every small book."""
    months = pl.col("issued").str.to_date("%Y-%m")
    outcome = (pl.col("status") == "bad").cast(pl.Int8)
    return make_file(rows, seed=seed).with_columns(issued=months, outcome=outcome).lazy()


def split_small(contract: Contract, loans: pl.LazyFrame | None = None, **options: Any) -> Splits:
    book = small_loans() if loans is None else loans
    arguments = {"snapshot": None, "data_fingerprint": "a", **options}
    return split_loans(book, contract, arguments.pop("plan", SplitPlan()), **arguments)
