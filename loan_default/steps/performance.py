"""Step of group `performance`: measure the versions that had scored loans by how these ended.

Measuring is `risk`'s; reading how loans ended is `outcomes`'; every prediction is in `adapters.prediction_history`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters import prediction_history
from loan_default.adapters.tracking import PRODUCTION
from loan_default.risk.contract.book import Contract
from loan_default.risk.policy import Policy
from loan_default.steps.data import parse_month, parse_optional_month
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.metrics import Bootstrap
    from loan_default.risk.monitoring.early_performance import Course
    from loan_default.risk.monitoring.performance import Learned, Performance


@dataclass(frozen=True)
class MeasuredPerformance:
    """The measures of every version on loans that ended, and the record of them."""

    performance: Performance
    record: Mapping[str, Any]


def measure_versions(
    outcomes: ParquetTable,
    outcomes_report: Mapping[str, Any],
    contract: Contract,
    policy: Policy,
    models: ModelStore,
    workspace: Workspace,
    *,
    now: datetime,
    bootstrap: Bootstrap,
) -> MeasuredPerformance:
    """Hold every prediction against how the loan ended, and judge the version in production.

    Args:
        outcomes: how each loan stands.
        outcomes_report: the report on the files that say so.
        contract: what a loan is.
        policy: what is asked of a version, and the cut-off of a decline.
        models: where the versions are.
        workspace: where the predictions lie.
        now: the time of the measurement.
        bootstrap: on which the intervals rest.
    """
    from loan_default.risk.monitoring.performance import measure_performance

    production = models.tracking.version_of(PRODUCTION)
    predictions = prediction_history.scan(workspace.layout, contract, workspace.staging, now.date())
    versions = predictions.select("model_version").unique().collect()["model_version"].to_list()
    performance = measure_performance(
        predictions,
        outcomes.scan(),
        contract,
        policy.performance,
        production=production.version if production else None,
        seen_until=parse_optional_month(outcomes_report["seen_until"], "seen_until"),
        learned={version: _learned(models, version) for version in versions},
        cutoff=policy.decision.decline_from,
        bootstrap=bootstrap,
        courses=_courses(models, production, predictions, outcomes, contract) if production else {},
    )
    record = {
        "measured_at": now.isoformat(timespec="seconds"),
        "told_until": outcomes_report["seen_until"],
        "unreadable": list(outcomes_report["unreadable"]),
        **performance.to_dict(),
    }
    return MeasuredPerformance(performance, record)


def _courses(
    models: ModelStore, version: ModelVersion, predictions: pl.LazyFrame, outcomes: ParquetTable, contract: Contract
) -> dict[float, Course]:
    """Return when loans of a version are expected to end, by the terms of what it scored."""
    from loan_default.risk.contract.columns import TERM
    from loan_default.risk.monitoring.early_performance import courses_of

    told_by_month = "ended" in outcomes.scan().collect_schema()  # a table of before lacks it
    if contract.outcomes_are_final or not (contract.has_time and told_by_month):
        return {}
    terms = predictions.select(TERM).unique().collect()[TERM].drop_nulls().to_list()
    return courses_of(models.scorer(version), models.reference(version).sample, terms)


def _learned(models: ModelStore, version: int) -> Learned:
    """Return the last issue month of the loans that a version was developed on, or, without a date, their draws."""
    reference = models.reference(models.tracking.get(version))
    if reference.draws is not None:
        return reference.draws
    assert reference.profile.months is not None, "every version of loans with a date has its months"
    return parse_month(reference.profile.months[1], "months")
