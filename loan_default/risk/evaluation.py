"""Measures how good a model is: discrimination, calibration and cut-off metrics with bootstrap intervals, by segment
and against the model in production.

Everything works on arrays of outcomes, PDs and raw scores of the same loans. What follows from the numbers belongs in
`validation.promotion` and `monitoring`; pictures of them belong in `validation.plots`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.columns import TERM
from loan_default.risk.estimates import CONFIDENCE, Estimate, Recalibration, calibration_in_the_large, mean_estimate
from loan_default.risk.loan_order import CutBy

# The metrics that tables of versions show, with their headings; the AUC comes first and has its interval beside it.
SHOWN_METRICS = {"auc": "AUC", "ks": "KS", "brier": "Brier", "ece": "ECE, debiased"}
_GROUPS = 10
_WORST = 10  # segments that a record lists
LEAST_ROWS = 30  # of a segment that is measured
_SELECTIONS = ("within_term", "worst_segments")  # of an evaluation's segments, written for readers of the record
_TINY = 1e-15


def month_numbers(months: pl.Series) -> NDArray[np.int64]:
    """Number issue months (n dates), so that loans of one month can be told from those of another."""
    return (months.dt.year().cast(pl.Int64) * 12 + months.dt.month()).to_numpy()


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


@dataclass(frozen=True)
class Interval:
    """A measured value and the bootstrap interval around it (percentiles, 95 %)."""

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
    return [f"{first} ({CONFIDENCE:.0%})".replace("%", " %"), *others]


@dataclass(frozen=True)
class Segment:
    """Loans that share a level of a field."""

    field: str
    level: str
    rows: int
    default_rate: float
    mean_pd: float
    auc: float | None
    brier: float
    ks: float | None = None
    calibration: Estimate | None = None  # in the large, in log-odds; records of before have none

    @property
    def gap(self) -> float:
        """Subtract the default rate from the mean PD; above zero the model is too careful."""
        return self.mean_pd - self.default_rate

    @property
    def z(self) -> float | None:
        """Divide the error of its PDs by its standard error; above zero PDs are too low."""
        return self.calibration.z if self.calibration else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it, with its z."""
        return {**asdict(self), "z": self.z}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Segment:
        """Read what `to_dict` returned, and records of before, which called the lender's opinion its grade."""
        data = {"opinion_auc" if name == "grade_auc" else name: value for name, value in data.items()}
        calibration = data.get("calibration")
        rest = {name: value for name, value in data.items() if name != "z"}
        return cls(**{**rest, "calibration": calibration and Estimate(**calibration)})


@dataclass(frozen=True)
class Looks:
    """Count how often loans of the test window had been looked at before: any of them, and exactly these windows."""

    overlapping: int
    same: int


@dataclass(frozen=True)
class BlankedField:
    """Measure what changes when all loans leave out a field, and with it those that are derived from it.

    `missing_share` of the `rows` loans lacked it before; `approved` are shares of the loans, as they are and `without`.
    """

    field: str
    rows: int
    missing_share: float
    approved: float
    approved_without: float
    mean_pd: float
    mean_pd_without: float

    @property
    def approvals_rise(self) -> float:
        """Subtract the share approved before from that without the field."""
        return self.approved_without - self.approved


@dataclass(frozen=True)
class LevelCoverage:
    """A level of a field: its share of the newest loans, whatever their outcome, and its loans in the test window."""

    field: str
    level: str
    recent_share: float
    test_rows: int


@dataclass(frozen=True)
class Coverage:
    """Levels of segments among the loans of the newest issue months (YYYY-MM, both included) and in the test window.

    `empty` names the segments of which no loan of the book has a value.

    Without a date these are the newest `cohorts` (first and last), or all loans of the files where there are none.
    """

    first_month: str | None
    last_month: str | None
    levels: tuple[LevelCoverage, ...]
    empty: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()

    @property
    def recent_loans(self) -> str:
        """Say which loans are the newest."""
        if self.first_month:
            return f"the loans issued {self.first_month} to {self.last_month}"
        cohorts = "cohort" if len(self.cohorts) == 1 else "cohorts"
        return f"the loans of the {cohorts} {' to '.join(self.cohorts)}" if self.cohorts else "the loans of the files"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Coverage:
        """Read what stands in a JSON record."""
        levels = tuple(LevelCoverage(**level) for level in data["levels"])
        return cls(**{**data, "levels": levels, **{name: tuple(data.get(name, ())) for name in ("empty", "cohorts")}})


