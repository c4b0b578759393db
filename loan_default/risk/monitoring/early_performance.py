"""Holds loans that have not matured against what a version let expect of them by now, months after it decided.

By its term a loan's PD falls into the months on book as the version's hazards have it for the loans that it was
developed on. What came is read month by month (`data.outcomes`); the verdict that this is a part of is `performance`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.columns import OUTCOME, TERM
from loan_default.risk.estimates import POWER
from loan_default.risk.model.hazard import PERIOD_MONTHS
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import Finding

RULE = "early_defaults"
# Of the hazard beyond what is let pass. A mixture of several rises found half as much again later, and twice as much
# no sooner.
_RISE = 1.3
_LEAST = 1e-12  # hazard of a span of months
_YEAR, _MOST_TIMES = 12, 100
_STEP_MONTHS = 3  # of the rows by month on book
ROWS = {
    "model_version": pl.Int64,
    "vintage": pl.String,
    "months_on_book": pl.Float64,
    "loans": pl.Int64,
    "defaults": pl.Int64,
    "expected_defaults": pl.Float64,
    "repaid": pl.Int64,
    "expected_repaid": pl.Float64,
}


@dataclass(frozen=True)
class Course:
    """Tells of loans of a term what has come by the end of each month on book (months + 1,), from 0 on.

    Attributes:
        defaulted: share of the loans that end in default which have by then.
        repaid: share of the loans that do not end in default which has been repaid by then.
    """

    defaulted: Floats
    repaid: Floats


def courses_of(scorer: Scorer, sample: pl.DataFrame, terms: Iterable[float]) -> dict[float, Course]:
    """Read the courses of terms above 0 off a version's hazards, for loans (n rows) like those it was developed on.

    Empty where the version has no hazards.
    """
    if scorer.hazard is None or sample.is_empty():
        return {}
    margins, courses = scorer.hazard.margins(scorer.space.matrix(sample)), {}
    for term in (each for each in terms if each > 0):
        incidence = scorer.hazard.of_term(margins, term)
        ends = PERIOD_MONTHS * np.arange(incidence.defaulted.shape[1])
        defaulted, repaid = (
            np.interp(np.arange(ends[-1] + 1), ends, shares.mean(axis=0))
            for shares in (incidence.defaulted, incidence.repaid)
        )
        lifetime = defaulted[-1]
        courses[term] = Course(defaulted / max(lifetime, _LEAST), repaid / max(1 - lifetime, _LEAST))
    return courses


@dataclass(frozen=True)
class YoungLoans:
    """What was seen of loans (n,), in months from the issue of each.

    Attributes:
        vintages: quarters of issue.
        outcomes: 1 defaulted, 0 repaid, NaN neither yet.
        observed: until the last month in which it is known how it stood.
        ended: until the first month in which its ending was told; NaN while it has not ended.
        before: until the last month in which it was told that it had not.
        first: until the first month in which it was told of; it ran then.
        pds: over the life of the loan.
        terms: position of its term among the courses (n,).
        courses: shares of the loans that end in default which have, and of the others which are repaid, by the end of
            each month on book (2, terms, months + 1).
    """

    vintages: pl.Series
    outcomes: Floats
    observed: Floats
    ended: Floats
    before: Floats
    first: Floats
    pds: Floats
    terms: NDArray[np.int64]
    courses: Floats

    @classmethod
    def of(cls, loans: pl.DataFrame, courses: Mapping[float, Course]) -> YoungLoans:
        """Take the loans of which a later month is known than the first, in which they were told to run.

        Of others it is not known whether they would have been told of if they had ended otherwise. What comes after a
        course's end was expected of no loan, and is left out: a few late defaults would else pass for a rise.

        Args:
            loans: `vintage`, term, `pd`, `outcome`; `first`, `observed`, `ended`, `before` in months from the issue.
            courses: by term, at least one.
        """
        was_running = pl.col("ended").is_null() | (pl.col("first") < pl.col("ended"))
        loans = loans.filter(was_running, pl.col(TERM).is_in([*courses]))
        lengths = {term: len(course.repaid) for term, course in courses.items()}
        end = pl.col(TERM).replace_strict(lengths, return_dtype=pl.Int64) - 1
        ran_at_end = (pl.col("before") >= end).fill_null(False)
        loans = loans.with_columns(
            pl.when(~ran_at_end).then(OUTCOME).alias(OUTCOME),
            pl.when(~ran_at_end).then(pl.col("ended").clip(upper_bound=end)).alias("ended"),
            pl.col("observed").clip(upper_bound=end),
        ).filter(pl.col("first").clip(0) < pl.col("observed"))
        length = max(lengths.values())
        ordered = [courses[term] for term in sorted(courses)]
        shares = [
            [np.pad(line, (0, length - len(line)), mode="edge") for line in lines]
            for lines in ([course.defaulted for course in ordered], [course.repaid for course in ordered])
        ]
        names = (OUTCOME, "observed", "ended", "before", "first", "pd")
        outcomes, observed, ended, before, first, pds = (
            loans[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in names
        )
        terms = np.searchsorted(sorted(courses), loans[TERM].to_numpy())
        return cls(loans["vintage"], outcomes, observed, ended, before, first, pds, terms, np.array(shares))

    def __len__(self) -> int:
        return len(self.outcomes)

    def expected_by(self, months: Floats) -> tuple[Floats, Floats]:
        """Return the probabilities that loans, as they ran when first told of, default or are repaid by months (n,)."""
        (defaulted, repaid), before = self._incidences(months), self._incidences(self.first)
        running = np.maximum(1 - before[0] - before[1], _LEAST)
        return np.clip((defaulted - before[0]) / running, 0, 1), np.clip((repaid - before[1]) / running, 0, 1)

    def _incidences(self, months: Floats) -> tuple[Floats, Floats]:
        """Return the probabilities of default and of repayment by months on book (n,), as the loans were granted."""
        ends = np.clip(np.nan_to_num(months), 0, self.courses.shape[2] - 1).astype(np.int64)
        defaulted, repaid = self.courses[:, self.terms, ends]
        return self.pds * defaulted, (1 - self.pds) * repaid

    def _hazards_by(self, months: Floats) -> Floats:
        """Return the cumulative hazards of default by months (n,), of loans that may also have been repaid by then."""
        return np.asarray(-np.log1p(-np.minimum(self.expected_by(months)[0], 1 - _LEAST)))

    def log_evidence(self, tolerance: float) -> float:
        """Return how much likelier what came is made by higher hazards than by those let pass (log of an e-value).

        Each loan is a sequence of spans in which it may be told to have defaulted, also once it was repaid; the hazard
        of a span is that of the cumulative incidence. The likelihood under hazards `_RISE` times as high is divided by
        that under hazards exp(`tolerance`) as high. While hazards are no higher than that, the chance that this ever
        reaches 1 / size, however often one looks, is at most the size (A. Wald, Sequential Tests of Statistical
        Hypotheses, 1945; J. Ville, Étude critique de la notion de collectif, 1939).
        """
        came = self.outcomes == 1
        free = self._hazards_by(np.where(came, self.before, self.observed))
        spans = np.maximum(self._hazards_by(self.ended) - free, _LEAST)[came]

        def log_likelihood(times: float) -> float:
            return float(np.log(-np.expm1(-times * spans)).sum() - times * free.sum())

        base = np.exp(tolerance)
        return log_likelihood(base * _RISE) - log_likelihood(base)

    def finding(self, tolerance: float, size: float) -> Finding:
        """Hold what came against what was expected by a sequential test of this size."""
        expected, came = float(self.expected_by(self.observed)[0].sum()), int((self.outcomes == 1).sum())
        evidence = self.log_evidence(tolerance)
        return Finding(
            RULE,
            evidence < -np.log(size),
            f"{came:,} of {len(self):,} loans have defaulted so far where {expected:,.0f} were expected by their "
            f"months on book; hazards {np.exp(tolerance) - 1:.0%} higher would be let pass, and what came is "
            f"{_odds(evidence)} likely under higher ones as under these (from {1 / size:,.0f} times on it is a fall). "
            f"{self._reach(tolerance, size)}",
        )

    def _reach(self, tolerance: float, size: float) -> str:
        """Say which hazards would have been found by now, and with twelve months of each of these loans."""
        now = self.least_found(self.observed, tolerance, size)
        sentence = f"By now hazards {_rise(now)} would have been found 19 times of 20"
        year = self.least_found(np.maximum(self.observed, self.first + _YEAR), tolerance, size)
        later = f", with twelve months of each of these loans {_rise(year)}" if year < now else ""
        return f"{sentence}{later}."

    def least_found(self, months: Floats, tolerance: float, size: float) -> float:
        """Return how many times the expected hazards are found with the chance `POWER` by a look after months (n,).

        What comes is Poisson's, and `log_evidence` grows with each default by log(`_RISE`).
        """
        from scipy.special import gammaincinv

        hazard = max(float(self._hazards_by(months).sum()), _LEAST)
        needed = np.ceil((np.exp(tolerance) * (_RISE - 1) * hazard - np.log(size)) / np.log(_RISE))
        return float(gammaincinv(needed, POWER) / hazard)

    def rows(self, version: int) -> pl.DataFrame:
        """Return what came and what was expected by vintage and month on book, and in the last row of each to date.

        A month is left out where it is not known of a loan whether it had ended by then.
        """
        rows = []
        for vintage in self.vintages.unique().sort():
            of = (self.vintages == vintage).to_numpy()
            for month in range(_STEP_MONTHS, int(self.observed[of].min()) + 1, _STEP_MONTHS):
                if not ((self.before[of] < month) & (month < self.ended[of])).any():
                    rows.append(self._row(version, vintage, of, np.full(len(self), float(month)), month))
            rows.append(self._row(version, vintage, of, self.observed, None))
        return pl.DataFrame(rows, schema=ROWS)

    def _row(self, version: int, vintage: str, of: Any, months: Floats, month: int | None) -> dict[str, Any]:
        ended = of & (self.ended <= months)
        defaulted, repaid = self.expected_by(months)
        return {
            "model_version": version,
            "vintage": vintage,
            "months_on_book": month,
            "loans": int(of.sum()),
            "defaults": int((self.outcomes[ended] == 1).sum()),
            "expected_defaults": float(defaulted[of].sum()),
            "repaid": int((self.outcomes[ended] == 0).sum()),
            "expected_repaid": float(repaid[of].sum()),
        }


def _rise(times: float) -> str:
    """Write by how much hazards are higher; of what is far from any that is met how many times as high."""
    if times > _MOST_TIMES:
        return f"more than {_MOST_TIMES} times as high"
    return f"{times - 1:.0%} higher" if times < 2 else f"{times:.1f} times as high"


def _odds(log_evidence: float) -> str:
    """Write how many times as likely; of what is far beyond any limit that it is more than a million."""
    return "more than a million times as" if log_evidence > np.log(1e6) else f"{np.exp(log_evidence):,.2f} times as"
