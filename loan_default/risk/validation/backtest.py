"""Back-tests: develops as the platform would have stood at past months, and judges by what became of later loans.

`platform` is the version that its own training and gates would have put into production; the other labels develop every
candidate on all that was known, by how they treat loans that were still open: `matured` leaves them out, as trainings
do; `hazard` is the lifetime PD of the two hazards; `open` learns from every loan, an open one by the probability that
the hazards give it of ending in default; `hindsight` learns from the same loans with the outcomes that were known in
the end, which nobody could have had. Developing is `past_models`' and `standing`'s; here it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.data.as_of import months_until_known, require_known
from loan_default.risk.data.splitting import SplitPlan
from loan_default.risk.economics.approval import (
    RULES,
    ApprovedLoans,
    Mask,
    RealisedGroup,
    ValuedLoans,
    approved_by,
    outcome_of,
    realised_by_decile,
)
from loan_default.risk.economics.cash_flows import realised_values
from loan_default.risk.economics.loan_terms import LoanTerms, read_ended
from loan_default.risk.economics.loss import EndedLoans
from loan_default.risk.economics.valuation import ValueModel, costs_of
from loan_default.risk.errors import BadInput
from loan_default.risk.loan_order import term_months
from loan_default.risk.metrics import auc_of
from loan_default.risk.model.decision_rule import APPROVE, DECLINE, decide_all
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.month_texts import months_after
from loan_default.risk.policy import Policy, ValuePolicy
from loan_default.risk.validation.past_models import PastBook, PastModel, Way
from loan_default.risk.validation.standing import Production, stand

Label = Literal["platform", "matured", "hazard", "open", "hindsight"]
WAYS: tuple[Way, ...] = ("matured", "hazard", "open", "hindsight")
LABELS: tuple[Label, ...] = ("platform", *WAYS)
TESTED_MONTHS = 12
YEAR = 12.0
PRESENT = "present"
_LEAST_LOANS = 100  # that are tested
_TESTED_AT_MOST = 200_000  # of more so many are drawn


@dataclass(frozen=True)
class TermFigures:
    """The loans of one term among those that were tested: mean PD, defaults, and what approved ones earned."""

    term: float
    loans: int
    mean_pd: float
    default_rate: float
    approved: float | None = None
    approved_expected_npv: float | None = None
    approved_npv: float | None = None


@dataclass(frozen=True)
class BackTestPoint:
    """What a model of one month reached on the loans of the months after it.

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
        approved: share of the loans that the policy's cut-offs approve.
        approved_default_rate: of these in the end.
        approved_npv: what these earned, as a net present value in the book's money, where the policy says what costs.
        declined: share of the loans that the cut-offs decline.
        approved_expected_npv: what these were expected to earn by what was known at the month, where that was enough.
        rules: where it was, what as many loans as are approved came to by either rule (`pd`, `npv`), and the approved
            ones themselves (`present`).
        deciles: there also what the loans earned by tenths of what each was expected to.
        terms: the same by term, where there are several.
        year_default_rate: share of the loans that defaulted within 12 months.
        year_mean_pd: mean of the PDs of 12 months, where there are any.
        year_auc: of these.
        model: the candidate; of the platform also the month of the version in production, if it was an earlier one.
        leads: whether it is the candidate that would have been chosen.
        verdict: of the gates on the platform's version of that month; empty where none could be trained.
        reason: why nothing could be developed, and the figures are None; or why the gates held the version.
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
    approved_expected_npv: float | None = None
    rules: Mapping[str, ApprovedLoans] | None = None
    deciles: tuple[RealisedGroup, ...] = ()
    terms: tuple[TermFigures, ...] = ()
    year_default_rate: float | None = None
    year_mean_pd: float | None = None
    year_auc: float | None = None
    model: str = ""
    leads: bool = True
    verdict: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record: the month as YYYY-MM."""
        return {**asdict(self), "month": f"{self.month:%Y-%m}"}


# Of a table of points: "real" is the share that defaulted, of all and of the approved, "12" the first twelve months.
COLUMNS = (
    "as of",
    "label",
    "model",
    "learned",
    "tested",
    "AUC",
    "Brier",
    "PD",
    "real",
    "approved",
    "real of these",
    "declined",
    "expected NPV",
    "NPV",
    "AUC 12",
    "PD 12",
    "real 12",
)


def rows_of(points: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Write the points of a record as rows of `COLUMNS`; what could not be measured, or was not yet, is empty."""
    shares = ("mean_pd", "default_rate", "approved", "approved_default_rate", "declined")
    in_year = ("year_mean_pd", "year_default_rate")
    return [
        (
            *_names(point),
            f"{point['learned']:,}",
            f"{point['loans']:,}",
            *(_text(point[name], ".4f") for name in ("auc", "brier")),
            *(_text(point[name], ".1%") for name in shares),
            _text(point.get("approved_expected_npv"), "z,.0f"),
            _text(point["approved_npv"], "z,.0f"),
            _text(point["year_auc"], ".4f"),
            *(_text(point[name], ".2%") for name in in_year),
        )
        for point in points
    ]


