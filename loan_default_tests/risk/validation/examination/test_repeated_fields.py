"""Fields that say nearly the same are found by the ranks of the loans that have both."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.validation.examination.repeated_fields import (
    CorrelatedPair,
    _correlate,
    _ranks,
    correlated_pairs,
    repeated_sets,
)

CONTRACT = load_contract()


def test_ranks_correlate_as_spearmans() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 20, 500).astype(float)
    values = np.column_stack([base, np.exp(base) + rng.normal(0, 5, 500), -base, np.full(500, 3.0)])
    correlations, counts = _correlate(_ranks(values))
    expected, _ = spearmanr(values[:, :3])
    np.testing.assert_allclose(correlations[:3, :3], expected, atol=1e-12)
    assert np.isnan(correlations[3, 0])
    assert counts[0, 1] == 500


def test_only_loans_that_have_both_fields_count() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, np.nan], [np.nan, 5.0], [4.0, 30.0]])
    correlations, counts = _correlate(_ranks(values))
    assert counts.tolist() == [[4, 3], [3, 4]]
    assert correlations[0, 1] == pytest.approx(0.982, abs=0.001)


def test_pairs_are_those_that_repeat_each_other_the_strongest_first(windows) -> None:  # type: ignore[no-untyped-def]
    pairs = correlated_pairs(windows["train"], FeatureSpace(CONTRACT))
    assert {("grade", "sub_grade")} <= {(pair.field, pair.other) for pair in pairs[:5]}
    strengths = [abs(pair.correlation) for pair in pairs]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] >= 0.8
    assert not {"purpose", "home_ownership"} & {pair.field for pair in pairs}


def test_fields_that_few_loans_have_together_are_not_compared() -> None:
    rows = 99
    loans = pl.DataFrame({name: pl.Series([1.0 * i for i in range(rows)]) for name in ("dti", "annual_inc")})
    empty = {f.name: pl.lit(None, pl.Float64 if f.kind == "number" else pl.String) for f in CONTRACT.features}
    filled = loans.with_columns(value.alias(name) for name, value in empty.items() if name not in loans.columns)
    assert correlated_pairs(filled, FeatureSpace(CONTRACT)) == ()


def test_pairs_that_share_a_field_are_one_set() -> None:
    pairs = [CorrelatedPair(*names, 0.9, 200) for names in (("a", "b"), ("c", "d"), ("e", "f"), ("d", "a"))]
    assert repeated_sets(pairs) == (("a", "b", "c", "d"), ("e", "f"))
