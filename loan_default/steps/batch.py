"""A batch of applications as it was read; scoring it is `scoring`'s step, comparing it `monitoring`'s.

Tested in `steps/test_scoring.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loan_default.adapters.parquet_table import ParquetTable


@dataclass(frozen=True)
class Batch:
    """A batch: its name, the cleaned applications, and the report on the file that they came from."""

    name: str
    applications: ParquetTable
    report: Mapping[str, Any]
