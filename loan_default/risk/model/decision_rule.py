"""Turns PD and value of an application into a decision: the one rule by which batches, requests and pages decide.

Cut-offs are the policy's. That nobody is approved who lacks what hardly any loan lacked is `scorer`'s, as it reads the
application; why an application was not approved is `reason_codes`' and `value_reasons`' to tell.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.policy import DecisionPolicy

APPROVE, REVIEW, DECLINE = range(3)
Bands = NDArray[np.uint8]  # of these


def decide_all(policy: DecisionPolicy, pds: Floats, margins: Floats | None) -> Bands:
    """Return each decision (n,): where both rules count, that of the stricter.

    Args:
        policy: says which rules count, and their cut-offs.
        pds: (n,).
        margins: net present value of one unit lent (n,), NaN where there is none; None where no loan has one.
    """
    bands = pd_bands(policy, pds) if policy.by_pd else np.zeros(len(pds), dtype=np.uint8)
    if policy.by_value:
        known = np.full(len(pds), np.nan) if margins is None else margins
        bands = np.maximum(bands, value_bands(policy, known))
    return bands


def pd_bands(policy: DecisionPolicy, pds: Floats) -> Bands:
    """Return what the PD alone decides (n,)."""
    return np.searchsorted([policy.approve_below, policy.decline_from], pds, side="right").astype(np.uint8)


def value_bands(policy: DecisionPolicy, margins: Floats) -> Bands:
    """Return what the value alone decides (n,): a person reviews what has none."""
    passed = np.searchsorted([policy.decline_npv_below, policy.approve_npv_from], margins, side="right")
    return np.where(np.isnan(margins), REVIEW, DECLINE - passed).astype(np.uint8)


def pd_band(policy: DecisionPolicy, pd: float) -> int:
    """Return one decision by the PD, as `pd_bands` does many."""
    return int(pd >= policy.approve_below) + int(pd >= policy.decline_from)


def value_band(policy: DecisionPolicy, margin: float) -> int:
    """Return one decision by the value, as `value_bands` does many."""
    if math.isnan(margin):
        return REVIEW
    return int(margin < policy.approve_npv_from) + int(margin < policy.decline_npv_below)


def decide_one(policy: DecisionPolicy, pd: float, margin: float) -> int:
    """Return one decision, as `decide_all` does many."""
    return max(
        pd_band(policy, pd) if policy.by_pd else APPROVE,
        value_band(policy, margin) if policy.by_value else APPROVE,
    )
