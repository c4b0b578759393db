"""How good each version proved to be: outcome files taken in, what was predicted held against them.

The measures are `risk.monitoring.performance`'s; the sensor that asks for them each day is `defs.sensors`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loan_default.adapters.file_listing import list_files, list_folders
from loan_default.operations.batches import copy_in
from loan_default.operations.book import read_contract
from loan_default.operations.records import Record, read_record
from loan_default.operations.runs import run_job
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


@dataclass(frozen=True)
class PerformanceResult:
    """The report of `performance_report`, and how many lines of outcome files could not be used."""

    report: Record
    rejected: int


def measure(settings: Settings, files: Sequence[Path] = ()) -> PerformanceResult:
    """Take outcome files in, and measure every version that predicted.

    Raises:
        BadInput: a file cannot be read, and none is taken in; or nothing was predicted yet and no file is named.
        JobFailed: a step failed.
    """
    from loan_default.risk.data.outcomes import check_outcome_file

    if not files and not _has_predictions(settings):
        raise BadInput("Nothing has been scored yet that could be measured; run loan-default score FILE first.")
    contract = read_contract(settings)
    for file in files:
        check_outcome_file(file, contract)
    for file in files:
        copy_in(settings, file, settings.layout.outcomes)
    run_job(settings, "performance_job")
    rejected = read_record(settings, "outcomes_report")["rejected"]
    return PerformanceResult(read_record(settings, "performance_report"), rejected)


def _has_predictions(settings: Settings) -> bool:
    return bool(list_files(settings.layout.prediction_history) or list_folders(settings.layout.prediction_log))
