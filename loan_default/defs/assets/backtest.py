"""Group `backtest`: how the platform would have stood at past months. Tested in `defs/test_pipeline.py`."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.assets.training import POOL
from loan_default.defs.metadata import MODEL, OWNERS, Metadata
from loan_default.defs.resources import ClockResource, LoanBookResource
from loan_default.defs.results import explain_failures
from loan_default.steps.backtest import run_backtest

if TYPE_CHECKING:
    from loan_default.risk.validation.backtest import BackTestPoint


class BacktestConfig(dg.Config):
    """As of which months to develop."""

    first: str = Field(default="", description="First month (YYYY-MM); empty: two years after the first loan.")
    every: int = Field(default=6, ge=1, description="Months from one to the next.")
    seed: int = Field(default=7, description="Seed of everything random.")


@dg.asset(
    group_name="backtest",
    pool=POOL,
    io_manager_key="json",
    description="Models as they would have been developed at past months, on what was known then, by what became of "
    "the loans of the twelve months after each.",
    kinds={"xgboost"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def backtest(
    context: dg.AssetExecutionContext,
    config: BacktestConfig,
    loan_book: LoanBookResource,
    clock: ClockResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
) -> dg.MaterializeResult[Mapping[str, Any]]:
    """Develop at each month in each way, and measure it."""
    record = run_backtest(
        cleaned_loans,
        cleaning_report,
        loan_book.contract,
        loan_book.policy,
        loan_book.search_space,
        **config.model_dump(),
        now=clock.now(),
        on_point=partial(_log_point, context.log),
    )
    return dg.MaterializeResult(value=record, metadata=_backtest_metadata(record))


def _log_point(log: dg.DagsterLogManager, share: float, point: "BackTestPoint") -> None:
    figures = point.reason if point.auc is None else f"AUC {point.auc:.4f}, Brier {point.brier:.4f}"
    log.info(f"{point.month:%Y-%m} {point.label} {point.model}: {figures}", extra={"share": share})


def _backtest_metadata(record: Mapping[str, Any]) -> Metadata:
    from loan_default.risk.validation.backtest import COLUMNS, rows_of
    from loan_default.risk.validation.plots import backtest_figure, png

    points = record["points"]
    return {
        "snapshot_month": record["snapshot"],
        "points": metadata.table(list(COLUMNS), rows_of(points)),
        "picture": metadata.picture(png(backtest_figure(points)), "AUC of each way of learning by month"),
    }
