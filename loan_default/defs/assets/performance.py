"""Group `performance`: how good versions proved to be on loans whose outcome became known.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.assets.registry import EvaluationConfig
from loan_default.defs.checks import GOOD, check_specs, warning
from loan_default.defs.metadata import MODEL, OWNERS
from loan_default.defs.resources import ClockResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.defs.results import explain_failures
from loan_default.risk.metrics import SHOWN_METRICS
from loan_default.steps.performance import measure_versions

if TYPE_CHECKING:
    from loan_default.risk.monitoring.performance import Performance


@dg.asset(
    group_name="performance",
    io_manager_key="json",
    deps=[dg.AssetDep("predictions", partition_mapping=dg.AllPartitionMapping())],
    check_specs=check_specs("performance_report", [GOOD]),
    description="AUC, KS, Brier score and calibration of every version on loans that matured, by vintage and decision; "
    "estimates, marked as such, for those that did not.",
    kinds={"polars"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def performance_report(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    clock: ClockResource,
    loan_outcomes: ParquetTable,
    outcomes_report: dict[str, Any],
) -> dg.MaterializeResult[Mapping[str, Any]]:
    """Hold what was predicted against how the loans ended, and judge the version in production."""
    measured = measure_versions(
        loan_outcomes,
        outcomes_report,
        loan_book.contract,
        loan_book.policy,
        model_registry.models,
        storage.workspace(context.run.run_id),
        now=clock.now(),
        bootstrap=config.bootstrap,
    )
    return dg.MaterializeResult(
        value=measured.record,
        check_results=[_verdict_check(measured.performance)],
        metadata=_performance_metadata(measured.performance),
    )


def _verdict_check(performance: "Performance") -> dg.AssetCheckResult:
    verdict = performance.verdict
    return warning(
        "performance_report",
        GOOD,
        passed=verdict is None or verdict.verdict != "degraded",
        sentence=" ".join(verdict.reasons) if verdict else "No version is in production.",
    )


def _performance_metadata(performance: "Performance") -> dict[str, Any]:
    from loan_default.risk.monitoring.performance import ESTIMATED

    verdict = performance.verdict
    versions = [
        [
            *(version.version, version.loans, version.learned),
            *([version.matured] if performance.outcomes_mature else []),
            version.known,
            *(str(version.real[name]) if version.real else None for name in SHOWN_METRICS),
            *(figures and figures["auc"] for figures in (version.expected, version.estimate)),
        ]
        for version in performance.versions
    ]
    matured = ["matured"] if performance.outcomes_mature else []
    columns = ["version", "loans", "developed on", *matured, "known", *SHOWN_METRICS.values()]
    return {
        "verdict": verdict.verdict if verdict else "no version in production",
        "reasons": metadata.bullets(verdict.reasons if verdict else []),
        **_trend(performance),
        "versions": metadata.table([*columns, "AUC expected of the known", "AUC estimated of the others"], versions),
        **{
            name: metadata.table([column.replace("_", " ") for column in frame.columns], frame.rows())
            for name, frame in (
                ("vintages" if performance.quarters_of == "issue" else "quarters of scoring", performance.vintages),
                ("decisions", performance.decisions),
                ("groups", performance.groups),
                *([] if performance.early is None else [("month by month", performance.early)]),
            )
        },
        "estimates": dg.MetadataValue.text(ESTIMATED),
        **({"remark": dg.MetadataValue.text(performance.remark)} if performance.remark else {}),
    }


def _trend(performance: "Performance") -> dict[str, float]:
    """Figures of the version in production that the UI draws over time."""
    verdict = performance.verdict
    real = next((v.real for v in performance.versions if verdict and v.version == verdict.version), None)
    return {name: real[name].value for name in SHOWN_METRICS} if real else {}
