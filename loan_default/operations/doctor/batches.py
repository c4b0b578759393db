"""Checks that no batch failed or was refused, and names rows that could not be scored, as `batch_status` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loan_default.adapters.layout import StorageLayout
from loan_default.operations.batch_status import BatchStatus, list_deliveries, read_batches
from loan_default.operations.doctor.check import CheckContext, Diagnosis, diagnosis_of
from loan_default.operations.records import distinct
from loan_default.operations.runs import BatchRuns, read_batch_runs
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.text import plural


def check_batches(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that no batch failed or was refused; nothing is said where the storage cannot be used."""
    if context.storage_works:
        runs = read_batch_runs(context.settings) if context.records_open else BatchRuns((), ())
        layout = context.settings.layout
        damages: list[DamagedRecord] = []
        yield from judge_batches(read_batches(context.settings, runs, list_deliveries(layout), damages=damages), layout)
        for damage in distinct(damages):
            yield diagnosis_of("batches", str(damage), "Restore it from a backup.")


def judge_batches(batches: Sequence[BatchStatus], layout: StorageLayout) -> Iterator[Diagnosis]:
    """Name each batch that failed or was refused, with the reason, and each of which rows could not be scored."""
    for batch in batches:
        if batch.state == "failed":
            run = f" in run {batch.run_id[:8]}" if batch.run_id else ""
            remedy = f"Mend what it names, then run loan-default score-again {batch.batch} --force."
            yield diagnosis_of("batches", batch.reasons[0], remedy, f"Batch {batch.batch} failed{run}: ")
        elif batch.state == "refused":
            yield diagnosis_of("batches", batch.reasons[0], "Rename the file, or take it out of the inbox.")
        if batch.rejected:
            message = f"{plural(batch.rejected, 'row')} of batch {batch.batch} could not be scored."
            rejected = layout.batch_table("rejected_applications", batch.batch)
            yield Diagnosis("batches", "note", message, f"{rejected} says why.")
    if not any(batch.state in ("failed", "refused") for batch in batches):
        yield Diagnosis("batches", "ok", "None is known to have failed, none was refused.")
