"""Fits the candidates and ranks them, each with a calibrated PD.

Every candidate goes the same way: fitted on the train window, calibrated by what it says of the calibrate window,
which it has not seen, then fitted again on both. The test window is not known here. How a candidate is fitted is its
class in `candidates`; searching for parameters is `tuning`; judging the result is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.evaluation import Interval, auc_of, measure
from loan_default.risk.model.calibration import fit_calibration
from loan_default.risk.model.candidates.base import CandidateModel, CandidateParameters
from loan_default.risk.model.candidates.registry import CANDIDATES, candidate_class
from loan_default.risk.model.development import Development
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.policy import DecisionPolicy

_RESAMPLES = 100


@dataclass(frozen=True)
class Candidate:
    """A fitted candidate and what it reached on the calibrate window before it was fitted again."""

    kind: str
    scorer: Scorer
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, Interval]


def train_candidates(
    development: Development,
    search: SearchSpace,
    decision: DecisionPolicy,
    *,
    seed: int,
    kinds: Sequence[str] = (),
    on_fitted: Callable[[Candidate], None] = lambda candidate: None,
) -> tuple[Candidate, ...]:
    """Fit candidates and return them best first, by AUC on the calibrate window.

    Args:
        development: train and calibrate windows.
        search: each candidate's parameters; boosted trees take their start.
        decision: the cut-offs and points that travel with a scorer.
        seed: of every random choice.
        kinds: names of the candidates to fit; by default those that the search space enables.
        on_fitted: called with each candidate as soon as it is fitted.

    Raises:
        BadInput: a candidate is not known, has no section or lacks its libraries, or there is none to fit.
    """
    chosen = [candidate_class(kind) for kind in kinds or search.enabled]
    if not chosen:
        raise BadInput("The search space enables no candidate; enable one, or name those to fit.")
    for model in chosen:
        search.parameters(model.name)
        model.check_installed()
    fitted = []
    for model in CANDIDATES:
        if model in chosen:
            fitted.append(_fit(model, search.parameters(model.name), development, decision, seed))
            on_fitted(fitted[-1])
    return tuple(sorted(fitted, key=lambda candidate: -candidate.metrics["auc"].value))


def _fit(
    model: type[CandidateModel],
    parameters: CandidateParameters,
    development: Development,
    decision: DecisionPolicy,
    seed: int,
) -> Candidate:
    """Calibrate by what the first fit says of loans that it has not seen; the final fit keeps that calibration."""
    first = model.fit(development, "train", parameters, seed)
    margins, outcomes = development.margins(first)
    calibration = fit_calibration(margins, outcomes)
    metrics = measure(
        outcomes,
        calibration.pds(margins),
        margins,
        cutoff=decision.decline_from,
        rng=np.random.default_rng(0),
        resamples=_RESAMPLES,
    )
    final = first.refit(development, parameters, seed)
    space = development.space
    scorer = Scorer(final, model.name, calibration, decision, space.contract, space.population)
    return Candidate(model.name, scorer, final.record(parameters), metrics)


def select_grades(contract: Contract, loans: pl.DataFrame) -> pl.DataFrame:
    """Select what `grade_auc` needs of loans: how they ended, and the lender's own ordered opinions."""
    return loans.select(OUTCOME, *(field.name for field in contract.features if field.kind == "ordered"))


def grade_auc(loans: pl.DataFrame, outcomes: Floats, contract: Contract) -> float | None:
    """Measure the AUC of the lender's own ordered opinion alone; None where the contract has none, or no loan.

    The ordered field that most loans have counts, the finest of these: for LendingClub the sub-grade, or the grade
    where there is none. A loan without it ranks in the middle.
    """
    ordered = [field for field in contract.features if field.kind == "ordered"]
    finest = max(ordered, key=lambda field: (loans[field.name].count(), len(field.levels)), default=None)
    if finest is None or loans[finest.name].count() == 0:
        return None
    rank = loans[finest.name].cast(pl.Enum(finest.levels)).to_physical().cast(pl.Float64)
    return auc_of(outcomes, rank.fill_null(strategy="mean").to_numpy())
