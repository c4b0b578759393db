"""Batches of applications: delivered to the inbox, scored, scored again, compared with the training population.

What a batch file may hold is `risk.data.cleaning`'s, what its sensor does by itself `defs.sensors`'s.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from loan_default.adapters import file_listing, inbox, storage
from loan_default.adapters.layout import BATCH_SUFFIXES, batch_name
from loan_default.adapters.parquet_table import scan_table
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs.run_tags import AGAIN_TAG, REASON_TAG
from loan_default.operations.batch_status import comparisons
from loan_default.operations.book import read_contract, read_policy
from loan_default.operations.promotion import open_models
from loan_default.operations.records import Record, read_batch_record
from loan_default.operations.runs import JobFailed, run_job
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

if TYPE_CHECKING:
    from upath import UPath

    from loan_default.adapters.file_listing import File

_SCORING = "scoring"  # the asset group


@dataclass(frozen=True)
class DecisionCount:
    """The applications of a batch that were decided alike, and their mean probability of default."""

    decision: str
    applications: int
    mean_pd: float


@dataclass(frozen=True)
class ScoredBatch:
    """A batch as it was scored.

    Attributes:
        batch: its name.
        model_version: the version that scored it.
        applications: rows that were scored.
        rejected: rows that could not be.
        decisions: the applications by decision, safest first.
        parquet: where the predictions lie.
        csv: the same as CSV.
        rejections: where the rejected rows lie, with their reasons.
        drift: the report on its drift; None where that was not asked for.
    """

    batch: str
    model_version: int
    applications: int
    rejected: int
    decisions: tuple[DecisionCount, ...]
    parquet: str
    csv: str
    rejections: str
    drift: Record | None


@dataclass(frozen=True)
class Selection:
    """The batches to score again: some by name, or a range of names, or all of the inbox."""

    batches: Sequence[str] = ()
    first: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        if self.last and not self.first:
            raise BadInput(f"--to {self.last} needs a --from; give both, or name the batches.")
        if self.last and self.last < self.first:
            raise BadInput(f"{self.last} comes before {self.first}; exchange --from and --to.")


@dataclass(frozen=True)
class RescoringPlan:
    """The batches to score again, in the order of names, and those that production's version scored already."""

    batches: tuple[str, ...]
    done: tuple[str, ...]
    model_version: int
    resumable: bool  # the same request goes on where it was interrupted


@dataclass(frozen=True)
class Rescoring:
    """The result of a plan: the drift reports of what was scored, and why the others failed, by batch.

    `tag` is the value of `AGAIN_TAG` that all of its runs have.
    """

    tag: str
    drift: tuple[Record, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)

    def require_success(self) -> None:
        """Raise `JobFailed`, which names each batch that failed and why, where one did."""
        if self.failures:
            reasons = " ".join(f"{batch}: {reason}" for batch, reason in self.failures.items())
            total = len(self.drift) + len(self.failures)
            raise JobFailed(f"{len(self.failures)} of {total} batches failed. {reasons}")


def score(settings: Settings, file: Path, *, compare: bool = True, accept_missing: Sequence[str] = ()) -> ScoredBatch:
    """Put a batch file into the inbox, score it, and compare it with the training population if asked to.

    Args:
        settings: of the home.
        file: of the applications.
        compare: whether its drift is measured.
        accept_missing: fields of which the batch may have no value though the training population had them.

    Raises:
        BadInput: the file cannot be scored; what the inbox held of its name stays.
        JobFailed: a step failed, such as for want of a version in production.
    """
    read_policy(settings)  # before the inbox holds the file
    batch = deliver(settings, file)
    config = _scoring_config(accept_missing)
    run_job(settings, "batch_prediction_job", config=config, batch=batch, group=None if compare else _SCORING)
    return read_batch(settings, batch, with_drift=compare)


