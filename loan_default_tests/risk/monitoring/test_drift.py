"""Drift: PSI by hand and by Evidently itself; verdicts on batches that moved and on batches that did not."""

import json
import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.monitoring.drift import (
    DriftVerdict,
    Profile,
    ReferenceProfile,
    build_profile,
    feature_drift,
    judge_drift,
    profile_batch,
    psi,
)
from loan_default.risk.monitoring.reference_profile import drift_columns
from loan_default.risk.policy import DriftPolicy, Policy

POLICY = DriftPolicy(
    feature_psi_limit=0.25,
    score_psi_limit=0.2,
    drifted_share_limit=0.3,
    least_rows=500,
    report_sample_rows=1000,
)
NUMERIC = ("annual_inc", "dti", "fico_range_low", "int_rate", "term")
CATEGORICAL = ("grade", "home_ownership")


def loans(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    dti = rng.gamma(4, 5, rows)
    dti[rng.random(rows) < 0.02] = np.nan
    return pl.DataFrame(
        {
            "annual_inc": np.exp(rng.normal(11, 0.6, rows)).round(),
            "dti": pl.Series(dti, nan_to_null=True),
            "fico_range_low": rng.integers(132, 170, rows) * 5,
            "int_rate": rng.normal(13, 4, rows).round(2),
            "term": rng.choice([36, 60], rows),
            "grade": rng.choice(list("ABCDEFG"), rows),
            "home_ownership": rng.choice(["MORTGAGE", "OWN", "RENT"], rows),
            "raw_score": rng.beta(2, 8, rows),
        }
    )


def profile(frame: pl.DataFrame | pl.LazyFrame) -> ReferenceProfile:
    return build_profile(frame, numeric=NUMERIC, categorical=CATEGORICAL, score="raw_score")


def drift_line(reference: pl.DataFrame, batch: pl.DataFrame, feature: str) -> dict[str, Any]:
    trained = profile(reference)
    return feature_drift(trained, profile_batch(batch, trained), POLICY).row(
        by_predicate=pl.col("feature") == feature, named=True
    )


def verdict(reference: pl.DataFrame, batch: pl.DataFrame, policy: DriftPolicy = POLICY) -> DriftVerdict:
    trained = profile(reference)
    current = profile_batch(batch, trained)
    return judge_drift(feature_drift(trained, current, policy), current.rows, policy)


def test_no_figure_depends_on_what_a_column_is_called() -> None:
    names = {name: f"its_{name}" for name in (*NUMERIC, *CATEGORICAL)}
    batch = loans(700, seed=1).with_columns(pl.col("int_rate") + 1)
    numeric, categorical = ([names[name] for name in columns] for columns in (NUMERIC, CATEGORICAL))
    trained = profile(TRAINING)
    renamed = build_profile(TRAINING.rename(names), numeric=numeric, categorical=categorical, score="raw_score")
    table = feature_drift(trained, profile_batch(batch, trained), POLICY)
    again = feature_drift(renamed, profile_batch(batch.rename(names), renamed), POLICY)
    assert again["feature"].to_list() == [names.get(name, name) for name in table["feature"]]
    assert again.drop("feature").equals(table.drop("feature"))


def contents(measured: Profile) -> dict[str, Any]:
    """Return a profile as plain values, which compare."""
    columns = {
        name: (column.values.tolist(), column.counts.tolist(), column.missing)
        for name, column in measured.columns.items()
    }
    return {**vars(measured), "numeric": None, "categorical": None, "columns": columns}


TRAINING = loans(20_000)


def test_the_training_window_itself_is_stable_and_its_psi_is_zero() -> None:
    trained = profile(TRAINING)
    table = feature_drift(trained, profile_batch(TRAINING, trained), POLICY)
    for figure in ("psi_raw", "decile_psi_raw", "missing_psi_raw"):
        assert (table[figure].abs().fill_null(0) < 1e-9).all()
    assert verdict(TRAINING, TRAINING).verdict == "stable"


def test_a_shuffled_sample_of_the_training_window_is_stable() -> None:
    result = verdict(TRAINING, TRAINING.sample(2_000, shuffle=True, seed=3))
    assert (result.verdict, result.drifted_features, result.share) == ("stable", (), 0.0)
    assert result.reasons[-1] == "0 of 7 features drifted (0%), limit 30%"


def test_enough_moved_features_are_drift_and_each_says_why() -> None:
    moved = loans(5_000, seed=1).with_columns(pl.col("fico_range_low") - 40, pl.col("int_rate") + 5, grade=pl.lit("F"))
    result = verdict(TRAINING, moved)
    assert result.verdict == "drifted"
    assert set(result.drifted_features) == {"fico_range_low", "int_rate", "grade"}
    assert result.share == pytest.approx(3 / 7)
    assert "3 of 7 features drifted (43%), limit 30%" in result.reasons
    assert any(re.fullmatch(r"grade: PSI \d+\.\d{3} is above 0\.25", reason) for reason in result.reasons)


def test_one_moved_feature_of_seven_is_named_and_no_drift() -> None:
    result = verdict(TRAINING, loans(5_000, seed=1).with_columns(pl.col("int_rate") + 5))
    assert (result.verdict, result.drifted_features) == ("stable", ("int_rate",))


def test_a_share_at_its_limit_is_drift() -> None:
    moved = loans(5_000, seed=1).with_columns(pl.col("int_rate") + 5)
    assert verdict(TRAINING, moved, POLICY.model_copy(update={"drifted_share_limit": 1 / 7})).verdict == "drifted"


def test_a_moved_score_alone_is_drift() -> None:
    result = verdict(TRAINING, loans(5_000, seed=1).with_columns(pl.col("raw_score") * 1.5))
    assert (result.verdict, result.drifted_features) == ("drifted", ())
    assert result.score_psi is not None
    assert result.score_psi > POLICY.score_psi_limit
    assert re.fullmatch(r"score: PSI.* is above 0\.2", result.reasons[0])


def test_the_score_is_told_by_the_figure_that_moved_it() -> None:
    extreme = TRAINING.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(1e4).otherwise("raw_score").alias("raw_score")
    )
    result = verdict(extreme, loans(5_000, seed=1).with_columns(pl.col("raw_score") * 1.5))
    assert result.reasons[0] == f"score: PSI by deciles {result.score_psi:.3f} is above 0.2"


