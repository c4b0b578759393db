"""Fits the candidates and chooses among them, each with a calibrated PD.

Every candidate goes the same way: fitted on the train window, calibrated by what it says of the calibrate window,
which it has not seen, then fitted again on both. The test window is not known here. How a candidate is fitted is its
class in `candidates`; searching for parameters is `tuning`; judging the result is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.field import LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.loan_order import period_numbers
from loan_default.risk.metrics import Bootstrap, Interval, auc_gain, auc_of, measure
from loan_default.risk.model.calibration import Calibration, fit_calibration
from loan_default.risk.model.candidates.base import CandidateModel, CandidateParameters
from loan_default.risk.model.candidates.registry import CANDIDATES, candidate_class
from loan_default.risk.model.development import Development
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.policy import DecisionPolicy

_BOOTSTRAP = Bootstrap(seed=0, resamples=100)


@dataclass(frozen=True)
class Candidate:
    """A fitted candidate and what it reached on the calibrate window before it was fitted again.

    `metrics` of PDs are those of the calibration that was fitted there; `margins` (n,) are what to judge it by, of its
    matured loans. `scores` (m,) are the margins of all of them: how a model scores loans that it was not fitted on.
    """

    kind: str
    scorer: Scorer
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, Interval]
    margins: Floats
    scores: Floats


@dataclass(frozen=True)
class CalibrateWindow:
    """The loans of the calibrate window (n,), in the order of a candidate's margins.

    `months` number their issue months or cohorts; None where they have neither. `opinion` is the lender's own, higher
    for riskier loans; None where no loan has one.
    """

    outcomes: Floats
    months: NDArray[np.int64] | None
    opinion: Floats | None

    @classmethod
    def of(cls, loans: pl.DataFrame, contract: Contract) -> CalibrateWindow:
        """Read what `select_opinions` selected."""
        outcomes = loans[OUTCOME].to_numpy().astype(np.float64)
        return cls(outcomes, period_numbers(loans, contract), opinion_scores(loans, contract))


def train_candidates(
    development: Development,
    search: SearchSpace,
    decision: DecisionPolicy,
    *,
    seed: int,
    kinds: Sequence[str] = (),
    on_fitted: Callable[[Candidate], None] = lambda candidate: None,
) -> tuple[Candidate, ...]:
    """Fit candidates and return the one that is chosen first, then the others by AUC on the calibrate window.

    `rank_candidates` orders them by the loans of the calibrate window.

    Args:
        development: train and calibrate windows.
        search: each candidate's parameters; boosted trees take their start.
        decision: the cut-offs and points that travel with a scorer.
        seed: of every random choice.
        kinds: names of the candidates to fit; by default those that the search space enables.
        on_fitted: called with each candidate as soon as it is fitted.

    Raises:
        BadInput: a candidate is not known, has no section or lacks its libraries, or there is none to fit.
        ValueError: the windows show the lender's opinion and the decision must not rest on it, or the other way round.
    """
    if development.space.without_opinion != decision.decide_without_opinion:
        raise ValueError("the windows and the policy differ in whether the lender's opinion is seen")
    chosen = [candidate_class(kind) for kind in kinds or search.enabled]
    if not chosen:
        raise BadInput("The search space enables no candidate; enable one, or name those to fit.")
    for model in chosen:
        search.parameters(model.name)
        model.check_installed()
    fitted = dict[str, Candidate]()
    for model in CANDIDATES:
        if model in chosen:
            fitted[model.name], outcomes = _fit(model, search.parameters(model.name), development, decision, seed)
            on_fitted(fitted[model.name])
    ranked = rank_candidates({kind: candidate.margins for kind, candidate in fitted.items()}, outcomes)
    return tuple(fitted[kind] for kind in ranked)


def rank_candidates(margins: Mapping[str, Floats], outcomes: Floats) -> list[str]:
    """Order the kinds of candidates by their margins (n,) of loans that the fits have not seen, the chosen one first.

    The first of `CANDIDATES` is chosen unless another ranks these loans better by more than chance, as the 95% interval
    of the paired gain in AUC says: what is less is no better on the next loans. The others follow by their AUC.
    """
    chosen, *others = (model.name for model in CANDIDATES if model.name in margins)
    for other in others:
        if auc_gain(outcomes, margins[other], margins[chosen], bootstrap=_BOOTSTRAP).low > 0:
            chosen = other
    return sorted(margins, key=lambda kind: (kind != chosen, -auc_of(outcomes, margins[kind])))


def _fit(
    model: type[CandidateModel],
    parameters: CandidateParameters,
    development: Development,
    decision: DecisionPolicy,
    seed: int,
) -> tuple[Candidate, Floats]:
    """Fit with its calibration, and measure it on the matured loans of calibrate; also return their outcomes (n,)."""
    final, calibration, scores, endings, matured = fit_calibrated(model, parameters, development, seed)
    margins, outcomes = scores[matured], endings[matured]
    metrics = measure(
        outcomes,
        calibration.pds(margins),
        margins,
        cutoff=decision.decline_from,
        bootstrap=_BOOTSTRAP,
    )
    space = development.space
    scorer = Scorer(final, model.name, calibration, decision, space.contract, space.population)
    return Candidate(model.name, scorer, final.record(parameters), metrics, margins, scores), outcomes


def fit_calibrated(
    model: type[CandidateModel], parameters: CandidateParameters, development: Development, seed: int
) -> tuple[CandidateModel, Calibration, Floats, Floats, NDArray[np.bool_]]:
    """Calibrate by what the first fit says of loans that it has not seen; the final fit keeps that calibration.

    Returns:
        The fit on both windows, its calibration, and of the loans on which this rests the margins (n,), the outcomes
        (n,), and which of them have matured (n,).
    """
    first = model.fit(development, "train", parameters, seed)
    margins, outcomes, matured = development.margins(first)
    calibration = fit_calibration(margins, outcomes)
    return first.refit(development, parameters, seed), calibration, margins, outcomes, matured


def select_opinions(contract: Contract, loans: pl.DataFrame) -> pl.DataFrame:
    """Select what `CalibrateWindow` needs of loans: when they began, how they ended, the lender's own opinions."""
    order = [contract.order_name] if contract.order_name else []
    return loans.select(OUTCOME, *order, *(field.name for field in _ranking_opinions(contract)))


