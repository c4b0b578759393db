"""Measures what cut-offs earn: by PD and by value, as they move, expected beside what was realised; and proposes some.

What approved loans came to is `economics.approval`'s. Intervals are of resampled months of issue, or loans in a book
without months. Adopting a proposal is for people, by the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.economics.approval import (
    RULES,
    ApprovedLoans,
    Mask,
    Rule,
    ValuedLoans,
    approved_by,
    outcome_of,
)
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.policy import HIGHEST_CUT_OFF, DecidedBy, StrategyLimits
from loan_default.risk.validation.examination.fairness import LEAST_GROUP

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of the loans, at which rules are compared
_GRID = 40  # cut-offs of each kind that are tried
_TAIL = (0.985, 0.99, 0.995)  # beyond which few loans lie, far apart
_CONFIDENCE = 0.95
_MOST_UNITS = 400  # that are resampled: in a book without months, so many draws of its loans


@dataclass(frozen=True)
class RulePoint:
    """What a rule comes to at a cut-off."""

    rule: Rule
    cutoff: float
    outcome: ApprovedLoans


def strategy_curve(loans: ValuedLoans, capital_share: float) -> list[RulePoint]:
    """Measure both rules where they approve the same shares of the loans."""
    points = []
    for share in SHARES:
        for rule in RULES:
            cutoff, approved = approved_by(loans, rule, share)
            points.append(RulePoint(rule, cutoff, outcome_of(loans, approved, capital_share)))
    return points


@dataclass(frozen=True)
class Proposal:
    """Cut-offs that are expected to earn most within the limits, with intervals (95%) of resampled months.

    Attributes:
        approve_below: PD below which a loan is approved, as far as its value allows.
        npv_at_least: net present value of one unit lent from which on it is.
        outcome: of the loans that both approve.
        intervals: of the cut-offs, and of what is realised by these: default rate and net present value.
        bound_by: the limits that keep it from earning more.
    """

    approve_below: float
    npv_at_least: float
    outcome: ApprovedLoans
    intervals: Mapping[str, tuple[float, float]]
    bound_by: tuple[str, ...]


def propose(
    loans: ValuedLoans,
    limits: StrategyLimits,
    capital_share: float,
    groups: Mapping[str, Sequence[str]],
    *,
    by: DecidedBy = "both",
    bootstrap: Bootstrap,
) -> Proposal | None:
    """Look for the cut-offs that are expected to earn most; None where none keeps the limits and earns anything.

    Where the policy asks for a share of approvals, so many are made even at a loss.

    Args:
        loans: of the test window.
        limits: of the policy.
        capital_share: of what is lent.
        groups: people, by field: the group of each loan (n,).
        by: the PD alone, the value alone, or both together.
        bootstrap: of the months of issue, or of the loans where there are none.
    """
    grid = _Grid.of(loans, groups, by)
    everything = np.ones(grid.units)
    best = grid.best(everything, limits, capital_share)
    if best is None:
        return None
    rng = np.random.default_rng(bootstrap.seed)
    drawn = [
        rng.multinomial(grid.units, everything / grid.units).astype(np.float64) for _ in range(bootstrap.resamples)
    ]
    again = [best_of for weights in drawn if (best_of := grid.best(weights, limits, capital_share))] or [best]
    pd_at, margin_at = grid.cutoffs(best)
    approved = grid.approves(loans, best)
    sums = np.array([weights @ grid.realised(best) for weights in drawn])
    intervals = {
        "approve_below": _interval([grid.cutoffs(each)[0] for each in again]),
        "npv_at_least": _interval([grid.cutoffs(each)[1] for each in again]),
        "default_rate": _interval(sums[:, 1] / np.maximum(sums[:, 0], 1)),
        "npv": _interval(sums[:, 2]),
    }
    bound_by = tuple(
        name
        for name in limits.model_fields_set
        if (other := grid.best(everything, limits.model_copy(update={name: None}), capital_share)) is not None
        and other != best
    )
    return Proposal(pd_at, margin_at, outcome_of(loans, approved, capital_share), intervals, bound_by)


def why_none(
    loans: ValuedLoans,
    limits: StrategyLimits,
    capital_share: float,
    groups: Mapping[str, Sequence[str]],
    *,
    by: DecidedBy = "both",
) -> str:
    """Say why `propose` finds no cut-offs: none earns anything, or limits do not allow it, and which if one alone."""
    grid = _Grid.of(loans, groups, by)
    everything = np.ones(grid.units)

    def exists(limits: StrategyLimits) -> bool:
        return grid.best(everything, limits, capital_share) is not None

    if not exists(StrategyLimits()):
        return "Whatever the cut-off, what it approves is not expected to earn anything."
    names = [name for name in limits.model_fields_set if getattr(limits, name) is not None]
    alone = [name for name in names if exists(limits.model_copy(update={name: None}))]
    listed = " or ".join(f"{name} than {getattr(limits, name):g}" for name in sorted(alone))
    remedy = f"; another {listed} would allow one" if alone else ", even with any one of them left out"
    return f"No cut-off that keeps the limits of the policy is expected to earn anything{remedy}."


def _interval(values: Sequence[float] | Floats) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


Position = tuple[int, int]  # of a pair of cut-offs in the grid


@dataclass(frozen=True)
class _Grid:
    """Sums of loans by unit of resampling and by both cut-offs: all pairs are measured at once.

    `sums` (units, PD cut-offs, margin cut-offs, quantities); quantities are loans, PD, expected value, amount,
    defaults, value, and the loans of each group that is large enough to measure. A pair approves what lies below its PD
    cut-off, and from its margin cut-off on.
    """

    pd_cutoffs: Floats
    margin_cutoffs: Floats
    sums: Floats
    members: Mapping[str, tuple[int, ...]]  # of each field, the quantities that count its groups
    pd_bin: NDArray[np.int64]
    margin_bin: NDArray[np.int64]

    @classmethod
    def of(cls, loans: ValuedLoans, groups: Mapping[str, Sequence[str]], by: DecidedBy) -> _Grid:
        """Sort the loans into the grid; by the PD alone every value is enough, by the value alone every PD."""
        steps = np.linspace(0, 1, _GRID + 1)
        margins = loans.margins
        pd_quantiles = np.quantile(loans.pds, [*steps[1:-1], *_TAIL]).round(3)
        pd_cutoffs = np.unique(np.clip(np.append(pd_quantiles, 1.0), 0.001, HIGHEST_CUT_OFF))
        if by == "npv":
            pd_cutoffs = np.array([1.0])
        margin_cutoffs = np.quantile(margins, steps[1:-1]).round(3).astype(np.float64)
        lowest = np.floor(margins.min())
        margin_cutoffs = np.array([lowest]) if by == "pd" else np.unique(np.append(margin_cutoffs, [0.0, lowest]))
        pd_bin = np.searchsorted(pd_cutoffs, loans.pds, side="right")
        margin_bin = np.searchsorted(margin_cutoffs, margins, side="right") - 1
        quantities = [np.ones(len(margins)), loans.pds, loans.expected_npv, loans.amounts, loans.defaulted, loans.npv]
        members: dict[str, tuple[int, ...]] = {}
        for field, labels in groups.items():
            each, first = np.asarray(labels), len(quantities)
            names, sizes = np.unique(each, return_counts=True)
            quantities += [each == name for name in names[sizes >= LEAST_GROUP]]
            if first < len(quantities):
                members[field] = tuple(range(first, len(quantities)))
        unit = np.arange(len(margins)) if loans.issued is None else np.unique(loans.issued, return_inverse=True)[1]
        unit = unit % _MOST_UNITS
        shape = (int(unit.max()) + 1, len(pd_cutoffs) + 1, len(margin_cutoffs))
        cell = np.ravel_multi_index((unit, pd_bin, margin_bin), shape)
        counted = [np.bincount(cell, np.asarray(q, np.float64), int(np.prod(shape))).reshape(shape) for q in quantities]
        below = np.cumsum(np.stack(counted, axis=-1), axis=1)[:, :-1]  # what is not below the last cut-off is out
        sums: Floats = np.flip(np.cumsum(np.flip(below, axis=2), axis=2), axis=2)
        return cls(pd_cutoffs, margin_cutoffs, sums, members, pd_bin, margin_bin)

    @property
    def units(self) -> int:
        """Return how many units are resampled."""
        return len(self.sums)

    def best(self, weights: Floats, limits: StrategyLimits, capital_share: float) -> Position | None:
        """Return the pair that earns most as expected within the limits; of equals the one that approves most."""
        totals = np.tensordot(weights, self.sums, 1)
        count, pd, expected, volume = (totals[..., number] for number in range(4))
        enough = expected > 0 if limits.approve_at_least is None else count >= limits.approve_at_least * count.max()
        allowed = (count > 0) & enough
        for most, values in (
            (limits.default_rate_at_most, pd / np.maximum(count, 1)),
            (limits.volume_at_most, volume),
            (limits.capital_at_most, capital_share * volume),
        ):
            if most is not None:
                allowed &= values <= most
        if limits.group_ratio_at_least is not None:
            for numbers in self.members.values():
                rates = totals[..., list(numbers)] / np.maximum(totals[..., list(numbers)].max(axis=(0, 1)), 1)
                allowed &= rates.min(axis=-1) >= limits.group_ratio_at_least * rates.max(axis=-1)
        if not allowed.any():
            return None
        value = np.where(allowed, expected, -np.inf)
        ties = np.argwhere(value >= value.max() - 1e-9 * abs(value.max()))
        first, second = max(ties.tolist(), key=lambda pair: (count[pair[0], pair[1]], pair))
        return first, second

    def cutoffs(self, position: Position) -> tuple[float, float]:
        """Return both cut-offs of a pair."""
        return float(self.pd_cutoffs[position[0]]), float(self.margin_cutoffs[position[1]])

    def approves(self, loans: ValuedLoans, position: Position) -> Mask:
        """Tell which loans (n,) a pair approves."""
        approved: Mask = (self.pd_bin <= position[0]) & (self.margin_bin >= position[1])
        return approved

    def realised(self, position: Position) -> Floats:
        """Return of each unit the loans that a pair approves, their defaults and their value (units, 3)."""
        result: Floats = self.sums[:, position[0], position[1]][:, [0, 4, 5]]
        return result
