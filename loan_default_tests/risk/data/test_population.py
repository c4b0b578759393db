"""Populations: typical values that loans have, shares of those that lack one, and nothing of the test window."""

import math
from datetime import date
from statistics import median_low

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.population import Population, measure_population
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default_tests.conftest import Cleaned

LOANS = pl.LazyFrame(
    {
        "dti": [4.0, 1.0, None, 2.0, 3.0],
        "grade": ["A", "C", None, "B", "C"],
        "purpose": ["wedding", "car", None, "car", None],
        "bc_util": pl.Series([None] * 5, dtype=pl.Float64),
        "sub_grade": pl.Series([None] * 5, dtype=pl.String),
        "home_ownership": pl.Series([None] * 5, dtype=pl.String),
    }
)


def test_the_typical_value_is_one_that_a_loan_has(contract: Contract) -> None:
    population = measure_population(LOANS, contract)
    measured = {name: population.typical[name] for name in LOANS.collect_schema()}
    nothing = dict.fromkeys(["bc_util", "sub_grade", "home_ownership"])
    assert measured == {"dti": 2.0, "grade": "B", "purpose": "car", **nothing}
    assert population.missing_share["dti"] == population.missing_share["grade"] == 0.2
    assert population.missing_share["purpose"] == 0.4
    assert population.missing_share["bc_util"] == population.missing_share["sub_grade"] == 1


def test_the_support_is_what_any_loan_has(contract: Contract) -> None:
    population = measure_population(LOANS, contract)
    assert population.support["dti"] == [1.0, 4.0]
    assert population.support["purpose"] == ["car", "wedding"]
    fields = [contract.by_name[name] for name in ("dti", "purpose", "bc_util")]
    (least, most, _), (_, _, absent), unlimited = population.limits(fields)
    assert (least, most) == (1.0, 4.0)
    levels = contract.by_name["purpose"].levels
    assert absent == {position for position, level in enumerate(levels, 1) if level not in ("car", "wedding")}
    assert unlimited == (-math.inf, math.inf, frozenset())
    assert Population().limits(fields) == [unlimited] * 3


def test_a_column_that_is_absent_is_missing_for_every_loan(contract: Contract) -> None:
    population = measure_population(LOANS.drop("dti"), contract)
    assert (population.typical["dti"], population.missing_share["dti"]) == (None, 1)
    assert tuple(population.typical) == tuple(population.missing_share) == contract.feature_names


def test_levels_are_positions_from_the_safest_on(contract: Contract) -> None:
    population = measure_population(LOANS, contract)
    numbers = {name: population.typical_number(contract.by_name[name]) for name in ("dti", "grade", "purpose")}
    car = contract.by_name["purpose"].levels.index("car") + 1
    assert numbers == {"dti": 2.0, "grade": 2.0, "purpose": car}
    assert population.typical_number(contract.by_name["bc_util"]) is None
    assert Population().typical_number(contract.by_name["dti"]) is None


def test_rarely_is_below_the_share() -> None:
    population = Population(missing_share={"dti": 0.0, "grade": 0.01, "purpose": 0.02})
    assert population.rarely_missing(0.01) == {"dti"}
    assert population.rarely_missing(0.02) == {"dti", "grade"}
    assert population.rarely_missing(0) == Population().rarely_missing(0.01) == frozenset()


@pytest.mark.parametrize("at_most", [None, 700])
def test_splits_measure_the_loans_that_a_model_may_be_developed_on(
    cleaned: Cleaned, contract: Contract, at_most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if at_most:
        monkeypatch.setattr("loan_default.risk.data.splitting._MEASURED_AT_MOST", at_most)
    loans, snapshot = pl.scan_parquet(cleaned.path), cleaned.report.snapshot
    splits = split_loans(loans, contract, SplitPlan(), snapshot=snapshot or date.max, data_fingerprint="a")
    share = splits.share_of(at_most)
    development = window_loans(loans, contract, splits, "train", "calibrate", share=share)
    assert (share < 1) is (at_most is not None)
    for name in ("dti", "fico_range_low", "mths_since_last_delinq"):
        present = development[name].drop_nulls().to_list()
        assert splits.population.typical[name] == median_low(present)
        assert splits.population.missing_share[name] == pytest.approx(1 - len(present) / development.height)
