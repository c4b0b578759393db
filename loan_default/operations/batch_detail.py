"""One batch that was scored: how far each field has moved, its distribution, and the rows that could not be used.

All of it is recorded when the batch is read and compared; lists of many batches are `batch_figures`'s.

Tested in `web/pages/test_batches.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loan_default.adapters import file_listing, storage
from loan_default.adapters.parquet_table import scan_table
from loan_default.operations.batch_figures import BatchFigures, predictions_gone
from loan_default.operations.records import read_batch_record
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings

_REJECTED_AT_MOST = 10_000  # that are read for a page


@dataclass(frozen=True)
class BinShares:
    """The shares of both sides with a value of a bin; `label` says which."""

    label: str
    reference: float
    batch: float


@dataclass(frozen=True)
class FieldDrift:
    """A column of a drift report: its widest PSI, means or most frequent levels, what is missing, and its bins.

    `bins` are empty where the batch was compared by an earlier release.
    """

    name: str
    psi: float | None
    drifted: bool
    mean_reference: float | None
    mean_batch: float | None
    top_reference: str | None
    top_batch: str | None
    missing_reference: float
    missing_batch: float
    bins: tuple[BinShares, ...]


@dataclass(frozen=True)
class BatchDetail:
    """The fields of a batch, those that moved most first; none where it was not compared since it was scored.

    `limits` are those by which it was judged; None of a verdict of earlier releases, which recorded none.
    """

    fields: tuple[FieldDrift, ...]
    limits: Mapping[str, Any] | None


@dataclass(frozen=True)
class RejectedRow:
    """A row that could not be used: its number from 1, the field, the kind of problem, and the reason with the value.

    `row` is None for a repeated number of a loan.
    """

    row: int | None
    field: str
    problem: str
    reason: str


def read_batch_detail(settings: Settings, figures: BatchFigures, damages: list[DamagedRecord]) -> BatchDetail:
    """Read what the comparison of a batch left; add to `damages` what cannot be read."""
    batch = figures.batch
    report = read_batch_record(settings, "drift_report", batch, damages) if figures.verdict else None
    if report is None:
        return BatchDetail((), limits=None)
    distributions = read_batch_record(settings, "field_distributions", batch, damages)
    distributions = distributions or {"model_version": None, "fields": []}
    same = distributions["model_version"] == report["model_version"]
    bins = {field["name"]: field["bins"] for field in distributions["fields"]} if same else {}
    fields = [_field_drift(line, bins.get(line["feature"], ())) for line in report["features"]]
    fields.sort(key=lambda field: (not field.drifted, -(field.psi or 0.0)))
    return BatchDetail(tuple(fields), limits=report.get("limits"))


def _field_drift(line: Mapping[str, Any], bins: Any) -> FieldDrift:
    from loan_default.risk.monitoring.drift import widest_figure

    names = ("mean_reference", "mean_batch", "top_reference", "top_batch", "missing_reference", "missing_batch")
    return FieldDrift(
        name=line["feature"],
        psi=widest_figure(line),
        drifted=line["drifted"],
        bins=tuple(BinShares(_bin_label(bin_), bin_["reference"], bin_["batch"]) for bin_ in bins),
        **{name: line[name] for name in names},
    )


def _bin_label(bin_: Mapping[str, Any]) -> str:
    """Say what a bin holds by its lower end, as an axis does: `40,000`; open ends as `< 20,000`, levels by name."""
    low, high = bin_["low"], bin_["high"]
    if bin_["level"] is not None:
        return str(bin_["level"])
    return f"< {_short(high)}" if low is None else f"≥ {_short(low)}" if high is None else _short(low)


def _short(value: float) -> str:
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{value / size:,.4g}{letter}"
    return f"{value:z,.4g}"


def predictions_file(settings: Settings, batch: str) -> Path:
    """Return the predictions of a batch as a CSV file on this machine, fetched from a bucket where they lie in one.

    Raises:
        BadInput: somebody has taken it away.
    """
    try:
        file = storage.fetch(settings.layout.predictions_csv(batch), settings.staging)
    except FileNotFoundError:
        file = None
    if file is None or not file.exists():
        raise predictions_gone(batch)
    return file


def read_rejected_rows(settings: Settings, batch: str) -> list[RejectedRow]:
    """Read the rows of a batch that could not be used, at most 10,000 of them."""
    file = file_listing.find_file(settings.layout.batch_table("rejected_applications", batch))
    if file is None:
        return []
    rows = scan_table(file.path, settings.staging, file.generation)
    names = ("row", "field", "problem", "reason")
    return [RejectedRow(*row) for row in rows.select(names).head(_REJECTED_AT_MOST).collect().rows()]
