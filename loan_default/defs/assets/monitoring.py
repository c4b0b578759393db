"""Group `monitoring`: whether a batch's population has moved since the model that scored it was trained.

Tested in `defs/test_pipeline.py`.
"""

from typing import Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.web_pages import WebPages
from loan_default.defs import metadata
from loan_default.defs.book import batches
from loan_default.defs.checks import check_specs, warning
from loan_default.defs.metadata import APPLICATIONS, OWNERS, Metadata
from loan_default.defs.resources import (
    ComputeResource,
    LoanBookResource,
    ModelRegistryResource,
    StorageResource,
    WebPagesResource,
)
from loan_default.defs.results import explain_failures
from loan_default.steps.monitoring import ComparedBatch, compare_batch

_ROWS_RULE = "enough_rows"
_COLUMNS = (
    *("feature", "psi", "psi_raw", "psi_by_chance", "decile_psi", "decile_psi_raw", "decile_psi_by_chance"),
    *("missing_psi", "missing_psi_raw", "missing_psi_by_chance", "missing_reference", "missing_batch", "drifted"),
)


@dg.asset(
    group_name="monitoring",
    partitions_def=batches,
    io_manager_key="json",
    check_specs=check_specs("drift_report", [_ROWS_RULE]),
    description="PSI of every feature and of the score against the training population, and the verdict by policy.",
    kinds={"evidently", "polars"},
    tags=APPLICATIONS,
    owners=OWNERS,
)
@explain_failures
def drift_report(
    context: dg.AssetExecutionContext,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    web_pages: WebPagesResource,
    compute: ComputeResource,
    application_batch: ParquetTable,
    application_report: dict[str, Any],
    predictions: ParquetTable,
) -> dg.MaterializeResult[dict[str, Any]]:
    """Compare the batch with the profile of the version that scored it."""
    policy = loan_book.policy.drift
    compared = compare_batch(
        context.partition_key,
        application_batch,
        application_report,
        predictions,
        model_registry.models,
        policy,
        storage.workspace(context.run.run_id),
        compute.engine,
    )
    return dg.MaterializeResult(
        value=compared.to_dict(),
        check_results=[_rows_check(compared, policy.least_rows)],
        metadata={**_drift_metadata(compared, web_pages.pages), **compute.metadata},
    )


def _rows_check(compared: ComparedBatch, least: int) -> dg.AssetCheckResult:
    verdict = compared.verdict
    return warning(
        "drift_report",
        _ROWS_RULE,
        passed=verdict.verdict != "not enough rows",
        sentence=f"{verdict.rows:,} applications; {least:,} are needed for a verdict.",
    )


def _drift_metadata(compared: ComparedBatch, pages: WebPages) -> Metadata:
    return {
        "verdict": compared.verdict.verdict,
        "reasons": metadata.bullets(compared.verdict.reasons),
        "model_version": compared.version,
        "not_compared": ", ".join(compared.verdict.not_compared) or "none",
        "features": metadata.table(_COLUMNS, compared.features.select(_COLUMNS).rows()),
        "evidently": dg.MetadataValue.url(pages.evidently(compared.batch)),
    }
