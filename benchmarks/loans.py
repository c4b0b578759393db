"""The loans that the benchmarks run on: real ones repeated to the published file's size where there are any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PUBLISHED_ROWS = 2_260_701


def raw_loans(folder: Path, rows: int) -> Path:
    """Write a raw file of 151 columns: the sample in `LOAN_DEFAULT_REAL_DATA` scaled up, else synthetic loans."""
    path = folder / "raw.csv"
    real = os.environ.get("LOAN_DEFAULT_REAL_DATA", "")
    sample = Path(real, "lendingclub", "accepted_sample.csv")
    if real and sample.exists():
        subprocess.run([sys.executable, Path(real, "scale_up.py"), sample, path, str(rows)], check=True)
    else:
        from loan_default.risk.data.synthetic import write_loans

        write_loans(path, rows, seed=1)
    return path


def cleaned_loans(folder: Path, rows: int) -> Path:
    """Clean synthetic loans, once in a folder."""
    path, raw = folder / f"cleaned_{rows}.parquet", folder / "synthetic.csv"
    if not path.exists():
        from loan_default.risk.contract.loading import load_contract
        from loan_default.risk.data.cleaning import clean_loans
        from loan_default.risk.data.synthetic import write_loans

        write_loans(raw, rows, seed=1)
        clean_loans([raw], load_contract(), cleaned=path, rejected=folder / "rejected.parquet")
        raw.unlink()
    return path
