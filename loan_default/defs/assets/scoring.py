"""Group `scoring`: a batch of applications as it came in, and what the model in production says of it.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.book import Event, batches
from loan_default.defs.checks import check_results, check_specs
from loan_default.defs.metadata import APPLICATIONS, OWNERS, Metadata
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.defs.results import explain_failures, report_together, stored_spec
from loan_default.risk.validation.quality_gates import PREDICTION_RULES
from loan_default.steps.scoring import BatchScoring, read_batch, score_batch

_PREDICTED = {
    "id": ("string", "The lender's number of the application."),
    "issue_d": ("date", "Month in which the loan is granted."),
    "term": ("float", "Months from the first payment to the last."),
    "pd": ("float", "Calibrated probability of default."),
    "raw_score": ("float", "Log-odds; ranks the applications, higher is riskier."),
    "score": ("int", "Points, higher is safer."),
    "decision": ("string", "approve, review or decline."),
    "reasons": ("string[]", "Why it was declined or sent to a person, strongest first; empty where it was approved."),
    "reason_codes": ("struct[]", "The same for programs: group, field, side of the value, share of what adds risk."),
    "model_version": ("int", "The registered version that scored."),
    "scored_at": ("timestamp", "When it scored, UTC."),
    "input_fingerprint": ("string", "SHA-256 of the batch file, 16 digits."),
}


class ScoringConfig(dg.Config):
    """Which fields a batch may lack altogether though loans of development had them; sensors accept none."""

    accept_missing: list[str] = []  # noqa: RUF012 - pydantic copies it


@dg.multi_asset(
    name="read_application_batch",
    partitions_def=batches,
    specs=[
        stored_spec(
            "application_batch",
            "parquet",
            group_name="scoring",
            description="Applications of one batch file in natural units, from <storage>/applications.",
            kinds={"polars", "parquet"},
            tags=APPLICATIONS,
        ),
        stored_spec(
            "rejected_applications",
            "parquet",
            group_name="scoring",
            description="Rows of the batch that cannot be scored, with their reasons.",
            kinds={"polars", "parquet"},
            tags=APPLICATIONS,
            metadata={"dagster/column_schema": metadata.REJECTED},
        ),
        stored_spec(
            "application_report",
            "json",
            group_name="scoring",
            description="What was found in the batch file: counts, months, fingerprint.",
            kinds={"json"},
            tags=APPLICATIONS,
        ),
    ],
    can_subset=True,
)
@explain_failures
def read_application_batch(
    context: dg.AssetExecutionContext, loan_book: LoanBookResource, storage: StorageResource
) -> Iterator[Event]:
    """Read and check one batch file."""
    report = read_batch(context.partition_key, loan_book.contract, storage.workspace(context.run.run_id))
    for warning in report.warnings():
        context.log.warning(warning)
    applications: Metadata = {
        "dagster/row_count": report.kept,
        "dagster/column_schema": metadata.column_schema(loan_book.contract, {}),
        "fingerprint": report.fingerprint,
        "warnings": metadata.bullets(report.warnings()),
    }
    rejected: Metadata = {"dagster/row_count": report.rejected, "problems": metadata.problems(report.problems)}
    results: list[dg.MaterializeResult[None]] = [
        dg.MaterializeResult(asset_key="application_batch", metadata=applications),
        dg.MaterializeResult(asset_key="rejected_applications", metadata=rejected),
        dg.MaterializeResult(asset_key="application_report"),
    ]
    yield from report_together(context, results)


@dg.asset(
    group_name="scoring",
    partitions_def=batches,
    deps=["promoted_model"],  # a run of both decides on the version before it scores
    io_manager_key="parquet",
    metadata={"dagster/column_schema": metadata.table_schema(_PREDICTED)},
    check_specs=check_specs("predictions", PREDICTION_RULES),
    description="PD, score, decision and reasons of each application, by the version in production; also as CSV.",
    kinds={"xgboost", "parquet"},
    tags=APPLICATIONS,
    owners=OWNERS,
)
@explain_failures
def predictions(
    context: dg.AssetExecutionContext,
    config: ScoringConfig,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    compute: ComputeResource,
    application_batch: ParquetTable,
    application_report: dict[str, Any],
) -> dg.MaterializeResult[None]:
    """Score the batch; scoring it again replaces its result and nothing else."""
    scored = score_batch(
        context.partition_key,
        application_batch,
        application_report,
        model_registry.models,
        storage.workspace(context.run.run_id),
        compute.engine,
        now=datetime.now(UTC),
        accept_missing=config.accept_missing,
    )
    return dg.MaterializeResult(
        check_results=check_results("predictions", scored.findings),
        metadata={**_predictions_metadata(scored), **compute.metadata},
    )


def _predictions_metadata(scored: BatchScoring) -> Metadata:
    return {
        "dagster/row_count": scored.rows,
        "model_version": scored.version,
        "decisions": metadata.table(["decision", "applications", "mean PD"], scored.decisions),
        "csv": dg.MetadataValue.path(str(scored.csv)),
    }