def test_the_score_has_its_own_limit() -> None:
    moved = loans(5_000, seed=1).with_columns(pl.col("raw_score") * 1.5)
    assert verdict(TRAINING, moved, POLICY.model_copy(update={"score_psi_limit": 5.0})).verdict == "stable"


def test_a_jump_of_missing_values_is_drift() -> None:
    emptied = pl.when(pl.int_range(pl.len()) % 4 > 0).then(pl.col("dti"))
    line = drift_line(TRAINING, loans(5_000, seed=1).with_columns(emptied.alias("dti")), "dti")
    assert line["drifted"]
    assert line["psi"] < 0.1 < 0.25 < line["missing_psi"]
    assert line["missing_batch"] == pytest.approx(0.265, abs=0.01)
    assert line["missing_reference"] == pytest.approx(0.02, abs=0.005)


def test_missing_values_are_the_reason_where_they_are_the_widest_figure() -> None:
    emptied = pl.when(pl.int_range(pl.len()) > 0).then(pl.lit(None, pl.String)).otherwise(pl.col("grade"))
    result = verdict(TRAINING, loans(5_000, seed=1).with_columns(emptied.alias("grade")))
    assert result.reasons[1].startswith("grade: missing in 100.0% of rows, 0.0% in the reference, PSI 17.7")


def test_a_feature_that_is_empty_in_the_batch_alone_is_drift_and_said_so() -> None:
    emptied = loans(5_000, seed=1).with_columns(grade=pl.lit(None, pl.String))
    result = verdict(TRAINING, emptied)
    assert result.drifted_features == ("grade",)
    assert result.reasons[1] == "grade: no value in the batch, missing in 0.0% of the reference"


def test_one_extreme_value_hides_no_shift() -> None:
    halved = pl.when(pl.int_range(pl.len()) > 0).then(pl.col("annual_inc") / 2).otherwise(1e9)
    line = drift_line(TRAINING, loans(5_000, seed=1).with_columns(halved.alias("annual_inc")), "annual_inc")
    assert line["psi"] < 0.01, "Evidently's bins have stopped hiding it: is decile_psi still needed?"
    assert line["decile_psi"] > 0.25
    assert line["drifted"]