@dataclass(frozen=True)
class WindowDesign:
    """Describe how test loans were set apart: whether they came after the others, and by what in a book without a date.

    `several_terms` is false where there is one term, or none: else the test loans follow the others of their own term.
    """

    out_of_time: bool
    cut_by: CutBy | None = None
    cohort: str | None = None
    several_terms: bool = True


@dataclass(frozen=True)
class Evaluation:
    """A model on one window of loans.

    `opinion_gain` is what its AUC gains over the lender's own opinion on paired resamples. `recalibration`, `looks`,
    `blanked`, `coverage` and `approved` are None in records of before they were measured. `cut_by`, `cohort` and
    `several_terms` are as in `WindowDesign`. `approved` is the share of the loans that its cut-offs approve.
    """

    rows: int
    defaults: int
    out_of_time: bool
    cutoff: float
    metrics: Mapping[str, Interval]
    opinion_auc: float | None
    segments: tuple[Segment, ...]
    opinion_gain: Interval | None = None
    recalibration: Recalibration | None = None
    looks: Looks | None = None
    blanked: tuple[BlankedField, ...] | None = None
    coverage: Coverage | None = None
    cut_by: CutBy | None = None
    cohort: str | None = None
    several_terms: bool = True
    approved: float | None = None

    @property
    def came(self) -> str:
        """Say how the test loans of a book with dates lie to the others: `came after the training loans`."""
        when = "came after" if self.out_of_time else "did not all come after"
        return f"{when} the training loans{' of their term' if self.several_terms else ''}"

    @property
    def within_term(self) -> tuple[Segment, ...]:
        """Return the loans of each term: what is left of AUC and KS where the term itself tells nothing."""
        return tuple(segment for segment in self.segments if segment.field == TERM)

    @property
    def worst_segments(self) -> tuple[Segment, ...]:
        """Return the ten segments whose PDs are furthest from their outcomes by z, the worst first."""
        measured = [segment for segment in self.segments if segment.z is not None]
        return tuple(sorted(measured, key=lambda segment: -abs(segment.z or 0.0))[:_WORST])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record."""
        lists = {name: [segment.to_dict() for segment in getattr(self, name)] for name in ("segments", *_SELECTIONS)}
        return {**asdict(self), **lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read what `to_dict` returned, and records of before, which called the lender's opinion its grade."""
        data = {"opinion_auc" if name == "grade_auc" else name: value for name, value in data.items()}
        names = ("opinion_gain", "recalibration", "looks", "coverage")
        gain, recalibration, looks, coverage = (data.get(name) for name in names)
        blanked = data.get("blanked")
        stored = {name: value for name, value in data.items() if name not in _SELECTIONS}
        return cls(
            **{
                **stored,
                "metrics": read_intervals(data["metrics"]),
                "segments": tuple(Segment.from_dict(segment) for segment in data["segments"]),
                "opinion_gain": gain and Interval(**gain),
                "recalibration": recalibration and Recalibration.from_dict(recalibration),
                "looks": looks and Looks(**looks),
                "blanked": None if blanked is None else tuple(BlankedField(**field) for field in blanked),
                "coverage": coverage and Coverage.from_dict(coverage),
            }
        )


