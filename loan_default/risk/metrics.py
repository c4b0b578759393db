"""Measures how well PDs and scores of loans fit their outcomes: discrimination, calibration and cut-off metrics, with
bootstrap intervals.

Everything works on arrays of outcomes, PDs and raw scores of the same loans. The record of a model's evaluation, by
segment and against another model, belongs in `evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.estimates import CONFIDENCE, Estimate

# The metrics that tables of versions show, with their headings; the AUC comes first and has its interval beside it.
SHOWN_METRICS = {"auc": "AUC", "ks": "KS", "brier": "Brier", "ece": "ECE, debiased"}
_GROUPS = 10
_TINY = 1e-15


@dataclass(frozen=True)
class Interval:
    """A measured value and the bootstrap interval around it (percentiles, 95%)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:z.4f} ({self.low:z.4f} to {self.high:z.4f})"


def read_intervals(data: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    """Read metrics as a JSON record holds them."""
    return {name: Interval(**interval) for name, interval in data.items()}


def metric_headings() -> list[str]:
    """Return the headings of `SHOWN_METRICS` for a table that shows the AUC with its interval."""
    first, *others = SHOWN_METRICS.values()
    return [f"{first} ({CONFIDENCE:.0%})", *others]


@dataclass(frozen=True)
class Bootstrap:
    """How often the loans of an interval are drawn anew, and from which seed: equal ones draw the same loans."""

    seed: int
    resamples: int = 200

    def draw(self, statistic: Callable[[Floats], dict[str, float]], truth: Floats) -> list[dict[str, float]]:
        """Return the statistic of each resample of outcomes (n,), of which each holds both.

        Args:
            statistic: of weights (n,), Poisson(1): the large-n form of drawing loans with replacement.
            truth: 1 where the loan defaulted, else 0.
        """
        rng, draws = np.random.default_rng(self.seed), list[dict[str, float]]()
        while len(draws) < self.resamples:
            weights = rng.poisson(1.0, len(truth)).astype(np.float64)
            if 0 < weights @ truth < weights.sum():  # a tiny window may draw one outcome only
                draws.append(statistic(weights))
        return draws


def measure(
    outcomes: ArrayLike,
    pds: ArrayLike,
    raw_scores: ArrayLike,
    *,
    cutoff: float,
    bootstrap: Bootstrap,
) -> dict[str, Interval]:
    """Measure every metric with its bootstrap interval.

    Args:
        outcomes: (n,) 1 where the loan defaulted, else 0; both must occur.
        pds: (n,) calibrated probabilities of default.
        raw_scores: (n,) what ranks the loans, higher is riskier.
        cutoff: PD from which a loan counts as predicted to default, for precision, recall and F1.
        bootstrap: how the loans are drawn anew; the interval spans the 2.5th to 97.5th percentile.

    Returns:
        auc, gini (2 AUC - 1), ks (greatest distance of the two score distributions), pr_auc (average precision),
        brier, log_loss (natural), ece (ten equal-frequency groups; Nixon et al. 2019; less what chance alone makes of
        right PDs, at least 0), precision, recall, f1.

    Raises:
        ValueError: outcomes are all 0 or all 1.
    """
    truth = np.asarray(outcomes, dtype=np.float64)
    if not 0 < truth.sum() < len(truth):
        raise ValueError(f"{len(truth):,} loans with {truth.sum():,.0f} defaults: both outcomes must occur")
    ranking = Ranking.of(truth, raw_scores)
    probabilities = _Probabilities(truth, np.asarray(pds, dtype=np.float64), cutoff)

    def both(weights: Floats | None = None) -> dict[str, float]:
        return {**ranking.measure(weights), **probabilities.measure(weights)}

    point = both()
    draws = bootstrap.draw(both, truth)
    return {name: _interval(value, [draw[name] for draw in draws]) for name, value in point.items()}


def auc_gain(
    outcomes: ArrayLike,
    scores: ArrayLike,
    other_scores: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    bootstrap: Bootstrap,
) -> Interval:
    """Subtract the AUC of other scores (n,) from that of scores (n,) of the same loans; the resamples are paired."""
    truth = np.asarray(outcomes, dtype=np.float64)
    new, old = (Ranking.of(truth, raw) for raw in (scores, other_scores))

    def gain(weights: Floats | None = None) -> dict[str, float]:
        return {"gain": new.auc(weights) - old.auc(weights)}

    draws = bootstrap.draw(gain, truth)
    return _interval(gain()["gain"], [draw["gain"] for draw in draws], confidence)


def auc_of(outcomes: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve of a score that is higher for riskier loans."""
    return Ranking.of(outcomes, scores).auc()


def calibration_error(outcomes: ArrayLike, pds: ArrayLike) -> float:
    """Return the debiased ECE as `measure` does."""
    values = np.asarray(pds, dtype=np.float64)
    return _Probabilities(np.asarray(outcomes, dtype=np.float64), values, cutoff=1.0).measure()["ece"]


def pd_groups(outcomes: ArrayLike, pds: ArrayLike) -> pl.DataFrame:
    """Divide loans into ten groups of equally many by PD, safest first; fewer where many loans share a PD.

    Returns:
        A row for each group: `group` (from 1), `loans`, `mean_pd`, `default_rate`.
    """
    values = np.asarray(pds, dtype=np.float64)
    loans = pl.DataFrame({"group": equal_groups(values) + 1, "y": np.asarray(outcomes, np.float64), "pd": values})
    means = pl.len().cast(pl.Int64).alias("loans"), pl.mean("pd").alias("mean_pd"), pl.mean("y").alias("default_rate")
    return loans.group_by("group").agg(*means).sort("group")


def equal_groups(values: Floats) -> NDArray[np.intp]:
    """Number ten groups of (nearly) equally many values, 0 the lowest; equal values share a group."""
    edges = np.quantile(values, np.linspace(0, 1, _GROUPS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


@dataclass(frozen=True)
class Ranking:
    """Outcomes (n,) of 0 and 1, sorted by a score so that weighted metrics are running sums.

    Sorting once makes a bootstrap resample cost one pass: it only changes the weights of the loans.
    """

    outcomes: Floats
    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, outcomes: ArrayLike, scores: ArrayLike) -> Ranking:
        """Rank loans by score, riskiest first; equal scores share a rank.

        Raises:
            ValueError: there are not as many outcomes as scores.
        """
        values, truth = (np.asarray(each, dtype=np.float64) for each in (scores, outcomes))
        if values.shape != truth.shape:
            raise ValueError(f"{len(values):,} scores are of other loans than {len(truth):,} outcomes")
        order = np.argsort(-values, kind="stable")
        ordered = values[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(truth[order], order, starts)

    def measure(self, weights: Floats | None = None) -> dict[str, float]:
        """Measure AUC, Gini, KS and PR-AUC (average precision) of loans that count `weights` times (n,), else once."""
        bads, goods = self._counts(weights)
        bads_so_far, goods_so_far = np.cumsum(bads), np.cumsum(goods)
        all_bads, all_goods = bads_so_far[-1], goods_so_far[-1]
        auc = _mann_whitney(bads, goods, goods_so_far)
        ks = float(np.max(np.abs(bads_so_far / all_bads - goods_so_far / all_goods)))
        loans = bads_so_far + goods_so_far
        precision = np.divide(bads_so_far, loans, out=np.zeros_like(bads_so_far), where=loans > 0)
        return {"auc": auc, "gini": 2 * auc - 1, "ks": ks, "pr_auc": float(np.sum(bads * precision) / all_bads)}

    def auc(self, weights: Floats | None = None) -> float:
        """Return the AUC alone, which costs a resample less than all metrics of `measure`."""
        bads, goods = self._counts(weights)
        return _mann_whitney(bads, goods, np.cumsum(goods))

    def _counts(self, weights: Floats | None) -> tuple[Floats, Floats]:
        """Count the defaults and the repaid loans of each rank, each loan `weights` times."""
        counts = np.ones(len(self.order)) if weights is None else weights[self.order]
        defaults = counts * self.outcomes
        bads, goods = (np.add.reduceat(values, self.starts) for values in (defaults, counts - defaults))
        return bads, goods

    def auc_estimate(self) -> Estimate:
        """Return the AUC with its standard error: E. DeLong et al., Comparing the Areas under ROC Curves, 1988."""
        bads = np.add.reduceat(self.outcomes, self.starts)
        goods = np.add.reduceat(1 - self.outcomes, self.starts)
        all_bads, all_goods = bads.sum(), goods.sum()
        of_bads = (all_goods - np.cumsum(goods) + goods / 2) / all_goods  # share of repaid loans that a default beats
        of_goods = (np.cumsum(bads) - bads / 2) / all_bads
        auc = float(bads @ of_bads / all_bads)
        variances = [
            counts @ (shares - auc) ** 2 / max(total - 1, 1) / total
            for counts, shares, total in ((bads, of_bads, all_bads), (goods, of_goods, all_goods))
        ]
        return Estimate(auc, float(np.sqrt(sum(variances))))


def _mann_whitney(bads: Floats, goods: Floats, goods_so_far: Floats) -> float:
    """Return the share of pairs in which a default beats a repaid loan: all behind it, and half of those beside it."""
    all_goods = goods_so_far[-1]
    return float(np.sum(bads * (all_goods - goods_so_far + goods / 2)) / (bads.sum() * all_goods))


@dataclass(frozen=True)
class _Probabilities:
    """Losses and groups of each loan, for calibration and cut-off metrics, prepared once for all resamples."""

    outcomes: Floats
    pds: Floats
    cutoff: float

    @cached_property
    def _losses(self) -> tuple[Floats, Floats]:
        clipped = np.clip(self.pds, _TINY, 1 - _TINY)
        logs = -(self.outcomes * np.log(clipped) + (1 - self.outcomes) * np.log1p(-clipped))
        return (self.pds - self.outcomes) ** 2, logs

    @cached_property
    def _group(self) -> NDArray[np.intp]:
        return equal_groups(self.pds)

    @cached_property
    def _chance_gap(self) -> float:
        """Return the ECE that PDs have on average if they are right: each group's gap is then normal around 0."""
        variances = np.bincount(self._group, self.pds * (1 - self.pds), minlength=_GROUPS)
        return float(np.sqrt(2 / np.pi * variances).sum() / len(self.pds))

    def measure(self, weights: Floats | None = None) -> dict[str, float]:
        counts = np.ones_like(self.pds) if weights is None else weights
        total = counts.sum()
        squares, logs = self._losses
        gaps = np.bincount(self._group, counts * (self.pds - self.outcomes), minlength=_GROUPS)
        # a resample draws chance twice, of outcomes and of loans: Poisson weights have a mean square of 2
        chance_gap = self._chance_gap * (1 if weights is None else math.sqrt(2))
        flagged = self.pds >= self.cutoff
        true_positives = float(counts[flagged] @ self.outcomes[flagged])
        precision = true_positives / max(float(counts[flagged].sum()), _TINY)
        recall = true_positives / max(float(counts @ self.outcomes), _TINY)
        return {
            "brier": float(counts @ squares / total),
            "log_loss": float(counts @ logs / total),
            "ece": max(float(np.abs(gaps).sum() / total) - chance_gap, 0.0),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, _TINY),
        }


def _interval(value: float, draws: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail]) if draws else (value, value)
    # resampling adds noise, which only ever raises ECE and KS: all draws of a small window may lie above the value
    return Interval(value, min(float(low), value), max(float(high), value))
