"""Decisions found again by their ids, in the journal or the files of the log, and scored again by who decided.

What is kept of one is `prediction_log`'s to say; who may ask, and where the package of a version comes from, is `app`'s
and `operations.decisions`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import polars as pl

from loan_default.adapters.file_listing import File, list_files
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.parquet_table import scan_table
from loan_default.adapters.tracking import TrackingError
from loan_default.risk.contract.field import LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import VALUED
from loan_default.serving.decision_id import decided_at, first_of, text_of
from loan_default.serving.decision_records import DecidingVersion, read_records, table_of
from loan_default.serving.journal import Frames, list_segments
from loan_default.serving.protocol import EXPLAINED
from loan_default.serving.served_model import ServedModel

Verdict = Literal["same", "different", "not scored again"]
Row = Mapping[str, Any]

_WRITTEN_AT = re.compile(r"-(\d{8}T\d{6})-[0-9a-f]{8}")  # when a segment was begun, in the names of the log's files
_ANSWERED = ("pd", "score", "decision", "reasons", "reason_codes")
_VERSION = b"version"  # begins, as a tag, a frame that says who decided


@dataclass(frozen=True)
class Decision:
    """A decision as the log keeps it, and what the version that made it says of the same application now.

    `again` has PD, score, decision, reasons and codes, and of a version that has a value what the loan is worth;
    `verdict` compares each to the bit, `sentence` says what differs or why nothing can be compared.
    """

    row: Row
    verdict: Verdict
    sentence: str
    again: Row | None = None

    @property
    def answer(self) -> Row:
        """Return what the applicant's answer said."""
        return {name: self.row[name] for name in _answered(self.row)}


def recall(
    decision_id: str,
    layout: StorageLayout,
    journal: Path,
    load: Callable[[int], ServedModel],
    staging: Path,
) -> Decision:
    """Find a decision, and have the version that made it score the application again.

    Args:
        decision_id: the id that the answer said.
        layout: of the storage.
        journal: the folder of the server's segments on this machine; it need not exist.
        load: returns a version; raises a `BadInput`, `TrackingError` or `OSError` where its package is gone.
        staging: where files of a bucket are copied to.

    Raises:
        BadInput: it is no id, or there is no such decision.
    """
    row = find_row(decision_id, layout, journal, staging)
    if row is None:
        raise BadInput(f"There is no decision {decision_id} in {layout.prediction_log} nor in the journal here.")
    try:
        model = load(row["model_version"])
    except (BadInput, TrackingError, OSError) as error:
        sentence = f"The package of version {row['model_version']} cannot be had, so nothing is compared: {error}"
        return Decision(row, "not scored again", sentence)
    return compare(row, model)


def compare(row: Row, model: ServedModel) -> Decision:
    """Score a row of the log again by the version that decided, and compare what it says to the bit."""
    scorer, version = model.scorer, row["model_version"]
    for name, fingerprint in {"contract": scorer.contract.fingerprint, "policy": scorer.policy.fingerprint}.items():
        if row[f"{name}_fingerprint"] != fingerprint:
            sentence = f"Version {version} has another {name} here than the version {version} that decided."
            return Decision(row, "not scored again", sentence)
    values = [_value(field, row[field.name]) for field in scorer.contract.features]
    predictions = model.predict(Applications([row["id"]], [values]), with_reasons=row["output"] in EXPLAINED)
    again: dict[str, Any] = dict(zip(_ANSWERED, (column[0] for column in predictions[:5]), strict=True))
    for worth in predictions.values:
        again |= {name: None if math.isnan(value) else value for name, value in worth._asdict().items()}
    differing = [name for name in _answered(row) if again.get(name) != row[name]]
    if differing:
        return Decision(row, "different", f"Version {version} says another {', '.join(differing)} now.", again)
    return Decision(row, "same", f"Version {version} says the same to the bit.", again)


def _answered(row: Row) -> Sequence[str]:
    """Return the columns of the answer: not each version has a value, and files of earlier releases have none."""
    return (*_ANSWERED, *VALUED) if any(row.get(name) is not None for name in VALUED) else _ANSWERED


def _value(field: LoanField, value: Any) -> float:
    """Return a logged value as `Applications` have it."""
    if value is None:
        return math.nan
    return value if field.kind == "number" else float(field.levels.index(value) + 1)


def find_row(decision_id: str, layout: StorageLayout, journal: Path, staging: Path) -> Row | None:
    """Return the row of a decision, None where there is none; first of the journal, whose rows move to the files."""
    first, row = first_of(decision_id)
    name = text_of(first, row)
    for table in chain(_in_journal(journal, first), _in_files(layout, first, staging)):
        rows = table.filter(pl.col("decision_id") == name).collect()
        if rows.height:
            return rows.row(0, named=True)
    return None


def _in_journal(journal: Path, first: int) -> Iterator[pl.LazyFrame]:
    key = first.to_bytes(16)
    for path in list_segments(journal):
        versions: dict[int, DecidingVersion] = {}
        try:
            file = path.open("rb")
        except FileNotFoundError:  # it has become a file
            continue
        with file:
            for payload in Frames(file):
                if key not in payload and _VERSION not in payload[:16]:
                    continue
                for record in read_records(payload):
                    if isinstance(record, DecidingVersion):
                        versions[record.version] = record
                    elif key in record.firsts:
                        yield table_of(versions[record.version], [record]).lazy()


def _in_files(layout: StorageLayout, first: int, staging: Path) -> Iterator[pl.LazyFrame]:
    """Yield the files of the decision's hour, first the one that most likely has it: the others need no copy then."""
    moment = decided_at(first)
    files = list_files(layout.prediction_log_hour(moment))
    for file in sorted(files, key=lambda file: _distance(file, moment)):
        rows = scan_table(file.path, staging, file.generation)
        if "decision_id" in rows.collect_schema():  # files of earlier releases have none
            yield rows


def _distance(file: File, moment: datetime) -> timedelta:
    """Return how far a file's beginning lies before a moment: a segment is begun shortly before its last rows."""
    begun = begun_at(file)
    return timedelta.max if begun is None or begun > moment else moment - begun


def begun_at(file: File) -> datetime | None:
    """Return when the segment of a file was begun, to the second; None where its name does not say."""
    match = _WRITTEN_AT.search(file.name)
    return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if match else None
