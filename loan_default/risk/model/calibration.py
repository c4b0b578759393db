"""From a model's margin to a probability of default: Platt's scaling, fitted on the calibration window.

Two numbers, monotone, so that ranking stays as the model has it; J. Platt, Probabilistic Outputs for Support Vector
Machines, 1999. How well it worked is `evaluation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loan_default.risk.arrays import Floats

_STEPS = 50
_CLOSE = 1e-10
_RIDGE = 1e-9  # keeps equal margins solvable


@dataclass(frozen=True)
class Calibration:
    """Platt's scaling: PD = sigmoid(slope · margin + intercept)."""

    slope: float
    intercept: float

    def pds(self, margins: Floats) -> Floats:
        """Turn margins (n,) into PDs (n,) between 0 and 1."""
        return _sigmoid(self.slope * margins + self.intercept)

    def pd(self, margin: float) -> float:
        """Turn one margin into its PD, without numpy's fixed cost."""
        log_odds = self.slope * margin + self.intercept
        if log_odds >= 0:
            return 1 / (1 + math.exp(-log_odds))
        odds = math.exp(log_odds)
        return odds / (1 + odds)


def _sigmoid(log_odds: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp may become infinite: the PD is 0 then, as it should be
        return 1 / (1 + np.exp(-log_odds))


def fit_calibration(margins: Floats, outcomes: Floats) -> Calibration:
    """Fit slope and intercept by maximum likelihood: Newton's method, towards Platt's smoothed targets.

    Raises:
        ValueError: outcomes are all 0 or all 1.
    """
    defaults, repaid = outcomes.sum(), (1 - outcomes).sum()
    if not (defaults and repaid):
        raise ValueError(f"{len(outcomes):,} loans with {defaults:,.0f} defaults: calibration needs both outcomes")
    # Platt's targets keep a perfectly separated window from asking for an endless slope
    targets = np.where(outcomes == 1, (defaults + 1) / (defaults + 2), 1 / (repaid + 2))
    # standardised, so that Newton's method starts near enough whatever the margins' scale and centre are
    centre, scale = margins.mean(), margins.std() or 1.0
    design = np.column_stack([(margins - centre) / scale, np.ones_like(margins)])
    weights = np.zeros(2)
    for _ in range(_STEPS):
        pds = _sigmoid(design @ weights)
        curvature = design.T @ (design * (pds * (1 - pds))[:, None]) + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (targets - pds))
        weights = weights + step
        if np.abs(step).max() < _CLOSE:
            break
    slope = float(weights[0] / scale)
    return Calibration(slope, float(weights[1] - slope * centre))