def opinion_scores(loans: pl.DataFrame, contract: Contract) -> Floats | None:
    """Rank loans (n,) by the lender's own opinion alone, riskier higher; None where the contract or no loan has one.

    The field of the contract with `opinion: true` that most loans have counts, the finest of these: a number, which
    ranks by its value, or else the ordered field of most levels. A loan without it ranks in the middle.
    """
    fields = _ranking_opinions(contract)
    finest = max(fields, key=lambda field: (loans[field.name].count(), len(field.levels) or np.inf), default=None)
    if finest is None or loans[finest.name].count() == 0:
        return None
    values = loans[finest.name]
    rank = (values.cast(pl.Enum(finest.levels)).to_physical() if finest.levels else values).cast(pl.Float64)
    return (-1 if finest.risk == "falling" else 1) * rank.fill_null(strategy="mean").to_numpy()


def opinion_auc(loans: pl.DataFrame, outcomes: Floats, contract: Contract) -> float | None:
    """Measure the AUC of `opinion_scores`; None where there are none."""
    scores = opinion_scores(loans, contract)
    return None if scores is None else auc_of(outcomes, scores)


def _ranking_opinions(contract: Contract) -> list[LoanField]:
    """Return the opinions of which it is known which way the lender means them: ordered, or numbers with a `risk`."""
    return [f for f in contract.features if f.opinion and (f.kind == "ordered" or (f.kind == "number" and f.risk))]
