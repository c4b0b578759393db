"""Group `data`: the loan file, the loans that are usable, the rows that are not, and the windows they are cut into.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.book import BookNames, Event
from loan_default.defs.checks import check_results, check_specs
from loan_default.defs.metadata import LOANS, OWNERS, Metadata
from loan_default.defs.resources import ClockResource, ComputeResource, LoanBookResource, StorageResource
from loan_default.defs.results import explain_failures, file_specs, log_warnings, report_together
from loan_default.risk.contract.book import Contract
from loan_default.risk.validation.quality_gates import CLEANING_RULES
from loan_default.steps.data import clean_loan_file, data_fingerprint, parse_optional_month, split_cleaned_loans
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from loan_default.risk.data.cleaning_report import CleaningReport
    from loan_default.risk.data.splits import Splits

_LABELS = {
    "outcome": ("int", "1 defaulted, 0 repaid, empty where neither has happened yet."),
    "matures": ("date", "Month by which the outcome is known: the term and the months of grace are over."),
    "outcome_known": ("date", "Month in which the outcome was known; empty where neither has happened yet."),
    "followed_from": ("date", "First month in which outcome files told that it ran; empty where none did."),
    "months_paid": ("int", "Months from the issue to the last payment; empty where the file does not say it."),
}

raw_loans = dg.AssetSpec(
    "raw_loans",
    group_name="data",
    description="The loan file as the lender has it: LOAN_DEFAULT_DATA, a file, a glob or gs://…",
    kinds={"csv"},
    tags=LOANS,
    owners=OWNERS,
)


class CleaningConfig(dg.Config):
    """The loans to clean; by default those of the settings, as of the month that the file itself shows."""

    data: str = Field(default="", description="Loan file, glob or gs://…; empty: LOAN_DEFAULT_DATA.")
    snapshot_month: str = Field(
        default="", description="Month (YYYY-MM) by which outcomes are known; empty: the last that the file shows."
    )


class SplitConfig(dg.Config):
    """The cuts between windows: shares, or the first issue month (YYYY-MM) of a window."""

    calibrate_share: float = Field(default=0.2, description="Share of the loans in the calibrate window.")
    test_share: float = Field(default=0.2, description="Share of the loans in the test window, the newest.")
    calibrate_from: str = Field(default="", description="First month (YYYY-MM) of calibrate, in place of its share.")
    test_from: str = Field(default="", description="First month (YYYY-MM) of test, in place of its share.")


@dg.multi_asset(
    name="clean_raw_loans",
    specs=file_specs(
        ("cleaned_loans", "Every usable loan in natural units, with its outcome where that is known."),
        ("rejected_loans", "Rows that are no usable loan: file, row, id, and the reason as a sentence."),
        ("cleaning_report", "What cleaning found: counts, months, fingerprint, snapshot month."),
        group_name="data",
        deps=[raw_loans, "loan_outcomes"],  # of which there may be none: they say since when endings were known
        tags=LOANS,
    ),
    check_specs=check_specs("cleaned_loans", CLEANING_RULES),
    can_subset=True,
)
@explain_failures
def clean_raw_loans(
    context: dg.AssetExecutionContext,
    config: CleaningConfig,
    loan_book: LoanBookResource,
    storage: StorageResource,
    compute: ComputeResource,
    clock: ClockResource,
) -> Iterator[Event]:
    """Clean the loan file in one pass and stop where it is not what the contract expects."""
    workspace = storage.workspace(context.run.run_id)
    cleaned = clean_loan_file(
        config.data or loan_book.data,
        loan_book.contract,
        workspace,
        compute.engine,
        today=clock.now().date(),
        snapshot=parse_optional_month(config.snapshot_month, "snapshot_month"),
    )
    context.log.info(cleaned.report.summary)  # before what may stop for want of loans
    log_warnings(context, cleaned.report.warnings())
    loans = _cleaned_metadata(cleaned.report, loan_book.contract, storage.names)
    checks = check_results("cleaned_loans", cleaned.findings)
    yield from report_together(
        context,
        [loan_book.contract.fingerprint, data_fingerprint(cleaned.report.to_dict()), f"{cleaned.report.snapshot}"],
        dg.MaterializeResult(asset_key="cleaned_loans", metadata={**loans, **compute.metadata}, check_results=checks),
        dg.MaterializeResult(asset_key="rejected_loans", metadata=_rejected_metadata(cleaned.report, workspace)),
        dg.MaterializeResult(asset_key="cleaning_report"),
    )


def _rejected_metadata(report: "CleaningReport", workspace: Workspace) -> Metadata:
    first_rows = workspace.first_rows(workspace.layout.table("rejected_loans"), *metadata.REJECTION)
    return {
        **metadata.rejected_rows(report, first_rows),
        "rejected_share": metadata.percent(report.rejected_share),
        "lines_not_loans": report.lines_not_loans,
    }


def _cleaned_metadata(report: "CleaningReport", contract: Contract, names: BookNames) -> Metadata:
    months = {"first_month": report.first_month, "last_month": report.last_month, "snapshot_month": report.snapshot}
    labels = _LABELS | {field.name: ("float", field.description) for field in contract.outcome.amounts.fields}
    return {
        "dagster/row_count": report.kept,
        "fingerprint": report.fingerprint,
        **({"outcomes_fingerprint": report.outcomes_fingerprint} if report.outcomes_fingerprint else {}),
        "files": list(report.files),
        "dagster/column_schema": metadata.column_schema(contract, {name: labels[name] for name in contract.labels}),
        **{name: f"{month:%Y-%m}" for name, month in months.items() if month},
        "with_outcome" if contract.outcomes_are_final else "matured": report.matured,
        "defaulted": "unknown" if report.default_rate is None else metadata.percent(report.default_rate),
        **({} if report.default_rate is None else {"default_rate": metadata.rounded(report.default_rate)}),
        "warnings": metadata.bullets(report.warnings()),
        "dagster/column_lineage": metadata.cleaned_lineage(contract, names.key("raw_loans")),
    }


@dg.asset(
    group_name="data",
    io_manager_key="json",
    description="Windows of the loans whose outcome counts, newest last: train, calibrate, test.",
    kinds={"json"},
    tags=LOANS,
    owners=OWNERS,
)
@explain_failures
def loan_splits(
    config: SplitConfig, loan_book: LoanBookResource, cleaned_loans: ParquetTable, cleaning_report: dict[str, Any]
) -> dg.MaterializeResult[dict[str, Any]]:
    """Cut the loans whose outcome counts into windows."""
    from loan_default.risk.data.splitting import SplitPlan

    plan = SplitPlan(
        config.calibrate_share,
        config.test_share,
        parse_optional_month(config.calibrate_from, "calibrate_from"),
        parse_optional_month(config.test_from, "test_from"),
    )
    splits = split_cleaned_loans(cleaned_loans, cleaning_report, loan_book.contract, plan, loan_book.policy.label)
    return dg.MaterializeResult(value=splits.to_dict(), metadata=_split_metadata(splits))


def _split_metadata(splits: "Splits") -> Metadata:
    rows = [(name, term, part.span, part.rows, f"{part.default_rate:.1%}") for name, term, part in splits.parts]
    return {
        "windows": metadata.table(["window", "term", splits.order, "loans", "default rate"], rows),
        "remarks": metadata.bullets(splits.remarks),
        "out_of_time": splits.tests_out_of_time,
        "fingerprint": splits.fingerprint,
        "unresolved": splits.unresolved,
        "immature": splits.immature,
    }
