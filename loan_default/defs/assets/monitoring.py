"""Group `monitoring`: whether a batch's population has moved since the model that scored it was trained."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters import storage as files
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata as shown
from loan_default.defs.partitions import batches
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.risk.contract import Contract
from loan_default.risk.policy import DriftPolicy

if TYPE_CHECKING:
    import polars as pl

    from loan_default.risk.monitoring.drift import EvidentlyReport

_TABLE = ("feature", "psi", "decile_psi", "missing_psi", "missing_reference", "missing_batch", "drifted")


@dg.asset(
    group_name="monitoring",
    partitions_def=batches,
    io_manager_key="json",
    check_specs=shown.check_specs("drift_report", ["enough_rows"]),
    **shown.described(
        "PSI of every feature and of the score against the training population, and the verdict by policy.",
        domain="applications",
        kinds={"evidently", "polars"},
    ),
)
@shown.in_one_sentence
def drift_report(
    context: dg.AssetExecutionContext,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    compute: ComputeResource,
    application_batch: ParquetTable,
    application_report: dict[str, Any],
    predictions: ParquetTable,
) -> Iterator[Any]:
    """Compare the batch with the profile of the version that scored it."""
    from loan_default.risk.compute import JoinedTable
    from loan_default.risk.monitoring.drift import feature_drift, judge_drift, sampled
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE, profile_of

    policy = loan_book.policy.drift
    told = predictions.scan().select("model_version", "input_fingerprint").head(1).collect()
    if told["input_fingerprint"][0] != application_report["fingerprint"]:
        raise dg.Failure(
            f"The predictions of batch {context.partition_key} are of an earlier file of that name; score it again.",
            allow_retries=False,
        )
    version = model_registry.tracking.get(told["model_version"][0])
    reference = model_registry.models.reference(version)
    contract = model_registry.models.scorer(version).contract
    batch = JoinedTable(((application_batch, contract.feature_names), (predictions, (RAW_SCORE,))))
    profile = profile_of(compute.engine, batch, reference.profile)
    drift = feature_drift(reference.profile, profile, policy)
    verdict = judge_drift(drift, profile.rows, policy)
    some = sampled(batch.scan(), profile.rows, policy.report_sample_rows, seed=0)
    page = _store_report(storage, context.partition_key, _evidently(reference.sample, some, contract, policy))
    worst = drift.sort("psi", descending=True, nulls_last=True)
    yield dg.MaterializeResult(
        value={
            "batch": context.partition_key,
            "model_version": version.version,
            **verdict.to_dict(),
            "features": drift.to_dicts(),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="enough_rows",
                passed=verdict.verdict != "not enough rows",
                description=f"{verdict.rows:,} applications; {policy.least_rows:,} are needed for a verdict.",
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
        metadata={
            "verdict": verdict.verdict,
            "reasons": shown.bullets(verdict.reasons),
            "model_version": version.version,
            "features": shown.table(_TABLE, worst.select(_TABLE).rows()),
            "evidently": dg.MetadataValue.path(str(page)),
            **compute.shown,
        },
    )


def _evidently(
    sample: "pl.DataFrame", batch: "pl.DataFrame", contract: Contract, policy: DriftPolicy
) -> "EvidentlyReport":
    """Evidently's view of the same columns, on a sample of both sides."""
    from loan_default.risk.monitoring.drift import evidently_report
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE, drift_columns

    numeric, categorical = drift_columns(contract)
    return evidently_report(
        sample,
        batch,
        numeric=[*numeric, RAW_SCORE],
        categorical=categorical,
        seed=0,
        sample_rows=policy.report_sample_rows,
        psi_threshold=policy.feature_psi_limit,
        drift_share=policy.drifted_share_limit,
    )


def _store_report(storage: StorageResource, batch: str, report: "EvidentlyReport") -> Any:
    """Evidently's page and figures, beside the verdict."""
    files.write_json(storage.layout.drift_figures(batch), report.json)
    page = storage.layout.drift_page(batch)
    files.write_text(page, report.html)
    return page
