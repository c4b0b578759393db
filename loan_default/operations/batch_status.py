"""How batches stand, for `status` and the doctor alike: scored, failed, refused or waiting.

Which runs failed is read by `runs`, why a file is no batch by `adapters.inbox`; scoring and comparing is `batches`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from loan_default.adapters import file_listing, inbox, prediction_history, storage
from loan_default.adapters.layout import BatchRecordName, StorageLayout
from loan_default.operations.batch_figures import BatchArchive, BatchFigures, BatchList, tell_compared
from loan_default.operations.records import distinct
from loan_default.operations.runs import BatchFailure, BatchRuns, Run, read_batch_runs, runs_under_way
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings

SCORED_READ = 10  # the newest
_GONE = "Neither its file nor its predictions are there; deliver the file again, or delete the partition in Dagster."


@dataclass(frozen=True)
class BatchStatus:
    """A batch, and what came of it.

    Attributes:
        batch: its name; of a refused file the file's.
        state: `scored`, `failed` (its newest run did), `refused` (it cannot be a batch), `waiting` (not scored yet) or
            `gone` (Dagster has a partition of it, of which neither file nor predictions are there).
        applications: rows that were scored; None for a batch that is not `scored`.
        rejected: rows that could not be used; None where none was read, of a failed batch by the run that failed.
        model_version: the version that scored it; None for one that is not `scored`, or whose predictions are damaged.
        verdict: of its drift; None where it was not compared since it was scored.
        reasons: of the verdict, the failure or the refusal.
        run_id: of the run that failed, or is under way.
    """

    batch: str
    state: Literal["scored", "failed", "refused", "waiting", "gone"]
    applications: int | None = None
    rejected: int | None = None
    model_version: int | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    run_id: str | None = None


@dataclass(frozen=True)
class Deliveries:
    """The files of the inbox, and each scored batch with whether it was compared since, as `comparisons` says it."""

    files: Sequence[file_listing.File]
    compared: Mapping[str, bool]


def list_deliveries(layout: StorageLayout) -> Deliveries:
    """List what was delivered, scored and compared."""
    with ThreadPoolExecutor(1) as pool:  # a bucket takes its time for each
        listing = pool.submit(comparisons, layout)
        return Deliveries(file_listing.list_files(layout.inbox), listing.result())


def read_batches(
    settings: Settings,
    runs: BatchRuns,
    deliveries: Deliveries,
    figures: BatchList | None = None,
    damages: list[DamagedRecord] | None = None,
) -> tuple[BatchStatus, ...]:
    """Read how batches stand: the newest that were scored, oldest first, then all that failed, were refused or wait.

    Args:
        settings: of the home.
        runs: what Dagster recorded of batches.
        deliveries: what the storage holds of them.
        figures: what was read of them already; records of others are opened.
        damages: to which records are added that cannot be read.

    Raises:
        DamagedRecord: a record cannot be read, and `damages` is not given.
    """
    measured = {each.batch: each for each in figures.batches} if figures else {}
    compared = deliveries.compared
    scan = inbox.scan_inbox(deliveries.files, runs.batches, inbox.ScanState(), most_bytes=0, staging=settings.staging)
    failed = {failure.batch for failure in runs.failures}
    scored = [batch for batch in compared if batch not in failed][-SCORED_READ:]
    waiting = [batch for batch in scan.batch_of.values() if batch not in failed and batch not in compared]
    return (
        *_scored(settings, {batch: compared[batch] for batch in scored}, measured, damages),
        *(_failed(settings, failure, damages) for failure in runs.failures),
        *(BatchStatus(name, "refused", reasons=(reason,)) for name, reason in scan.refused.items()),
        *(BatchStatus(batch, "waiting") for batch in waiting),
    )


def read_unscored(settings: Settings, archive: BatchArchive) -> tuple[BatchList, tuple[BatchStatus, ...]]:
    """Read the batches that were scored, and how those stand that were delivered and not scored, each with the reason.

    Raises:
        BadInput: Dagster's records cannot be read.
    """
    with ThreadPoolExecutor(1) as pool:  # a bucket takes its time for each
        files = pool.submit(file_listing.list_files, settings.layout.inbox)
        figures = archive.read()
    runs, damages = read_batch_runs(settings), list[DamagedRecord]()
    batches = read_batches(settings, runs, Deliveries(files.result(), figures.compared), figures, damages)
    under_way = {run.batch: run for run in runs_under_way(settings)}
    unscored = [batch for batch in batches if batch.state != "scored"]
    delivered = {batch.batch for batch in unscored} | figures.compared.keys()
    unscored += [BatchStatus(batch, "gone", reasons=(_GONE,)) for batch in runs.batches if batch not in delivered]
    figures = replace(figures, damages=distinct([*figures.damages, *damages]))
    return figures, tuple(_with_reason(batch, under_way.get(batch.batch)) for batch in unscored)


def _with_reason(batch: BatchStatus, run: Run | None) -> BatchStatus:
    """Say of a batch that waits what it waits for, with the run that is under way where there is one."""
    if batch.state != "waiting":
        return batch
    if run is None:
        reason = f"The daemon scores it; without it run loan-default score-again {batch.batch}."
        return replace(batch, reasons=(reason,))
    return replace(batch, reasons=(f"It is being scored: {run.status}.",), run_id=run.run_id)


def explain_not_scored(settings: Settings, batch: str) -> str | None:
    """Say why a batch that was delivered has not been scored: a run is under way, or failed, or it waits."""
    for run in runs_under_way(settings):
        if run.batch == batch:
            return f"Batch {batch} is being scored (run {run.run_id[:8]}, {run.status}); look again in a while."
    for each in read_batches(settings, read_batch_runs(settings), list_deliveries(settings.layout), damages=[]):
        if each.batch == batch and each.state == "failed":
            return f"Batch {batch} could not be scored: {' '.join(each.reasons)}"
        if each.batch == batch and each.state == "waiting":
            return f"Batch {batch} waits to be scored: by the daemon, or by loan-default score-again {batch}."
    return None


def comparisons(layout: StorageLayout) -> dict[str, bool]:
    """List what was scored and compared, as `tell_compared` tells it."""
    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(file_listing.list_names, layout.drift_reports)
        predictions = file_listing.list_names(layout.predictions)
        reports = listing.result()
    return tell_compared(predictions, reports)


def _scored(
    settings: Settings,
    compared: Mapping[str, bool],
    measured: Mapping[str, BatchFigures],
    damages: list[DamagedRecord] | None,
) -> Iterator[BatchStatus]:
    """Yield how scored batches stand, of which it is said whether they were compared since."""
    layout = settings.layout
    unknown = [batch for batch in compared if batch not in measured]

    def read(name: BatchRecordName) -> dict[str, Any]:
        records = storage.read_records([layout.batch_record(name, batch) for batch in unknown], name, damages)
        return dict(zip(unknown, records, strict=True))

    with ThreadPoolExecutor(2) as pool:  # a bucket takes its time for each
        counts, reports = pool.map(read, ("application_report", "drift_report"))
    for batch, is_compared in compared.items():
        if batch in measured:
            yield _known_batch(measured[batch], is_compared)
        else:
            yield _scored_batch(settings, batch, counts[batch] or {}, reports[batch] if is_compared else None, damages)


def _known_batch(figures: BatchFigures, is_compared: bool) -> BatchStatus:
    return BatchStatus(
        figures.batch,
        "scored",
        applications=figures.rows,
        rejected=figures.rejected,
        model_version=figures.model_version,
        verdict=figures.verdict if is_compared else None,
        reasons=tuple(figures.reasons) if is_compared else (),
    )


def _scored_batch(
    settings: Settings,
    batch: str,
    counts: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    damages: list[DamagedRecord] | None,
) -> BatchStatus:
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    report = with_current_verdict(report) if report else {}
    version = report.get("model_version") or _version_of(settings, batch, damages)
    return BatchStatus(
        batch,
        "scored",
        applications=counts.get("kept"),
        rejected=counts.get("rejected"),
        model_version=version,
        verdict=report.get("verdict"),
        reasons=tuple(report.get("reasons", ())),
    )


def _version_of(settings: Settings, batch: str, damages: list[DamagedRecord] | None) -> int | None:
    """Read by which version a batch was scored; None where its predictions cannot be read, as `damages` says then."""
    try:
        return prediction_history.origin_of(settings.layout.batch_table("predictions", batch), settings.staging)[0]
    except DamagedRecord as error:
        if damages is None:
            raise
        damages.append(error)
        return None


def _failed(settings: Settings, failure: BatchFailure, damages: list[DamagedRecord] | None) -> BatchStatus:
    report = file_listing.find_file(settings.layout.batch_record("application_report", failure.batch))
    rejected = None
    if report and report.changed_at >= failure.requested_at:  # else it is of an earlier file
        counts = storage.read_json(report.path, "application_report", damages)
        rejected = counts and counts["rejected"]
    return BatchStatus(failure.batch, "failed", rejected=rejected, reasons=(failure.reason,), run_id=failure.run_id)
