"""When applications would default: curves end at the PD, and one application is timed as many are."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.outcome import ProductTerm
from loan_default.risk.model.hazard import Hazard
from loan_default.risk.model.scorer import SCORED, Scorer
from loan_default.risk.model.timing import (
    TIMED,
    UNTIMED,
    time_application,
    time_applications,
    timing_problem,
)
from loan_default_tests.packages import applications, contract, timed_scorer


@pytest.fixture(scope="module")
def timed() -> Scorer:
    return timed_scorer("xgboost")


@pytest.fixture(scope="module")
def hazard(timed: Scorer) -> Hazard:
    assert timed.hazard is not None
    return timed.hazard


@pytest.fixture(scope="module")
def margins(timed: Scorer, hazard: Hazard) -> Floats:
    return hazard.margins(timed.space.matrix(applications()[1]))


def test_a_version_with_hazards_says_when_loans_default(timed: Scorer) -> None:
    features = applications()[1]
    scored = timed.score(features)
    assert dict(scored.schema) == SCORED | TIMED == timed.scored
    curves = scored["pd_curve"]
    assert curves.list.first().equals(scored["pd_12m"], null_equal=False, check_names=False)
    assert curves.list.last().equals(scored["pd"], null_equal=False, check_names=False)
    assert (scored["pd_12m"] > 0).all()
    years = np.ceil((features["term"] + contract().outcome.grace_months).to_numpy() / 12)
    assert curves.list.len().to_list() == years.tolist()
    for curve in curves.to_list():
        assert (np.diff(curve) >= 0).all()
    assert scored["pd_hazard"].is_between(0, 1).all()
    assert (scored["expected_life"] < features["term"] + contract().outcome.grace_months + 3).all()


def test_one_application_is_timed_to_the_bit_as_many_are(hazard: Hazard, margins: Floats) -> None:
    rng = np.random.default_rng(3)
    many = np.repeat(margins, 25, axis=0) + rng.normal(scale=0.5, size=(len(margins) * 25, margins.shape[1]))
    pds, terms = rng.random(len(many)), rng.choice([1.0, 6.0, 12.0, 36.0, 60.0, 61.5, np.nan], len(many))
    together = time_applications(hazard, many, pds, terms).rows()
    for row, expected in enumerate(together):
        assert time_application(hazard, many[row], pds[row], terms[row]) == expected
    assert UNTIMED in together


def test_a_missing_term_leaves_all_of_it_open(timed: Scorer) -> None:
    features = applications()[1].with_columns(pl.when(pl.int_range(pl.len()) > 0).then("term").alias("term"))
    scored = timed.score(features, with_reasons=False)
    assert scored.head(1).select(*TIMED).row(0) == UNTIMED
    assert scored.tail(-1)["pd_12m"].null_count() == 0


def test_books_say_why_nothing_is_said_of_when_loans_default() -> None:
    book = contract()
    assert timing_problem(book) is None
    unknown = book.model_copy(update={"outcome": book.outcome.model_copy(update={"known": None})})
    changes: dict[str, dict[str, Any]] = {
        "no date of issue": {"time": "none"},
        "are final, without a month": {"outcomes": "final"},
        "does not say when an outcome was known": {"outcome": unknown.outcome},
        "no term that all loans have": {"term": ProductTerm(by="grade_of_bank", months={"A": 36})},
    }
    for words, change in changes.items():
        sentence = timing_problem(book.model_copy(update=change))
        assert sentence is not None
        assert words in sentence
        assert sentence.endswith("so nothing is said of when loans default.")


def test_without_hazards_there_are_no_such_columns(timed: Scorer) -> None:
    assert dict(replace(timed, hazard=None).score(applications()[1]).schema) == SCORED
