"""Group `data`: the loan file, the loans that are usable, the rows that are not, and the windows they are cut into."""

from collections.abc import Iterator
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters.inbox import inputs, local
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata as shown
from loan_default.defs.resources import ComputeResource, LoanBookResource, StorageResource
from loan_default.risk.errors import BadInput
from loan_default.risk.validation.quality_gates import CLEANING_RULES, failures, judge_cleaning

if TYPE_CHECKING:
    from loan_default.risk.data.splitting import Splits

_LABELS = {
    "outcome": ("int", "1 defaulted, 0 repaid, empty where neither has happened yet."),
    "matures": ("date", "Month in which the last payment is due."),
}

raw_loans = dg.AssetSpec(
    "raw_loans",
    group_name="data",
    **shown.described(
        "The loan file as the lender has it: LOAN_DEFAULT_DATA, a file, a glob or gs://…", domain="loans", kinds={"csv"}
    ),
)


class CleaningConfig(dg.Config):
    """Which loans to clean; by default those of the settings, as of the month that the file itself shows."""

    data: str = ""
    snapshot_month: str = ""


class SplitConfig(dg.Config):
    """How to cut: shares, or the first issue month (YYYY-MM) of a window."""

    calibrate_share: float = 0.2
    test_share: float = 0.2
    calibrate_from: str = ""
    test_from: str = ""


def month(text: str, name: str) -> date | None:
    """YYYY-MM → the first of that month; nothing → None."""
    try:
        return date.fromisoformat(f"{text}-01") if text else None
    except ValueError:
        raise BadInput(f"{name} is {text!r}; write a month as YYYY-MM.") from None


@dg.multi_asset(
    name="clean_raw_loans",
    group_name="data",
    deps=[raw_loans],
    outs={
        "cleaned_loans": dg.AssetOut(
            io_manager_key="parquet",
            **shown.described(
                "Every usable loan in natural units, with its outcome where that is known.",
                domain="loans",
                kinds={"polars", "parquet"},
            ),
        ),
        "rejected_loans": dg.AssetOut(
            io_manager_key="parquet",
            metadata={"dagster/column_schema": shown.REJECTED},
            **shown.described(
                "Rows that are no usable loan: file, row, id, and the reason as a sentence.",
                domain="loans",
                kinds={"polars", "parquet"},
            ),
        ),
        "cleaning_report": dg.AssetOut(
            io_manager_key="json",
            **shown.described(
                "What cleaning found: counts, months, fingerprint, snapshot month.", domain="loans", kinds={"json"}
            ),
        ),
    },
    check_specs=shown.check_specs("cleaned_loans", CLEANING_RULES),
)
@shown.in_one_sentence
def clean_raw_loans(
    context: dg.AssetExecutionContext,
    config: CleaningConfig,
    loan_book: LoanBookResource,
    storage: StorageResource,
    compute: ComputeResource,
) -> Iterator[Any]:
    """Clean the loan file in one pass and stop where it is not what the contract expects."""
    import polars as pl

    from loan_default.risk.data.cleaning import clean_loans

    contract = loan_book.contract
    cleaned, rejected = (storage.staging / f"{context.run_id}-{name}.parquet" for name in ("cleaned", "rejected"))
    report = clean_loans(
        inputs(config.data or loan_book.data),
        contract,
        cleaned=cleaned,
        rejected=rejected,
        snapshot=month(config.snapshot_month, "snapshot_month"),
        fetch=partial(local, storage.staging),
        engine=compute.engine,
    )
    for warning in report.warnings():
        context.log.warning(warning)
    findings = judge_cleaning(report, pl.scan_parquet(cleaned), contract)
    if failed := failures(findings):
        yield from shown.check_results("cleaned_loans", findings)
        cleaned.unlink()
        rejected.unlink()
        raise dg.Failure(failed, allow_retries=False)
    counts = {"dagster/row_count": report.kept, "fingerprint": report.fingerprint, "files": list(report.files)}
    about = {
        "dagster/column_schema": shown.column_schema(contract, _LABELS),
        "first_month": f"{report.first_month:%Y-%m}",
        "last_month": f"{report.last_month:%Y-%m}",
        "snapshot_month": f"{report.snapshot:%Y-%m}",
        "matured": report.matured,
        "default_rate": report.default_rate,
        "warnings": shown.bullets(report.warnings()),
        **compute.shown,
    }
    yield dg.MaterializeResult(
        asset_key="cleaned_loans",
        value=cleaned,
        metadata={**counts, **about},
        check_results=shown.check_results("cleaned_loans", findings),
    )
    yield dg.MaterializeResult(
        asset_key="rejected_loans",
        value=rejected,
        metadata={
            "dagster/row_count": report.rejected,
            "share": report.rejected_share,
            "problems": shown.table(["problem", "rows"], list(report.problems.items())),
            "lines_not_loans": report.lines_not_loans,
        },
    )
    yield dg.MaterializeResult(asset_key="cleaning_report", value=report.to_dict())


@dg.asset(
    group_name="data",
    io_manager_key="json",
    **shown.described(
        "Windows of matured loans by issue month: train, calibrate, test, newest last.", domain="loans", kinds={"json"}
    ),
)
@shown.in_one_sentence
def loan_splits(
    config: SplitConfig, loan_book: LoanBookResource, cleaned_loans: ParquetTable, cleaning_report: dict[str, Any]
) -> dg.MaterializeResult:
    """Cut the matured loans into windows."""
    from loan_default.risk.data.splitting import SplitPlan, split_loans

    plan = SplitPlan(
        config.calibrate_share,
        config.test_share,
        month(config.calibrate_from, "calibrate_from"),
        month(config.test_from, "test_from"),
    )
    splits = split_loans(
        cleaned_loans.scan(),
        loan_book.contract,
        plan,
        snapshot=month(cleaning_report["snapshot"], "snapshot"),
        data_fingerprint=cleaning_report["fingerprint"],
    )
    return dg.MaterializeResult(value=splits.to_dict(), metadata=_split_metadata(splits))


def _split_metadata(splits: "Splits") -> dict[str, Any]:
    rows = [
        (w.name, f"{w.first_month:%Y-%m}", f"{w.last_month:%Y-%m}", w.rows, f"{w.default_rate:.1%}")
        for w in splits.windows
    ]
    return {
        "windows": shown.table(["window", "from", "to", "loans", "default rate"], rows),
        "out_of_time": splits.out_of_time,
        "fingerprint": splits.fingerprint,
        "unresolved": splits.unresolved,
        "immature": splits.immature,
    }
