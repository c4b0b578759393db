"""Gives a version its hazards: fitted on the loans of its development, as far as was known of them at the snapshot.

A hazard and what it says of applications are `hazard`'s and `timing`'s; here stands what reads windows for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date
from functools import partial

import numpy as np
import polars as pl

from loan_default.risk.arrays import Matrix
from loan_default.risk.compute import Engine, Table
from loan_default.risk.contract.columns import OUTCOME, OUTCOME_KNOWN
from loan_default.risk.data.as_of import LoanHistory, as_of, is_followed
from loan_default.risk.data.splits import Splits, WindowName
from loan_default.risk.data.splitting import is_open
from loan_default.risk.loan_order import has_term
from loan_default.risk.model.development import on_windows
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import RECIPE, fit_hazard
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.timing import timing_problem

LEAST_DEFAULTS = 30
# A version's hazards only divide its PD among the years. Of 20,810 loans of 2007-2010 (one thread) these figures take
# 3.6 s and trees of 113 rounds, which cost each application; twice the loan-periods at 0.05 take 17 s and 561 rounds.
# On the loans of 2011 the PD of twelve months has an AUC of 0.699 and 0.700, and a mean of 2.66% and 2.54; 2.67 came.
_PERIODS_AT_MOST = 100_000  # loan-periods
_LEAST_LEARNING_RATE = 0.2


def with_timing(
    scorer: Scorer, engine: Engine, loans: Table, splits: Splits, search: SearchSpace, seed: int
) -> tuple[Scorer, str]:
    """Return the version with its hazards, or as it is; and in one sentence what they rest on, or why it has none."""
    contract = scorer.contract
    if problem := timing_problem(contract):
        return scorer, problem
    if splits.snapshot is None or RECIPE not in search.sections:
        lacking = "section xgboost in the search space" if splits.snapshot else "month in which the file was taken"
        return scorer, f"There is no {lacking}, so nothing is said of when loans default."
    X, history = read_histories(engine, loans, splits, scorer.space)
    defaults, count = int(history.defaulted.sum()), len(history)
    ended = count - int(history.is_open.sum())
    if not LEAST_DEFAULTS <= defaults < ended:
        return scorer, (
            f"Of the loans of development {ended:,} say when they ended, of which {defaults:,} defaulted; "
            f"{LEAST_DEFAULTS} defaults and a repaid loan are needed, so nothing is said of when loans default."
        )
    parameters = search.for_loans(count).tunable(RECIPE)
    hazard = fit_hazard(
        X,
        history,
        scorer.space,
        parameters,
        seed=seed,
        at_most=_PERIODS_AT_MOST,
        least_learning_rate=_LEAST_LEARNING_RATE,
    )
    still_open = f" and {count - ended:,} had not ended" if ended < count else ""
    sentence = (
        f"Hazards of {count:,} loans of development, of which {defaults:,} defaulted{still_open}, say when loans "
        "default."
    )
    return replace(scorer, hazard=hazard), sentence


def read_histories(engine: Engine, loans: Table, splits: Splits, space: FeatureSpace) -> tuple[Matrix, LoanHistory]:
    """Encode the loans that a model may be developed on (n rows), and read what was observed of them."""
    assert splits.snapshot is not None, "books without a snapshot do not say when loans ended"
    read = partial(_read, space, splits.snapshot)
    names: Sequence[WindowName] = ("train", "calibrate")
    parts = [*on_windows(engine, loans, space.contract, splits, names, read, with_open=True)]
    columns = {each.name: [getattr(history, each.name) for _, history in parts] for each in fields(LoanHistory)}
    history = LoanHistory(**{name: np.concatenate(values) for name, values in columns.items()})
    return np.concatenate([matrix for matrix, _ in parts]), history


def _read(space: FeatureSpace, snapshot: date, loans: pl.DataFrame) -> tuple[Matrix, LoanHistory]:
    """Encode loans that have not matured, and those that say when they ended, and read that, if it is known of them."""
    view = as_of(loans.lazy(), space.contract, snapshot, snapshot).collect()
    ended = pl.col(OUTCOME).is_not_null() & pl.col(OUTCOME_KNOWN).is_not_null()
    contract = space.contract
    observed = view.filter(has_term(contract), is_followed(contract), ended | is_open(contract, snapshot))
    return space.matrix(observed), LoanHistory.of(observed, space.contract, snapshot)
