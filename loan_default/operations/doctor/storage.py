"""Checks that the storage can be written, listed and read, and that there is room for the next runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir

from loan_default.adapters import file_listing, probes
from loan_default.adapters.gcs import BucketError
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.storage import is_remote
from loan_default.operations.doctor.check import (
    ASK_SECONDS,
    GIGABYTE,
    CheckContext,
    Diagnosis,
    diagnosis_of,
    size_of,
)
from loan_default.risk.text import plural
from loan_default.settings import Settings

# Besides loans: a training keeps 10 MB and a batch 7 MB, mostly Evidently's page; this is months of both.
_LEAST_FREE, _LEAST_FREE_TEMPORARY = GIGABYTE, GIGABYTE // 2  # packages pass through the temporary folder
_LEAST_FILES = 10_000  # a run makes tens


def check_storage(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that the storage can be written, listed and read; count what dead runs have left behind."""
    settings = context.settings
    root = settings.storage
    if not is_remote(root) and not Path(root).exists():
        yield _absent(settings)
    else:
        try:
            probe = probes.probe_storage(root, patience=ASK_SECONDS)
        except BucketError as error:
            yield diagnosis_of("storage", error, "Correct LOAN_DEFAULT_STORAGE.")
        except OSError as error:
            remedy = "See that it is a folder that this user may write to, or correct LOAN_DEFAULT_STORAGE."
            yield Diagnosis("storage", "wrong", f"{root} cannot be used: {error.strerror or error}.", remedy)
        else:
            context.storage_works = True
            context.clocks.append(("the storage", probe.changed_at, probe.written_at))
            yield judge_probe(root, probe)
            context.timestamps += _newest_files(settings.layout)
    leftovers = probes.count_leftovers(settings.book_storage, settings.staging, settings.models, datetime.now(UTC))
    if leftovers.files:
        files, size = plural(leftovers.files, "half-written file"), size_of(leftovers.size)
        message = f"{files} ({size}) of runs that died, older than a day."
        remedy = "Nothing: a run that starts sweeps away what is older than a week."
        yield Diagnosis("leftovers", "note", message, remedy)
    else:
        yield Diagnosis("leftovers", "ok", "No run that died left files behind.")


def _absent(settings: Settings) -> Diagnosis:
    if settings.storage == Settings(settings.home).storage:
        return Diagnosis("storage", "note", f"{settings.storage} does not exist yet.", "The first run makes it.")
    remedy = "Mount or make it, or correct LOAN_DEFAULT_STORAGE; a run would make an empty one."
    return Diagnosis("storage", "wrong", f"{settings.storage} does not exist.", remedy)


def judge_probe(root: str, probe: probes.Probe) -> Diagnosis:
    """Judge that a probe was listed, read back as it was, and gone again."""
    failed = [
        what
        for good, what in (
            (probe.listed, "does not list what was just written"),
            (probe.same, "does not give back what was written"),
            (probe.removed, "does not remove files"),
        )
        if not good
    ]
    if failed:
        remedy = "Use a file system or bucket that shows at once what was written."
        return Diagnosis("storage", "wrong", f"{root} {' and '.join(failed)}.", remedy)
    return Diagnosis("storage", "ok", f"{root} was listed, written to and read back in {probe.seconds:.2f} s.")


def _newest_files(layout: StorageLayout) -> Iterator[tuple[str, datetime]]:
    for folder in (layout.decisions, layout.predictions, layout.drift_reports):
        if files := file_listing.list_files(folder):
            yield f"{folder.name}/{files[-1].name}", files[-1].changed_at


def check_disk(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that there is room for the next runs: cleaned loans may be as large as the loan file."""
    settings = context.settings
    loans = 0
    with suppress(BucketError):  # said of the loan data
        loans = sum(file.size for file in file_listing.match_files(settings.data, patience=ASK_SECONDS))
    copies = 2 if is_remote(settings.data) else 1  # a remote file is copied here before it is cleaned
    yield judge_space("home", settings.home, probes.free_space(settings.home), _LEAST_FREE + copies * loans)
    folder = Path(settings.storage)
    if not is_remote(settings.storage) and folder.exists():
        yield judge_space("storage", folder, probes.free_space(folder), _LEAST_FREE + loans)
    temporary = Path(gettempdir())
    yield judge_space("temporary folder", temporary, probes.free_space(temporary), _LEAST_FREE_TEMPORARY)


def judge_space(what: str, folder: Path, space: probes.FreeSpace, least: int) -> Diagnosis:
    """Judge that enough bytes and enough files are free."""
    name, free = f"disk: {what}", f"{size_of(space.free)} are free in {folder}"
    if space.free < least:
        remedy = f"Free or add space until {size_of(least)} are free: the next runs need it."
        return Diagnosis(name, "wrong", f"{free}.", remedy)
    if space.files is not None and space.files < _LEAST_FILES:
        remedy = "Remove small files, such as old runs of Dagster, or use a file system with more inodes."
        return Diagnosis(name, "wrong", f"{folder} has room for {space.files:,} more files only (inodes).", remedy)
    return Diagnosis(name, "ok", f"{free}, {size_of(least)} are needed.")
