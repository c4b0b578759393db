"""Step of group `monitoring`: compare a scored batch with the loans that the version which scored it was developed on.

Measuring and judging drift is `risk.monitoring`'s; this module says what is compared and where the pages lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.storage import write_json, write_text
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import DriftPolicy

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.compute import Engine
    from loan_default.risk.monitoring.drift import DriftVerdict


@dataclass(frozen=True)
class ComparedBatch:
    """The drift of a batch against a version: the verdict, figures of each feature, and Evidently's page."""

    batch: str
    version: int
    verdict: DriftVerdict
    features: pl.DataFrame
    page: UPath

    def to_dict(self) -> dict[str, Any]:
        """Return the record of it."""
        return {
            "batch": self.batch,
            "model_version": self.version,
            **self.verdict.to_dict(),
            "features": self.features.to_dicts(),
        }


def compare_batch(
    batch: str,
    applications: ParquetTable,
    application_report: Mapping[str, Any],
    predictions: ParquetTable,
    models: ModelStore,
    policy: DriftPolicy,
    layout: StorageLayout,
    engine: Engine,
) -> ComparedBatch:
    """Compare a batch with the reference profile of the version that scored it, and store Evidently's report.

    Raises:
        BadInput: the predictions are not of the file that was read last.
    """
    from loan_default.risk.compute import JoinedTable
    from loan_default.risk.monitoring.drift import draw_sample, feature_drift, judge_drift
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE, profile_of

    version = _scored_by(batch, predictions, application_report, models)
    reference, contract = models.reference(version), models.scorer(version).contract
    table = JoinedTable(((applications, contract.feature_names), (predictions, (RAW_SCORE,))))
    profile = profile_of(engine, table, reference.profile)
    features = feature_drift(reference.profile, profile, policy)
    verdict = judge_drift(features, profile.rows, policy)
    sample = draw_sample(table.scan(), profile.rows, policy.report_sample_rows, seed=0)
    page = _store_evidently(batch, reference.sample, sample, contract, policy, layout)
    return ComparedBatch(batch, version.version, verdict, features, page)


def _scored_by(
    batch: str, predictions: ParquetTable, application_report: Mapping[str, Any], models: ModelStore
) -> ModelVersion:
    row = predictions.scan().select("model_version", "input_fingerprint").head(1).collect()
    if row["input_fingerprint"][0] != application_report["fingerprint"]:
        raise BadInput(f"The predictions of batch {batch} are of an earlier file of that name; score it again.")
    return models.tracking.get(row["model_version"][0])


def _store_evidently(
    batch: str,
    reference_sample: pl.DataFrame,
    batch_sample: pl.DataFrame,
    contract: Contract,
    policy: DriftPolicy,
    layout: StorageLayout,
) -> UPath:
    """Store Evidently's view of the same columns, on a sample of both sides, and return the path of its page."""
    from loan_default.risk.monitoring.drift import evidently_report
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE, drift_columns

    numeric, categorical = drift_columns(contract)
    report = evidently_report(
        reference_sample,
        batch_sample,
        numeric=[*numeric, RAW_SCORE],
        categorical=categorical,
        seed=0,
        sample_rows=policy.report_sample_rows,
        psi_threshold=policy.feature_psi_limit,
        drift_share=policy.drifted_share_limit,
    )
    write_json(layout.drift_figures(batch), report.json)
    write_text(layout.drift_page(batch), report.html)
    return layout.drift_page(batch)
