"""Group `outcomes`: how loans stand and ended, as files tell it that came since; cleaning and others build on it.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Iterator

import dagster as dg

from loan_default.defs import metadata
from loan_default.defs.book import Event
from loan_default.defs.checks import READABLE, check_specs, warning
from loan_default.defs.metadata import LOANS, Metadata
from loan_default.defs.resources import ClockResource, LoanBookResource, StorageResource
from loan_default.defs.results import explain_failures, file_specs, log_warnings, report_together
from loan_default.steps.outcomes import OutcomeFiles, read_outcome_files


@dg.multi_asset(
    name="read_loan_outcomes",
    specs=file_specs(
        ("loan_outcomes", "How each loan stands, by the latest month that a file in <storage>/outcomes tells of."),
        ("rejected_outcomes", "Lines of outcome files that cannot be used, with their reasons."),
        ("outcomes_report", "What was found in the outcome files."),
        group_name="outcomes",
        tags=LOANS,
    ),
    check_specs=check_specs("loan_outcomes", [READABLE]),
    can_subset=True,
)
@explain_failures
def read_loan_outcomes(
    context: dg.AssetExecutionContext, loan_book: LoanBookResource, storage: StorageResource, clock: ClockResource
) -> Iterator[Event]:
    """Read every outcome file; one that cannot be read holds up no other."""
    outcomes = read_outcome_files(loan_book.contract, storage.workspace(context.run.run_id), today=clock.now().date())
    log_warnings(context, outcomes.report.unreadable.values())
    checks = [_readable_check(outcomes)]
    yield from report_together(
        context,
        [loan_book.contract.fingerprint, outcomes.fingerprint],
        dg.MaterializeResult(asset_key="loan_outcomes", metadata=_outcomes_metadata(outcomes), check_results=checks),
        dg.MaterializeResult(asset_key="rejected_outcomes", metadata=_rejected_metadata(outcomes)),
        dg.MaterializeResult(asset_key="outcomes_report"),
    )


def _readable_check(outcomes: OutcomeFiles) -> dg.AssetCheckResult:
    unreadable = " ".join(outcomes.report.unreadable.values())
    sentence = unreadable or f"All of the {outcomes.files} files could be read."
    return warning("loan_outcomes", READABLE, passed=not unreadable, sentence=sentence)


def _outcomes_metadata(outcomes: OutcomeFiles) -> Metadata:
    report = outcomes.report
    return {
        "dagster/row_count": report.loans,
        "defaulted": report.defaulted,
        "repaid": report.repaid,
        "unresolved": report.unresolved,
        "outcomes_until": f"{report.seen_until:%Y-%m}" if report.seen_until else "no month",
        "unreadable": metadata.bullets(report.unreadable.values()),
        "roll_rates": metadata.table(
            ["status", "a month later", "loans"], [(*pair, loans) for pair, loans in report.rolls.items()]
        ),
    }


def _rejected_metadata(outcomes: OutcomeFiles) -> Metadata:
    report = outcomes.report
    return {"dagster/row_count": report.rejected, "problems": metadata.problems(report.problems, "lines")}
