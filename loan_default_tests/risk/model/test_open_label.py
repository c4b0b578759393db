"""Loans that have not matured are learned from by how they end, as far as that is known, and else as hazards expect."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.data.as_of import as_of
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default.risk.data.synthetic import make_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import auc_of
from loan_default.risk.model.development import LocalDevelopment, development_on
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.open_label import HazardLabel, fit_label
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.timed_version import read_histories
from loan_default.risk.model.training import train_candidates
from loan_default.risk.policy import TrainingLabel, load_policy
from loan_default.risk.validation.past_models import PastBook
from loan_default_tests.packages import contract
from loan_default_tests.risk.conftest import SEED, clean

MONTH = date(2014, 6, 1)
ENGINE = LocalEngine()


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Clean loans of 2010 to 2013, all of which have ended, as they were in the end."""
    raw = make_loans(3_000, seed=11, first_month=date(2010, 1, 1), last_month=date(2013, 12, 1))
    return clean(raw, tmp_path_factory.mktemp("open_label"))


@pytest.fixture(scope="module")
def view(loans: pl.DataFrame) -> FrameTable:
    """The same as a file of June 2014 would have had them: about half had not matured."""
    return FrameTable(as_of(loans.lazy(), contract(), MONTH).collect().lazy())


def cut(view: FrameTable, label: TrainingLabel) -> Splits:
    return split_loans(view.scan(), contract(), SplitPlan(), snapshot=MONTH, data_fingerprint="d", label=label)


@pytest.fixture(scope="module")
def label(view: FrameTable, quick_search: SearchSpace) -> HazardLabel:
    splits = cut(view, "open")
    fitted = fit_label(ENGINE, view, splits, FeatureSpace(contract(), splits.population), quick_search, SEED)
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def development(view: FrameTable, label: HazardLabel) -> LocalDevelopment:
    windows = development_on(ENGINE, view, contract(), cut(view, "open"), label=label)
    assert isinstance(windows, LocalDevelopment)
    return windows


@pytest.mark.slow
def test_labels_are_outcomes_where_these_are_known_and_probabilities_elsewhere(
    view: FrameTable, label: HazardLabel, development: LocalDevelopment
) -> None:
    frame = window_loans(view.scan(), contract(), cut(view, "open"), "train", with_open=True)
    sample, ended = development.train, frame[OUTCOME].is_not_null().to_numpy()
    assert np.array_equal(sample.y[ended], frame[OUTCOME].drop_nulls().to_numpy())
    assert ((sample.y[~ended] > 0) & (sample.y[~ended] < 1)).all()
    assert np.array_equal(sample.matured, (frame["matures"] <= MONTH).to_numpy())
    assert 0 < ended[~sample.matured].mean() < 1


@pytest.mark.slow
def test_what_open_loans_are_expected_to_do_is_what_they_did(
    loans: pl.DataFrame, view: FrameTable, development: LocalDevelopment
) -> None:
    """In the mean and in their order, though nothing of it was known."""
    frame = window_loans(view.scan(), contract(), cut(view, "open"), "train", with_open=True)
    ends = frame.select("id").join(loans, on="id", maintain_order="left")
    still_open = frame[OUTCOME].is_null().to_numpy()
    expected, came = development.train.y[still_open], ends[OUTCOME].to_numpy()[still_open]
    assert expected.mean() == pytest.approx(came.mean(), abs=0.03)
    assert auc_of(came.astype(float), expected.astype(float)) > 0.6


@pytest.mark.slow
def test_candidates_are_measured_on_matured_loans_and_calibrated_for_all(
    loans: pl.DataFrame, view: FrameTable, development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    matured = cut(view, "matured").window("calibrate")
    later = loans.filter(pl.col("matures") > MONTH)
    for candidate in train_candidates(development, quick_search, load_policy().decision, seed=SEED):
        assert len(candidate.margins) == matured.rows
        pds = candidate.scorer.score(later, with_reasons=False)["pd"]
        assert pds.mean() == pytest.approx(later[OUTCOME].mean(), abs=0.03)


def test_a_loan_without_a_term_is_not_followed(view: FrameTable, quick_search: SearchSpace) -> None:
    """Of one that says none, or 0 months, nobody knows how long it should run."""
    number = pl.int_range(pl.len()) % 3
    terms = pl.when(number == 0).then("term").when(number == 1).then(0.0)
    broken = FrameTable(view.scan().with_columns(terms.alias("term")))
    splits = cut(broken, "open")
    _, history = read_histories(ENGINE, broken, splits, FeatureSpace(contract(), splits.population))
    past = PastBook(broken.scan(), contract(), MONTH, MONTH, quick_search, load_policy(), SEED)
    for followed in (history, past.history):
        assert 0 < len(followed) < view.rows / 2
        assert (followed.terms > 0).all()


def test_there_is_no_label_where_all_loans_have_matured_and_none_without_parameters(
    view: FrameTable, quick_search: SearchSpace
) -> None:
    space = FeatureSpace(contract())
    assert fit_label(ENGINE, view, cut(view, "matured"), space, quick_search, SEED) is None
    without = SearchSpace({name: each for name, each in quick_search.sections.items() if name != "xgboost"})
    with pytest.raises(BadInput, match="label: open needs hazards, and the search space has no section xgboost"):
        fit_label(ENGINE, view, cut(view, "open"), space, without, SEED)
