"""Group `scoring`: a batch of applications as it came in, and what the model in production says of it.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.web_pages import WebPages
from loan_default.defs import metadata
from loan_default.defs.book import BookNames, Event, batches
from loan_default.defs.checks import ROWS_KEPT, check_results, check_specs, warning
from loan_default.defs.metadata import APPLICATIONS, OWNERS, Metadata
from loan_default.defs.resources import (
    ClockResource,
    ComputeResource,
    LoanBookResource,
    ModelRegistryResource,
    StorageResource,
    WebPagesResource,
)
from loan_default.defs.results import explain_failures, file_specs, log_warnings, report_together
from loan_default.risk.contract.book import Contract
from loan_default.risk.validation.quality_gates import PREDICTION_RULES
from loan_default.steps.batch import Batch
from loan_default.steps.scoring import BatchScoring, read_batch, score_batch
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from loan_default.risk.data.cleaning_report import CleaningReport

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
    "expected_loss": ("float", "Principal expected to be lost, by versions that have a value."),
    "npv": ("float", "What the loan is expected to earn, by versions that have a value."),
    "pd_12m": ("float", "Probability of default in the first twelve months, by versions that have hazards."),
    "pd_curve": ("float[]", "Probability of default by the end of each year on book; the last is pd."),
    "pd_hazard": ("float", "Probability of default over the life of the loan, by the hazards alone."),
    "expected_life": ("float", "Months until the loan ends either way, on average."),
    "model_version": ("int", "The registered version that scored."),
    "scored_at": ("timestamp", "When it scored, UTC."),
    "input_fingerprint": ("string", "SHA-256 of the batch file, 16 digits."),
}


class ScoringConfig(dg.Config):
    """Which fields a batch may lack altogether though loans of development had them; sensors accept none."""

    accept_missing: list[str] = Field(
        default=[], description="Fields that the whole batch may lack, though loans of development had them."
    )


@dg.multi_asset(
    name="read_application_batch",
    partitions_def=batches,
    specs=file_specs(
        ("application_batch", "Applications of one batch file in natural units, from <storage>/applications."),
        ("rejected_applications", "Rows of the batch that cannot be scored, with their reasons."),
        ("application_report", "What was found in the batch file: counts, months, fingerprint."),
        group_name="scoring",
        tags=APPLICATIONS,
    ),
    check_specs=check_specs("application_batch", [ROWS_KEPT], batches),
    can_subset=True,
)
@explain_failures
def read_application_batch(
    context: dg.AssetExecutionContext, loan_book: LoanBookResource, storage: StorageResource
) -> Iterator[Event]:
    """Read and check one batch file."""
    batch, workspace = context.partition_key, storage.workspace(context.run.run_id)
    report = read_batch(batch, loan_book.contract, workspace)
    log_warnings(context, report.warnings())
    applications, checks = _applications_metadata(report, loan_book.contract), [_rows_check(report)]
    rejections = workspace.first_rows(workspace.layout.batch_table("rejected_applications", batch), *metadata.REJECTION)
    yield from report_together(
        context,
        [loan_book.contract.fingerprint, report.fingerprint],
        dg.MaterializeResult(asset_key="application_batch", metadata=applications, check_results=checks),
        dg.MaterializeResult(asset_key="rejected_applications", metadata=metadata.rejected_rows(report, rejections)),
        dg.MaterializeResult(asset_key="application_report"),
    )


def _applications_metadata(report: "CleaningReport", contract: Contract) -> Metadata:
    return {
        "dagster/row_count": report.kept,
        "dagster/column_schema": metadata.column_schema(contract, {}),
        "fingerprint": report.fingerprint,
        "warnings": metadata.bullets(report.warnings()),
    }


def _rows_check(report: "CleaningReport") -> dg.AssetCheckResult:
    frequent = f"; {', '.join(report.problems)}" if report.problems else ""
    sentence = f"{report.rejected:,} of {report.kept + report.rejected:,} rows were rejected{frequent}."
    return warning(
        "application_batch", ROWS_KEPT, passed=not report.rejected, sentence=sentence, rejected_rows=report.rejected
    )


@dg.asset(
    group_name="scoring",
    partitions_def=batches,
    deps=["promoted_model"],  # a run of both decides on the version before it scores
    io_manager_key="parquet",
    metadata={"dagster/column_schema": metadata.table_schema(_PREDICTED)},  # a batch says which of them it has
    check_specs=check_specs("predictions", PREDICTION_RULES, batches),
    description="PD, score, decision and reasons of each application, by the version in production; also as CSV.",
    kinds={"mlflow", "parquet"},
    tags=APPLICATIONS,
    owners=OWNERS,
)
@explain_failures
def predictions(
    context: dg.AssetExecutionContext,
    config: ScoringConfig,
    model_registry: ModelRegistryResource,
    loan_book: LoanBookResource,
    storage: StorageResource,
    web_pages: WebPagesResource,
    compute: ComputeResource,
    clock: ClockResource,
    application_batch: ParquetTable,
    application_report: dict[str, Any],
) -> dg.MaterializeResult[None]:
    """Score the batch; scoring it again replaces its result and nothing else."""
    workspace = storage.workspace(context.run.run_id)
    scored = score_batch(
        Batch(context.partition_key, application_batch, application_report),
        model_registry.models,
        workspace,
        compute.engine,
        now=clock.now(),
        accept_missing=config.accept_missing,
    )
    return dg.MaterializeResult(
        check_results=check_results("predictions", scored.findings),
        metadata={
            **_predictions_metadata(scored, web_pages.pages),
            **_table_metadata(scored, loan_book.contract, storage.names, workspace),
            **compute.metadata,
        },
    )


def _table_metadata(scored: BatchScoring, contract: Contract, names: BookNames, workspace: Workspace) -> Metadata:
    return {
        "first_rows": _first_predictions(workspace, scored.batch, contract.id_name),
        "dagster/column_schema": metadata.schema_of(scored.columns, contract, _PREDICTED),
        "dagster/column_lineage": metadata.predicted_lineage(contract, names.key("application_batch")),
    }


def _predictions_metadata(scored: BatchScoring, pages: WebPages) -> Metadata:
    return {
        "page": dg.MetadataValue.url(pages.batch(scored.batch)),
        "csv": dg.MetadataValue.url(pages.predictions(scored.batch)),
        "dagster/row_count": scored.rows,
        "model_version": scored.version,
        "decisions": metadata.table(
            ["decision", "applications", "share", "mean PD"],
            [
                (decision, applications, metadata.percent(scored.share(decision)), metadata.percent(mean))
                for decision, applications, mean in scored.decisions
            ],
        ),
        "approval_rate": metadata.rounded(scored.share("approve")),
        "decline_rate": metadata.rounded(scored.share("decline")),
        "mean_pd": metadata.rounded(scored.mean_pd),
    }


def _first_predictions(workspace: Workspace, batch: str, id_name: str) -> dg.TableMetadataValue:
    """Show the first predictions: number, PD, score, decision and first reason, and no more of an applicant."""
    table = workspace.layout.batch_table("predictions", batch)
    columns = {id_name: "string", "PD": "string", "score": "int", "decision": "string", "first reason": "string"}
    return metadata.rows(
        columns,
        (
            {**row, "PD": metadata.percent(row["pd"]), "first reason": next(iter(row["reasons"]), "")}
            for row in workspace.first_rows(table, id_name, "pd", "score", "decision", "reasons")
        ),
    )