@pytest.mark.parametrize("batch_value", [3.0, 7.0, 9.0, None, "spread"])
def test_a_reference_of_one_value_catches_another_batch(batch_value: float | str | None) -> None:
    new = pl.col("raw_score") if batch_value == "spread" else pl.lit(batch_value, pl.Float64)
    training, batch = TRAINING.with_columns(dti=7.0), loans(2_000, seed=1).with_columns(dti=new)
    assert drift_line(training, batch, "dti")["drifted"] == (batch_value != 7.0)


def test_features_that_are_empty_in_the_reference_leave_the_denominator_and_are_named() -> None:
    training = TRAINING.with_columns(dti=pl.lit(None, pl.Float64), grade=pl.lit(None, pl.String))
    batch = loans(5_000, seed=1).with_columns(pl.col("int_rate") + 5, dti=pl.lit(None, pl.Float64))
    result = verdict(training, batch, POLICY.model_copy(update={"drifted_share_limit": 0.2}))
    assert (result.verdict, result.drifted_features, result.share) == ("drifted", ("int_rate",), 1 / 5)
    assert result.not_compared == ("dti", "grade")
    assert result.reasons[0] == "1 of 5 features drifted (20%), limit 20%", "what decided comes first"
    assert result.reasons[1].startswith("int_rate: PSI")
    assert result.reasons[2].startswith("score: PSI")
    assert result.reasons[3] == "empty in the reference and not compared: dti, grade; the batch holds values of grade"
    line = drift_line(training, batch, "grade")
    assert not line["drifted"]
    assert all(line[f"{name}psi{part}"] is None for name in ("", "missing_") for part in ("", "_raw", "_by_chance"))


def test_a_rare_field_may_be_empty_by_chance_and_not_beyond_it() -> None:
    rare = pl.when(pl.int_range(pl.len()) % 100 == 0).then(1.0)  # in 1 % of the reference
    training = TRAINING.with_columns(dti=rare)
    empty = [drift_line(training, loans(rows, 1).with_columns(dti=None), "dti") for rows in (200, 1_000)]
    assert [line["drifted"] for line in empty] == [False, True]  # 0.99 ** 200 = 0.13, 0.99 ** 1000 = 0.00004
    assert empty[1]["missing_psi"] < POLICY.feature_psi_limit, "only that it is empty makes it drift"


# What a lender's book holds besides the usual: a field that few have, and one of many levels.
SPARSE = TRAINING.with_columns(
    since_record=pl.when(pl.Series(np.random.default_rng(1).random(TRAINING.height)) < 0.07).then(pl.col("dti") * 5),
    state=pl.Series(np.random.default_rng(2).zipf(1.5, TRAINING.height).clip(0, 50)).cast(pl.String),
)
SPARSE_NUMERIC, SPARSE_CATEGORICAL = (*NUMERIC, "since_record"), (*CATEGORICAL, "state")


def drift_of_samples(rows: int, draws: int, *changes: pl.Expr) -> pl.DataFrame:
    """Draw batches from the reference, change them, and return the share that is flagged by feature."""
    trained = build_profile(SPARSE, numeric=SPARSE_NUMERIC, categorical=SPARSE_CATEGORICAL, score="raw_score")
    samples = (SPARSE.sample(rows, seed=seed).with_columns(*changes) for seed in range(draws))
    tables = [feature_drift(trained, profile_batch(sample, trained), POLICY) for sample in samples]
    return pl.concat(tables).group_by("feature").agg(pl.col("drifted", "psi", "psi_raw").mean())


@pytest.mark.slow
def test_samples_of_the_reference_are_not_flagged() -> None:
    flagged = drift_of_samples(200, 40)
    assert np.mean(flagged["drifted"].to_numpy()) < 0.01
    assert np.max(flagged["drifted"].to_numpy()) <= 0.05
    raw, less_chance = flagged.filter(feature="since_record").select("psi_raw", "psi").row(0)
    assert less_chance < raw / 3
    assert raw > 1, "chance no longer makes much of few values"


@pytest.mark.slow
def test_shifts_are_seen_in_few_rows_too() -> None:
    moved = (pl.col("int_rate") + 3, pl.col("annual_inc") * 1.5, pl.col("since_record") + 80)
    flagged = dict(drift_of_samples(200, 20, *moved).select("feature", "drifted").iter_rows())
    assert {name for name, share in flagged.items() if share >= 0.9} == {"int_rate", "annual_inc", "since_record"}
    assert {name for name, share in flagged.items() if share > 0.05} == {"int_rate", "annual_inc", "since_record"}


