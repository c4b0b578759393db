"""Back-tests: develops as the platform would have stood at past months, and judges by what became of later loans.

At each month only what was known then is learned from, by each way to treat loans that were still open: `matured`
leaves them out, as trainings do; `hazard` is the lifetime PD of the two hazards; `open` is boosted trees that learn
from every loan, an open one by the probability that the hazards give it of ending in default; `hindsight` learns from
the same loans with the outcomes that were known in the end, which nobody could have had. Views of a book belong in
`data.as_of`, hazards in `model.hazard`; what a training learns from is `data.splitting`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.data.as_of import LoanHistory, as_of, months_until_known, require_known
from loan_default.risk.data.population import measure_population
from loan_default.risk.economics.cash_flows import realised_values
from loan_default.risk.economics.loan_terms import read_ended
from loan_default.risk.economics.valuation import costs_of
from loan_default.risk.errors import BadInput
from loan_default.risk.evaluation import auc_of
from loan_default.risk.loan_order import term_months
from loan_default.risk.model.candidates.registry import boosted_class
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import RECIPE, Hazard, expected_outcomes, fit_hazard
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import fit_calibrated
from loan_default.risk.month_texts import months_after
from loan_default.risk.policy import DecisionPolicy, Policy, ValuePolicy

Label = Literal["matured", "hazard", "open", "hindsight"]
LABELS: tuple[Label, ...] = ("matured", "hazard", "open", "hindsight")
TESTED_MONTHS = 12
YEAR = 12.0
_CALIBRATED = 0.2  # of the loans, the newest
_LEAST_LOANS = 100  # that are tested


@dataclass(frozen=True)
class TermFigures:
    """The loans of one term among those that were tested, their mean PD and the share that defaulted."""

    term: float
    loans: int
    mean_pd: float
    default_rate: float


@dataclass(frozen=True)
class BackTestPoint:
    """What one way of learning at one month reached on the loans of the months after it.

    Attributes:
        month: as of which it was developed.
        label: how open loans were treated.
        learned: loans that it learned from.
        learned_open: of them those that were open then.
        loans: that were tested.
        default_rate: of them in the end.
        auc: of the PDs.
        brier: of the PDs.
        mean_pd: of the PDs.
        approved: share of the loans that the cut-offs of the PD approve.
        approved_default_rate: of these in the end.
        approved_npv: what these earned, as a net present value in the book's money, where the policy says what costs.
        declined: share of the loans that the cut-offs of the PD decline.
        terms: the same by term, where there are several.
        year_default_rate: share of the loans that defaulted within 12 months.
        year_mean_pd: mean of the PDs of 12 months, where there are any.
        year_auc: of these.
        reason: why nothing could be developed; the figures are None then.
    """

    month: date
    label: Label
    learned: int
    learned_open: int
    loans: int
    default_rate: float
    auc: float | None = None
    brier: float | None = None
    mean_pd: float | None = None
    approved: float | None = None
    approved_default_rate: float | None = None
    approved_npv: float | None = None
    declined: float | None = None
    terms: tuple[TermFigures, ...] = ()
    year_default_rate: float | None = None
    year_mean_pd: float | None = None
    year_auc: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record: the month as YYYY-MM."""
        return {**asdict(self), "month": f"{self.month:%Y-%m}"}


# Of a table of points: "real" is the share that defaulted, of all and of the approved, "12" the first twelve months.
COLUMNS = (
    "as of",
    "label",
    "learned",
    "tested",
    "AUC",
    "Brier",
    "PD",
    "real",
    "approved",
    "real of these",
    "NPV",
    "AUC 12",
    "PD 12",
    "real 12",
)


