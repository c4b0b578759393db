"""Defines what scoring needs of a model: a margin (log-odds of default), exact contributions per column, a file.

How a kind of model is fitted, kept and described is its class in `candidates`; turning a margin into a PD is
`calibration`.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from loan_default.risk.arrays import Floats, Matrix


class RiskModel(Protocol):
    """A fitted model. `X` is float32 (n, columns), NaN where a value is missing."""

    file_name: ClassVar[str]

    @abstractmethod
    def margins(self, X: Matrix) -> Floats:
        """Return the log-odds of default (n,), not yet calibrated; higher is riskier."""
        ...

    @abstractmethod
    def contributions(self, X: Matrix) -> Floats:
        """Return what each column adds to the margin (n, columns), against the average training loan; exact."""
        ...

    @abstractmethod
    def importance(self) -> Floats:
        """Return how much the model uses each column (columns,), summing to 1."""
        ...

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `file_name` into the folder, and whatever else `load` of its class reads; never a pickle."""
        ...


def shares(amounts: Floats) -> Floats:
    """Return amounts (n,), none below 0, as shares of their sum; all 0 where they are."""
    return np.asarray(amounts / max(amounts.sum(), 1e-12), dtype=np.float64)
