"""Every prediction, for good: each batch as each version scored it, and each day of the prediction log.

A batch that is scored again by another version replaces its predictions, and nothing here: the answer that an applicant
got is compared with how the loan ended, years later. Scoring is `risk`'s; measuring is `risk.monitoring.performance`'s.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Container, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.file_listing import File, list_files, list_folders
from loan_default.adapters.layout import LATE, StorageLayout
from loan_default.adapters.parquet_table import scan_table
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import LOAN_ID, TERM

if TYPE_CHECKING:  # a sensor asks for the origin of predictions only where there are any
    import polars as pl

_OPEN_DAYS = timedelta(days=2)  # a worker may still write rows of yesterday


def add(predictions: Path, layout: StorageLayout, batch: str, version: int, staging: Path) -> None:
    """Add a version's predictions for a batch; they replace what the same version predicted before."""
    target = layout.predictions_by_version(batch, version)
    copy = staging / f"history-{target.name}"
    shutil.copyfile(predictions, copy)
    storage.store(copy, target)


def origin_of(predictions: UPath, staging: Path) -> tuple[int, str]:
    """Return the version that made a batch's predictions, and the fingerprint of the file that it read.

    Raises:
        DamagedRecord: the predictions cannot be read.
    """
    columns = ("model_version", "input_fingerprint")
    return scan_table(predictions, staging, columns=columns).select(columns).head(1).collect().row(0)


def scan(layout: StorageLayout, contract: Contract, staging: Path, today: date) -> pl.LazyFrame:
    """Scan every prediction: id, issue month, term (months), `pd`, `decision`, `model_version`, `scored_at`.

    A book without a date has no issue month, and one of which outcomes are final no term. Those of the log have the
    month in which they were asked for, and no term where an application does not say it. Its days that are over are
    gathered into one file each, once; again where rows of a day came after that.
    """
    import polars as pl

    days = {day: layout.predictions_of_day(day) for day in _logged_days(layout)}
    names = {file.name for file in list_files(layout.prediction_history)}
    late = _late_marks(layout)
    for day, target in days.items():
        if day < today - _OPEN_DAYS and (target.name not in names or day in late):
            part = staging / target.name
            _scan_day(layout, contract, day, staging).sink_parquet(part, mkdir=True)
            storage.store(part, target)
            for mark in late.get(day, ()):
                storage.remove(mark)
    files = list_files(layout.prediction_history)
    names = {file.name for file in files}
    parts = [_select(_scan_file(file, staging), contract) for file in files]
    parts += [_scan_day(layout, contract, day, staging) for day, target in days.items() if target.name not in names]
    return pl.concat([pl.LazyFrame(schema=_schema(contract)), *parts])


def _logged_days(layout: StorageLayout) -> list[date]:
    return [date.fromisoformat(day) for day in list_folders(layout.prediction_log)]


def _late_marks(layout: StorageLayout) -> dict[date, list[UPath]]:
    """Map days to the marks of their rows that came late."""
    marks: dict[date, list[UPath]] = defaultdict(list)
    for file in list_files(layout.prediction_log):
        day, is_mark, _ = file.name.partition(LATE)
        if is_mark:
            marks[date.fromisoformat(day)].append(layout.prediction_log / file.name)
    return marks


def _scan_day(layout: StorageLayout, contract: Contract, day: date, staging: Path) -> pl.LazyFrame:
    import polars as pl

    folder = layout.prediction_log_day(day)
    rows = [_scan_file(file, staging) for hour in list_folders(folder) for file in list_files(folder / hour)]
    parts = [_select(part.with_columns(_told_by_log(part.collect_schema(), contract)), contract) for part in rows]
    return pl.concat([pl.LazyFrame(schema=_schema(contract)), *parts])


def _told_by_log(columns: Container[str], contract: Contract) -> Iterator[pl.Expr]:
    """Return what a row of the log says of a loan: its number, its month, and when it matures, as far as it can."""
    import polars as pl

    from loan_default.risk.loan_order import term_months

    yield pl.col(LOAN_ID).alias(contract.id_name)
    if contract.has_time:
        yield pl.col("scored_at").dt.truncate("1mo").dt.date().alias(contract.time_name)
    if not contract.outcomes_are_final:
        source = contract.term_source
        has_term = source is None or source in columns
        yield (term_months(contract) if has_term else pl.lit(None, dtype=pl.Float64)).alias(TERM)


def _scan_file(file: File, staging: Path) -> pl.LazyFrame:
    return scan_table(file.path, staging, file.generation)


def _select(rows: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    import polars as pl

    return rows.select(pl.col(name).cast(dtype) for name, dtype in _schema(contract).items())


def _schema(contract: Contract) -> dict[str, Any]:
    import polars as pl

    return {
        contract.id_name: pl.String(),
        **({contract.time_name: pl.Date()} if contract.has_time else {}),
        **({} if contract.outcomes_are_final else {TERM: pl.Float64()}),
        "pd": pl.Float64(),
        "decision": pl.String(),
        "model_version": pl.Int64(),
        "scored_at": pl.Datetime("us", "UTC"),
    }