def rows_of(points: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Write the points of a record as rows of `COLUMNS`; what could not be measured is empty."""
    shares = ("mean_pd", "default_rate", "approved", "approved_default_rate")
    in_year = ("year_mean_pd", "year_default_rate")
    return [
        (
            point["month"],
            point["label"],
            f"{point['learned']:,}",
            f"{point['loans']:,}",
            *(_text(point[name], ".4f") for name in ("auc", "brier")),
            *(_text(point[name], ".1%") for name in shares),
            _text(point["approved_npv"], ",.0f"),
            _text(point["year_auc"], ".4f"),
            *(_text(point[name], ".2%") for name in in_year),
        )
        for point in points
    ]


def _text(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


@dataclass(frozen=True)
class TestedLoans:
    """Holds the loans (n,) of the months after one, and what became of them; `npvs` where costs are known."""

    frame: pl.DataFrame
    outcomes: Floats
    terms: Floats
    within_year: Floats
    npvs: Floats | None

    @classmethod
    def of(
        cls, loans: pl.LazyFrame, contract: Contract, month: date, snapshot: date, value: ValuePolicy | None
    ) -> TestedLoans:
        """Take those that had matured by the snapshot."""
        frame = loans.filter(_is_tested(pl.col(contract.time_name), month) & _is_matured(snapshot)).collect()
        columns = frame.select(
            pl.col(OUTCOME).cast(pl.Float64).alias("outcomes"),
            term_months(contract).alias("terms"),
            ((pl.col(OUTCOME) == 1) & (months_until_known(contract) <= YEAR)).cast(pl.Float64).alias("within_year"),
        )
        npvs = None if value is None or value_problem(contract) else _npvs(frame, contract, value)
        return cls(frame, **{name: columns[name].to_numpy() for name in columns.columns}, npvs=npvs)

    def __len__(self) -> int:
        return len(self.outcomes)


def _npvs(loans: pl.DataFrame, contract: Contract, value: ValuePolicy) -> Floats:
    """Return what loans (n,) earned; 0 where the file does not say what one paid."""
    ended, complete = read_ended(loans, contract)
    npvs = np.zeros(loans.height)
    npvs[complete] = realised_values(ended.realised, costs_of(value))
    return npvs


def months_between(first: date, last: date, every: int) -> list[date]:
    """Return a month and each so many months after it, up to the last."""
    numbers = range(12 * first.year + first.month - 1, 12 * last.year + last.month, every)
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


def judged_months(loans: pl.LazyFrame, contract: Contract, months: Sequence[date], snapshot: date) -> list[date]:
    """Return those of the months that enough matured loans of either ending follow, for a back-test to judge by.

    Raises:
        BadInput: the book does not say when outcomes were known, or there is no such month.
    """
    require_known(contract)
    counts = (
        loans.filter(_is_matured(snapshot))
        .group_by(pl.col(contract.time_name).alias("issued"))
        .agg(pl.len().alias("loans"), pl.col(OUTCOME).sum().alias("defaults"))
        .collect()
    )
    judged = []
    for month in months:
        tested = counts.filter(_is_tested(pl.col("issued"), month)).sum()
        rows, defaults = tested["loans"].item(), tested["defaults"].item()
        if rows >= _LEAST_LOANS and 0 < defaults < rows:
            judged.append(month)
    if not judged:
        span = f"No month from {months[0]:%Y-%m} to {months[-1]:%Y-%m}" if months else "No month"
        raise BadInput(
            f"{span} is followed by {_LEAST_LOANS} loans that had matured by {snapshot:%Y-%m} and ended either way; "
            "name an earlier month, or give a file that was taken later."
        )
    return judged


def _is_matured(snapshot: date) -> pl.Expr:
    """Return true for loans to judge by: others that have an outcome ended sooner than most."""
    return (pl.col(MATURES) <= snapshot) & pl.col(OUTCOME).is_not_null()


def _is_tested(issued: pl.Expr, month: date) -> pl.Expr:
    """Return true for issue months of the loans by which a month is judged."""
    return (issued >= month) & (issued < months_after(pl.lit(month), pl.lit(float(TESTED_MONTHS))))


def back_test(
    loans: pl.LazyFrame,
    contract: Contract,
    search: SearchSpace,
    policy: Policy,
    months: Sequence[date],
    *,
    snapshot: date,
    seed: int,
    labels: Sequence[Label] = LABELS,
    on_point: Callable[[BackTestPoint], None] = lambda point: None,
) -> tuple[BackTestPoint, ...]:
    """Develop as of each month in each way, and measure it on the loans of the twelve months from that month on.

    Args:
        loans: cleaned loans.
        contract: what a loan is; it says when outcomes were known.
        search: how the trees are fitted.
        policy: the cut-offs, and what a loan costs.
        months: as of which to develop; those that too few matured loans follow are left out.
        snapshot: the month in which the files were taken.
        seed: of every random choice.
        labels: the ways of learning.
        on_point: called with each point as it is measured.

    Raises:
        BadInput: the book does not say when outcomes were known, or no month is followed by enough matured loans.
    """
    points: list[BackTestPoint] = []
    for month in judged_months(loans, contract, months, snapshot):
        tested = TestedLoans.of(loans, contract, month, snapshot, policy.value)
        past = _Past(loans, contract, month, snapshot, search, policy.decision, seed)
        for label in labels:
            points.append(past.point(label, tested))
            on_point(points[-1])
    return tuple(points)


@dataclass(frozen=True)
class _Past:
    """Learns from what was known at a month."""

    loans: pl.LazyFrame
    contract: Contract
    month: date
    snapshot: date
    search: SearchSpace
    decision: DecisionPolicy
    seed: int

    @cached_property
    def view(self) -> pl.DataFrame:
        return as_of(self.loans, self.contract, self.month, self.snapshot).collect()

    @cached_property
    def history(self) -> LoanHistory:
        return LoanHistory.of(self.view, self.contract, self.month)

    @cached_property
    def space(self) -> FeatureSpace:
        return self.space_of(self.view)

    def space_of(self, loans: pl.DataFrame) -> FeatureSpace:
        population = measure_population(loans.lazy(), self.contract)
        return FeatureSpace(self.contract, population, self.decision.decide_without_opinion)

    @cached_property
    def hazard(self) -> Hazard:
        parameters = self.search.for_loans(len(self.history)).tunable(RECIPE)
        return fit_hazard(self.space.matrix(self.view), self.history, self.space, parameters, seed=self.seed)

    def learned_from(self, label: Label) -> tuple[pl.DataFrame, Floats]:
        """Return the loans (n) that a way of learning uses, and how they ended (n,), as far as it knows that."""
        if label in ("hazard", "open"):
            expected = expected_outcomes(self.hazard, self.space.matrix(self.view), self.history)
            return self.view, expected.astype(np.float64)
        is_matured = pl.col(OUTCOME).is_not_null() & (pl.col(MATURES) <= pl.lit(self.month))
        if label == "hindsight":
            issued_before = pl.col(self.contract.time_name) < self.month
            resolved = pl.col(OUTCOME).is_not_null() & (pl.col(MATURES) <= pl.lit(self.snapshot))
            frame = self.loans.filter(issued_before & resolved).collect()
        else:
            frame = self.view.filter(is_matured)
        return frame, frame[OUTCOME].to_numpy().astype(np.float64)

    def point(self, label: Label, tested: TestedLoans) -> BackTestPoint:
        """Develop in a way of learning, and measure it; a point without figures where nothing could be developed."""
        is_open = int(self.history.is_open.sum()) if label in ("hazard", "open") else 0
        try:
            loans, outcomes = self.learned_from(label)
            pds, year_pds = self.pds(label, loans, outcomes, tested)
        except BadInput as error:
            learned = len(self.view) if label in ("hazard", "open") else len(self.learned_from(label)[0])
            rate = float(tested.outcomes.mean())
            return BackTestPoint(self.month, label, learned, is_open, len(tested), rate, reason=str(error))
        return _measure(
            BackTestPoint(self.month, label, len(loans), is_open, len(tested), float(tested.outcomes.mean())),
            tested,
            pds,
            year_pds,
            self.decision,
        )

    def pds(
        self, label: Label, loans: pl.DataFrame, outcomes: Floats, tested: TestedLoans
    ) -> tuple[Floats, Floats | None]:
        """Return lifetime PDs of the tested loans (n,), and PDs of their first year, which the hazards' timing says."""
        if label == "hazard":
            incidence = self.hazard.incidence(self.space.matrix(tested.frame), tested.terms)
            return incidence.lifetime, incidence.defaulted_by(np.full(len(tested), YEAR))
        pds = self._trees(loans, outcomes, tested)
        if label != "open":
            return pds, None
        incidence = self.hazard.incidence(self.space.matrix(tested.frame), tested.terms)
        in_year = incidence.defaulted_by(np.full(len(tested), YEAR)) / np.maximum(incidence.lifetime, 1e-9)
        return pds, pds * in_year

    def _trees(self, loans: pl.DataFrame, outcomes: Floats, tested: TestedLoans) -> Floats:
        """Fit and calibrate the recipe on older and newer loans, and return the PDs of the tested ones (n,)."""
        order = np.argsort(loans[self.contract.time_name].to_numpy(), kind="stable")
        older, newer = np.split(order, [round(len(order) * (1 - _CALIBRATED))])
        for window in (older, newer):
            if not 1 <= outcomes[window].sum() <= len(window) - 1:
                raise BadInput(f"{len(order):,} loans had matured, of which {outcomes.sum():,.0f} defaulted: too few.")
        space = self.space_of(loans)
        X, y = space.matrix(loans), outcomes.astype(np.float32)
        development = LocalDevelopment(space, Sample(X[older], y[older]), Sample(X[newer], y[newer]))
        parameters = self.search.for_loans(len(older)).tunable(RECIPE)
        model, calibration, *_ = fit_calibrated(boosted_class(RECIPE), parameters, development, self.seed)
        return calibration.pds(model.margins(space.matrix(tested.frame)))


def _measure(
    point: BackTestPoint, tested: TestedLoans, pds: Floats, year_pds: Floats | None, decision: DecisionPolicy
) -> BackTestPoint:
    """Fill in the figures of a point."""
    approved, declined = pds < decision.approve_below, pds >= decision.decline_from
    in_year = tested.within_year
    return replace(
        point,
        auc=auc_of(tested.outcomes, pds),
        brier=float(np.mean((pds - tested.outcomes) ** 2)),
        mean_pd=float(pds.mean()),
        approved=float(approved.mean()),
        approved_default_rate=float(tested.outcomes[approved].mean()) if approved.any() else None,
        approved_npv=None if tested.npvs is None else float(tested.npvs[approved].sum()),
        declined=float(declined.mean()),
        terms=_by_term(tested, pds),
        year_default_rate=float(in_year.mean()),
        year_mean_pd=None if year_pds is None else float(year_pds.mean()),
        year_auc=None if year_pds is None or not in_year.any() else auc_of(in_year, year_pds),
    )


def _by_term(tested: TestedLoans, pds: Floats) -> tuple[TermFigures, ...]:
    """Measure each term where there are several."""
    terms, counts = np.unique(tested.terms, return_counts=True)
    if len(terms) == 1:
        return ()
    return tuple(
        TermFigures(float(term), int(count), float(pds[rows].mean()), float(tested.outcomes[rows].mean()))
        for term, count in zip(terms, counts, strict=True)
        for rows in [tested.terms == term]
    )
