"""Loans that default as their PDs say, and what is measured on them."""

import numpy as np

from loan_default.risk.metrics import Bootstrap, Interval, measure

CUTOFF = 0.3


def loans(rows: int = 2_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw outcomes that follow their PDs, the PDs and their log-odds, rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(-1.5, 1, rows).round(2)
    pds = 1 / (1 + np.exp(-raw))
    return (rng.random(rows) < pds).astype(float), pds, raw


def measured(seed: int = 0, resamples: int = 50) -> dict[str, Interval]:
    return measure(*loans(), cutoff=CUTOFF, bootstrap=Bootstrap(seed, resamples))
