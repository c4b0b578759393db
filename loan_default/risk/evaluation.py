"""The evaluation of a model on one window of loans: its metrics, by segment, and against the model in production.

What follows from the numbers belongs in `validation.promotion` and `monitoring`; how they are computed in `metrics`;
pictures of them belong in `validation.plots`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from loan_default.risk.contract.columns import TERM
from loan_default.risk.estimates import CONFIDENCE, Estimate, Recalibration, calibration_in_the_large, mean_estimate
from loan_default.risk.loan_order import CutBy
from loan_default.risk.metrics import Bootstrap, Interval, Ranking, auc_gain, read_intervals

_WORST = 10  # segments that a record lists
LEAST_ROWS = 30  # of a segment that is measured
_SELECTIONS = ("within_term", "worst_segments")  # of an evaluation's segments, written for readers of the record


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
    """Candidate against champion on the same loans, with intervals of 97.5%: both hold together 19 times of 20.

    A record of before has an interval of 95% for the AUC and none for the Brier score.
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
