"""A batch is read and scored; when the step returns, table and CSV are stored, and never one of another scoring."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.storage import read_json
from loan_default.risk.compute import LocalEngine
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.validation.quality_gates import NO_FIELD_LOST, PREDICTION_RULES
from loan_default.steps import scoring
from loan_default.steps.gates import GateFailed
from loan_default.steps.scoring import BatchScoring, read_batch, score_batch
from loan_default.steps.workspace import Workspace
from loan_default_tests.steps.book import Book, as_json

MONTH, NOW = date(2014, 8, 1), datetime(2026, 3, 1, tzinfo=UTC)


def test_applications_rejected_rows_and_report_are_stored_of_one_file(contract: Contract, workspace: Workspace) -> None:
    applications = make_applications(40, seed=5, month=MONTH)
    income = pl.when(pl.int_range(pl.len()) < 4).then(-5.0).otherwise("annual_inc").alias("annual_inc")
    inbox = Path(str(workspace.layout.inbox))
    inbox.mkdir(parents=True)
    write_csv(applications.with_columns(income), inbox / "a.csv")
    report = read_batch("a", contract, workspace)
    assert (report.kept, report.rejected) == (36, 4)
    assert read_json(workspace.layout.batch_record("application_report", "a")) == as_json(report.to_dict())
    for name, rows in (("application_batch", 36), ("rejected_applications", 4)):
        assert pl.read_parquet(str(workspace.layout.root / name / "a.parquet")).height == rows
    assert list(workspace.staging.iterdir()) == []


def test_a_batch_that_is_not_in_the_inbox_is_refused(contract: Contract, workspace: Workspace) -> None:
    with pytest.raises(BadInput, match=r"holds no file a\.csv\|\.csv\.gz\|\.parquet; put the batch there\.$"):
        read_batch("a", contract, workspace)


def _score(book: Book, batch: str = "a", seed: int = 3, rows_kept: int | None = None) -> BatchScoring:
    delivered = book.deliver(batch, make_applications(60, seed=seed, month=MONTH))
    kept = {} if rows_kept is None else {"kept": rows_kept}
    delivered = replace(delivered, report={**delivered.report, **kept})
    return score_batch(delivered, book.models, book.workspace, LocalEngine(), now=NOW)


@pytest.mark.integration
def test_table_history_and_csv_are_stored_when_the_step_returns(book: Book) -> None:
    scored = _score(book)
    assert book.files() >= {"predictions/a.parquet", "predictions/a.csv", "prediction_history/a.version-1.parquet"}
    table = pl.read_parquet(str(book.layout.batch_table("predictions", "a")))
    assert (scored.version, scored.rows, table.height) == (1, 60, 60)
    assert pl.read_csv(str(book.layout.predictions_csv("a")))["pd"].to_list() == pytest.approx(table["pd"].to_list())
    assert table["scored_at"].unique().to_list() == [NOW]
    assert list(book.settings.staging.glob("run-1-*")) == []
    report = read_json(book.layout.batch_record("prediction_report", "a"))
    assert (report["model_version"], report["scored_at"], report["rejected"]) == (1, NOW.isoformat(), 0)
    counts = table.group_by("decision").agg(pl.len().alias("applications"), pl.col("pd").mean().alias("mean_pd"))
    assert report["decisions"] == [
        {**row, "mean_pd": pytest.approx(row["mean_pd"])} for row in counts.sort("decision").to_dicts()
    ]


@pytest.mark.integration
def test_a_batch_without_a_field_of_development_is_scored_only_where_that_is_accepted(book: Book) -> None:
    applications = make_applications(60, seed=3, month=MONTH).with_columns(dti=pl.lit(None, pl.Float64))
    batch = book.deliver("without-dti", applications)

    def scored_without(*accepted: str) -> BatchScoring:
        return score_batch(batch, book.models, book.workspace, LocalEngine(), now=NOW, accept_missing=accepted)

    with pytest.raises(
        GateFailed, match=r"^No application of the batch has dti, .* by --accept-missing dti \("
    ) as error:
        scored_without()
    assert [finding.rule for finding in error.value.findings] == [NO_FIELD_LOST]
    assert not {name for name in book.files() if "without-dti" in name and "predictions" in name}
    with pytest.raises(BadInput, match=r"^dit, which may be missing, is no field;"):
        scored_without("dit")
    accepted = scored_without("dti")
    assert [finding.rule for finding in accepted.findings] == [*PREDICTION_RULES]
    assert accepted.rows == 60
    assert not {decision for decision, *_ in accepted.decisions} & {"approve"}


@pytest.mark.integration
def test_a_csv_that_cannot_be_stored_leaves_none_of_an_earlier_scoring(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    _score(book)

    def store(source: Path, target: UPath) -> None:
        if target.suffix == ".csv":
            raise OSError(28, "No space left on device")
        storage.store(source, target)

    monkeypatch.setattr(scoring, "store", store)
    with pytest.raises(OSError, match="No space left"):
        _score(book, seed=4)
    assert not book.files() & {"predictions/a.csv", "prediction_report/a.json"}
    assert list(book.settings.staging.glob("run-1-*")) == []


@pytest.mark.integration
def test_predictions_that_are_not_one_for_each_application_are_not_stored(book: Book) -> None:
    with pytest.raises(GateFailed, match=r"^60 predictions for 61 applications\.$"):
        _score(book, rows_kept=61)
    assert not {name for name in book.files() if name.startswith(("predictions/", "prediction_history/"))}
