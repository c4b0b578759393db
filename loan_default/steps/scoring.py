"""Steps of group `scoring`: read a batch of applications as it came in, and score it by the version in production.

Cleaning and scoring are `risk`'s; where batches come in and what becomes of them lies as `adapters.layout` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters import prediction_history
from loan_default.adapters.layout import SUFFIXES, StorageLayout
from loan_default.adapters.storage import exists, fetch, remove, store, store_afterwards, write_json
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding
from loan_default.risk.validation.quality_gates import judge_fields, judge_predictions
from loan_default.steps.batch import Batch
from loan_default.steps.gates import require_passed
from loan_default.steps.promotion import version_in_production
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.risk.compute import Engine
    from loan_default.risk.data.cleaning_report import CleaningReport


@dataclass(frozen=True)
class BatchScoring:
    """A batch that was scored and stored: by which version, counts by decision, and what the gate says.

    `columns` are those of the predictions.
    """

    batch: str
    version: int
    rows: int
    decisions: Sequence[tuple[str, int, float]]
    findings: tuple[Finding, ...]
    columns: tuple[str, ...]

    def share(self, decision: str) -> float:
        """Divide the applications with a decision by all."""
        return sum(count for name, count, _ in self.decisions if name == decision) / max(self.rows, 1)

    @property
    def mean_pd(self) -> float:
        """Average the PD over all applications."""
        return sum(count * mean for _, count, mean in self.decisions) / max(self.rows, 1)


def _store_predictions(parquet: Path, csv: Path, report: Mapping[str, Any], layout: StorageLayout, batch: str) -> None:
    """Store predictions as table and as CSV with their record; CSV and record are always of the table that is there."""
    csv_path, report_path = layout.predictions_csv(batch), layout.batch_record("prediction_report", batch)
    for path in (csv_path, report_path):
        remove(path)
    store(parquet, layout.batch_table("predictions", batch))
    store(csv, csv_path)
    write_json(report_path, report)


def prediction_report(
    application_report: Mapping[str, Any], version: int, now: datetime, decisions: Sequence[tuple[str, int, float]]
) -> dict[str, Any]:
    """Return the record of a scoring: what was read of the file, and of each decision how many got it, and mean PD."""
    names = ("decision", "applications", "mean_pd")
    return {
        "model_version": version,
        "scored_at": now.isoformat(timespec="seconds"),
        **{name: application_report[name] for name in ("first_month", "last_month", "rejected", "problems")},
        "decisions": [dict(zip(names, decision, strict=True)) for decision in decisions],
    }


def read_batch(batch: str, contract: Contract, workspace: Workspace) -> CleaningReport:
    """Read and check a batch file, and store its applications, its rejected rows and its report.

    Raises:
        BadInput: there is no such file, or it cannot be used; only rejected rows are stored then.
    """
    from loan_default.risk.data.cleaning import clean_application_file

    layout = workspace.layout
    with workspace.scratch("batch.parquet", "rejected.parquet") as (cleaned, rejected):
        file = fetch(_batch_file(layout, batch), workspace.staging)
        with store_afterwards(rejected, layout.batch_table("rejected_applications", batch)):
            report = clean_application_file(file, contract, cleaned=cleaned, rejected=rejected)
        store(cleaned, layout.batch_table("application_batch", batch))
        write_json(layout.batch_record("application_report", batch), report.to_dict())
    return report


def _batch_file(layout: StorageLayout, batch: str) -> UPath:
    for path in layout.batch_files(batch):
        if exists(path):
            return path
    raise BadInput(f"{layout.inbox} holds no file {batch}{'|'.join(SUFFIXES)}; put the batch there.")


def score_batch(
    batch: Batch,
    models: ModelStore,
    workspace: Workspace,
    engine: Engine,
    *,
    now: datetime,
    accept_missing: Sequence[str] = (),
) -> BatchScoring:
    """Score a batch by the version in production; the result replaces that of the last scoring and nothing else.

    Stored are, in this order, the prediction history of this version, the predictions, the same as CSV, and a record.

    Args:
        batch: as it was read.
        models: where the version in production is.
        workspace: where to.
        engine: where the work is done.
        now: the time of the scoring.
        accept_missing: fields of which the batch may have no value at all.

    Raises:
        BadInput: no version is in production, or what may be missing is no field.
        GateFailed: no application has a field that development knew, or the predictions are not one for each
            application; nothing is stored then.
    """
    import polars as pl

    from loan_default.risk.model.batch_scoring import write_predictions

    version, layout = version_in_production(models.tracking), workspace.layout
    scorer = models.scorer(version)
    fields = judge_fields(batch.applications.scan(), scorer.space, accept_missing)
    require_passed("predictions", [fields])
    with workspace.scratch("predictions.parquet", "predictions.csv") as (parquet, csv):
        decisions = write_predictions(
            scorer,
            batch.applications,
            parquet=parquet,
            csv=csv,
            constants={
                "model_version": version.version,
                "scored_at": now,
                "input_fingerprint": batch.report["fingerprint"],
            },
            engine=engine,
        )
        predictions = pl.scan_parquet(parquet, glob=False)
        columns = tuple(predictions.collect_schema())
        findings = (fields, *judge_predictions(predictions, batch.report["kept"]))
        require_passed("predictions", findings)
        prediction_history.add(parquet, layout, batch.name, version.version, workspace.staging)
        report = prediction_report(batch.report, version.version, now, decisions)
        _store_predictions(parquet, csv, report, layout, batch.name)
    return BatchScoring(batch.name, version.version, batch.report["kept"], decisions, findings, columns)
