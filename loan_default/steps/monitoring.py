"""Step of group `monitoring`: compare a scored batch with the loans that the version which scored it was developed on.

Measuring and judging drift is `risk.monitoring`'s; this module says what is compared, and what of it is stored.
Evidently's report is drawn from that when somebody opens it, by `operations.evidently`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters.storage import remove, store, write_json
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import DriftPolicy
from loan_default.steps.batch import Batch
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.compute import Engine
    from loan_default.risk.monitoring.drift import DriftVerdict


@dataclass(frozen=True)
class ComparedBatch:
    """The drift of a batch against a version: the verdict and the limits it was judged by, and figures of each feature.

    `months` are the first and the last issue month of the batch, `reference_months` of the loans of development, whose
    number is `reference_rows`; None in a book without a date.
    """

    batch: str
    version: int
    scored_at: datetime
    months: tuple[str, str] | None
    reference_rows: int
    reference_months: tuple[str, str] | None
    limits: DriftPolicy
    verdict: DriftVerdict
    features: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return the record of it."""
        return {
            "batch": self.batch,
            "model_version": self.version,
            "scored_at": self.scored_at.isoformat(timespec="seconds"),
            "months": self.months,
            "reference": {"rows": self.reference_rows, "months": self.reference_months},
            "limits": self.limits.model_dump(),
            **self.verdict.to_dict(),
            "features": self.features.to_dicts(),
        }


def compare_batch(
    batch: Batch,
    predictions: ParquetTable,
    models: ModelStore,
    policy: DriftPolicy,
    workspace: Workspace,
    engine: Engine,
) -> ComparedBatch:
    """Compare a batch with the reference profile of the version that scored it.

    Stored are the shares of both sides in the bins of each field, which pages draw, and a sample for Evidently's.

    Raises:
        BadInput: the predictions are not of the file that was read last.
    """
    from loan_default.risk.compute import JoinedTable
    from loan_default.risk.monitoring.distributions import field_distributions
    from loan_default.risk.monitoring.drift import feature_drift, judge_drift
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE, profile_of

    version, scored_at = _scored_by(batch, predictions, models)
    reference, contract = models.reference(version).profile, models.scorer(version).contract
    table = JoinedTable(((batch.applications, contract.feature_names), (predictions, (RAW_SCORE,))))
    profile = profile_of(engine, table, reference)
    features = feature_drift(reference, profile, policy)
    fields = [asdict(field) for field in field_distributions(reference, profile)]
    record = {"batch": batch.name, "model_version": version.version, "fields": fields}
    write_json(workspace.layout.batch_record("field_distributions", batch.name), record)
    _store_sample(batch.name, table.scan(), profile.rows, policy, workspace)
    return ComparedBatch(
        batch.name,
        version.version,
        scored_at,
        _months(batch.report),
        reference.rows,
        reference.months,
        policy,
        judge_drift(features, profile.rows, policy),
        features,
    )


def _scored_by(batch: Batch, predictions: ParquetTable, models: ModelStore) -> tuple[ModelVersion, datetime]:
    columns = ("model_version", "scored_at", "input_fingerprint")
    version, scored_at, fingerprint = predictions.scan().select(columns).head(1).collect().row(0)
    if fingerprint != batch.report["fingerprint"]:
        raise BadInput(f"The predictions of batch {batch.name} are of an earlier file of that name; score it again.")
    return models.tracking.get(version), scored_at


def _months(report: Mapping[str, Any]) -> tuple[str, str] | None:
    first, last = report["first_month"], report["last_month"]
    return (first, last) if first else None


def _store_sample(batch: str, rows: pl.LazyFrame, height: int, policy: DriftPolicy, workspace: Workspace) -> None:
    """Store some rows for Evidently's report, and remove the page that earlier releases drew at once."""
    from loan_default.risk.monitoring.drift import draw_sample

    layout = workspace.layout
    with workspace.scratch("sample.parquet") as (sample,):
        draw_sample(rows, height, policy.report_sample_rows, seed=0).write_parquet(sample)
        store(sample, layout.drift_sample(batch))
    for path in layout.earlier_drift_pages(batch):
        remove(path)
