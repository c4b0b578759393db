"""Steps of group `data`: clean the loan file, and cut the loans that matured into windows.

Reading, checking and splitting loans are `risk.data`'s; this module says from where to where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loan_default.adapters.file_listing import local_copy, require_files
from loan_default.adapters.storage import store, store_afterwards, write_json
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.risk.policy import Finding, TrainingLabel
from loan_default.risk.validation.quality_gates import judge_cleaning
from loan_default.steps.gates import require_passed
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.compute import Engine
    from loan_default.risk.data.cleaning_report import CleaningReport
    from loan_default.risk.data.splits import Splits
    from loan_default.risk.data.splitting import SplitPlan

_DIGITS = 16  # of a fingerprint


@dataclass(frozen=True)
class CleanedFile:
    """A loan file that was cleaned and stored: what was counted, and what its gate says."""

    report: CleaningReport
    findings: tuple[Finding, ...]


def clean_loan_file(
    source: str, contract: Contract, workspace: Workspace, engine: Engine, *, today: date, snapshot: date | None = None
) -> CleanedFile:
    """Clean a loan file in one pass, and store its loans, its rejected rows and its report.

    Since when an ending is known is what outcome files told month by month, where these were read before.

    Args:
        source: a path, a glob or an address in a bucket.
        contract: what a loan is.
        workspace: where to.
        engine: where the work is done.
        today: nothing that a file tells as past is later.
        snapshot: the month as of which outcomes are known; by default the last that the file shows.

    Raises:
        BadInput: the file cannot be used.
        GateFailed: it is not what the contract expects. In both cases only rejected rows are stored.
    """
    import polars as pl

    from loan_default.risk.data.cleaning import clean_loans

    layout = workspace.layout
    with workspace.scratch("cleaned.parquet", "rejected.parquet") as (cleaned, rejected):
        with store_afterwards(rejected, layout.table("rejected_loans")):
            report = clean_loans(
                require_files(source),
                contract,
                cleaned=cleaned,
                rejected=rejected,
                snapshot=snapshot,
                today=today,
                fetch=partial(local_copy, workspace.staging),
                engine=engine,
            )
        findings = judge_cleaning(report, pl.scan_parquet(cleaned, glob=False), contract)
        require_passed("cleaned_loans", findings)
        if contract.outcome.known and (outcomes := workspace.find_table("loan_outcomes")):
            report = replace(report, **_date_endings(cleaned, outcomes, contract))
        store(cleaned, layout.table("cleaned_loans"))
        write_json(layout.record("cleaning_report"), report.to_dict())
    return CleanedFile(report, findings)


def _date_endings(cleaned: Path, outcomes: ParquetTable, contract: Contract) -> dict[str, Any]:
    """Write cleaned loans again with what outcome files told of them month by month; return what is reported of it."""
    import polars as pl

    from loan_default.risk.data.loan_status import date_endings, facts_of

    loans = pl.scan_parquet(cleaned, glob=False)
    facts = facts_of(loans, outcomes.scan(), contract)
    if facts.is_empty():
        return {}
    with write_atomically(cleaned) as part:
        date_endings(loans, facts, contract).sink_parquet(part)
    content = hashlib.sha256(facts.write_csv().encode()).hexdigest()
    return {"told_by_files": facts.height, "outcomes_fingerprint": content[:_DIGITS]}


def split_cleaned_loans(
    loans: ParquetTable,
    cleaning_report: Mapping[str, Any],
    contract: Contract,
    plan: SplitPlan,
    label: TrainingLabel = "matured",
) -> Splits:
    """Cut the cleaned loans whose outcome counts into windows; by the label `open` others are learned from too.

    Raises:
        BadInput: the loans do not suffice for the plan, or the book does not say what the label needs.
    """
    from loan_default.risk.data.as_of import is_followed
    from loan_default.risk.data.splitting import split_loans
    from loan_default.risk.model.timing import timing_problem

    if label == "open" and (problem := timing_problem(contract)):
        facts = problem.partition(", so nothing is said")[0]
        raise BadInput(f"label: open needs to know when loans ended. {facts}; write label: matured into the policy.")
    if label == "open" and not loans.scan().select(is_followed(contract).any()).collect().item():
        raise BadInput(
            "label: open needs to know when loans ended, and no outcome file tells of these loans that they ran; put "
            "files of how they stand, month by month, into the storage's folder outcomes, or write label: matured into "
            "the policy."
        )
    return split_loans(
        loans.scan(),
        contract,
        plan,
        snapshot=parse_optional_month(cleaning_report["snapshot"], "snapshot"),
        data_fingerprint=data_fingerprint(cleaning_report),
        without_id=cleaning_report.get("without_id", 0),
        label=label,
    )


def read_windows(loan_splits: Mapping[str, Any], cleaning_report: Mapping[str, Any]) -> Splits:
    """Read the record of the windows that the cleaned loans were cut into.

    Raises:
        BadInput: they were cut of the loans of another file, or when outcome files told other things of them.
    """
    from loan_default.risk.data.splits import Splits

    cut, cleaned = loan_splits["data_fingerprint"], data_fingerprint(cleaning_report)
    if cut != cleaned:
        raise BadInput(
            f"The windows (loan_splits) are of another file, or of other outcomes, (fingerprint {cut}) than the loans "
            f"that were cleaned last ({cleaned}: {', '.join(cleaning_report['files'])}); run loan-default clean --data "
            "FILE, which cuts the loans that it cleans, or materialise loan_splits."
        )
    return Splits.from_dict(loan_splits)


def data_fingerprint(cleaning_report: Mapping[str, Any]) -> str:
    """Return the fingerprint of the loan files, and behind it that of what outcome files told of their loans."""
    parts = cleaning_report["fingerprint"], cleaning_report.get("outcomes_fingerprint")  # a record of before lacks it
    return "+".join(part for part in parts if part)


def parse_month(text: str, name: str) -> date:
    """Return the first day of a month that is written YYYY-MM.

    Raises:
        BadInput: it is written in another way; `name` says what it is the month of.
    """
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise BadInput(f"{name} is {text!r}; write a month as YYYY-MM.") from None


def parse_optional_month(text: str | None, name: str) -> date | None:
    """Return the first day of a month that is written YYYY-MM, and None for an empty text.

    Raises:
        BadInput: it is written in another way.
    """
    return parse_month(text, name) if text else None
