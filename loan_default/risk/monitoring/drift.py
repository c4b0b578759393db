"""Measures whether the population has moved since training: PSI of each feature and of the raw score; a verdict.

A profile keeps each column as its distinct values and how often each occurs, because Evidently's bins
depend on the batch too: this much can be binned again on any edges, and profiles of partitions add up. What of a PSI is
chance, `stability` says; limits belong in `policy`; what a verdict sets off (a report, an alert, retraining) belongs to
the callers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from loan_default.risk.monitoring.stability import Stability, measure_stability, population_stability_index
from loan_default.risk.monitoring.verdicts import DriftWord
from loan_default.risk.policy import DriftPolicy
from loan_default.risk.text import plural, shorten_names

PROFILE_FORMAT = 1

Array = npt.NDArray[Any]
Frame = pl.DataFrame | pl.LazyFrame

# Up to this many distinct numbers in the reference Evidently compares value by value, above it in bins.
_MOST_LEVELS = 20
FIGURES = ("psi", "decile_psi", "missing_psi")
_NAMES_SHOWN = 5
_TABLE = {
    "feature": pl.String,
    "kind": pl.String,
    **{f"{figure}{part}": pl.Float64 for figure in FIGURES for part in ("", "_raw", "_by_chance")},
    "missing_reference": pl.Float64,
    "missing_batch": pl.Float64,
    "mean_reference": pl.Float64,
    "mean_batch": pl.Float64,
    "top_reference": pl.String,
    "top_batch": pl.String,
    "drifted": pl.Boolean,
}


@dataclass(frozen=True, eq=False)
class Histogram:
    """One column: distinct values in ascending order, rows holding each, rows holding none.

    Null, NaN and infinities are missing, as in Evidently. Numbers are float64, levels are strings.
    """

    values: Array
    counts: Array
    missing: int

    @cached_property
    def cumulative(self) -> Array:
        """Count the rows below each value, and all that hold one: shape (values + 1,)."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    @property
    def present(self) -> int:
        """Count the rows that hold a value."""
        return int(self.cumulative[-1])

    @property
    def rows(self) -> int:
        """Count all rows."""
        return self.present + self.missing

    @cached_property
    def mean(self) -> float:
        """Average the numbers over the rows that hold one."""
        return float(self.values @ self.counts) / self.present

    def merge(self, other: Histogram) -> Histogram:
        """Add up the column over the rows of both."""
        counts = _counts_by_value(self, other)
        return Histogram(np.union1d(self.values, other.values), counts[0] + counts[1], self.missing + other.missing)


@dataclass(frozen=True, eq=False)
class Profile:
    """The columns of some rows, each on its own. `score` names the numeric column that is the raw score.

    `significant_digits` says to how many digits numbers were rounded; None means not at all.
    """

    rows: int
    numeric: Mapping[str, Histogram]
    categorical: Mapping[str, Histogram]
    score: str | None = None
    significant_digits: int | None = None

    @property
    def columns(self) -> dict[str, Histogram]:
        """Return every column by its name."""
        return {**self.numeric, **self.categorical}

    def merge(self, other: Profile) -> Self:
        """Add up the profiles of the rows of both, which were read by the same reference."""
        return replace(
            self,
            rows=self.rows + other.rows,
            numeric={name: column.merge(other.numeric[name]) for name, column in self.numeric.items()},
            categorical={name: column.merge(other.categorical[name]) for name, column in self.categorical.items()},
        )


