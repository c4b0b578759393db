"""Reads of cleaned loans those that still run, as `provision` takes them: scored, with what is owed, and how late.

How much a provision is, is `provision`'s; how a book stood in an earlier month, `data.as_of`'s.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import (
    AMOUNT,
    MONTHS_PAID,
    OUTCOME,
    STANDING_BALANCE,
    STANDING_DAYS,
    STANDING_MONTH,
)
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.economics.cash_flows import balances
from loan_default.risk.economics.loan_terms import LoanTerms
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.month_texts import month_number
from loan_default.risk.value.provision import OpenLoans

_DAYS_A_MONTH = 30  # of the presumptions in IFRS 9: 30 days are a month, 90 are three
GRANTED_PD = "granted_pd"  # column of loans: the PD by which each was decided on


def provision_problem(contract: Contract) -> str | None:
    """Say in one sentence why open loans of a book have no provision; None where they may have one."""
    if problem := value_problem(contract):
        return problem
    if not contract.has_time or contract.outcomes_are_final:
        return "The book has no open loans with a month of issue, so nothing is said of provisions."
    return None


def read_open(scorer: Scorer, loans: pl.DataFrame, snapshot: date) -> OpenLoans:
    """Read open loans (n rows) as of the month in which their file was taken.

    What is owed, and how many days a payment is late, is what outcome files told (`STANDING_…`), of the month that they
    tell it of. Else it is what was lent less the principal paid; where the book does not say that, what the schedule
    says is owed after so many months. A payment is due each month: one in the month before the snapshot's is none too
    late.

    Args:
        scorer: the version, with a value.
        loans: those without an outcome, with every feature; and `GRANTED_PD` where that is known of some.
        snapshot: the first day of the month.

    Raises:
        ValueError: the loans cannot be valued.
    """
    contract, terms = scorer.contract, LoanTerms.of(scorer.contract)
    priced = terms.read(scorer.space.values(loans))
    issued = month_number(pl.col(contract.time_name))
    until_file = _column(loans, month_number(pl.lit(snapshot)) - issued)
    months, days, balance = until_file, *np.full((2, loans.height), np.nan)
    if STANDING_MONTH in loans.columns:
        since = _column(loans, month_number(pl.col(STANDING_MONTH)) - issued)
        months = np.where(np.isnan(since), until_file, since)
        days, balance = (_figures(loans, name) for name in (STANDING_DAYS, STANDING_BALANCE))
    paid, lent, repaid = (_figures(loans, name) for name in (MONTHS_PAID, f"{AMOUNT}funded", f"{AMOUNT}principal"))
    lent = np.where(np.isnan(lent), priced.amounts, lent)
    owed = np.where(np.isnan(repaid), _scheduled(lent, priced.rates, priced.terms, months), lent - repaid)
    owed = np.where(np.isnan(balance), owed, balance)
    says_paid = MONTHS_PAID in loans.columns and not contract.outcome.is_told_by_files
    overdue = np.maximum(until_file - np.nan_to_num(paid) - 1, 0) if says_paid else paid
    return OpenLoans(
        pds=scorer.score(loans, with_reasons=False)["pd"].to_numpy(),
        balances=np.maximum(owed, 0.0),
        rates=priced.rates,
        terms=priced.terms,
        months=np.maximum(months, 0),
        overdue=np.where(np.isnan(days), overdue, days / _DAYS_A_MONTH),
        granted_pds=_figures(loans, GRANTED_PD),
        hazard_margins=scorer.hazard.margins(scorer.space.matrix(loans)) if scorer.hazard else None,
    )


def select_open(loans: pl.LazyFrame) -> pl.LazyFrame:
    """Select the loans without an outcome."""
    return loans.filter(pl.col(OUTCOME).is_null())


def _figures(loans: pl.DataFrame, name: str) -> Floats:
    """Return a column of the loans (n,); NaN where a loan has no value, and throughout where there is no column."""
    return _column(loans, pl.col(name)) if name in loans.columns else np.full(loans.height, np.nan)


def _column(loans: pl.DataFrame, value: pl.Expr) -> Floats:
    return loans.select(value.cast(pl.Float64).fill_null(np.nan)).to_series().to_numpy()


def _scheduled(lent: Floats, rates: Floats, terms: Floats, months: Floats) -> Floats:
    """Return what the schedule says is owed after so many months (n,)."""
    owed = np.full(len(lent), np.nan)
    for term in np.unique(terms[np.isfinite(terms)]):
        rows = np.flatnonzero((terms == term) & (rates > -1))
        passed = np.clip(months[rows], 0, term).astype(np.int64)
        owed[rows] = lent[rows] * balances(rates[rows], int(term))[np.arange(len(rows)), passed]
    return owed
