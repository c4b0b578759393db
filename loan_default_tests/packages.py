"""Small real models, trained once in a test session, and applications as a client sends them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_application_file, clean_loans
from loan_default.risk.data.population import measure_population
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.data.synthetic import make_applications, make_loans
from loan_default.risk.economics.loan_terms import read_ended
from loan_default.risk.economics.valuation import fit_value
from loan_default.risk.model import canary
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.model.timed_version import with_timing
from loan_default.risk.model.training import train_candidates
from loan_default.risk.policy import ValuePolicy, load_policy
from loan_default.risk.reviewed_file import CONF

LOANS, TRAIN, ROUNDS = 3_000, 2_200, 12
# The candidates, for tests of what goes through each: trees and the regression stand for all where time counts.
KINDS = [
    "xgboost",
    "logistic_regression",
    *(pytest.param(kind, marks=pytest.mark.long) for kind in ("random_forest", "lightgbm")),
]


@functools.cache
def contract() -> Contract:
    return load_contract()


@functools.cache
def full_search_space() -> SearchSpace:
    """Load the shipped search space with the candidates that it shows in comments: all that are registered."""
    settled, comment, optional = (CONF / "search_space.yaml").read_text(encoding="utf-8").partition("# lightgbm:")
    lines = [line.removeprefix("# ") for line in f"{comment}{optional}".splitlines()]
    with TemporaryDirectory() as folder:
        path = Path(folder, "search_space.yaml")
        path.write_text("\n".join([settled, *lines]), encoding="utf-8")
        return load_search_space(path)


@functools.cache
def scorer(kind: str) -> Scorer:
    """Return a scorer of this kind, fitted on `development`."""
    search = full_search_space()
    for name in ("xgboost", "lightgbm"):
        start = {**search.tunable(name).start, "learning_rate": 0.3}
        search = search.replace(name, start=start, rounds_at_most=ROUNDS)
    (candidate,) = train_candidates(development(), search, load_policy().decision, seed=0, kinds=[kind])
    return candidate.scorer


@functools.cache
def development() -> LocalDevelopment:
    """Return both windows of synthetic loans of one year, all of which have ended."""
    loans = _cleaned_loans()
    space = FeatureSpace(contract(), measure_population(loans.lazy(), contract()))
    return LocalDevelopment.of(loans.head(TRAIN), loans.tail(-TRAIN), space)


# How packages of formats 1 and 2 said what fields are derived from.
EARLIER_DERIVATIONS = {
    "loan_to_income": {"function": "percent_of", "of": ["loan_amnt", "annual_inc"]},
    "payment_to_income": {"function": "payment_to_income", "of": ["loan_amnt", "int_rate", "term", "annual_inc"]},
    "revolving_to_income": {"function": "percent_of", "of": ["revol_bal", "annual_inc"]},
    "loan_to_revolving": {"function": "percent_of", "of": ["loan_amnt", "revol_bal"]},
    "credit_history_months": {"function": "months_between", "of": ["earliest_cr_line", "issue_d"]},
}


@functools.cache
def applications(rows: int = 40) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Return applications as a client sends them, and their features as the contract's own cleaning gives them.

    The client leaves derived fields out, and sends the months that the length of the credit history follows from.
    """
    published = make_applications(rows, seed=5, month=date(2018, 10, 1), shift=0.5)
    with TemporaryDirectory() as folder:
        raw, cleaned, rejected = (Path(folder, f"{name}.parquet") for name in ("raw", "cleaned", "rejected"))
        published.write_parquet(raw)
        clean_application_file(raw, contract(), cleaned=cleaned, rejected=rejected)
        features = pl.read_parquet(cleaned).select(contract().feature_names)
    assert features.height == rows
    sent = features.drop(field.name for field in contract().features if field.derived)
    return sent.hstack(published.select("issue_d", "earliest_cr_line")).to_dicts(), features


@functools.cache
def _cleaned_loans() -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        raw, cleaned, rejected = (Path(folder, f"{name}.parquet") for name in ("raw", "cleaned", "rejected"))
        make_loans(LOANS, seed=7, first_month=date(2013, 1, 1), last_month=date(2013, 12, 1)).write_parquet(raw)
        clean_loans([raw], contract(), cleaned=cleaned, rejected=rejected)
        return pl.read_parquet(cleaned)


@functools.cache
def valued_scorer(kind: str) -> Scorer:
    """Return a scorer with a value, estimated on the same loans."""
    loans = _cleaned_loans()
    ended, complete = read_ended(loans, contract())
    pds = scorer(kind).score(loans, with_reasons=False)["pd"].to_numpy()[complete]
    return replace(scorer(kind), value=fit_value(ended, pds, ValuePolicy(funding_rate=0.05)))


@functools.cache
def timed_scorer(kind: str) -> Scorer:
    """Return a scorer with hazards, fitted on the same loans."""
    search = full_search_space()
    start = {**search.tunable("xgboost").start, "learning_rate": 0.3}
    quick = search.replace("xgboost", start=start, rounds_at_most=ROUNDS)
    loans = FrameTable(_cleaned_loans().lazy())
    splits = split_loans(loans.scan(), contract(), SplitPlan(), snapshot=date(2019, 3, 1), data_fingerprint="d")
    timed, _ = with_timing(scorer(kind), LocalEngine(), loans, splits, quick, 0)
    return timed


def package(folder: Path, kind: str = "xgboost", *, of: Callable[[str], Scorer] = scorer) -> Path:
    """Write a model package with its canary, as registering a version leaves it."""
    of(kind).save(folder)
    application = {name: value for name, value in applications()[0][0].items() if value is not None}
    canary.write(folder, scorer(kind), application)
    return folder
