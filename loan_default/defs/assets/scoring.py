"""Group `scoring`: a batch of applications as it came in, and what the model in production says of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from loan_default.adapters import storage as files
from loan_default.adapters.layout import BATCH_SUFFIXES
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs import metadata as shown
from loan_default.defs.partitions import batches
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.risk.errors import BadInput
from loan_default.risk.validation.quality_gates import PREDICTION_RULES, failures, judge_predictions

_PREDICTED = {
    "id": ("string", "The lender's number of the application."),
    "issue_d": ("date", "Month in which the loan is granted."),
    "term": ("float", "Months from the first payment to the last."),
    "pd": ("float", "Calibrated probability of default."),
    "raw_score": ("float", "Log-odds; ranks the applications, higher is riskier."),
    "score": ("int", "Points, higher is safer."),
    "decision": ("string", "approve, review or decline."),
    "reasons": ("string[]", "What a declined applicant reads, strongest first."),
    "model_version": ("int", "The registered version that scored."),
    "scored_at": ("timestamp", "When it scored, UTC."),
    "input_fingerprint": ("string", "SHA-256 of the batch file, 16 digits."),
}


@dg.multi_asset(
    name="read_application_batch",
    group_name="scoring",
    partitions_def=batches,
    outs={
        "application_batch": dg.AssetOut(
            io_manager_key="parquet",
            **shown.described(
                "Applications of one batch file in natural units, from <storage>/applications.",
                domain="applications",
                kinds={"polars", "parquet"},
            ),
        ),
        "rejected_applications": dg.AssetOut(
            io_manager_key="parquet",
            metadata={"dagster/column_schema": shown.REJECTED},
            **shown.described(
                "Rows of the batch that cannot be scored, with their reasons.",
                domain="applications",
                kinds={"polars", "parquet"},
            ),
        ),
        "application_report": dg.AssetOut(
            io_manager_key="json",
            **shown.described(
                "What was found in the batch file: counts, months, fingerprint.", domain="applications", kinds={"json"}
            ),
        ),
    },
)
@shown.in_one_sentence
def read_application_batch(
    context: dg.AssetExecutionContext, loan_book: LoanBookResource, storage: StorageResource
) -> Iterator[Any]:
    """Read and check one batch file."""
    from loan_default.risk.data.cleaning import clean_application_file

    batch = context.partition_key
    cleaned, rejected = (storage.staging / f"{context.run_id}-{name}.parquet" for name in ("batch", "rejected"))
    file = files.fetch(_inbox_file(storage, batch), storage.staging)
    report = clean_application_file(file, loan_book.contract, cleaned=cleaned, rejected=rejected)
    for warning in report.warnings():
        context.log.warning(warning)
    yield dg.MaterializeResult(
        asset_key="application_batch",
        value=cleaned,
        metadata={
            "dagster/row_count": report.kept,
            "dagster/column_schema": shown.column_schema(loan_book.contract, {}),
            "fingerprint": report.fingerprint,
            "warnings": shown.bullets(report.warnings()),
        },
    )
    yield dg.MaterializeResult(
        asset_key="rejected_applications",
        value=rejected,
        metadata={
            "dagster/row_count": report.rejected,
            "problems": shown.table(["problem", "rows"], list(report.problems.items())),
        },
    )
    yield dg.MaterializeResult(asset_key="application_report", value=report.to_dict())


def _inbox_file(storage: StorageResource, batch: str) -> Any:
    for path in storage.layout.batch_files(batch):
        if files.exists(path):
            return path
    suffixes = "|".join(BATCH_SUFFIXES)
    raise BadInput(f"{storage.layout.inbox} holds no file {batch}{suffixes}; put the batch there.")


@dg.asset(
    group_name="scoring",
    partitions_def=batches,
    deps=["promoted_model"],  # retraining settles production before it scores
    io_manager_key="parquet",
    metadata={"dagster/column_schema": dg.TableSchema([dg.TableColumn(k, *v) for k, v in _PREDICTED.items()])},
    check_specs=shown.check_specs("predictions", PREDICTION_RULES),
    **shown.described(
        "PD, score, decision and reasons of each application, by the version in production; also as CSV.",
        domain="applications",
        kinds={"xgboost", "parquet"},
    ),
)
@shown.in_one_sentence
def predictions(
    context: dg.AssetExecutionContext,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    compute: ComputeResource,
    application_batch: ParquetTable,
    application_report: dict[str, Any],
) -> Iterator[Any]:
    """Score the batch; scoring it again replaces its result and nothing else."""
    import polars as pl

    from loan_default.adapters import prediction_history
    from loan_default.risk.model.batch_scoring import write_predictions

    version = model_registry.tracking.version_of(PRODUCTION)
    if version is None:
        raise dg.Failure("No version is in production; run full_pipeline_job first.", allow_retries=False)
    parquet, csv = (storage.staging / f"{context.run_id}-predictions.{kind}" for kind in ("parquet", "csv"))
    counts = write_predictions(
        model_registry.models.scorer(version),
        application_batch,
        parquet=parquet,
        csv=csv,
        constants={
            "model_version": version.version,
            "scored_at": datetime.now(UTC),
            "input_fingerprint": application_report["fingerprint"],
        },
        engine=compute.engine,
    )
    findings = judge_predictions(pl.scan_parquet(parquet), application_report["kept"])
    if failed := failures(findings):
        yield from shown.check_results("predictions", findings)
        parquet.unlink()
        csv.unlink()
        raise dg.Failure(failed, allow_retries=False)
    prediction_history.add(parquet, storage.layout, context.partition_key, version.version, storage.staging)
    beside = storage.layout.predictions_csv(context.partition_key)
    files.remove(beside)  # a CSV that is there is of the Parquet that is there
    yield dg.MaterializeResult(
        value=parquet,
        check_results=shown.check_results("predictions", findings),
        metadata={
            "dagster/row_count": application_report["kept"],
            "model_version": version.version,
            "decisions": shown.table(["decision", "applications", "mean PD"], counts),
            "csv": dg.MetadataValue.path(str(beside)),
            **compute.shown,
        },
    )
    files.store(csv, beside)