@pytest.mark.slow
def test_a_figure_above_its_limit_may_be_chance() -> None:
    strict = POLICY.model_copy(update={"score_psi_limit": 1e-6, "feature_psi_limit": 1e-6})
    results = [verdict(TRAINING, TRAINING.sample(500, seed=seed), strict) for seed in range(20)]
    scores = [result.reasons[0] for result in results]
    assert sum(score.endswith("above 1e-06, but not beyond chance") for score in scores) > 5
    assert sum(result.verdict == "drifted" for result in results) <= 2


def test_a_new_level_is_drift() -> None:
    renamed = loans(5_000, seed=1).with_columns(pl.col("home_ownership").replace("RENT", "LEASE"))
    line = drift_line(TRAINING, renamed, "home_ownership")
    assert line["psi"] > 4
    assert line["top_batch"].split()[0] in {"MORTGAGE", "OWN", "LEASE"}


def test_nan_and_infinities_are_missing() -> None:
    column = pl.Series([1.0, np.nan, np.inf, -np.inf, None, 2.0, 2.0, -0.0, 0.0])
    measured = build_profile(pl.DataFrame({"x": column}), numeric=["x"], categorical=[]).numeric["x"]
    assert (measured.values.tolist(), measured.counts.tolist(), measured.missing) == ([0, 1, 2], [2, 1, 2], 4)


@pytest.mark.parametrize("rows", [0, 499])
def test_too_few_rows_are_never_stable(rows: int) -> None:
    result = verdict(TRAINING, TRAINING.head(rows))
    assert (result.verdict, result.rows) == ("not enough rows", rows)
    assert result.reasons == (f"{rows} rows, fewer than the 500 that a verdict needs",)


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        profile(TRAINING.head(0))


def test_a_lacking_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"lacks the columns \['dti', 'grade'\]"):
        profile_batch(TRAINING.drop("dti", "grade"), profile(TRAINING))


def test_profiles_of_partitions_add_up() -> None:
    trained = profile(TRAINING)
    batch = loans(3_000, seed=5).with_columns(grade=pl.col("grade").replace("A", "Ω"))
    parts = [profile_batch(part, trained) for part in (batch[:7], batch[7:7], batch[7:2_000], batch[2_000:])]
    merged = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    assert contents(merged) == contents(profile_batch(batch, trained))


def test_a_lazy_frame_gives_the_same_profile(tmp_path: Path) -> None:
    TRAINING.write_parquet(tmp_path / "loans.parquet")
    assert contents(profile(pl.scan_parquet(tmp_path / "loans.parquet"))) == contents(profile(TRAINING))


@pytest.mark.parametrize("digits", [None, 3])
def test_a_profile_survives_json(digits: int | None) -> None:
    stored = build_profile(
        TRAINING.with_columns(dti=pl.lit(None)),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        score="raw_score",
        months=("2015-01", "2016-06"),
        significant_digits=digits,
    )
    read = ReferenceProfile.from_json(stored.to_json())
    assert contents(read) == contents(stored)
    assert psi(read, profile_batch(TRAINING, read)) == psi(stored, profile_batch(TRAINING, stored))


def test_a_profile_of_an_earlier_release_is_read() -> None:
    stored = (
        '{"format": 1, "rows": 500, "numeric": {"dti": {"values": [1.0, 2.0], "counts": [200, 200], "missing": 100}},'
        ' "categorical": {"grade": {"values": [], "counts": [], "missing": 500}},'
        ' "score": null, "significant_digits": 4, "months": ["2007-06", "2010-12"]}'
    )
    trained = ReferenceProfile.from_json(stored)
    batch = profile_batch(pl.DataFrame({"dti": [1.0] * 600, "grade": ["A"] * 600}), trained)
    result = judge_drift(feature_drift(trained, batch, POLICY), batch.rows, POLICY)
    assert (result.verdict, result.drifted_features, result.not_compared) == ("drifted", ("dti",), ("grade",))


def test_a_profile_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format is 0, expected 1"):
        ReferenceProfile.from_json('{"format": 0}')


def test_rounding_bounds_a_profile_and_hardly_moves_psi() -> None:
    def psi_and_size(digits: int | None) -> tuple[float, int]:
        rounded = build_profile(TRAINING, numeric=["raw_score"], categorical=[], significant_digits=digits)
        moved = TRAINING.with_columns(pl.col("raw_score") * 1.2)
        index = psi(rounded, profile_batch(moved, rounded))["raw_score"]
        assert index is not None
        return index, rounded.numeric["raw_score"].values.size

    (exact, every), (rounded, fewer) = psi_and_size(None), psi_and_size(3)
    assert fewer < every / 10
    assert 0 < abs(rounded - exact) < 0.005


