"""From loans in natural units to the matrix that every model sees.

One column for each number and each ordered field (position of its level, safest 1), one for each level of a
nominal field. A field with a direction (`risk`) is never missing here: who leaves it out counts as the typical loan of
the population, in training and in scoring alike, so no kind of model can take its absence for less risk than that.
Where its absence is `informative`, a column more says that it is missing (1, else 0), with which PD may only rise.
Other fields are NaN where they are missing. Nothing is fitted here; a model that needs scaling keeps that in its own
pipeline. Which fields are features is the contract's to say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.population import Population


@dataclass(frozen=True)
class FeatureSpace:
    """The columns of the matrix, as the contract gives them; where the population is empty, no value is filled in.

    `without_opinion` leaves out the fields that are the lender's own opinion, or derived from one.
    """

    contract: Contract
    population: Population = field(default_factory=Population)
    without_opinion: bool = False

    @cached_property
    def used(self) -> tuple[int, ...]:
        """Return the positions among `contract.features` of the fields that columns are made of."""
        hidden = self.contract.opinions if self.without_opinion else frozenset[str]()
        return tuple(index for index, name in enumerate(self.contract.feature_names) if name not in hidden)

    @cached_property
    def features(self) -> tuple[LoanField, ...]:
        """Return the fields that columns are made of, in the contract's order."""
        return tuple(self.contract.features[index] for index in self.used)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns: `dti`, `grade`, `purpose=car`, …"""
        return tuple(name for feature in self.features for name in _columns_of(feature))

    @cached_property
    def field_of(self) -> tuple[int, ...]:
        """Return for each column the position of its field among `contract.features`."""
        fields = zip(self.used, self.features, strict=True)
        return tuple(index for index, feature in fields for _ in _columns_of(feature))

    @cached_property
    def starts(self) -> list[int]:
        """Return for each of `features` the position of its first column."""
        return [self.field_of.index(position) for position in self.used]

    @cached_property
    def monotone(self) -> tuple[int, ...]:
        """Return for each column 1 where PD may only rise with it, -1 where it may only fall, else 0."""
        sign = {"rising": 1, "falling": -1, None: 0}
        signs = [sign[feature.risk] for feature in self.features for _ in _columns_of(feature)]
        return tuple(1 if column in self.absence else sign for column, sign in enumerate(signs))

    @cached_property
    def absence(self) -> tuple[int, ...]:
        """Return the positions of the columns that say that a field is missing, as its absence is informative."""
        starts = zip(self.starts, self.features, strict=True)
        return tuple(start + 1 for start, feature in starts if feature.missing)

    @cached_property
    def fillings(self) -> tuple[float | None, ...]:
        """Return for each of `contract.features` the number that stands where it is missing; None: it stays missing."""
        return tuple(
            self.population.typical_number(feature) if feature.risk else None for feature in self.contract.features
        )

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change with the columns, how PD may move with them, and what is filled in.

        Without a population they are those of releases that filled nothing in.
        """
        filled = (self.fillings,) if any(value is not None for value in self.fillings) else ()
        return hashlib.sha256(repr((self.columns, self.monotone, *filled)).encode()).hexdigest()[:8]

    def matrix(self, loans: pl.DataFrame) -> Matrix:
        """Encode loans (n rows, natural units) as float32 (n, columns), C order, NaN where a value is missing."""
        columns = [
            column for index in self.used for column in _encode(self.contract.features[index], self.fillings[index])
        ]
        return loans.select(columns).to_numpy(order="c", writable=True)

    def values(self, loans: pl.DataFrame) -> Floats:
        """Turn loans into numbers (n, features): a level as its position, the safest 1, NaN where it is missing."""
        columns = [_number(feature).cast(pl.Float64).alias(feature.name) for feature in self.contract.features]
        return loans.select(columns).to_numpy()

    def encode(self, values: Floats) -> Matrix:
        """Encode numbers as `values` gives them; the matrix is that of `matrix`."""
        X = np.where(np.isnan(values), self._fillings, values)[:, self.field_of]
        columns, positions = self._indicators
        levels = X[:, columns]
        X[:, columns] = np.where(np.isnan(levels), np.nan, levels == positions)
        X[:, self.absence] = np.isnan(values[:, [self.field_of[column] for column in self.absence]])
        return X.astype(np.float32)

    @cached_property
    def _fillings(self) -> Floats:
        return np.array(self.fillings, dtype=np.float64)  # None is NaN

    @cached_property
    def _indicators(self) -> tuple[list[int], list[int]]:
        """Return the columns that stand for one level each, and the positions of these levels."""
        counts = [(len(_columns_of(feature)), feature.kind == "nominal") for feature in self.features]
        positions = [position if nominal else 0 for size, nominal in counts for position in range(1, size + 1)]
        columns = [column for column, position in enumerate(positions) if position]
        return columns, [positions[column] for column in columns]


def _columns_of(feature: LoanField) -> list[str]:
    if feature.kind == "nominal":
        return [f"{feature.name}={level}" for level in feature.levels]
    return [feature.name, f"{feature.name}=missing"] if feature.missing else [feature.name]


def _number(feature: LoanField) -> pl.Expr:
    """Return the value as a number, null where it is missing."""
    column = pl.col(feature.name)
    if feature.kind == "number":
        return column.fill_nan(None)
    return column.cast(pl.Enum(feature.levels)).to_physical() + 1


def _encode(feature: LoanField, filling: float | None) -> list[pl.Expr]:
    number = _number(feature)
    absent = [number.is_null().cast(pl.Float32).alias(_columns_of(feature)[-1])] if feature.missing else []
    if filling is not None:
        number = number.fill_null(filling)
    if feature.kind != "nominal":
        return [number.cast(pl.Float32).alias(feature.name), *absent]
    levels = enumerate(_columns_of(feature), 1)
    return [(number == position).cast(pl.Float32).alias(name) for position, name in levels]
