"""Scoring of tables of any length: the same as of a frame, in order, whatever is read at a time."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk import compute
from loan_default.risk.compute import FrameTable
from loan_default.risk.model.batch_scoring import score_rows, write_predictions
from loan_default.risk.model.scorer import SCORED, Scorer


@pytest.fixture
def loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"].head(300)


@pytest.mark.parametrize("part_rows", [1, 7, 100, 299, 300, 1_000])
@pytest.mark.parametrize("with_reasons", [True, False])
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
