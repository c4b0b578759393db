"""Scoring of tables of any length: the same as of a frame, in order, whatever is read at a time."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk import compute
from loan_default.risk.compute import FrameTable
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.data.population import measure_population
from loan_default.risk.model.batch_scoring import score_rows, write_predictions
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import SCORED, Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import train_candidates
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import applications, timed_scorer
from loan_default_tests.risk.small_books import BOOKS, make_file


@pytest.fixture
def loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"].head(300)


@pytest.mark.parametrize(
    ("part_rows", "with_reasons"), [(1, True), (7, False), (100, True), (299, False), (300, True), (1_000, False)]
)
def test_parts_add_up_to_the_whole(
    scorer: Scorer, loans: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, part_rows: int, with_reasons: bool
) -> None:
    monkeypatch.setattr(compute, "_PART_ROWS_LIMIT", part_rows)
    sample = loans.head(40) if part_rows == 1 else loans
    columns = ["dti", "id", "addr_state"]  # a feature, and two that are none
    predictions = score_rows(scorer, FrameTable(sample.lazy()), keep=columns, with_reasons=with_reasons).collect(
        engine="streaming"
    )
    assert predictions.equals(sample.select(columns).hstack(scorer.score(sample, with_reasons=with_reasons)))


def test_no_column_may_be_kept(scorer: Scorer, loans: pl.DataFrame) -> None:
    assert score_rows(scorer, FrameTable(loans.lazy()), keep=[]).collect(engine="streaming").equals(scorer.score(loans))


def test_no_loans_are_scored_as_none(scorer: Scorer, loans: pl.DataFrame) -> None:
    nothing = score_rows(scorer, FrameTable(loans.lazy().filter(pl.lit(False))), keep=["id"]).collect(
        engine="streaming"
    )
    assert (nothing.height, dict(nothing.schema)) == (0, {"id": pl.String(), **SCORED})


def test_a_file_of_loans_keeps_its_order(scorer: Scorer, loans: pl.DataFrame, tmp_path: Path) -> None:
    loans.write_parquet(tmp_path / "loans.parquet", row_group_size=50)
    predictions = score_rows(scorer, FrameTable(pl.scan_parquet(tmp_path / "loans.parquet")), keep=["id"]).collect(
        engine="streaming"
    )
    assert predictions["id"].equals(loans["id"])


def test_predictions_are_written_as_scored(scorer: Scorer, loans: pl.DataFrame, tmp_path: Path) -> None:
    parquet, csv = tmp_path / "predictions.parquet", tmp_path / "predictions.csv"
    counts = write_predictions(
        scorer, FrameTable(loans.lazy()), parquet=parquet, csv=csv, constants={"model_version": 3}
    )
    scores = scorer.score(loans)
    predictions = pl.read_parquet(parquet)
    assert predictions.columns == ["id", "issue_d", "term", *SCORED, "model_version"]
    assert predictions["id"].equals(loans["id"])
    assert predictions.select(list(SCORED)).equals(scores)
    assert set(predictions["model_version"]) == {3}
    lines = pl.read_csv(csv)
    assert lines["score"].equals(scores["score"])
    assert (lines["reasons"].fill_null("") == scores["reasons"].list.join(" ")).all()
    assert [json.loads(codes) for codes in lines["reason_codes"]] == scores["reason_codes"].to_list()
    assert {name for name, _, _ in counts} == set(scores["decision"])
    for name, rows, mean_pd in counts:
        decided_so = scores.filter(pl.col("decision") == name)
        assert rows == decided_so.height
        assert mean_pd == pytest.approx(decided_so["pd"].mean())


def test_a_curve_is_figures_with_spaces_in_csv(tmp_path: Path) -> None:
    timed, features = timed_scorer("xgboost"), applications()[1]
    loans = FrameTable(features.with_columns(id=pl.lit("a"), issue_d=pl.lit(date(2018, 10, 1))).lazy())
    write_predictions(timed, loans, parquet=tmp_path / "p.parquet", csv=tmp_path / "p.csv")
    curves = [[float(text) for text in line.split()] for line in pl.read_csv(tmp_path / "p.csv")["pd_curve"]]
    assert curves == timed.score(features)["pd_curve"].to_list()
    assert curves == pl.read_parquet(tmp_path / "p.parquet")["pd_curve"].to_list()


@pytest.mark.parametrize(
    ("book", "columns", "terms"),
    [
        ("timeless", ["id"], None),
        ("by_wave", ["id"], None),
        ("final", ["id", "issued"], None),
        ("revolving", ["id", "issued", "term"], {12.0}),
        ("constant", ["id", "issued", "term"], {24.0}),
        ("by_product", ["id", "issued", "term"], {12.0, 36.0}),
        ("term_as_support", ["id", "issued", "term"], {12.0, 36.0}),
    ],
)
def test_predictions_hold_what_says_when_a_loan_matures_and_no_more(
    book: str, columns: list[str], terms: set[float] | None, tmp_path: Path, small_scorer: Scorer
) -> None:
    """As a support field, the term broke every batch."""
    contract, paths = BOOKS[book], [tmp_path / f"{name}.parquet" for name in ("cleaned", "rejected", "predictions")]
    make_file(200).drop("sex", "age", "wave", "status").write_csv(tmp_path / "batch.csv")
    report = clean_application_file(tmp_path / "batch.csv", contract, cleaned=paths[0], rejected=paths[1])
    assert report.kept == 200
    applications = FrameTable(pl.scan_parquet(paths[0]))
    assert not {"sex", "age", "wave"} & set(applications.scan().collect_schema().names())
    write_predictions(replace(small_scorer, contract=contract), applications, parquet=paths[2])
    predictions = pl.read_parquet(paths[2])
    assert predictions.columns == [*columns, *SCORED]
    assert (set(predictions["term"]) if terms else None) == terms


@pytest.fixture(scope="module")
def small_scorer(quick_search: SearchSpace) -> Scorer:
    """Fit a logistic regression on a small book; all small books have the same features."""
    contract = BOOKS["timeless"]
    loans = make_file(1_200).with_columns(
        outcome=(pl.col("status") == "bad").cast(pl.Int8), home=pl.col("home").cast(pl.Enum(["rent", "own"]))
    )
    space = FeatureSpace(contract, measure_population(loans.lazy(), contract))
    development = LocalDevelopment.of(loans[:900], loans[900:], space)
    decision, kinds = load_policy().decision, ["logistic_regression"]
    return train_candidates(development, quick_search, decision, seed=1, kinds=kinds)[0].scorer