def _names(point: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return month, label and model of a point, with which its rows begin."""
    return point["month"], point["label"], point.get("model", "")


def _text(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


_LEVEL_POINTS = 1.0  # between mean PD and default rate, from which on it is said
TERM_COLUMNS = ("as of", "label", "model", "term", "tested", "PD", "real", "approved", "expected NPV", "NPV")


def term_rows_of(points: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Write the terms of the candidates that lead as rows of `TERM_COLUMNS`."""
    return [
        (
            *_names(point),
            f"{term['term']:g}",
            f"{term['loans']:,}",
            *(_text(term.get(name), ".1%") for name in ("mean_pd", "default_rate", "approved")),
            *(_text(term.get(name), "z,.0f") for name in ("approved_expected_npv", "approved_npv")),
        )
        for point in points
        if point.get("leads", True)
        for term in point["terms"]
    ]


def rules_of(points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str, Mapping[str, Any]]]:
    """Yield each point of the candidates that lead, with each rule and what the loans that it approves came to.

    Where nothing was known at a month by which to expect anything there is none.
    """
    for point in points:
        if point.get("leads", True):
            yield from ((point, rule, outcome) for rule, outcome in (point.get("rules") or {}).items())


def deciles_of(points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
    """Yield each point of the candidates that lead, with what loans earned by tenths of what was expected of them."""
    yield from ((point, point["deciles"]) for point in points if point.get("leads", True) and point.get("deciles"))


def levels_of(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say by how many points the PDs of each way of learning were too high or too low, where they were by one or more.

    Of the candidates that lead; hindsight is left out, as nobody could have had it.
    """
    errors: dict[str, dict[str, float]] = {}
    for point in points:
        if point.get("leads", True) and point["label"] != "hindsight" and point["mean_pd"] is not None:
            errors.setdefault(point["label"], {})[point["month"]] = 100 * (point["mean_pd"] - point["default_rate"])
    for label, by_month in errors.items():
        parts = []
        for word, sign in (("high", 1), ("low", -1)):
            apart = {month: sign * error for month, error in by_month.items() if sign * error >= _LEVEL_POINTS}
            months = ", ".join(f"{error:.1f} points as of {month}" for month, error in apart.items())
            parts += [f"too {word} by {months}"] if months else []
        yield f"On average PDs of {label} were {' and '.join(parts) or 'less than a point off at every month'}."


def reasons_of(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each point without figures why there are none, and of each version of the platform why it was held."""
    return [
        f"{point['month']} {point['label']}{', held' if point.get('verdict') == 'hold' else ''}: {point['reason']}"
        for point in points
        if point["reason"]
    ]


@dataclass(frozen=True)
class TestedLoans:
    """Holds the loans (n,) of the months after one, and what became of them.

    `ended` are those that say what they paid, `complete` (n,) which these are, `npvs` (n,) what each earned, 0 where
    the file does not say it; None where the policy does not say what a loan costs.
    """

    frame: pl.DataFrame
    outcomes: Floats
    terms: Floats
    within_year: Floats
    ended: EndedLoans | None
    complete: Mask
    npvs: Floats | None

    @classmethod
    def of(
        cls, loans: pl.LazyFrame, contract: Contract, month: date, snapshot: date, value: ValuePolicy | None
    ) -> TestedLoans:
        """Take those that had matured by the snapshot, or a draw of them where these are many."""
        frame = loans.filter(_is_tested(pl.col(contract.time_name), month) & _is_matured(snapshot)).collect()
        if frame.height > _TESTED_AT_MOST:
            frame = frame.sample(_TESTED_AT_MOST, seed=0)
        columns = frame.select(
            pl.col(OUTCOME).cast(pl.Float64).alias("outcomes"),
            term_months(contract).alias("terms"),
            ((pl.col(OUTCOME) == 1) & (months_until_known(contract) <= YEAR)).cast(pl.Float64).alias("within_year"),
        )
        arrays = {name: columns[name].to_numpy() for name in columns.columns}
        if value is None or value_problem(contract):
            return cls(frame, **arrays, ended=None, complete=np.zeros(frame.height, dtype=np.bool_), npvs=None)
        ended, complete = read_ended(frame, contract)
        npvs = np.zeros(frame.height)
        npvs[complete] = realised_values(ended.realised, costs_of(value))
        return cls(frame, **arrays, ended=ended, complete=complete, npvs=npvs)

    def __len__(self) -> int:
        return len(self.outcomes)


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
    plan: SplitPlan | None = None,
    labels: Sequence[Label] = LABELS,
    on_point: Callable[[float, BackTestPoint], None] = lambda share, point: None,
) -> tuple[BackTestPoint, ...]:
    """Develop as of each month in each way, and measure it on the loans of the twelve months from that month on.

    Args:
        loans: cleaned loans.
        contract: what a loan is; it says when outcomes were known.
        search: how the candidates are fitted.
        policy: the cut-offs, the gates, and what a loan costs.
        months: as of which to develop; those that too few matured loans follow are left out.
        snapshot: the month in which the files were taken.
        seed: of every random choice.
        plan: where the platform cuts its windows.
        labels: the ways of learning.
        on_point: called with the share of the ways that are done, and each point as it is measured.

    Raises:
        BadInput: the book does not say when outcomes were known, or no month is followed by enough matured loans.
    """
    points: list[BackTestPoint] = []
    production: Production | None = None
    judged = judged_months(loans, contract, months, snapshot)
    for number, month in enumerate(judged):
        tested = TestedLoans.of(loans, contract, month, snapshot, policy.value)
        past = PastBook(loans, contract, month, snapshot, search, policy, seed)
        for position, label in enumerate(labels):
            if label == "platform":
                point, production = _stand(past, plan or SplitPlan(), production, tested)
                measured = [point]
            else:
                measured = [*_points(past, label, tested)]
            points += measured
            for point in measured:
                on_point((number * len(labels) + position + 1) / (len(judged) * len(labels)), point)
    return tuple(points)


def _points(past: PastBook, way: Way, tested: TestedLoans) -> Iterator[BackTestPoint]:
    """Measure each candidate of a way of learning; a point without figures where nothing could be developed."""
    rate = float(tested.outcomes.mean())
    try:
        for model in past.models(way, tested):
            point = BackTestPoint(past.month, way, model.learned, model.learned_open, len(tested), rate)
            yield _measure(point, tested, model, past)
    except BadInput as error:
        yield BackTestPoint(past.month, way, past.learned_by(way), 0, len(tested), rate, reason=str(error))


def _stand(
    past: PastBook, plan: SplitPlan, champion: Production | None, tested: TestedLoans
) -> tuple[BackTestPoint, Production | None]:
    """Measure what is in production after the month's training, and return it too."""
    standing, rate = stand(past, plan, champion), float(tested.outcomes.mean())
    production = standing.production
    learned = production.learned if production else past.learned_by("matured")
    point = BackTestPoint(past.month, "platform", learned, 0, len(tested), rate)
    point = replace(point, verdict=standing.verdict, reason=standing.reason)
    if production is None:
        return point, None
    scorer, earlier = production.scorer, f" of {production.month:%Y-%m}" if production.month < past.month else ""
    pds = scorer.score(tested.frame, with_reasons=False)["pd"].to_numpy()
    model = PastModel(f"{scorer.kind}{earlier}", learned, 0, pds, value=scorer.value)
    return _measure(point, tested, model, past), production


def _measure(point: BackTestPoint, tested: TestedLoans, model: PastModel, past: PastBook) -> BackTestPoint:
    """Fill in the figures of a point."""
    pds, in_year = model.pds, tested.within_year
    bands = decide_all(past.policy.decision, pds, _margins(model.value, pds, tested, past.contract))
    approved, expected = bands == APPROVE, _expected(tested, model)
    expected_npv, npv = _worth(tested, approved, expected)
    return replace(
        point,
        model=model.name,
        leads=model.leads,
        auc=auc_of(tested.outcomes, pds),
        brier=float(np.mean((pds - tested.outcomes) ** 2)),
        mean_pd=float(pds.mean()),
        approved=float(approved.mean()),
        approved_default_rate=float(tested.outcomes[approved].mean()) if approved.any() else None,
        approved_npv=npv,
        declined=float((bands == DECLINE).mean()),
        approved_expected_npv=expected_npv,
        rules=None if expected is None else _rules(expected, approved, past.policy.value),
        deciles=() if expected is None else tuple(realised_by_decile(expected.loans)),
        terms=_by_term(tested, pds, approved, expected),
        year_default_rate=float(in_year.mean()),
        year_mean_pd=None if model.year_pds is None else float(model.year_pds.mean()),
        year_auc=None if model.year_pds is None or not in_year.any() else auc_of(in_year, model.year_pds),
    )


def _margins(value: ValueModel | None, pds: Floats, tested: TestedLoans, contract: Contract) -> Floats | None:
    """Return what one unit lent to each loan (n,) was expected to earn, by what was asked for."""
    if value is None:
        return None
    values = FeatureSpace(contract).values(tested.frame)
    return value.value(pds, LoanTerms.of(contract).read(values)).margins


@dataclass(frozen=True)
class _Expected:
    """The loans of which a model knew what to expect, and which of the tested ones (n,) they are."""

    loans: ValuedLoans
    rows: NDArray[np.intp]


def _expected(tested: TestedLoans, model: PastModel) -> _Expected | None:
    """Take the tested loans that say what they paid, of the terms that a model has a value of."""
    if model.value is None or tested.ended is None:
        return None
    valued = np.isin(tested.ended.realised.terms, list(model.value.endings))
    rows = np.flatnonzero(tested.complete)[valued]
    if not len(rows):
        return None
    return _Expected(ValuedLoans.of(model.value, model.pds[rows], tested.ended.take(valued)), rows)


def _worth(tested: TestedLoans, approved: Mask, expected: _Expected | None) -> tuple[float | None, float | None]:
    """Return what approved loans (n,) were expected to earn, and earned: the same loans where the first is known."""
    if expected is None:
        return None, None if tested.npvs is None else float(tested.npvs[approved].sum())
    rows = approved[expected.rows]
    return float(expected.loans.expected_npv[rows].sum()), float(expected.loans.npv[rows].sum())


def _rules(expected: _Expected, approved: Mask, value: ValuePolicy | None) -> dict[str, ApprovedLoans]:
    """Return what the approved loans came to, and as many by either rule alone."""
    assert value is not None, "what nothing costs has no value"
    loans, by_policy = expected.loans, approved[expected.rows]
    masks: dict[str, Mask] = {PRESENT: by_policy}
    masks |= {rule: approved_by(loans, rule, float(by_policy.mean()))[1] for rule in RULES}
    return {name: outcome_of(loans, mask, value.capital_share) for name, mask in masks.items()}


def _by_term(tested: TestedLoans, pds: Floats, approved: Mask, expected: _Expected | None) -> tuple[TermFigures, ...]:
    """Measure each term where there are several."""
    terms, counts = np.unique(tested.terms, return_counts=True)
    if len(terms) == 1:
        return ()
    return tuple(
        TermFigures(
            float(term),
            int(count),
            float(pds[rows].mean()),
            float(tested.outcomes[rows].mean()),
            float(approved[rows].mean()),
            *_worth(tested, approved & rows, expected),
        )
        for term, count in zip(terms, counts, strict=True)
        for rows in [tested.terms == term]
    )
