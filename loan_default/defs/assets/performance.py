"""Group `performance`: how loans ended, and how good the versions that scored them proved to be."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters import storage as files
from loan_default.adapters.inbox import list_files
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs import metadata as shown
from loan_default.defs.assets.registry import EvaluationConfig
from loan_default.defs.resources import ClockResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.risk.evaluation import SHOWN_METRICS

if TYPE_CHECKING:
    from loan_default.risk.monitoring.performance import Performance


@dg.multi_asset(
    name="read_loan_outcomes",
    group_name="performance",
    outs={
        "loan_outcomes": dg.AssetOut(
            io_manager_key="parquet",
            **shown.described(
                "How each loan stands, by the latest month that a file in <storage>/outcomes tells of.",
                domain="loans",
                kinds={"polars", "parquet"},
            ),
        ),
        "rejected_outcomes": dg.AssetOut(
            io_manager_key="parquet",
            metadata={"dagster/column_schema": shown.REJECTED},
            **shown.described(
                "Lines of outcome files that cannot be used, with their reasons.",
                domain="loans",
                kinds={"polars", "parquet"},
            ),
        ),
        "outcomes_report": dg.AssetOut(
            io_manager_key="json",
            **shown.described("What was found in the outcome files.", domain="loans", kinds={"json"}),
        ),
    },
    check_specs=shown.check_specs("loan_outcomes", ["every_file_readable"]),
)
@shown.in_one_sentence
def read_loan_outcomes(
    context: dg.AssetExecutionContext, loan_book: LoanBookResource, storage: StorageResource, clock: ClockResource
) -> Iterator[Any]:
    """Read every outcome file; one that cannot be read holds up no other."""
    from loan_default.risk.data.outcomes import read_outcomes

    outcomes, rejected = (storage.staging / f"{context.run_id}-{name}.parquet" for name in ("outcomes", "rejected"))
    outcome_files = sorted(list_files(storage.layout.outcomes), key=lambda file: file.name)
    report = read_outcomes(
        [files.fetch(file.place, storage.staging, file.generation) for file in outcome_files],
        loan_book.contract,
        outcomes=outcomes,
        rejected=rejected,
        today=clock.now().date(),
    )
    unreadable = " ".join(report.unreadable.values())
    for sentence in report.unreadable.values():
        context.log.warning(sentence)
    yield dg.MaterializeResult(
        asset_key="loan_outcomes",
        value=outcomes,
        check_results=[
            dg.AssetCheckResult(
                asset_key="loan_outcomes",
                check_name="every_file_readable",
                passed=not report.unreadable,
                description=unreadable or f"All of the {len(outcome_files)} files could be read.",
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
        metadata={
            "dagster/row_count": report.loans,
            "defaulted": report.defaulted,
            "repaid": report.repaid,
            "neither yet": report.unresolved,
            "told until": f"{report.seen_until:%Y-%m}" if report.seen_until else "no month",
            "unreadable": shown.bullets(report.unreadable.values()),
        },
    )
    yield dg.MaterializeResult(
        asset_key="rejected_outcomes",
        value=rejected,
        metadata={
            "dagster/row_count": report.rejected,
            "problems": shown.table(["problem", "lines"], list(report.problems.items())),
        },
    )
    yield dg.MaterializeResult(asset_key="outcomes_report", value=report.to_dict())


@dg.asset(
    group_name="performance",
    io_manager_key="json",
    deps=[dg.AssetDep("predictions", partition_mapping=dg.AllPartitionMapping())],
    check_specs=shown.check_specs("performance_report", ["as_good_as_the_policy_asks"]),
    **shown.described(
        "AUC, KS, Brier score and calibration of every version on loans that matured, by vintage and decision; "
        "estimates, marked as such, for those that did not.",
        domain="model",
        kinds={"polars"},
    ),
)
@shown.in_one_sentence
def performance_report(
    config: EvaluationConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    clock: ClockResource,
    loan_outcomes: ParquetTable,
    outcomes_report: dict[str, Any],
) -> Iterator[Any]:
    """Hold what was predicted against how the loans ended, and judge the version in production."""
    from loan_default.adapters import prediction_history
    from loan_default.risk.monitoring.performance import measure_performance

    now, production = clock.now(), model_registry.tracking.version_of(PRODUCTION)
    rows = prediction_history.scan(storage.layout, loan_book.contract, storage.staging, now.date())
    versions = rows.select("model_version").unique().collect()["model_version"].to_list()
    performance = measure_performance(
        rows,
        loan_outcomes.scan(),
        loan_book.contract,
        loan_book.policy.performance,
        production=production.version if production else None,
        seen_until=_month(outcomes_report["seen_until"]),
        developed_until={version: _developed_until(model_registry, version) for version in versions},
        cutoff=loan_book.policy.decision.decline_from,
        seed=config.seed,
        resamples=config.resamples,
    )
    verdict = performance.verdict
    yield dg.MaterializeResult(
        value={
            "measured_at": now.isoformat(timespec="seconds"),
            "told_until": outcomes_report["seen_until"],
            "unreadable": list(outcomes_report["unreadable"]),
            **performance.to_dict(),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="as_good_as_the_policy_asks",
                passed=verdict is None or verdict.verdict != "degraded",
                description=" ".join(verdict.reasons) if verdict else "No version is in production.",
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
        metadata=_metadata(performance),
    )


def _month(text: str | None) -> date | None:
    return date.fromisoformat(f"{text}-01") if text else None


def _developed_until(model_registry: ModelRegistryResource, version: int) -> date:
    """The last issue month of the loans that a version was developed on."""
    months = model_registry.models.reference(model_registry.tracking.get(version)).profile.months
    assert months is not None, "every registered version has its months"
    return date.fromisoformat(f"{months[1]}-01")


def _metadata(performance: "Performance") -> dict[str, Any]:
    from loan_default.risk.monitoring.performance import ESTIMATED

    verdict = performance.verdict
    versions = [
        [
            *(version.version, version.loans, version.learned, version.matured, version.known),
            *(str(version.real[name]) if version.real else None for name in SHOWN_METRICS),
            *(figures and figures["auc"] for figures in (version.expected, version.estimate)),
        ]
        for version in performance.versions
    ]
    columns = ["version", "loans", "of its own months", "matured", "known", *SHOWN_METRICS.values()]
    return {
        "verdict": verdict.verdict if verdict else "no version in production",
        "reasons": shown.bullets(verdict.reasons if verdict else []),
        **_trend(performance),
        "versions": shown.table([*columns, "AUC expected of the known", "AUC estimated of the others"], versions),
        **{
            name: shown.table([column.replace("_", " ") for column in frame.columns], frame.rows())
            for name, frame in (
                ("vintages", performance.vintages),
                ("decisions", performance.decisions),
                ("groups", performance.groups),
            )
        },
        "estimates": dg.MetadataValue.text(ESTIMATED),
    }


def _trend(performance: "Performance") -> dict[str, float]:
    """Figures of the version in production that the UI draws over time."""
    verdict = performance.verdict
    real = next((v.real for v in performance.versions if verdict and v.version == verdict.version), None)
    return {name: real[name].value for name in SHOWN_METRICS} if real else {}
