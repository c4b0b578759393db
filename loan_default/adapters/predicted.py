"""What was predicted, kept for good: each batch as each version scored it, and each day of the prediction log.

A batch that is scored again by another version replaces its predictions, and nothing here: what an applicant was told
is held against how the loan ended, years later. Scoring is `risk`'s; measuring is `risk.performance`'s.
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.inbox import list_files
from loan_default.risk.contract import TERM, Contract

if TYPE_CHECKING:  # sensors only ask for the folder's name
    import polars as pl

FOLDER, LOG = "prediction_history", "prediction_log"
_OPEN_DAYS = timedelta(days=2)  # a worker may still write rows of yesterday


def keep(predictions: Path, root: UPath, batch: str, version: int, staging: Path) -> None:
    """Keep what a version says of a batch, in the place of what the same one said before."""
    name = f"{batch}.version-{version}.parquet"
    copy = staging / f"history-{name}"
    shutil.copyfile(predictions, copy)
    storage.store(copy, root / FOLDER / name)


def made_of(predictions: UPath) -> tuple[int, str]:
    """The version that made a batch's predictions, and the fingerprint of the file that it read."""
    import polars as pl

    with predictions.open("rb") as file:
        return pl.read_parquet(file, columns=["model_version", "input_fingerprint"], n_rows=1).row(0)


def predicted(root: UPath, contract: Contract, staging: Path, today: date) -> pl.LazyFrame:
    """Every prediction: id, issue month, term (months), `pd`, `decision`, `model_version`, `scored_at`.

    Those of the log have the month in which they were asked for. Its days that are over are gathered into one file
    each, once.
    """
    import polars as pl

    for day in _days(root):
        if day < today - _OPEN_DAYS and not (root / FOLDER / _of_day(day)).exists():
            part = staging / _of_day(day)
            _logged(root, contract, day, staging).sink_parquet(part, mkdir=True)
            storage.store(part, root / FOLDER / _of_day(day))
    kept = list_files(root / FOLDER)
    gathered = {file.name for file in kept}
    parts = [_told(_open(file.place, staging), contract) for file in kept]
    parts += [_logged(root, contract, day, staging) for day in _days(root) if _of_day(day) not in gathered]
    return pl.concat([pl.LazyFrame(schema=_schema(contract)), *parts])


def _days(root: UPath) -> list[date]:
    folder = root / LOG
    return sorted(date.fromisoformat(day.name) for day in folder.iterdir()) if folder.exists() else []


def _of_day(day: date) -> str:
    return f"log-{day}.parquet"


def _logged(root: UPath, contract: Contract, day: date, staging: Path) -> pl.LazyFrame:
    import polars as pl

    hours = (root / LOG / str(day)).iterdir()
    rows = [_open(file.place, staging) for hour in hours for file in list_files(hour)]
    month = pl.format("{}-01", contract.by_name[contract.time_name].column).str.to_date().alias(contract.time_name)
    told = [_told(part.with_columns(month), contract) for part in rows]
    return pl.concat([pl.LazyFrame(schema=_schema(contract)), *told])


def _open(place: UPath, staging: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(storage.fetch(place, staging / "history" / place.name))


def _told(rows: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    import polars as pl

    return rows.select(pl.col(name).cast(dtype) for name, dtype in _schema(contract).items())


def _schema(contract: Contract) -> dict[str, Any]:
    import polars as pl

    return {
        contract.id_name: pl.String(),
        contract.time_name: pl.Date(),
        TERM: pl.Float64(),
        "pd": pl.Float64(),
        "decision": pl.String(),
        "model_version": pl.Int64(),
        "scored_at": pl.Datetime("us", "UTC"),
    }
