"""Batches as figures: how each was decided, how far its population has moved, and what could not be scored.

A list of many is read from their records alone, each once for each state of its file; how a batch stands that failed
or waits is `batch_status`'s, scoring and comparing `batches`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loan_default.adapters.file_listing import ListedFile, list_names
from loan_default.adapters.layout import BatchRecordName, StorageLayout, batch_name, is_verdict
from loan_default.adapters.record_cache import CachedRecord, RecordCache
from loan_default.risk.errors import BadInput, DamagedRecord

SCORE = "score"  # the kind of the line that stands for the score among the fields of a drift report
_TABLE = ".parquet"


class NotScored(BadInput):
    """A batch that has not been scored."""


@dataclass(frozen=True)
class BatchFigures:
    """A batch that was scored.

    Attributes:
        batch: its name.
        first_month: of its applications (YYYY-MM), and the last; None in a book without a date.
        rows: applications that were scored.
        rejected: rows that could not be.
        problems: of these by kind, the most frequent first.
        model_version: the version that scored it.
        scored_at: ISO 8601 in UTC.
        decisions: share of the applications by decision.
        mean_pd: of all applications.
        verdict: on its drift; None where it was not compared since it was scored.
        score_psi: the widest of the score, less what chance makes of it; None where there are too few rows.
        drifted_share: of the fields compared.
        psi: the widest of its figures by field, the score's by the name of its column.
        drifted: names of the fields that drifted.
        reasons: of the verdict.
    """

    batch: str
    first_month: str | None
    last_month: str | None
    rows: int
    rejected: int
    problems: Mapping[str, int]
    model_version: int
    scored_at: str
    decisions: Mapping[str, float]
    mean_pd: float
    verdict: str | None
    score_psi: float | None
    drifted_share: float | None
    psi: Mapping[str, float | None]
    drifted: Sequence[str]
    reasons: Sequence[str]

    @property
    def rejected_share(self) -> float:
        """Divide the rejected rows by all."""
        return self.rejected / max(self.rows + self.rejected, 1)


@dataclass(frozen=True)
class BatchList:
    """The batches that were scored, oldest first, and how many of an earlier release left no record of their scoring.

    `read_at` is when the folders were listed, `damages` are the records that cannot be read, and of the batches
    `without_predictions` somebody has taken the table away. `compared` is what `tell_compared` says of them.
    """

    batches: tuple[BatchFigures, ...]
    without_record: int
    read_at: datetime
    damages: tuple[DamagedRecord, ...] = ()
    without_predictions: frozenset[str] = frozenset()
    compared: Mapping[str, bool] = field(default_factory=dict)

    def find(self, batch: str) -> BatchFigures:
        """Return a batch by its name.

        Raises:
            NotScored: there is none of that name.
            BadInput: its predictions are gone, or its record cannot be read.
        """
        for figures in self.batches:
            if figures.batch == batch:
                return figures
        if batch in self.without_predictions:
            raise predictions_gone(batch)
        for damage in self.damages:
            if damage.name == batch:
                raise damage
        raise NotScored(f"No batch {batch} has been scored; run loan-default score FILE first.")


def predictions_gone(batch: str) -> BadInput:
    """Return the error that the predictions of a batch, which was scored, are no longer there."""
    return BadInput(f"The predictions of batch {batch} are no longer there; run loan-default score-again {batch}.")


class BatchArchive:
    """The records of all batches of an installation, which stay in memory as long as this object."""

    def __init__(self, layout: StorageLayout) -> None:
        self._layout = layout
        self._predictions = self._cache("prediction_report", _prediction_figures)
        self._drift = self._cache("drift_report", _drift_figures)

    def _cache(
        self, asset: BatchRecordName, reduce: Callable[[Any], Mapping[str, Any]]
    ) -> RecordCache[Mapping[str, Any]]:
        layout = self._layout
        return RecordCache(layout.batches(asset), reduce, is_verdict, layout.record_index(asset), asset)

    def read(self) -> BatchList:
        """Read every batch; only what was written since the last time is opened."""
        read_at = datetime.now(UTC)
        damages, drift_damages = (list[DamagedRecord]() for _ in range(2))
        with ThreadPoolExecutor(3) as pool:  # a bucket takes its time for each
            reads = pool.submit(self._predictions.read, damages), pool.submit(self._drift.read, drift_damages)
            names = pool.submit(list_names, self._layout.predictions).result()
            predictions, drift = (read.result() for read in reads)
        tables = {name.removesuffix(_TABLE) for name in names if name.endswith(_TABLE)}
        batches = [
            BatchFigures(batch, **predictions[batch].content, **_compared(drift.get(batch), predictions[batch]))
            for batch in tables & predictions.keys()
        ]
        batches.sort(key=lambda figures: (figures.last_month or "", figures.batch))
        without_record = tables - predictions.keys() - {damage.name for damage in damages}
        gone = frozenset(predictions.keys() - tables)
        compared = tell_compared(names, {f"{batch}.json": record.file for batch, record in drift.items()})
        return BatchList(tuple(batches), len(without_record), read_at, (*damages, *drift_damages), gone, compared)


def tell_compared(predictions: Mapping[str, ListedFile], reports: Mapping[str, ListedFile]) -> dict[str, bool]:
    """Tell of each scored batch, the one that was scored last at the end, whether it was compared since.

    Files in the folder of the predictions that bear no batch's name are nobody's.
    """
    compared = {}
    for name, file in sorted(predictions.items(), key=lambda item: (item[1].changed_at, item[0])):
        if name.endswith(_TABLE):  # and not the same as CSV
            with suppress(BadInput):
                batch, report = batch_name(name), reports.get(f"{name.removesuffix(_TABLE)}.json")
                compared[batch] = report is not None and file.changed_at <= report.changed_at
    return compared


def _prediction_figures(record: Mapping[str, Any]) -> Mapping[str, Any]:
    counts = record["decisions"]
    rows = sum(count["applications"] for count in counts)
    return {
        "rows": rows,
        **{name: record[name] for name in ("first_month", "last_month", "rejected", "problems")},
        "model_version": record["model_version"],
        "scored_at": record["scored_at"],
        "decisions": {count["decision"]: count["applications"] / max(rows, 1) for count in counts},
        "mean_pd": sum(count["applications"] * count["mean_pd"] for count in counts) / max(rows, 1),
    }


def _drift_figures(record: Mapping[str, Any]) -> Mapping[str, Any]:
    from loan_default.risk.monitoring.drift import widest_figure
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    record = with_current_verdict(record)
    few = record["score_psi"] is None
    return {
        "verdict": record["verdict"],
        "score_psi": record["score_psi"],
        "drifted_share": None if few else record["share"],
        "psi": {line["feature"]: widest_figure(line) for line in record["features"]},
        "drifted": record["drifted_features"],
        "reasons": record["reasons"],
    }


_NOT_COMPARED: Mapping[str, Any] = {
    "verdict": None,
    "score_psi": None,
    "drifted_share": None,
    "psi": {},
    "drifted": (),
    "reasons": (),
}


def _compared(
    drift: CachedRecord[Mapping[str, Any]] | None, predictions: CachedRecord[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return the figures of a comparison, unless the batch was scored after it."""
    if drift is None or drift.file.changed_at < predictions.file.changed_at:
        return _NOT_COMPARED
    return drift.content
