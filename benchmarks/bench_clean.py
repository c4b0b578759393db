"""Cleaning the published file's 151 columns, against reading the same columns with Polars and with pandas alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.fresh import alternating, fresh
from benchmarks.loans import PUBLISHED_ROWS, raw_loans


def figures(folder: Path, *, rows: int = PUBLISHED_ROWS, loans: Path | None = None, times: int = 3) -> list[Figure]:
    """Clean `loans`, or a file of `rows` loans that is made and removed again."""
    path = loans or raw_loans(folder, rows)
    arguments = {"raw": str(path), "folder": str(folder)}
    ours, bare = alternating(times, partial(fresh, clean, **arguments), partial(fresh, scan, **arguments))
    pandas = fresh(read_with_pandas, **arguments)
    what = f"clean {ours.answer:,} loans, {path.stat().st_size / 1e9:.2f} GB of CSV → Parquet"
    if loans is None:
        path.unlink()
    return [
        compared(what, ours, bare, "bare Polars scan → Parquet", ours.seconds / bare.seconds, 2.0, "most"),
        compared(what, ours, pandas, "pandas.read_csv alone", pandas.seconds / ours.seconds, 5.0, "least"),
        Figure(
            "cleaning's memory at its peak",
            f"{ours.peak_gb:.2f} GB",
            f"pandas {pandas.peak_gb:.2f} GB",
            ours.peak_gb,
            1.5,
            form="{:.2f} GB",
        ),
    ]


def clean(raw: str, folder: str) -> Callable[[], Any]:
    """Clean as the platform does; the answer is the rows read."""
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.data.cleaning import clean_loans

    contract = load_contract()
    cleaned, rejected = Path(folder, "cleaned.parquet"), Path(folder, "rejected.parquet")
    return lambda: clean_loans([Path(raw)], contract, cleaned=cleaned, rejected=rejected).rows_read


def scan(raw: str, folder: str) -> Callable[[], Any]:
    """Read the columns in a stream and write them: the least that any cleaning does."""
    import polars as pl

    used = _columns_used()
    return lambda: pl.scan_csv(raw).select(used).sink_parquet(Path(folder, "scanned.parquet"))


def read_with_pandas(raw: str, folder: str) -> Callable[[], Any]:
    """Read the columns into memory, and do nothing else."""
    import pandas as pd

    used = _columns_used()
    return lambda: len(pd.read_csv(raw, usecols=used, low_memory=False))


def _columns_used() -> list[str]:
    from loan_default.risk.contract.loading import load_contract

    contract = load_contract()
    columns = [field.column for field in (*contract.fields, *contract.outcome.fields) if not field.derived]
    return [*columns, contract.outcome.column, *([contract.snapshot.column] if contract.snapshot else [])]
