"""Learns from loans that are still open: discrete-time hazards of default and of repayment over periods on book.

Each loan gives a row for each period that was fully observed of it (loan-periods; T. Sueyoshi, 1995; competing risks:
G. Tutz and M. Schmid, Modeling Discrete Time-to-Event Data, 2016, chapter 8): two boosted models say from its features,
the period and the share of its term how likely it is to default, or to be repaid, in that period if it still ran when
the period began. From them follow cumulative incidences: lifetime PD, the PD of the first months, expected life.
`expected_outcomes` gives each open loan the probability that it ends in default, so that any candidate can learn from
it. Views of a book as of a month belong in `data.as_of`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.compute import part_bounds
from loan_default.risk.data.as_of import LoanHistory
from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.boosting import BoostingParameters
from loan_default.risk.model.candidates.xgboost_model import tree_parameters
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.features import FeatureSpace

RECIPE = "xgboost"  # the candidate whose parameters it takes
PERIOD_MONTHS = 3
PERIODS_AT_MOST = 800_000  # loan-periods that are learned from: of more, a third of each kind is drawn
_STOPPED_BY = 5  # of the loans one in so many says when the fit stops
_PHASES = np.array([0, 1, 2, 3, 4, 8])  # periods in which a phase begins: quarters of the first year, the second, later
# There are many loan-periods. As of January 2011 (two seeds) 0.1 was twice as fast as 0.05 and 1.3 times as fast as
# 0.07, but mean PDs were 0.7 points too high instead of 0.2 at most; AUCs differed by less than seeds make them.
_LEAST_LEARNING_RATE = 0.07
_LEAST_PATIENCE = 10  # rounds without gain after which a fit may stop
_OWN_COLUMNS = 3  # of a loan-period, behind the features
_REMEMBERED = 1_000  # terms
_LEAST_SHARE = 1e-12  # that is divided by
MODELS = ("default", "repayment")  # also the folders of a package
_FILE = "hazard.json"

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LoanPeriods:
    """Periods on book of loans that were fully observed, one row each; `weights` make up for those that were not drawn.

    Attributes:
        loans: (m,) position of the loan.
        periods: (m,) number of the period, from 0.
        defaulted: (m,) 1 where the loan defaulted in it.
        repaid: (m,) 1 where it was repaid in it.
        weights: (m,) how many periods the row stands for.
    """

    loans: Ints
    periods: Ints
    defaulted: NDArray[np.float32]
    repaid: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, history: LoanHistory, grace_months: int) -> LoanPeriods:
        """Divide what was observed of loans into periods: up to the event, the view's month, or the grace's end.

        A loan that was seen to run in its first period counts from its issue, another from the next period on.
        """
        first = np.where(history.entered < PERIOD_MONTHS, 0, np.ceil(history.entered / PERIOD_MONTHS))
        ending = np.ceil(history.ended / PERIOD_MONTHS)
        last = np.minimum(np.floor(history.observed / PERIOD_MONTHS), ending)
        last = np.minimum(last, last_periods(history.terms, grace_months))
        first = np.minimum(first, last).astype(np.int64)
        counts = last.astype(np.int64) - first
        loans = np.repeat(np.arange(len(history)), counts)
        periods = np.arange(len(loans)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        ends = periods == ending[loans] - 1
        defaulted = history.defaulted[loans]
        events = (ends & defaulted).astype(np.float32), (ends & ~defaulted).astype(np.float32)
        return cls(loans, periods, *events, np.ones(len(loans), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.loans)

    def __getitem__(self, rows: NDArray[np.bool_]) -> LoanPeriods:
        """Return some of the rows."""
        events = self.defaulted[rows], self.repaid[rows]
        return LoanPeriods(self.loans[rows], self.periods[rows], *events, self.weights[rows])

    def draw(self, at_most: int, rng: np.random.Generator) -> LoanPeriods:
        """Draw about a third of `at_most` of each kind, default, repayment and no event, weighted by what was left out.

        All of a kind of which there are fewer.
        """
        if len(self) <= at_most:
            return self
        kind = (self.defaulted + 2 * self.repaid).astype(np.int64)
        shares = np.minimum(at_most / 3 / np.maximum(np.bincount(kind, minlength=3), 1), 1)[kind]
        drawn = rng.random(len(self)) < shares
        return replace(self, weights=(self.weights / shares).astype(np.float32))[drawn]


@dataclass(frozen=True)
class Incidence:
    """Cumulative incidence of default and of repayment of n loans at the ends of k periods, (n, k + 1) from 0 on.

    `running` is the share that still runs, where it was computed by itself: the rest, but for the last digits.
    """

    defaulted: Floats
    repaid: Floats
    running: Floats | None = None

    @property
    def lifetime(self) -> Floats:
        """Return the probability that a loan ends in default (n,)."""
        return self.defaulted[:, -1]

    def defaulted_by(self, months: Floats) -> Floats:
        """Return the probability of default within so many months from the issue of each loan (n,)."""
        return _incidence_after(self.defaulted, months)

    def defaulted_after(self, months: Floats) -> Floats:
        """Return the probability that a loan that still runs after so many months (n,) ends in default (n,)."""
        before = self.defaulted_by(months)
        running = 1 - before - _incidence_after(self.repaid, months)
        return np.clip((self.lifetime - before) / np.maximum(running, 1e-9), 0, 1)

    def by_month(self, term: int, months_after_default: int) -> tuple[Floats, Floats]:
        """Divide each loan's defaults and its repayments among the months of the term.

        Args:
            term: months, of all of the loans.
            months_after_default: from the last payment until a default is known.

        Returns:
            Shares of the defaults by the payments made before (n, term), from 0, and of the repayments by the month of
            the last payment (n, term), from 1: evenly within a period.
        """
        months = np.arange(1, PERIOD_MONTHS * (self.defaulted.shape[1] - 1) + 1)
        ends = np.clip(months - months_after_default, 0, term - 1), np.clip(months, 1, term) - 1
        defaults, repayments = (
            np.diff(incidence, axis=1) @ _spread(positions, term)
            for incidence, positions in zip((self.defaulted, self.repaid), ends, strict=True)
        )
        running = 1 - defaults.sum(axis=1) - repayments.sum(axis=1)
        repayments[:, -1] += np.maximum(running, 0)  # what still runs at the end is repaid then
        shares = (each / np.maximum(each.sum(axis=1, keepdims=True), _LEAST_SHARE) for each in (defaults, repayments))
        return next(shares), next(shares)

    @property
    def expected_life(self) -> Floats:
        """Return the months that a loan is expected to run (n,): the area below the share that still runs."""
        running = 1 - self.defaulted - self.repaid if self.running is None else self.running
        area = np.cumsum(running, axis=1)[:, -1] - (running[:, 0] + running[:, -1]) / 2
        return np.asarray(area * PERIOD_MONTHS)


def _spread(positions: Ints, term: int) -> Floats:
    """Return which share of each period's events falls on each month of the term (k, term)."""
    spread = np.zeros((len(positions) // PERIOD_MONTHS, term))
    np.add.at(spread, (np.arange(len(positions)) // PERIOD_MONTHS, positions), 1 / PERIOD_MONTHS)
    return spread


def _incidence_after(incidence: Floats, months: Floats) -> Floats:
    """Read an incidence (n, k + 1) after so many months (n,), straight between the ends of periods."""
    position = np.clip(np.asarray(months, dtype=np.float64) / PERIOD_MONTHS, 0, incidence.shape[1] - 1)
    before = np.floor(position).astype(np.int64)
    after, loans = np.minimum(before + 1, incidence.shape[1] - 1), np.arange(len(incidence))
    share = position - before
    return np.asarray(incidence[loans, before] * (1 - share) + incidence[loans, after] * share)


def last_periods(terms: Floats, grace_months: int) -> Ints:
    """Count the periods (n,) until the term and the months of grace are over."""
    return np.ceil((terms + grace_months) / PERIOD_MONTHS).astype(np.int64)


@dataclass(frozen=True)
class Hazard:
    """Two fitted models of what happens in a period on book to a loan that ran when it began.

    Their log-odds are a part that depends on the application and the phase of the loan, and one that depends on the
    period and the term alone: so a loan costs a prediction for each phase, and not for each period.

    Attributes:
        default: trees of default.
        repayment: trees of repayment, early or at the end.
        longest: number of the last period that was observed of any loan; later ones are like it, at a later share of
            the term.
        grace_months: after the term in which a default is still booked.
    """

    default: XGBoostTrees
    repayment: XGBoostTrees
    longest: int
    grace_months: int

    def incidence(self, X: Matrix, terms: Floats) -> Incidence:
        """Sum up what happens to loans (n rows, as the features' matrix has them) of these terms (n,), by period.

        All of it is NaN where the term is no number above 0.
        """
        length = int(last_periods(np.nan_to_num(terms), self.grace_months).max(initial=1)) + 1
        defaulted, repaid = np.full((2, len(X), length), np.nan)
        for begin, count in part_bounds(len(X)):
            part = slice(begin, begin + count)
            margins = self.margins(X[part])
            for term in np.unique(terms[part][terms[part] > 0]):
                rows = np.flatnonzero(terms[part] == term)
                of_term = self.of_term(margins[rows], float(term))
                defaulted[begin + rows] = _lengthened(of_term.defaulted, length)
                repaid[begin + rows] = _lengthened(of_term.repaid, length)
        return Incidence(defaulted, repaid)

    def margins(self, X: Matrix) -> Floats:
        """Return the log-odds (n, 2 * phases) of default and then of repayment, by phase, when a loan is granted."""
        return self.margins_by(X, self.default.margins, self.repayment.margins)

    @staticmethod
    def margins_by(X: Matrix, *ways: Callable[[Matrix], Floats]) -> Floats:
        """Return the same by whatever computes margins of either model."""
        rows = Hazard.phase_rows(X)
        return np.concatenate([way(rows).reshape(len(X), len(_PHASES)) for way in ways], axis=1)

    @staticmethod
    def phase_rows(X: Matrix) -> Matrix:
        """Return a row for each phase of each loan, as both models see it when the loan is granted."""
        rows = np.zeros((len(X), len(_PHASES), X.shape[1] + _OWN_COLUMNS), dtype=np.float32)
        rows[:, :, : X.shape[1]] = X[:, None]
        rows[:, :, X.shape[1]] = np.arange(len(_PHASES))
        return rows.reshape(-1, rows.shape[2])

    def of_term(self, margins: Floats, term: float) -> Incidence:
        """Sum up what happens to loans of one term by their margins (n, 2 * phases): the same alone as among others."""
        defaults, repayments = np.split(self.hazards(margins, term), 2, axis=1)
        survived = 1 - defaults
        running, defaulted = np.ones((2, len(margins), defaults.shape[1] + 1))
        defaulted[:, 0] = 0
        np.cumprod(survived - np.minimum(repayments, survived), axis=1, out=running[:, 1:])
        np.cumsum(running[:, :-1] * defaults, axis=1, out=defaulted[:, 1:])
        return Incidence(defaulted, 1 - defaulted - running, running)

    def of_loan(self, margins: Floats, term: float) -> tuple[list[float], list[float]]:
        """Return the incidence of default of one loan (k + 1), and whether it still runs, to the bit as `of_term`."""
        hazards = self.hazards(margins, term).tolist()
        defaulted, running = [0.0], [1.0]
        for default, repayment in zip(hazards[: len(hazards) // 2], hazards[len(hazards) // 2 :], strict=True):
            before, survived = running[-1], 1 - default
            defaulted.append(defaulted[-1] + before * default)
            running.append(before * (survived - min(repayment, survived)))
        return defaulted, running

    def hazards(self, margins: Floats, term: float) -> Floats:
        """Return the hazards (…, 2 * k) of default, and of repayment, in each period of a term."""
        positions, added = self._course(term)
        return np.asarray(1 / (1 + np.exp(-(margins[..., positions] + added))))

    @cached_property
    def _courses(self) -> dict[float, tuple[Ints, Floats]]:
        return {}

    def _course(self, term: float) -> tuple[Ints, Floats]:
        """Return of each period of a term, of default and then of repayment (2 k,), which margin counts, plus what."""
        course = self._courses.get(term)
        if course is None:
            if len(self._courses) >= _REMEMBERED:
                self._courses.clear()
            periods = np.arange(last_periods(np.array([term]), self.grace_months)[0])
            rows = np.zeros((len(periods) + 1, self.default.booster.num_features()), dtype=np.float32)
            rows[1:, 1 - _OWN_COLUMNS :] = _period_columns(periods, np.full(len(periods), term), self.longest)[:, 1:]
            default, repayment = (model.margins(rows) for model in (self.default, self.repayment))
            phases = _phases_of(periods)
            added = np.concatenate([default[1:] - default[0], repayment[1:] - repayment[0]])
            course = self._courses[term] = (np.concatenate([phases, len(_PHASES) + phases]), added)
        return course

    def save(self, folder: Path) -> None:
        """Write both models and `hazard.json` into a folder."""
        for name in MODELS:
            (folder / name).mkdir(parents=True, exist_ok=True)
            getattr(self, name).save(folder / name)
        content = {"longest": self.longest, "grace_months": self.grace_months}
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Hazard:
        """Read what `save` wrote."""
        content: dict[str, int] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        default, repayment = (XGBoostTrees.load(folder / name) for name in MODELS)
        return cls(default, repayment, content["longest"], content["grace_months"])


def _lengthened(incidence: Floats, length: int) -> Floats:
    """Continue an incidence (n, k) at its last value."""
    return np.column_stack([incidence, np.repeat(incidence[:, -1:], length - incidence.shape[1], axis=1)])


def _phases_of(periods: Ints) -> Ints:
    return np.asarray(np.searchsorted(_PHASES, periods, side="right") - 1)


def _period_columns(periods: Ints, terms: Floats, longest: int | None = None) -> NDArray[np.float32]:
    """Return the phase, months on book when a period began, of those observed, and the share of the term (m, 3)."""
    months = np.minimum(periods, longest) if longest is not None else periods
    columns = [_phases_of(periods), PERIOD_MONTHS * months, PERIOD_MONTHS * periods / terms]
    return np.column_stack(columns).astype(np.float32)


def fit_hazard(
    X: Matrix,
    history: LoanHistory,
    space: FeatureSpace,
    parameters: BoostingParameters,
    *,
    seed: int,
    at_most: int = PERIODS_AT_MOST,
    least_learning_rate: float = _LEAST_LEARNING_RATE,
) -> Hazard:
    """Fit both hazards on all loans of a view, the open ones among them.

    Args:
        X: (n, columns) of the loans, as `space` gives it.
        history: what was observed of them.
        space: the columns, and how PD may move with them; repayment may move either way.
        parameters: of boosted trees by XGBoost; a loan in five says when each fit stops.
        seed: of every random choice.
        at_most: about how many loan-periods are learned from.
        least_learning_rate: which counts where that of the parameters is lower.

    Raises:
        BadInput: no default, or no repayment, was observed.
    """
    rng = np.random.default_rng(seed)
    grace_months = space.contract.outcome.grace_months
    periods = LoanPeriods.of(history, grace_months)
    for events, what in ((periods.defaulted, "default"), (periods.repaid, "repayment")):
        if not events.any():
            raise BadInput(f"No {what} was observed among {len(history):,} loans; a hazard needs some of both kinds.")
    longest, periods = int(periods.periods.max()), periods.draw(at_most, rng)
    rows = np.column_stack([X[periods.loans], _period_columns(periods.periods, history.terms[periods.loans])])
    stops = (rng.random(len(history)) < 1 / _STOPPED_BY)[periods.loans]
    boosting = _Boosting.of(rows, periods, stops, _at_rate(parameters, least_learning_rate))
    columns = rows.shape[1]
    monotone, free = (*space.monotone, *(0,) * _OWN_COLUMNS), (0,) * columns
    apart = json.dumps([[*range(columns - 2)], [columns - 2, columns - 1]])  # the application and phase, and the period

    def fit(events: NDArray[np.float32], directions: tuple[int, ...]) -> XGBoostTrees:
        constraints = {"monotone_constraints": directions, "interaction_constraints": apart}
        return XGBoostTrees(boosting.fit(events, tree_parameters(boosting.parameters.start, space, seed) | constraints))

    return Hazard(fit(periods.defaulted, monotone), fit(periods.repaid, free), longest, grace_months)


def _at_rate(parameters: BoostingParameters, least: float) -> BoostingParameters:
    """Return the parameters at this learning rate at least; a fit that learns faster stops after fewer rounds."""
    slow = parameters.start.get("learning_rate", least)
    if slow >= least:
        return parameters
    stop_after = max(math.ceil(parameters.stop_after_rounds * slow / least), _LEAST_PATIENCE)
    start = {**parameters.start, "learning_rate": least}
    return parameters.model_copy(update={"start": start, "stop_after_rounds": stop_after})


@dataclass(frozen=True)
class _Boosting:
    """Loan-periods (m rows), cut into bins once for both kinds of events.

    Attributes:
        everything: all of them.
        learned: those by which the number of rounds is found.
        held_out: those whose log loss says when to stop.
        stops: (m,) true for these.
        parameters: of the trees.
    """

    everything: Any  # xgboost.QuantileDMatrix; the library is imported where it is used
    learned: Any
    held_out: Any
    stops: NDArray[np.bool_]
    parameters: BoostingParameters

    @classmethod
    def of(
        cls, rows: Matrix, periods: LoanPeriods, stops: NDArray[np.bool_], parameters: BoostingParameters
    ) -> _Boosting:
        """Cut the columns of loan-periods (m rows) into bins."""
        from xgboost import QuantileDMatrix

        learned = QuantileDMatrix(rows[~stops], weight=periods.weights[~stops])
        held_out = QuantileDMatrix(rows[stops], weight=periods.weights[stops], ref=learned)
        return cls(QuantileDMatrix(rows, weight=periods.weights, ref=learned), learned, held_out, stops, parameters)

    def fit(self, events: NDArray[np.float32], spec: Mapping[str, Any]) -> Any:
        """Boost some of the rows until the others' log loss stops falling, then all of them for as many rounds."""
        import xgboost

        for matrix, labels in (
            (self.everything, events),
            (self.learned, events[~self.stops]),
            (self.held_out, events[self.stops]),
        ):
            matrix.set_label(labels)
        first = xgboost.train(
            dict(spec),
            self.learned,
            self.parameters.rounds_at_most,
            evals=[(self.held_out, "held_out")],
            early_stopping_rounds=self.parameters.stop_after_rounds,
            verbose_eval=False,
        )
        return xgboost.train(dict(spec), self.everything, first.best_iteration + 1)


def expected_outcomes(hazard: Hazard, X: Matrix, history: LoanHistory) -> NDArray[np.float32]:
    """Return how each loan ends (n,): 1 or 0 where that is known, else its probability of default from now on.

    In log loss a loan with such a label is one that stands in the sample twice, as a default and as repaid, weighted by
    the probability of either ending (redistribution to the right; B. Efron, 1967).
    """
    expected = history.defaulted.astype(np.float32)
    is_open = history.is_open
    if is_open.any():
        incidence = hazard.incidence(X[is_open], history.terms[is_open])
        still_due = history.terms[is_open] + hazard.grace_months - 1  # a loan past all that is as one about to end
        expected[is_open] = incidence.defaulted_after(np.minimum(history.observed[is_open], still_due))
    return expected