def _scoring_config(accept_missing: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    return {"predictions": {"accept_missing": [*accept_missing]}} if accept_missing else {}


def deliver(settings: Settings, file: Path) -> str:
    """Copy a batch file into the inbox under its own name; return the batch's name.

    Raises:
        BadInput: the file cannot be scored; what the inbox held of its name stays.
    """
    from loan_default.risk.data.cleaning import clean_application_file

    if not file.is_file():
        what = "a folder" if file.is_dir() else "not a file"
        raise BadInput(f"{file} is {what}; give the path of a CSV, CSV.GZ or Parquet file of applications.")
    batch = batch_name(file.name)
    with TemporaryDirectory(dir=settings.staging) as scratch:
        cleaned, rejected = Path(scratch, "cleaned.parquet"), Path(scratch, "rejected.parquet")
        clean_application_file(file, read_contract(settings), cleaned=cleaned, rejected=rejected)
    target = copy_in(settings, file, settings.layout.inbox)
    for other in settings.layout.batch_files(batch):  # the same batch in another form would shadow this one
        if other != target:
            storage.remove(other)
    return batch


def copy_in(settings: Settings, file: Path, folder: UPath) -> UPath:
    """Copy a file, complete or not at all, into a folder of the storage, under its own name."""
    target = folder / file.name
    copy = settings.staging / f"delivery-{file.name}"
    shutil.copyfile(file, copy)
    storage.store(copy, target)
    return target


def read_batch(settings: Settings, batch: str, *, with_drift: bool = True) -> ScoredBatch:
    """Read how a scored batch was decided."""
    import polars as pl

    parquet = settings.layout.batch_table("predictions", batch)
    predictions = scan_table(parquet, settings.staging, columns=("decision", "pd", "model_version"))
    decisions = predictions.group_by("decision").agg(pl.len(), pl.col("pd").mean()).sort("pd").collect().rows()
    report = read_batch_record(settings, "application_report", batch)
    return ScoredBatch(
        batch=batch,
        model_version=predictions.select("model_version").head(1).collect().item(),
        applications=sum(count for _, count, _ in decisions),
        rejected=report["rejected"],
        decisions=tuple(DecisionCount(*decision) for decision in decisions),
        parquet=str(parquet),
        csv=str(settings.layout.predictions_csv(batch)),
        rejections=str(settings.layout.batch_table("rejected_applications", batch)),
        drift=read_batch_record(settings, "drift_report", batch) if with_drift else None,
    )


def compare(settings: Settings, batch: str) -> Record:
    """Compare a scored batch with the training population of its version again; return the drift report.

    Raises:
        BadInput: the batch is not scored yet.
        JobFailed: a step failed.
    """
    if not storage.exists(settings.layout.batch_table("predictions", batch)):
        raise BadInput(f"Batch {batch} is not scored yet; run loan-default score FILE first.")
    run_job(settings, "monitoring_job", batch=batch)
    report: Record = read_batch_record(settings, "drift_report", batch)
    return report


def drift_page(settings: Settings, batch: str) -> str:
    """Return the address at which `loan-default web` draws Evidently's report on a batch."""
    return settings.web_pages.evidently(batch)


def plan_rescoring(settings: Settings, selection: Selection, *, force: bool = False) -> RescoringPlan:
    """Choose the batches to score again; what production's version scored already is left out unless forced.

    Raises:
        BadInput: a batch is not in the inbox, or no version is in production.
    """
    chosen = _select(inbox_batches(settings), selection)
    version = open_models(settings).tracking.version_of(PRODUCTION)
    if version is None:
        raise BadInput("No version is in production; run loan-default run first.")
    done = () if force else tuple(_scored_by(settings, chosen, version.version))
    return RescoringPlan(tuple(name for name in chosen if name not in done), done, version.version, not force)


def score_again(
    settings: Settings,
    plan: RescoringPlan,
    on_batch: Callable[[str, int], None] = lambda batch, number: None,
    *,
    accept_missing: Sequence[str] = (),
) -> Rescoring:
    """Score the batches of a plan, one run each; one that fails stops no other.

    Args:
        settings: of the home.
        plan: what `plan_rescoring` returned.
        on_batch: called with each batch, and its number from 1, before it is scored.
        accept_missing: as for `score`, for every batch.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says at which batch, and how to go on.
    """
    tag, failures = datetime.now(UTC).isoformat(timespec="seconds"), {}
    tags = {AGAIN_TAG: tag, REASON_TAG: f"scored again by {getpass.getuser()}, by hand"}
    config = _scoring_config(accept_missing)
    for number, batch in enumerate(plan.batches, 1):
        on_batch(batch, number)
        try:
            run_job(settings, "batch_prediction_job", config=config, batch=batch, tags=tags)
        except JobFailed as error:
            failures[batch] = str(error)
        except KeyboardInterrupt:
            rest = f"left are {', '.join(plan.batches[number - 1 :])}"
            advice = "the same command goes on there" if plan.resumable else rest
            raise KeyboardInterrupt(
                f"Interrupted at batch {batch}, {number} of {len(plan.batches)}; {advice}."
            ) from None
    scored = [batch for batch in plan.batches if batch not in failures]
    return Rescoring(tag, tuple(read_batch_record(settings, "drift_report", batch) for batch in scored), failures)


def inbox_batches(settings: Settings) -> dict[str, File]:
    """List the batches of the inbox in the order of their names, each with the file that is scored."""
    files = file_listing.list_files(settings.layout.inbox)
    batches: dict[str, File] = {}
    for suffix in reversed(BATCH_SUFFIXES):  # of several forms the first is scored
        for file in files:
            if file.name.endswith(suffix):
                with suppress(BadInput):  # no batch; the sensor says so
                    batches[batch_name(file.name)] = file
    return dict(sorted(batches.items()))


def _select(files: Mapping[str, File], selection: Selection) -> dict[str, File]:
    """Return the batches that are selected, in the order of their names.

    Raises:
        BadInput: one that is named is not in the inbox.
    """
    names = {*selection.batches, selection.first, selection.last} - {""}
    if unknown := sorted(names - files.keys()):
        raise BadInput(f"The inbox holds no batch {', '.join(unknown)}; correct the name, or put its file there.")
    if selection.batches:
        return {name: file for name, file in files.items() if name in names}
    first, last = selection.first, selection.last
    return {name: file for name, file in files.items() if name >= first and (not last or name <= last)}


def _scored_by(settings: Settings, files: Mapping[str, File], version: int) -> list[str]:
    """Return the batches whose files this version scored as they are now, and that were compared since."""
    from loan_default.adapters import prediction_history

    compared = comparisons(settings.layout)
    done = []
    for batch, file in files.items():
        if compared.get(batch):
            predictions = settings.layout.batch_table("predictions", batch)
            origin = version, inbox.read_fingerprint(settings.staging, file)
            if prediction_history.origin_of(predictions, settings.staging) == origin:
                done.append(batch)
    return done