def test_a_verdict_is_json() -> None:
    result = verdict(TRAINING, TRAINING)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["verdict"] == "stable"


# Evidently takes seconds to import, so the test of its PSI is no unit test.


def mixed(rows: int, seed: int, moved: float) -> pl.DataFrame:
    """Make every kind of column that Evidently's PSI treats in its own way, with missing values."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "normal": rng.normal(moved, 1, rows),
            "skewed": np.exp(rng.normal(moved, 2, rows)),
            "float32": rng.beta(2 + moved, 8, rows).astype(np.float32),
            "integers": rng.integers(0, 21 + int(9 * moved), rows),
            "twenty": rng.integers(0, 20, rows) / 10,
            "few": rng.choice([36.0, 60.0], rows, p=[0.7 - moved / 3, 0.3 + moved / 3]),
            "constant": np.full(rows, 3.0 + moved),
            "infinite": np.where(rng.random(rows) < 0.1, np.inf, rng.normal(size=rows)),
            "rare": rng.choice(["a", "b", "c", f"new {moved}"], rows, p=[0.6, 0.3995 - moved / 5, 0.0005, moved / 5]),
            "flag": rng.random(rows) < 0.2 + moved / 2,
        }
    )
    is_present = pl.Series(rng.random(rows) >= 0.05 * (1 + moved))
    return frame.with_columns(pl.when(is_present).then(pl.col("normal", "rare", "integers")))


def evidentlys_psi(
    reference: pl.DataFrame, batch: pl.DataFrame, numeric: list[str], categorical: list[str]
) -> dict[str, float]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    number = pl.col(numeric).cast(pl.Float64)  # numpy bins integers differently
    columns = pl.when(number.is_finite()).then(number), pl.col(categorical).cast(pl.String)
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = [Dataset.from_pandas(s.select(columns).to_pandas(), data_definition=definition) for s in (batch, reference)]
    report = Report([ValueDrift(column=name, method="psi", threshold=0.25) for name in reference.columns])
    return {metric["config"]["column"]: metric["value"] for metric in report.run(*sides).dict()["metrics"]}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("seed", "rows", "batch_rows", "moved"),
    [(0, 20_000, 20_000, 0.0), (1, 6_000, 777, 0.4), (2, 900, 9_000, 0.9)],
)
def test_psi_is_evidentlys(seed: int, rows: int, batch_rows: int, moved: float) -> None:
    reference, batch = mixed(rows, seed, 0.0), mixed(batch_rows, seed + 100, moved)
    categorical = ["rare", "flag"]
    numeric = [name for name in reference.columns if name not in categorical]
    theirs = evidentlys_psi(reference, batch, numeric, categorical)
    trained = build_profile(reference, numeric=numeric, categorical=categorical)
    ours = psi(ReferenceProfile.from_json(trained.to_json()), profile_batch(batch, trained))
    assert ours == pytest.approx(theirs, abs=1e-6, rel=0)


@pytest.mark.integration
@pytest.mark.real_data
def test_samples_of_the_published_loans_are_not_flagged(
    real_data: Path, contract: Contract, policy: Policy, tmp_path: Path
) -> None:
    raw, cleaned = real_data / "lendingclub" / "accepted_2007_2011.csv.gz", tmp_path / "cleaned.parquet"
    clean_loans([raw], contract, cleaned=cleaned, rejected=tmp_path / "rejected.parquet")
    loans = pl.read_parquet(cleaned).filter(pl.col(contract.time_name) < date(2011, 1, 1))
    numeric, categorical = drift_columns(contract)
    trained = build_profile(loans, numeric=numeric, categorical=categorical, significant_digits=4)
    batches = [profile_batch(loans.sample(200, seed=seed), trained) for seed in range(40)]
    results = [judge_drift(feature_drift(trained, batch, policy.drift), 200, policy.drift) for batch in batches]
    assert len(results[0].not_compared) == 16
    assert np.mean([result.share for result in results]) < 0.01
    by_feature = Counter(name for result in results for name in result.drifted_features)
    assert max(by_feature.values()) <= 2
