"""Tells why an applicant was declined: the fields that raise the margin most, in the contract's sentences.

Fields without a sentence (the lender's own grade and rate) are never given. Measuring contributions is the model's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.model.features import FeatureSpace


def field_contributions(contributions: NDArray[np.float64], space: FeatureSpace) -> NDArray[np.float64]:
    """Add up contributions by matrix column (n, columns) to those by field of the contract (n, features)."""
    starts = np.flatnonzero(np.diff(space.field_of, prepend=-1))
    return np.add.reduceat(contributions, starts, axis=1)


def reasons_for(contributions: NDArray[np.float64], space: FeatureSpace, *, at_most: int) -> list[list[str]]:
    """Return for each row the sentences of the fields that add most to its risk, strongest first.

    Args:
        contributions: (n, columns) to the margin, from the model.
        space: which column belongs to which field.
        at_most: how many sentences a row may have; only fields that raise the risk count.
    """
    features = space.contract.features
    explained = [index for index, field in enumerate(features) if field.reason]
    increases = field_contributions(contributions, space)[:, explained]
    strongest = np.argsort(-increases, axis=1, kind="stable")[:, :at_most]
    sentences = np.array([features[index].reason for index in explained], dtype=object)
    return [
        [sentences[index] for index in order if row[index] > 0] for order, row in zip(strongest, increases, strict=True)
    ]
