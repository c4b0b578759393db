"""Group `monitoring`: whether a batch's population has moved since the model that scored it was trained.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.web_pages import WebPages
from loan_default.defs import metadata
from loan_default.defs.book import batches
from loan_default.defs.checks import ENOUGH_ROWS, STABLE, check_specs, warning
from loan_default.defs.metadata import APPLICATIONS, OWNERS, Metadata
from loan_default.defs.resources import (
    ComputeResource,
    LoanBookResource,
    ModelRegistryResource,
    StorageResource,
    WebPagesResource,
)
from loan_default.defs.results import explain_failures
from loan_default.risk.text import plural, shorten_sentences
from loan_default.steps.batch import Batch
from loan_default.steps.monitoring import ComparedBatch, compare_batch

_COLUMNS = {
    "feature": "string",
    "drifted": "bool",
    **dict.fromkeys(("psi", "decile_psi", "missing_psi"), "float"),
}


@dg.asset(
    group_name="monitoring",
    partitions_def=batches,
    io_manager_key="json",
    check_specs=check_specs("drift_report", [STABLE, ENOUGH_ROWS], batches),
    description="PSI of every feature and of the score against the training population, and the verdict by policy.",
    kinds={"polars"},
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
        Batch(context.partition_key, application_batch, application_report),
        predictions,
        model_registry.models,
        policy,
        storage.workspace(context.run.run_id),
        compute.engine,
    )
    return dg.MaterializeResult(
        value=compared.to_dict(),
        check_results=[*_verdict_checks(compared, policy.least_rows)],
        metadata={**_drift_metadata(compared, web_pages.pages), **compute.metadata},
    )


def _verdict_checks(compared: ComparedBatch, least: int) -> Iterator[dg.AssetCheckResult]:
    verdict = compared.verdict
    reasons = shorten_sentences(verdict.reasons, separator="; ")
    yield warning(
        "drift_report",
        STABLE,
        passed=verdict.verdict == "stable",
        sentence=f"{verdict.verdict}: {reasons}",
        drifted_share=verdict.share,
        score_psi=verdict.score_psi,
    )
    enough = verdict.verdict != "not enough rows"
    sentence = f"{plural(verdict.rows, 'application')}; {least:,} are needed for a verdict."
    yield warning("drift_report", ENOUGH_ROWS, passed=enough, sentence=sentence, applications=verdict.rows)


def _drift_metadata(compared: ComparedBatch, pages: WebPages) -> Metadata:
    verdict = compared.verdict
    return {
        "verdict": verdict.verdict,
        "drifted": f"{plural(len(verdict.drifted_features), 'feature')}, {metadata.percent(verdict.share)}",
        "drifted_share": metadata.rounded(verdict.share),
        **({} if verdict.score_psi is None else {"score_psi": metadata.rounded(verdict.score_psi)}),
        "reasons": metadata.bullets(verdict.reasons),
        "evidently": dg.MetadataValue.url(pages.evidently(compared.batch)),
        "page": dg.MetadataValue.url(pages.batch(compared.batch)),
        "model_version": compared.version,
        "not_compared": ", ".join(verdict.not_compared) or "none",
        "features": metadata.rows(_COLUMNS, compared.features.iter_rows(named=True)),
    }
