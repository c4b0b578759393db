"""Develops models as of a past month, by each way to treat loans that were still open, from what was known then.

What they reach is measured by `backtest`. Views of a book belong in `data.as_of`, hazards in `model.hazard`; the
version that the platform's own training and gates would have put into production is `standing`'s. Tested in
`risk/validation/test_backtest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.data.as_of import LoanHistory, as_of
from loan_default.risk.data.population import measure_population
from loan_default.risk.economics.loan_terms import are_settled, read_ended
from loan_default.risk.economics.loss import LEAST_DEFAULTS, EndedLoans, estimate_endings
from loan_default.risk.economics.valuation import ValueModel, fit_value
from loan_default.risk.errors import BadInput
from loan_default.risk.loan_order import has_term
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import RECIPE, Hazard, expected_outcomes, fit_hazard
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import fit_calibrated, rank_candidates
from loan_default.risk.policy import Policy

Way = Literal["matured", "hazard", "open", "hindsight"]
HAZARDS = "hazards"  # the model of the label `hazard`
LOANS_AT_MOST = 200_000  # of a book as of a month: of more so many are drawn, so that a month takes bounded time
_TIMED_AT_MOST = 20_000  # loans by which the hazards say when loans of a term end
_CALIBRATED = 0.2  # of the loans, the newest
_YEAR = 12.0
_LEAST = 1e-9  # lifetime PD that is divided by


class JudgedLoans(Protocol):
    """Loans (n rows) by which models are judged, and their terms (n,)."""

    @property
    def frame(self) -> pl.DataFrame:
        """Return the cleaned loans."""
        ...

    @property
    def terms(self) -> Floats:
        """Return the terms."""
        ...


@dataclass(frozen=True)
class PastModel:
    """What a model that was developed as of a past month says of the loans by which it is judged (n,).

    Attributes:
        name: of the candidate.
        learned: loans that it learned from.
        learned_open: of them those that were open then.
        pds: of the loans.
        leads: whether training would choose it, by the newest fifth of the loans that it was developed on.
        year_pds: PDs of twelve months, where the hazards' timing says them.
        value: what loans of its PDs were worth, by what was known then; None where too little was.
    """

    name: str
    learned: int
    learned_open: int
    pds: Floats
    leads: bool = True
    year_pds: Floats | None = None
    value: ValueModel | None = None


@dataclass(frozen=True)
class PastBook:
    """Knows of a book what was known at a month, and how all of it ended for `hindsight` alone."""

    loans: pl.LazyFrame
    contract: Contract
    month: date
    snapshot: date
    search: SearchSpace
    policy: Policy
    seed: int

    @cached_property
    def view(self) -> pl.DataFrame:
        """Return the loans that were on book and say their term, as a file of that month would have said."""
        months = self.policy.value.recovery_months if self.policy.value else None
        loans = self.loans.filter(has_term(self.contract))
        return self._draw(as_of(loans, self.contract, self.month, self.snapshot, months)).collect()

    @cached_property
    def history(self) -> LoanHistory:
        """Return what had been observed of them."""
        return LoanHistory.of(self.view, self.contract, self.month)

    @cached_property
    def space(self) -> FeatureSpace:
        """Return the columns of models that learn from all of them."""
        return self._space_of(self.view)

    @cached_property
    def hazard(self) -> Hazard:
        """Return the hazards of all of them."""
        parameters = self.search.for_loans(len(self.history)).tunable(RECIPE)
        return fit_hazard(self.space.matrix(self.view), self.history, self.space, parameters, seed=self.seed)

    def learned_by(self, way: Way) -> int:
        """Count the loans from which a way of learning learns."""
        return len(self.view) if way in ("hazard", "open") else len(self._loans_of(way))

    def models(self, way: Way, tested: JudgedLoans) -> Iterator[PastModel]:
        """Develop every candidate of the search space in a way of learning.

        Raises:
            BadInput: too little was known.
        """
        if way == "hazard":
            incidence = self.hazard.incidence(self.space.matrix(tested.frame), tested.terms)
            year = incidence.defaulted_by(np.full(len(tested.terms), _YEAR))
            count, still_open = len(self.view), int(self.history.is_open.sum())
            yield PastModel(HAZARDS, count, still_open, incidence.lifetime, year_pds=year, value=self._value_by_hazard)
        elif way == "open":
            outcomes = expected_outcomes(self.hazard, self.space.matrix(self.view), self.history)
            year = self._year_shares(tested)
            for model in self._candidates(way, self.view, outcomes.astype(np.float64), tested):
                still_open = int(self.history.is_open.sum())
                timed = replace(model, learned_open=still_open, year_pds=model.pds * year)
                yield replace(timed, value=self._value_by_hazard)
        else:
            loans = self._loans_of(way)
            yield from self._candidates(way, loans, loans[OUTCOME].to_numpy().astype(np.float64), tested)

    def _draw(self, loans: pl.LazyFrame) -> pl.LazyFrame:
        """Draw `LOANS_AT_MOST` of them, by a hash of their numbers, where there are more."""
        share = LOANS_AT_MOST / max(loans.select(pl.len()).collect().item(), 1)
        return loans if share >= 1 else loans.filter(pl.col(self.contract.id_name).hash(self.seed) / 2.0**64 < share)

    def _space_of(self, loans: pl.DataFrame) -> FeatureSpace:
        population = measure_population(loans.lazy(), self.contract)
        return FeatureSpace(self.contract, population, self.policy.decision.decide_without_opinion)

    def _loans_of(self, way: Way) -> pl.DataFrame:
        """Return the loans that had matured by the month, or in hindsight by the snapshot."""
        if way != "hindsight":
            return self.view.filter(pl.col(OUTCOME).is_not_null() & (pl.col(MATURES) <= self.month))
        resolved = pl.col(OUTCOME).is_not_null() & (pl.col(MATURES) <= self.snapshot)
        return self._draw(self.loans.filter((pl.col(self.contract.time_name) < self.month) & resolved)).collect()

    def _candidates(self, way: Way, loans: pl.DataFrame, outcomes: Floats, tested: JudgedLoans) -> Iterator[PastModel]:
        """Fit and calibrate each candidate on older and newer loans (n), and let it say PDs of the tested ones.

        The first to be yielded is the one that training would choose by the newer loans. From probabilities of a
        default only XGBoost's learn.
        """
        order = np.argsort(loans[self.contract.time_name].to_numpy(), kind="stable")
        older, newer = np.split(order, [round(len(order) * (1 - _CALIBRATED))])
        for window in (older, newer):
            if not 1 <= outcomes[window].sum() <= len(window) - 1:
                raise BadInput(f"{len(order):,} loans had matured, of which {outcomes.sum():,.0f} defaulted: too few.")
        space = self._space_of(loans)
        X, y, others = space.matrix(loans), outcomes.astype(np.float32), space.matrix(tested.frame)
        development = LocalDevelopment(space, Sample(X[older], y[older]), Sample(X[newer], y[newer]))
        search = self.search.for_loans(len(older))
        ended = None if way == "open" else self._ended(loans, self.snapshot if way == "hindsight" else self.month)
        fitted, of_newer = dict[str, PastModel](), dict[str, Floats]()
        for kind in search.enabled:
            parameters = search.parameters(kind)
            candidate_class(kind).check_installed()
            model, calibration, of_newer[kind], ends, _ = fit_calibrated(
                candidate_class(kind), parameters, development, self.seed
            )
            pds = calibration.pds(model.margins(others))
            value = None
            if ended and self.policy.value:
                value = fit_value(ended[0], calibration.pds(model.margins(X[ended[1]])), self.policy.value)
            fitted[kind] = PastModel(kind, len(loans), 0, pds, value=value)
        ranked = rank_candidates(of_newer, ends)
        yield from (replace(fitted[kind], leads=kind == ranked[0]) for kind in ranked)

    def _ended(self, loans: pl.DataFrame, month: date) -> tuple[EndedLoans, NDArray[np.bool_]] | None:
        """Read what loans had paid by a month, and which of them say it; None where these are too few for a value."""
        if self.policy.value is None or value_problem(self.contract):
            return None
        ended, complete = read_ended(loans, self.contract)
        if not LEAST_DEFAULTS <= ended.defaulted.sum() < len(ended.defaulted):
            return None
        settled = are_settled(loans, self.contract, month, self.policy.value.recovery_months)
        return replace(ended, settled=settled[complete]), complete

    @cached_property
    def _value_by_hazard(self) -> ValueModel | None:
        """Value loans by when the hazards let them end, and by what defaults had cost until then.

        Of what loans on book earned beyond what was expected nothing is known while most of them run.
        """
        ended = self._ended(self.view.filter(pl.col(OUTCOME).is_not_null()), self.month)
        delay = self.contract.outcome.known
        if ended is None or self.policy.value is None or delay is None:
            return None
        X, terms = self.space.matrix(self.view), self.history.terms
        endings = {}
        for term, of_ended in estimate_endings(ended[0]).items():
            rows = np.flatnonzero(terms == term)
            rows = rows[:: -(-len(rows) // _TIMED_AT_MOST)]
            incidence = self.hazard.of_term(self.hazard.margins(X[rows]), float(term))
            defaulted, repaid = incidence.by_month(term, delay.months_after_default)
            pds = incidence.lifetime
            endings[term] = replace(
                of_ended,
                defaulted=pds @ defaulted / max(pds.sum(), _LEAST),
                repaid=(1 - pds) @ repaid / max((1 - pds).sum(), _LEAST),
            )
        return ValueModel(self.policy.value, endings, {})

    def _year_shares(self, tested: JudgedLoans) -> Floats:
        """Return of each PD (n,) the share that falls into the first twelve months, as the hazards have it."""
        incidence = self.hazard.incidence(self.space.matrix(tested.frame), tested.terms)
        year = incidence.defaulted_by(np.full(len(tested.terms), _YEAR))
        return np.asarray(year / np.maximum(incidence.lifetime, _LEAST))
