"""Pairs of values that no loan had together: found where they hang together, hardly ever where they do not."""

import numpy as np
import polars as pl
import pytest

from loan_default.risk.data.combinations import LEAST_EXPECTED, UnlikePairs, measure_combinations
from loan_default.risk.data.population import measure_population
from loan_default.risk.model.features import FeatureSpace
from loan_default_tests.risk.small_books import make_contract

NUMBER = {"kind": "number", "unit": "dollars", "range": [0, 1_000], "role": "feature", "description": "An amount."}
AMOUNT, INCOME = {**NUMBER, "name": "amount"}, {**NUMBER, "name": "wage"}
LEVELS = ["rent", "own", "other"]
HOME = {"name": "housing", "kind": "nominal", "role": "feature", "levels": LEVELS, "description": "A home."}
BOOK = make_contract(AMOUNT, INCOME, HOME, time="none", outcomes="final")
NAMES = list(BOOK.feature_names)


def draw(count: int, seed: int) -> pl.DataFrame:
    """Return loans whose amount follows the income, and a home that nothing follows."""
    rng = np.random.default_rng(seed)
    income = rng.uniform(10, 100, count)
    amount = income * rng.uniform(0.4, 0.6, count)
    homes = rng.choice(LEVELS, count)
    frame = pl.DataFrame({"amount": amount, "wage": income, "housing": homes})
    others = [field for field in BOOK.features if field.name not in frame.columns]
    return frame.with_columns(
        (pl.lit(field.levels[0]) if field.levels else pl.lit(1.0)).alias(field.name) for field in others
    )


def values_of(loans: pl.DataFrame) -> np.ndarray:
    return FeatureSpace(BOOK).values(loans)


@pytest.fixture(scope="module")
def pairs() -> UnlikePairs:
    return UnlikePairs.of(BOOK.features, range(len(NAMES)), *measure_combinations(draw(20_000, 1), BOOK))


def test_values_that_hang_together_are_told_apart_from_those_that_do_not(pairs: UnlikePairs) -> None:
    amount, income = NAMES.index("amount"), NAMES.index("wage")
    assert [pair[:2] for pair in pairs.pairs] == [(min(amount, income), max(amount, income))]
    odd = draw(2, 2).with_columns(amount=pl.Series([58.0, 25.0]), wage=pl.Series([12.0, 50.0]))
    assert pairs.any(values_of(odd)).tolist() == [True, False]
    assert pairs.first(values_of(odd)[0].tolist()) == pairs.pairs[0][:2]


def test_of_applicants_like_the_loans_few_are_held_and_of_the_loans_none(pairs: UnlikePairs) -> None:
    assert not pairs.any(values_of(draw(20_000, 1))).any()
    assert pairs.any(values_of(draw(20_000, 3))).mean() < 0.002


def test_of_many_loans_every_nth_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    loans = draw(3_000, 1)
    monkeypatch.setattr("loan_default.risk.data.population._COMBINED_AT_MOST", 1_000)
    population = measure_population(loans.lazy(), BOOK)
    assert (population.edges, population.apart) == measure_combinations(loans.gather_every(3), BOOK)
    assert population.typical["wage"] == loans["wage"].quantile(0.5, "lower")


def test_one_application_is_told_as_among_many(pairs: UnlikePairs) -> None:
    values = values_of(draw(200, 4))
    rng = np.random.default_rng(5)
    values = rng.permuted(values, axis=0)  # breaks what hangs together
    values[::7, NAMES.index("wage")] = np.nan
    alone = [pairs.first(row.tolist()) is not None for row in values]
    assert alone == pairs.any(values).tolist()
    assert 20 < sum(alone) < 180
    assert not any(alone[::7]), "a value that is missing is another rule's"


def test_few_loans_tell_nothing() -> None:
    assert measure_combinations(draw(int(LEAST_EXPECTED), 6), BOOK) == ({}, [])
    assert measure_combinations(draw(0, 6), BOOK) == ({}, [])