@dataclass(frozen=True)
class Comparison:
    """Candidate against champion on the same loans, with intervals of 97.5 %: both hold together 19 times of 20.

    A record of before has an interval of 95 % for the AUC and none for the Brier score.
    """

    auc_gain: Interval
    brier_rise: Interval

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Read what `dataclasses.asdict` returned, and records of before."""
        rise = data["brier_rise"]
        unbounded = {"low": -math.inf, "high": math.inf}
        rise = rise if isinstance(rise, Mapping) else {"value": rise, **unbounded}
        return cls(Interval(**data["auc_gain"]), Interval(**rise))


@dataclass(frozen=True)
class ComparableLoans:
    """Counts the test loans that the champion was not developed on either: candidate and champion meet on these."""

    rows: int
    defaults: int


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
        """Rank loans by score, riskiest first; equal scores share a rank."""
        values = np.asarray(scores, dtype=np.float64)
        order = np.argsort(-values, kind="stable")
        ordered = values[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(np.asarray(outcomes, dtype=np.float64)[order], order, starts)

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


def equal_groups(values: Floats) -> NDArray[np.intp]:
    """Number ten groups of (nearly) equally many values, 0 the lowest; equal values share a group."""
    edges = np.quantile(values, np.linspace(0, 1, _GROUPS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


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


def compare(
    outcomes: ArrayLike,
    candidate: tuple[ArrayLike, ArrayLike],
    champion: tuple[ArrayLike, ArrayLike],
    *,
    months: ArrayLike | None = None,
    bootstrap: Bootstrap,
) -> Comparison:
    """Subtract champion from candidate on the same loans.

    Args:
        outcomes: (n,) 1 where the loan defaulted, else 0.
        candidate: its (PDs, raw scores).
        champion: the same of the champion.
        months: (n,) number of each loan's issue month, by which losses may go together.
        bootstrap: of the AUC's interval; both are measured on the same draws.
    """
    truth = np.asarray(outcomes, dtype=np.float64)
    new, old = ((np.asarray(pds) - truth) ** 2 for pds, _ in (candidate, champion))
    rise = mean_estimate(new - old, months)
    each = (1 + CONFIDENCE) / 2
    gain = auc_gain(truth, candidate[1], champion[1], confidence=each, bootstrap=bootstrap)
    return Comparison(gain, Interval(rise.value, *rise.interval(each)))


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


def _interval(value: float, draws: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail]) if draws else (value, value)
    # resampling adds noise, which only ever raises ECE and KS: all draws of a small window may lie above the value
    return Interval(value, min(float(low), value), max(float(high), value))


def auc_of(outcomes: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve of a score that is higher for riskier loans."""
    return Ranking.of(outcomes, scores).auc()


def by_segment(
    outcomes: ArrayLike,
    pds: ArrayLike,
    raw_scores: ArrayLike,
    levels: pl.DataFrame,
    *,
    months: ArrayLike | None = None,
    least_rows: int = LEAST_ROWS,
) -> tuple[Segment, ...]:
    """Measure each level of each column of `levels` (n rows); levels of fewer loans than `least_rows` are left out.

    `months` (n,) are the numbers of the loans' issue months, by which outcomes may go together.
    """
    measured = pl.DataFrame(
        {"y": np.asarray(outcomes, np.float64), "pd": np.asarray(pds, np.float64), "raw": np.asarray(raw_scores)}
    )
    if months is not None:
        measured = measured.with_columns(pl.Series("month", np.asarray(months)))
    segments = []
    for field in levels.columns:
        groups = measured.with_columns(levels[field].cast(pl.String).fill_null("missing").alias("level"))
        for (level,), loans in sorted(groups.group_by("level"), key=lambda group: str(group[0][0])):
            if loans.height >= least_rows:
                segments.append(_segment(field, str(level), loans))
    return tuple(segments)


def _segment(field: str, level: str, loans: pl.DataFrame) -> Segment:
    truth, pds = loans["y"].to_numpy(), loans["pd"].to_numpy()
    both = 0 < truth.sum() < len(truth)
    ranked = Ranking.of(truth, loans["raw"].to_numpy()).measure() if both else {}
    months = loans["month"].to_numpy() if "month" in loans.columns else None
    return Segment(
        field=field,
        level=level,
        rows=loans.height,
        default_rate=float(truth.mean()),
        mean_pd=float(pds.mean()),
        auc=ranked.get("auc"),
        brier=float(np.mean((pds - truth) ** 2)),
        ks=ranked.get("ks"),
        calibration=calibration_in_the_large(truth, pds, months),
    )
