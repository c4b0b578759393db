"""Group `provision`: what the open loans of the book are expected to lose. Tested in `steps/test_provision.py`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.metadata import MODEL, OWNERS, Metadata
from loan_default.defs.resources import ClockResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.defs.results import explain_failures
from loan_default.steps.provision import provide_for


@dg.asset(
    group_name="provision",
    # A run of both decides on the version before it provides by it; how open loans stand outcome files say, if any do.
    deps=["promoted_model", "loan_outcomes"],
    io_manager_key="json",
    description="What open loans are expected to lose: provisions by stage, over their lives, and in each scenario.",
    kinds={"python"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def provision_report(
    context: dg.AssetExecutionContext,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    clock: ClockResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
) -> dg.MaterializeResult[Mapping[str, Any]]:
    """Provide for the open loans by the version in production."""
    record = provide_for(
        cleaned_loans,
        cleaning_report,
        loan_book.contract,
        loan_book.policy,
        model_registry.models,
        storage.workspace(context.run.run_id),
        now=clock.now(),
    )
    return dg.MaterializeResult(value=record, metadata=_provision_metadata(record))


def _provision_metadata(record: Mapping[str, Any]) -> Metadata:
    if "problem" in record:
        return {"version": record["version"], "problem": record["problem"]}
    stages = [(each["stage"], each["loans"], each["balance"], each["provision"]) for each in record["stages"]]
    scenarios = [(each["scenario"], each["weight"], each["provision"], each["cecl"]) for each in record["scenarios"]]
    return {
        "version": record["version"],
        "unit": record["unit"],
        "balance": record["total"]["balance"],
        "provision": record["total"]["provision"],
        "lifetime_loss": record["total"]["cecl"],
        "stages": metadata.table(["stage", "loans", "owed", "provision"], stages),
        "scenarios": metadata.table(["scenario", "weight", "provision", "over the lives"], scenarios),
    }
