"""From a model's margin to a probability of default: Platt's scaling, fitted on the calibration window.

Two numbers, monotone, so that ranking stays as the model has it; J. Platt, Probabilistic Outputs for Support Vector
Machines, 1999. A PD has nine decimals and no more, here and wherever it is compared, so that it does not hang on how a
processor rounds. How well it worked is `evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loan_default.risk.arrays import Floats

PD_DIGITS = 9  # decimals of a PD, with which it is compared with the cut-offs on every way
_SCALE = 10.0**PD_DIGITS
_STEEPEST = 700.0  # log-odds; exp of more is infinite
_STEPS = 50
_CLOSE = 1e-10
_RIDGE = 1e-9  # keeps equal margins solvable


@dataclass(frozen=True)
class Calibration:
    """Platt's scaling: PD = sigmoid(slope · margin + intercept)."""

    slope: float
    intercept: float

    def pds(self, margins: Floats) -> Floats:
        """Turn margins (n,) into PDs (n,) from 0 to 1, of `PD_DIGITS` decimals."""
        return np.rint(_sigmoid(self.slope * margins + self.intercept) * _SCALE) / _SCALE

    def pd(self, margin: float) -> float:
        """Turn one margin into its PD, without an array's fixed cost, and to the bit as `pds` does."""
        log_odds = min(max(self.slope * margin + self.intercept, -_STEEPEST), _STEEPEST)
        return round(1 / (1 + float(np.exp(-log_odds))) * _SCALE) / _SCALE  # numpy's exp is not always Python's


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_STEEPEST, _STEEPEST))), dtype=np.float64)


def fit_calibration(margins: Floats, outcomes: Floats) -> Calibration:
    """Fit slope and intercept by maximum likelihood: Newton's method, towards Platt's smoothed targets.

    Outcomes (n,) are 1 or 0, or, of loans that are still open, a probability between.

    Raises:
        ValueError: outcomes are all 0 or all 1.
    """
    defaults, repaid = outcomes.sum(), (1 - outcomes).sum()
    if not (defaults and repaid):
        raise ValueError(f"{len(outcomes):,} loans with {defaults:,.0f} defaults: calibration needs both outcomes")
    # Platt's targets keep a perfectly separated window from asking for an endless slope
    targets = outcomes * (defaults + 1) / (defaults + 2) + (1 - outcomes) / (repaid + 2)
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
