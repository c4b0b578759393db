"""Shows how much hangs on applicants who were declined, of whom nobody knows how they would have paid.

They are given the odds of default that their PDs say, times a factor (parcelling; J. Banasik and J. Crook, Reject
Inference, Augmentation, and Sample Selection, 2007): a sensitivity of what is said of all applicants, never a truth. No
model learns from it, and no gate reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats

FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0)  # of the odds
_BANDS = 5  # of equal numbers of declined applicants, by PD


def parcel(pds: Floats, approved: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what all applicants (n,) would come to if those not approved had these odds of default.

    Args:
        pds: of the applications.
        approved: which of them were.
    """
    turned_down = ~approved
    return {
        "applications": len(pds),
        "approved": int(approved.sum()),
        "approved_mean_pd": float(pds[approved].mean()) if approved.any() else None,
        "factors": [{"factor": factor, **_assumed(pds, turned_down, factor)} for factor in FACTORS],
        "bands": [*_bands(np.sort(pds[turned_down]))],
    }


def with_odds(pds: Floats, factor: float) -> Floats:
    """Return PDs whose odds are so many times those of others (n,)."""
    odds = factor * pds
    return np.asarray(odds / (1 - pds + odds))


def _assumed(pds: Floats, turned_down: NDArray[np.bool_], factor: float) -> dict[str, float | None]:
    assumed = np.where(turned_down, with_odds(pds, factor), pds)
    return {
        "default_rate": float(assumed.mean()) if len(pds) else None,
        "turned_down_default_rate": float(assumed[turned_down].mean()) if turned_down.any() else None,
    }


def _bands(pds: Floats) -> Iterator[dict[str, Any]]:
    """Yield the default rates that are assumed of those turned down, from the safest fifth on."""
    for band in np.array_split(pds, min(_BANDS, len(pds))) if len(pds) else ():
        yield {
            "applications": len(band),
            "pd_from": float(band[0]),
            "pd_to": float(band[-1]),
            "default_rates": [float(with_odds(band, factor).mean()) for factor in FACTORS],
        }
