"""Small synthetic windows and the candidates fitted on them, once for all tests of modelling."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost

from loan_default.risk.arrays import Matrix
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.population import measure_population
from loan_default.risk.data.splits import WINDOWS, Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate, train_candidates
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import full_search_space

SEED = 7


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Fit by one thread: on a busy machine several spend most of a small fit on waiting for each other."""
    xgboost.set_config(nthread=1)


def clean(raw: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Clean loans as published."""
    write_csv(raw, folder / "loans.csv")
    cleaned = folder / "cleaned.parquet"
    clean_loans([folder / "loans.csv"], load_contract(), cleaned=cleaned, rejected=folder / "rejected.parquet")
    return pl.read_parquet(cleaned, glob=False)


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pl.DataFrame]:
    """Clean synthetic loans, and return them by window: 4,900 train, 1,400 calibrate and 1,700 test."""
    folder, contract = tmp_path_factory.mktemp("windows"), load_contract()
    raw, cleaned = folder / "loans.csv", folder / "cleaned.parquet"
    write_csv(make_loans(8_000, seed=3, first_month=date(2010, 1, 1), last_month=date(2014, 1, 1)), raw)
    report = clean_loans([raw], contract, cleaned=cleaned, rejected=folder / "rejected.parquet")
    assert report.snapshot
    loans = pl.scan_parquet(cleaned)
    splits = split_loans(loans, contract, SplitPlan(), snapshot=report.snapshot, data_fingerprint=report.fingerprint)
    return {name: window_loans(loans, contract, splits, name) for name in WINDOWS}


@pytest.fixture(scope="session")
def development(windows: Mapping[str, pl.DataFrame]) -> LocalDevelopment:
    contract, train, calibrate = load_contract(), windows["train"], windows["calibrate"]
    space = FeatureSpace(contract, measure_population(pl.concat([train, calibrate]).lazy(), contract))
    return LocalDevelopment.of(train, calibrate, space)


@pytest.fixture(scope="session", name="X")
def some_test_loans(windows: Mapping[str, pl.DataFrame], development: LocalDevelopment) -> Matrix:
    """Return 400 test loans, among them some with missing values."""
    matrix = development.space.matrix(windows["test"].head(400))
    assert np.isnan(matrix).any()
    return matrix


@pytest.fixture(scope="session")
def quick_search() -> SearchSpace:
    """Ask for fast learning and few trees: seconds instead of minutes, and still better than the grade."""
    search = full_search_space()
    few = {"search": {}, "rounds_at_most": 60, "stop_after_rounds": 10}
    boosted = {**search.tunable("xgboost").start, "max_depth": 3, "learning_rate": 0.1}
    leafwise = {**search.tunable("lightgbm").start, "num_leaves": 8, "learning_rate": 0.1}
    search = search.replace("xgboost", start=boosted, **few).replace("lightgbm", start=leafwise, **few)
    return search.replace("random_forest", trees=25, max_depth=6)


@pytest.fixture(scope="session")
def ranked(development: LocalDevelopment, quick_search: SearchSpace) -> tuple[Candidate, ...]:
    """Return every candidate, best first."""
    return train_candidates(development, quick_search, load_policy().decision, seed=SEED)


@pytest.fixture(scope="session")
def candidates(ranked: tuple[Candidate, ...]) -> Mapping[str, Candidate]:
    """Return every candidate by its kind."""
    return {candidate.kind: candidate for candidate in ranked}


@pytest.fixture(scope="session")
def scorer(candidates: Mapping[str, Candidate]) -> Scorer:
    """Return the boosted trees' scorer."""
    return candidates["xgboost"].scorer


def published_loans(real_data: Path, folder: Path) -> tuple[pl.LazyFrame, Splits]:
    """Return the published loans of 2007 to 2011, cleaned into `folder`, and windows of which 2011 is the test."""
    contract, cleaned = load_contract(), folder / "cleaned.parquet"
    raw = real_data / "lendingclub" / "accepted_2007_2011.csv.gz"
    report = clean_loans([raw], contract, cleaned=cleaned, rejected=folder / "rejected.parquet")
    assert report.snapshot
    loans, plan = pl.scan_parquet(cleaned), SplitPlan(test_from=date(2011, 1, 1))
    return loans, split_loans(loans, contract, plan, snapshot=report.snapshot, data_fingerprint=report.fingerprint)