@dataclass(frozen=True, eq=False)
class ReferenceProfile(Profile):
    """The training window's profile, stored beside its model. `months` are its first and last issue month, if any."""

    months: tuple[str, str] | None = None

    def with_score(self, name: str, scores: npt.ArrayLike) -> Self:
        """Return it with the raw scores (n,) of loans that may be others than those of the features."""
        column = _count_numbers(pl.Series(name, np.asarray(scores)), self.significant_digits)
        return replace(self, numeric={**self.numeric, name: column}, score=name)

    @property
    def has_unseen_scores(self) -> bool:
        """Tell whether the raw scores are of the calibrate window alone; versions of before had those of all loans."""
        return self.score is not None and self.numeric[self.score].rows < self.rows

    def to_json(self) -> str:
        """Write it as strict JSON: no NaN, no infinity."""
        record = {"format": PROFILE_FORMAT, **vars(self)}
        for kind in ("numeric", "categorical"):
            record[kind] = {name: _histogram_record(column) for name, column in record[kind].items()}
        return json.dumps(record, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ReferenceProfile:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not a profile of this format.
        """
        record = json.loads(text)
        version = record.pop("format", None)
        if version != PROFILE_FORMAT:
            raise ValueError(
                f"reference profile: format is {version!r}, expected {PROFILE_FORMAT}; build the profile again"
            )
        record["months"] = record["months"] and tuple(record["months"])
        for kind, dtype in (("numeric", float), ("categorical", object)):
            record[kind] = {name: _histogram_of(stored, dtype) for name, stored in record[kind].items()}
        return cls(**record)


@dataclass(frozen=True)
class DriftVerdict:
    """A batch held against the training population; the score is judged on its own.

    `share` is that of the drifted among the features compared, `score_psi` the widest figure of the score.
    `not_compared` are those of which the reference holds no value.
    """

    verdict: DriftWord
    reasons: tuple[str, ...]
    drifted_features: tuple[str, ...]
    share: float
    score_psi: float | None
    rows: int
    not_compared: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        return asdict(self)


def build_profile(
    frame: Frame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    score: str | None = None,
    months: tuple[str, str] | None = None,
    significant_digits: int | None = None,
) -> ReferenceProfile:
    """Profile the training window. Columns of a lazy frame are read one at a time.

    `significant_digits` bounds the size of the stored profile where columns are continuous: 5 digits leave at most
    90,000 values per power of ten, and move PSI by about 0.00001. Batches are then rounded alike.

    Raises:
        ValueError: the frame has no rows or lacks a column.
    """
    numbers = [*numeric, score] if score is not None else numeric
    measured = _measure(frame, numbers, categorical, score, significant_digits)
    if not measured.rows:
        raise ValueError("reference profile: the training window has no rows; profile the rows of training")
    return ReferenceProfile(**vars(measured), months=months)


def profile_batch(frame: Frame, reference: Profile) -> Profile:
    """Profile the columns that the reference knows. Profiles of a batch's parts `merge` into the whole's.

    Raises:
        ValueError: the frame lacks a column.
    """
    return _measure(frame, reference.numeric, reference.categorical, reference.score, reference.significant_digits)


def psi(reference: Profile, batch: Profile) -> dict[str, float | None]:
    """Measure the PSI of each column over Evidently's bins; None where a side holds no value."""
    return {
        name: population_stability_index(*_evidently_counts(column, batch.columns[name]))
        for name, column in reference.columns.items()
    }


def feature_drift(reference: Profile, batch: Profile, policy: DriftPolicy) -> pl.DataFrame:
    """Tabulate a line per feature, and a line for the score, the widest PSI first.

    `psi` is over Evidently's bins. These have equal widths from the least to the greatest value of both sides: one
    income of 10 million puts all others into one bin, and hides how they moved. So `decile_psi` is over the
    reference's deciles, and `missing_psi` over the two bins missing and present. Each is what the counts give
    (`…_raw`, over Evidently's bins its number) less its mean by chance; `…_by_chance` is the raw figure that chance
    exceeds in 1 of 100 such batches. `drifted` takes a figure that is above its limit and whose raw one is beyond
    chance, or a batch that is empty beyond chance. A feature that is empty in the reference has no figures.
    """
    lines = [_drift_line(name, reference, batch, policy) for name in reference.columns]
    table = pl.DataFrame(lines, schema=_TABLE)
    return table.sort(pl.max_horizontal(FIGURES), descending=True, nulls_last=True)


def judge_drift(table: pl.DataFrame, rows: int, policy: DriftPolicy) -> DriftVerdict:
    """Judge the table of `feature_drift` of a batch of `rows` rows.

    Drifted: the score did, or at least `drifted_share_limit` of the features that the reference holds values of did.
    """
    if rows < policy.least_rows:
        reason = f"{plural(rows, 'row')}, fewer than the {policy.least_rows:,} that a verdict needs"
        return DriftVerdict("not enough rows", (reason,), (), 0.0, None, rows)
    is_score, is_empty = pl.col("kind") == "score", pl.col("missing_reference") == 1
    compared, empty = table.filter(~is_empty), table.filter(is_empty).sort("feature")
    features, score = compared.filter(~is_score), compared.filter(is_score)
    drifted = tuple(features.filter("drifted")["feature"])
    share = len(drifted) / max(features.height, 1)
    score_moved, features_moved = bool(score["drifted"].any()), share >= policy.drifted_share_limit
    of = f"{len(drifted)} of {plural(features.height, 'feature')} drifted ({share:.0%})"
    summary = f"{of}, limit {policy.drifted_share_limit:.0%}"
    by_score, by_feature = (
        [_reason(line, policy) for line in lines.to_dicts()] for lines in (score, features.filter("drifted"))
    )
    decisive_first = [*by_score, *by_feature, summary]
    if features_moved and not score_moved:
        decisive_first = [summary, *by_feature, *by_score]
    return DriftVerdict(
        verdict="drifted" if score_moved or features_moved else "stable",
        reasons=(*decisive_first, *_not_compared(empty)),
        drifted_features=drifted,
        share=share,
        score_psi=next((widest_figure(line) for line in score.to_dicts()), None),
        rows=rows,
        not_compared=tuple(empty["feature"]),
    )


def _measure(
    frame: Frame,
    numeric: Iterable[str],
    categorical: Iterable[str],
    score: str | None,
    significant_digits: int | None,
) -> Profile:
    lazy = frame.lazy()
    lacking = {*numeric, *categorical}.difference(lazy.collect_schema().names())
    if lacking:
        raise ValueError(f"drift: the frame lacks the columns {sorted(lacking)}, which a profile is made of; add them")
    return Profile(
        rows=int(lazy.select(pl.len()).collect().item()),
        numeric={name: _count_numbers(_read(lazy, name), significant_digits) for name in numeric},
        categorical={name: _count_levels(_read(lazy, name)) for name in categorical},
        score=score,
        significant_digits=significant_digits,
    )


def _read(frame: pl.LazyFrame, name: str) -> pl.Series:
    return frame.select(name).collect().to_series()


def _count_numbers(column: pl.Series, significant_digits: int | None) -> Histogram:
    numbers = column.cast(pl.Float64)
    if significant_digits is not None:
        numbers = numbers.round_sig_figs(significant_digits)
    finite = numbers.filter(numbers.is_finite())
    runs = finite.sort().rle().struct.unnest()
    return Histogram(runs["value"].to_numpy(), runs["len"].cast(pl.Int64).to_numpy(), column.len() - finite.len())


def _count_levels(column: pl.Series) -> Histogram:
    levels_present = column.cast(pl.String).drop_nulls().alias("level")
    levels = levels_present.value_counts().sort("level")
    return Histogram(
        np.array(levels["level"].to_list(), dtype=object),
        levels["count"].cast(pl.Int64).to_numpy(),
        column.len() - levels_present.len(),
    )


def _histogram_record(column: Histogram) -> dict[str, Any]:
    return {"values": column.values.tolist(), "counts": column.counts.tolist(), "missing": column.missing}


def _histogram_of(stored: Mapping[str, Any], dtype: type) -> Histogram:
    return Histogram(
        np.array(stored["values"], dtype=dtype), np.array(stored["counts"], dtype=np.int64), stored["missing"]
    )


def _counts_by_value(reference: Histogram, batch: Histogram) -> tuple[Array, Array]:
    """Count the rows of both sides, one bin per value that either holds."""
    values = np.union1d(reference.values, batch.values)
    aligned = np.zeros((2, values.size), np.int64)
    for counts, side in zip(aligned, (reference, batch), strict=True):
        counts[np.searchsorted(values, side.values)] = side.counts
    return aligned[0], aligned[1]


def _counts_between(column: Histogram, cuts: Array, side: Literal["left", "right"]) -> Array:
    """Count rows in the bins that ascending cuts make; a value on a cut goes right of it for "left"."""
    stops = np.searchsorted(column.values, cuts, side)
    return np.diff(column.cumulative[np.concatenate(([0], stops, [column.values.size]))])


def _evidently_counts(reference: Histogram, batch: Histogram) -> tuple[Array, Array]:
    """Count rows over the bins of Evidently's PSI: values, or bins of equal width, Sturges' number of them.

    Both the range and the number of bins are those of the two sides together. Sturges' formula is written as
    in `numpy.histogram_bin_edges`, whose edges these are to the last bit.
    """
    if reference.values.dtype == object or reference.values.size <= _MOST_LEVELS or not batch.values.size:
        return _counts_by_value(reference, batch)
    least = min(reference.values[0], batch.values[0])
    greatest = max(reference.values[-1], batch.values[-1])
    width = (greatest - least) / (np.log2(reference.present + batch.present) + 1.0)
    cuts = np.linspace(least, greatest, int(np.ceil((greatest - least) / width)) + 1)[1:-1]
    return _counts_between(reference, cuts, "left"), _counts_between(batch, cuts, "left")


def _decile_counts(reference: Histogram, batch: Histogram) -> tuple[Array, Array]:
    """Count rows over the bins (-∞, d1], (d1, d2], … of the reference's deciles, equal ones taken once."""
    ranks = reference.present * np.arange(1, 10) / 10
    deciles = reference.values[np.searchsorted(reference.cumulative[1:], ranks)]
    cuts = np.unique(deciles)
    return _counts_between(reference, cuts, "right"), _counts_between(batch, cuts, "right")


def _stabilities(reference: Histogram, batch: Histogram) -> dict[str, Stability | None]:
    """Measure the three figures of a column by their names; none where the reference holds no value.

    Chance is drawn by the counts, so that no column's figures depend on the others, nor on what it is called.
    """
    if not reference.present:
        return {}
    sides = [np.array([side.missing, side.present]) for side in (reference, batch)]
    counts = {"psi": _evidently_counts(reference, batch), "missing_psi": (sides[0], sides[1])}
    if reference.values.dtype != object:
        counts["decile_psi"] = _decile_counts(reference, batch)
    seeds = {figure: zlib.crc32(np.concatenate(both).astype(np.int64).tobytes()) for figure, both in counts.items()}
    return {figure: measure_stability(*both, seeds[figure]) for figure, both in counts.items()}


def _psi_limit(is_score: bool, policy: DriftPolicy) -> float:
    return policy.score_psi_limit if is_score else policy.feature_psi_limit


def _drift_line(name: str, reference: Profile, batch: Profile, policy: DriftPolicy) -> dict[str, Any]:
    sides = {"reference": reference.columns[name], "batch": batch.columns[name]}
    numeric, is_score = name in reference.numeric, name == reference.score
    line: dict[str, Any] = {"feature": name, "kind": "numeric" if numeric else "categorical"}
    if is_score:
        line["kind"] = "score"
    for figure, stability in _stabilities(**sides).items():
        if stability is not None:
            line |= {figure: stability.psi, f"{figure}_raw": stability.raw}
            line[f"{figure}_by_chance"] = stability.by_chance
    for side, column in sides.items():
        line[f"missing_{side}"] = column.missing / max(column.missing + column.present, 1)
        if column.present:
            line[f"{'mean' if numeric else 'top'}_{side}"] = column.mean if numeric else _top_level(column)
    return {**line, "drifted": _is_emptied(line) or bool(_drifted_figures(line, _psi_limit(is_score, policy)))}


def _is_beyond_chance(line: Mapping[str, Any], figure: str) -> bool:
    return line.get(figure) is not None and line[f"{figure}_raw"] > line[f"{figure}_by_chance"]


def _is_emptied(line: Mapping[str, Any]) -> bool:
    """Tell whether the batch holds no value of what the reference holds more of than chance would leave out."""
    return line["missing_batch"] == 1 and _is_beyond_chance(line, "missing_psi")


def widest_figure(line: Mapping[str, Any]) -> float | None:
    """Return the widest PSI of a line of a drift report; None where there is none."""
    return max((line[figure] for figure in FIGURES if line[figure] is not None), default=None)


def _drifted_figures(line: Mapping[str, Any], limit: float) -> list[str]:
    return [figure for figure in FIGURES if _is_beyond_chance(line, figure) and line[figure] > limit]


def _top_level(column: Histogram) -> str:
    top = int(column.counts.argmax())
    return f"{column.values[top]} ({column.counts[top] / column.present:.0%})"


def _reason(line: Mapping[str, Any], policy: DriftPolicy) -> str:
    """Say by its widest figure why a line drifted, or that it did not."""
    is_score = line["kind"] == "score"
    name, limit = "score" if is_score else line["feature"], _psi_limit(is_score, policy)
    if _is_emptied(line):
        return f"{name}: no value in the batch, missing in {line['missing_reference']:.1%} of the reference"
    missing = f"missing in {line['missing_batch']:.1%} of rows, {line['missing_reference']:.1%} in the reference"
    labels = {"psi": "PSI", "decile_psi": "PSI by deciles", "missing_psi": f"{missing}, PSI"}
    figures = _drifted_figures(line, limit) or [figure for figure in FIGURES if line[figure] is not None]
    figure = max(figures, key=lambda figure: line[figure])
    reach = f"above {limit:g}" if line[figure] > limit else f"within {limit:g}"
    chance = "" if line["drifted"] or line[figure] <= limit else ", but not beyond chance"
    return f"{name}: {labels[figure]} {line[figure]:.3f} is {reach}{chance}"


def _not_compared(empty: pl.DataFrame) -> list[str]:
    """Say which features the reference holds no value of, and which of these the batch holds."""
    if not empty.height:
        return []
    filled = empty.filter(pl.col("missing_batch") < 1)["feature"].to_list()
    names = shorten_names(empty["feature"].to_list(), _NAMES_SHOWN)
    sentence = f"empty in the reference and not compared: {names}"
    return [f"{sentence}; the batch holds values of {shorten_names(filled, _NAMES_SHOWN)}" if filled else sentence]


def draw_sample(frame: pl.LazyFrame, height: int, rows: int, seed: int) -> pl.DataFrame:
    """Draw at most `rows` of a frame's `height` rows, in their order: Evidently also plots the course over the rows."""
    if height <= rows:
        return frame.collect()
    drawn = pl.Series(np.sort(np.random.default_rng(seed).choice(height, rows, replace=False)), dtype=pl.UInt32)
    row_number = ":row"
    sample = frame.with_row_index(row_number).filter(pl.col(row_number).is_in(drawn.implode())).drop(row_number)
    return sample.collect(engine="streaming")
