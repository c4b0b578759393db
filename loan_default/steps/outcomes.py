"""Step of group `outcomes`: read the files that tell how loans stand and ended.

Reading a file is `risk.data.outcomes`'; what cleaned loans take of it, `risk.data.loan_status`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from loan_default.adapters.file_listing import list_files, local_copy
from loan_default.adapters.storage import store, write_json
from loan_default.risk.contract.book import Contract
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from loan_default.risk.data.outcomes import OutcomesReport


@dataclass(frozen=True)
class OutcomeFiles:
    """Outcome files that were read and stored: how many, their `loan_files.fingerprint`, and what was found in them."""

    files: int
    fingerprint: str
    report: OutcomesReport


def read_outcome_files(contract: Contract, workspace: Workspace, *, today: date) -> OutcomeFiles:
    """Read every outcome file, and store how each loan stands, the rejected lines and a report.

    A file that cannot be read holds up no other; the report says why.
    """
    from loan_default.risk.data.loan_files import fingerprint
    from loan_default.risk.data.outcomes import read_outcomes

    layout = workspace.layout
    files = sorted(list_files(layout.outcomes), key=lambda file: file.name)
    with workspace.scratch("outcomes.parquet", "rejected.parquet") as (outcomes, rejected):
        paths = [local_copy(workspace.staging, file) for file in files]
        report = read_outcomes(paths, contract, outcomes=outcomes, rejected=rejected, today=today)
        store(outcomes, layout.table("loan_outcomes"))
        store(rejected, layout.table("rejected_outcomes"))
        write_json(layout.record("outcomes_report"), report.to_dict())
        content = fingerprint(paths)
    return OutcomeFiles(len(files), content, report)
