"""Profiles the population that a version was developed on, with which later batches are compared.

A profile of all loans, a sample of them for Evidently's page, and an application that is typical of them. What drift
is, `drift` says; where a reference is kept is `adapters`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from loan_default.risk.compute import Engine, Table, TablePart
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.splits import Splits
from loan_default.risk.loan_order import draw_of
from loan_default.risk.model.development import on_windows
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.monitoring.drift import Histogram, Profile, ReferenceProfile, build_profile, profile_batch

RAW_SCORE = "raw_score"
# Four figures keep a profile of a million loans at some MB; PSI moves by less than 0.0001.
_PROFILE_DIGITS = 4


@dataclass(frozen=True)
class Reference:
    """A profile of the features of n loans, and some of these loans.

    With both go raw scores, those of loans that were not fitted: of its own loans a model is too sure, and any batch
    would seem to have moved. They are not the scores of the loans beside them.

    `draws` (n) are those of `loan_order.draw_of` in a book without a date: by them a loan that was learned is known.
    """

    profile: ReferenceProfile
    sample: pl.DataFrame
    draws: pl.Series | None = None


def reference_of(
    engine: Engine, loans: Table, contract: Contract, splits: Splits, scores: ArrayLike, sample_rows: int
) -> Reference:
    """Profile the loans that a version was developed on, and the raw scores (m,) of loans that were not fitted."""
    since, until = splits.developed_from, splits.developed_until
    months = (f"{since:%Y-%m}", f"{until:%Y-%m}") if since and until else None
    part = partial(reference_part, contract, months, sample_rows / splits.development_rows)
    references = on_windows(engine, loans, contract, splits, ("train", "calibrate"), part, with_open=True)
    return with_scores(merge_references(list(references), sample_rows), scores)


def reference_part(contract: Contract, months: tuple[str, str] | None, share: float, loans: pl.DataFrame) -> Reference:
    """Profile the features of some of the loans, and sample the share of these, rounded up."""
    features = loans.select(contract.feature_names)
    numeric, categorical = drift_columns(contract)
    profile = build_profile(
        features, numeric=numeric, categorical=categorical, months=months, significant_digits=_PROFILE_DIGITS
    )
    draws = None if months else loans.select(draw_of(contract.id_name)).to_series()
    return Reference(profile, features.sample(min(math.ceil(share * features.height), features.height), seed=0), draws)


def with_scores(reference: Reference, scores: ArrayLike) -> Reference:
    """Put raw scores (m,) into the profile, and some of them, drawn at random, into the sample."""
    drawn = np.resize(np.random.default_rng(0).permutation(np.asarray(scores)), reference.sample.height)
    sample = reference.sample.with_columns(pl.Series(RAW_SCORE, drawn))
    return replace(reference, profile=reference.profile.with_score(RAW_SCORE, scores), sample=sample)


def name_scored_loans(profile: ReferenceProfile) -> str:
    """Say of which loans the raw scores in a profile are."""
    if profile.has_unseen_scores:
        return "the calibrate window's, by a fit that had not seen it"
    return "those of the loans of development, by a fit that had learned them"


def merge_references(parts: Sequence[Reference], sample_rows: int) -> Reference:
    """Add up the references of all parts."""
    profile = reduce(ReferenceProfile.merge, (part.profile for part in parts))
    sample = pl.concat([part.sample for part in parts])
    draws = [part.draws for part in parts if part.draws is not None]
    return Reference(
        profile, sample.sample(min(sample_rows, sample.height), seed=0), pl.concat(draws) if draws else None
    )


def profile_of(engine: Engine, batch: Table, reference: ReferenceProfile) -> Profile:
    """Profile a batch: the sum of its parts', so that no verdict depends on how it was cut."""
    parts = engine.map(partial(_part_profile, reference), engine.parts(batch))
    return reduce(Profile.merge, parts)


def _part_profile(reference: ReferenceProfile, part: TablePart) -> Profile:
    return profile_batch(part.scan(), reference)


def drift_columns(contract: Contract) -> tuple[list[str], list[str]]:
    """Return the names of the numeric and of the categorical features."""
    numeric = [field.name for field in contract.features if field.kind == "number"]
    return numeric, [name for name in contract.feature_names if name not in numeric]


def scored_features(scorer: Scorer, loans: pl.DataFrame) -> pl.DataFrame:
    """Select the features of loans with the raw score that the scorer gives them."""
    raw = scorer.model.margins(scorer.space.matrix(loans))
    return loans.select(scorer.contract.feature_names).with_columns(pl.Series(RAW_SCORE, raw))


def example_application(profile: ReferenceProfile, contract: Contract) -> dict[str, Any]:
    """Make an application of the medians and most frequent levels of many, so that it is nobody's.

    A field that an application must have and that is no feature, so that there is no profile of it, gets a value that
    is allowed. A derived field is left to be computed, unless it must have a value: not all that it follows from is a
    feature.
    """
    needed = [field for field in contract.with_role("segment", "support") if not field.nullable]
    example: dict[str, Any] = {field.name: _allowed_value(field) for field in needed}
    for field in contract.features:
        column = profile.columns[field.name]
        if column.present and (field.derived is None or not field.nullable):
            example[field.name] = _median(column) if field.kind == "number" else column.values[column.counts.argmax()]
    return example


def _allowed_value(field: LoanField) -> float | str:
    if field.kind == "number":
        return field.range[0] if field.range else 0.0
    return field.levels[0] if field.levels else "2000-01"


def _median(column: Histogram) -> float:
    """Return the value in the middle, or the mean of the two there."""
    middle = [(column.present - 1) // 2, column.present // 2]
    return float(column.values[np.searchsorted(column.cumulative[1:], middle, side="right")].mean())
