"""Step of group `backtest`: develop as of past months, and judge by what became of the loans that came after.

Learning and measuring is `risk.validation.backtest`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Policy
from loan_default.steps.data import data_fingerprint, parse_month, parse_optional_month

if TYPE_CHECKING:
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.model.search_space import SearchSpace
    from loan_default.risk.validation.backtest import BackTestPoint

_YEARS_BEFORE = 2  # of loans, the first month is developed from, where none is named


def run_backtest(
    loans: ParquetTable,
    cleaning_report: Mapping[str, Any],
    contract: Contract,
    policy: Policy,
    search_space: SearchSpace,
    *,
    first: str,
    every: int,
    now: datetime,
    seed: int,
    on_point: Callable[[float, BackTestPoint], None],
) -> Mapping[str, Any]:
    """Develop each so many months, and return the record of what that reached.

    The parameters are the search space's start: a search would have known later loans.

    Args:
        loans: cleaned loans.
        cleaning_report: the record of their cleaning, which says when the files were taken.
        contract: what a loan is.
        policy: the cut-offs, and what a loan costs.
        search_space: how trees are fitted.
        first: month (YYYY-MM) to begin with; empty: two years after the first loan was issued.
        every: months from one to the next.
        now: the time of the back-test.
        seed: of every random choice.
        on_point: called with the share of the work that is done, and each point.

    Raises:
        BadInput: the book does not say when outcomes were known, or too few loans matured after these months.
    """
    from loan_default.risk.validation.backtest import TESTED_MONTHS, back_test

    snapshot, months = plan_backtest(loans, cleaning_report, contract, first=first, every=every)
    points = back_test(
        loans.scan(), contract, search_space, policy, months, snapshot=snapshot, seed=seed, on_point=on_point
    )
    return {
        "measured_at": now.isoformat(timespec="seconds"),
        "data_fingerprint": data_fingerprint(cleaning_report),
        "snapshot": f"{snapshot:%Y-%m}",
        "tested_months": TESTED_MONTHS,
        "unit": contract.by_name[contract.pricing.amount].unit if contract.pricing else None,
        "points": [point.to_dict() for point in points],
    }


def plan_backtest(
    loans: ParquetTable, cleaning_report: Mapping[str, Any], contract: Contract, *, first: str, every: int
) -> tuple[date, list[date]]:
    """Return when the files were taken, and the months that can be judged; arguments and errors as `run_backtest`."""
    from loan_default.risk.data.as_of import require_known
    from loan_default.risk.validation.backtest import judged_months, months_between

    require_known(contract)
    snapshot = parse_optional_month(cleaning_report.get("snapshot"), "snapshot")
    if snapshot is None:
        raise BadInput("The loans do not say when their file was taken; clean them with --snapshot.")
    months = months_between(_first_month(loans, contract, first), snapshot, every)
    return snapshot, judged_months(loans.scan(), contract, months, snapshot)


def _first_month(loans: ParquetTable, contract: Contract, first: str) -> date:
    """Return the month to begin with."""
    if first:
        return parse_month(first, "from")
    oldest: date = loans.scan().select(contract.time_name).min().collect().item()
    return oldest.replace(year=oldest.year + _YEARS_BEFORE)
