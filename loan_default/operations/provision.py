"""Has the open loans of the book provided for, by the version in production.

What is computed is `risk.value.provision`'s. Tested in `steps/test_provision.py`.
"""

from __future__ import annotations

from loan_default.operations.records import Record, read_record
from loan_default.operations.runs import run_job
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


def provide(settings: Settings) -> Record:
    """Compute what open loans are expected to lose, and return the record of it.

    Raises:
        BadInput: no loans were cleaned, no version is in production, or the book has no provisions.
        JobFailed: the step failed.
    """
    if read_record(settings, "cleaning_report") is None:
        raise BadInput("No loans were cleaned yet; run loan-default clean --data FILE first.")
    run_job(settings, "provision_job")
    record: Record = read_record(settings, "provision_report")
    if "problem" in record:
        raise BadInput(record["problem"])
    return record
