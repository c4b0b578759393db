"""Back-tests the platform on the loans that were cleaned last.

What is learned and measured is `risk.validation.backtest`'s.
"""

from __future__ import annotations

from datetime import date

from loan_default.operations.book import read_contract, read_search_space
from loan_default.operations.records import Record, read_record
from loan_default.operations.runs import run_job
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


def back_test(settings: Settings, first: date | None, every: int) -> Record:
    """Develop each so many months from the first on, and return the record of it.

    Raises:
        BadInput: no loans were cleaned, the book does not say when outcomes were known, or no month can be judged by
            them; nothing was run.
        JobFailed: the step failed.
    """
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.data.as_of import require_known
    from loan_default.steps.backtest import plan_backtest

    contract, report = read_contract(settings), read_record(settings, "cleaning_report")
    require_known(contract)
    read_search_space(settings)
    if report is None:
        raise BadInput("No loans were cleaned yet; run loan-default clean --data FILE first.")
    month = f"{first:%Y-%m}" if first else ""
    loans = ParquetTable.of(settings.layout.table("cleaned_loans"), settings.staging)
    plan_backtest(loans, report, contract, first=month, every=every)
    run_job(settings, "backtest_job", config={"backtest": {"first": month, "every": every}})
    record: Record = read_record(settings, "backtest")
    return record
