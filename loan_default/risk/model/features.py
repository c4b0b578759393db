"""From loans in natural units to the matrix that every model sees.

One column for each number and each ordered field (position of its level, safest 1), one for each level of a
nominal field. Nothing is fitted here, so nothing can leak or be refitted; a model that needs scaling or filled-in
values keeps that in its own pipeline. Which fields are features is the contract's to say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.contract import Contract, LoanField


@dataclass(frozen=True)
class FeatureSpace:
    """The columns of the matrix, as the contract gives them."""

    contract: Contract

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns: `dti`, `grade`, `purpose=car`, …"""
        return tuple(name for field in self.contract.features for name in _columns_of(field))

    @cached_property
    def field_of(self) -> tuple[int, ...]:
        """Return for each column the position of its field among `contract.features`."""
        return tuple(index for index, field in enumerate(self.contract.features) for _ in _columns_of(field))

    @cached_property
    def monotone(self) -> tuple[int, ...]:
        """Return for each column 1 where PD may only rise with it, -1 where it may only fall, else 0."""
        sign = {"rising": 1, "falling": -1, None: 0}
        return tuple(sign[field.risk] for field in self.contract.features for _ in _columns_of(field))

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change with the columns or with how PD may move with them."""
        return hashlib.sha256(repr((self.columns, self.monotone)).encode()).hexdigest()[:8]

    def matrix(self, loans: pl.DataFrame) -> Matrix:
        """Encode loans (n rows, natural units) as float32 (n, columns), C order, NaN where a value is missing."""
        columns = [column for field in self.contract.features for column in _encode(field)]
        return loans.select(columns).to_numpy(order="c", writable=True)

    def encode(self, values: Floats) -> Matrix:
        """Encode numbers (n, features): a level stands as its position, the safest 1, and NaN where it is missing."""
        X = values[:, self.field_of]
        columns, positions = self._indicators
        levels = X[:, columns]
        X[:, columns] = np.where(np.isnan(levels), np.nan, levels == positions)
        return X.astype(np.float32)

    @cached_property
    def _indicators(self) -> tuple[list[int], list[int]]:
        """Return the columns that stand for one level each, and the positions of these levels."""
        sizes = [len(field.levels) if field.kind == "nominal" else 0 for field in self.contract.features]
        positions = [position for size in sizes for position in (range(1, size + 1) if size else [0])]
        columns = [column for column, position in enumerate(positions) if position]
        return columns, [positions[column] for column in columns]


def _columns_of(field: LoanField) -> list[str]:
    return [f"{field.name}={level}" for level in field.levels] if field.kind == "nominal" else [field.name]


def _encode(field: LoanField) -> list[pl.Expr]:
    column = pl.col(field.name)
    if field.kind == "number":
        return [column.cast(pl.Float32)]
    position = column.cast(pl.Enum(field.levels)).to_physical()
    if field.kind == "ordered":
        return [(position.cast(pl.Float32) + 1).alias(field.name)]
    return [(position == rank).cast(pl.Float32).alias(f"{field.name}={name}") for rank, name in enumerate(field.levels)]
