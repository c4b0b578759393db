"""From loans in natural units to PD, score, decision and reasons, by one model version that carries all it needs.

A `Scorer` is saved as a folder that needs none of the platform's settings to be read again: the model, its
calibration, the population it was developed on, the contract and the decision policy it was registered with. Where the
folder lies is `adapters`; how whole files are scored is `batch_scoring`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_packaged_contract
from loan_default.risk.data.combinations import UnlikePairs
from loan_default.risk.data.population import Population
from loan_default.risk.economics.loan_terms import ApplicationTerm, LoanTerms
from loan_default.risk.economics.valuation import LoanValues, PricedLoans, ValueModel
from loan_default.risk.errors import BadInput
from loan_default.risk.estimates import CERTAIN
from loan_default.risk.model.calibration import Calibration
from loan_default.risk.model.candidates.registry import load_model
from loan_default.risk.model.decision_rule import APPROVE, REVIEW, decide_all, decide_one, pd_bands, value_bands
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import Hazard
from loan_default.risk.model.reason_codes import (
    Explanation,
    Needed,
    ReasonCode,
    ReasonFinder,
    Values,
    field_contributions,
)
from loan_default.risk.model.timing import (
    TIMED,
    ApplicationTiming,
    time_application,
    time_applications,
)
from loan_default.risk.model.value_reasons import lost_value
from loan_default.risk.policy import DecisionPolicy

FORMAT = 3
# 1 has no population: nothing is filled in, and no absence keeps from an approval; before 3, functions derive fields.
_READ_FORMATS = (1, 2, FORMAT)
DECISIONS = ("approve", "review", "decline")  # in the order of `decision_rule`
_REASON_CODE = pl.Struct({"group": pl.String(), "field": pl.String(), "side": pl.String(), "share": pl.Float64()})
SCORED = {
    "pd": pl.Float64(),
    "raw_score": pl.Float64(),
    "score": pl.Int64(),
    "decision": pl.Enum(DECISIONS),
    "reasons": pl.List(pl.String),
    "reason_codes": pl.List(_REASON_CODE),
}
VALUED = {"expected_loss": pl.Float64(), "npv": pl.Float64()}  # by versions that have a value, in the book's money
VALUE_FILE = "value.json"  # of a package
HAZARD_FOLDER = "hazard"


class ApplicationValue(NamedTuple):
    """What one application is worth, in the book's money; NaN where that was not learned."""

    expected_loss: float
    npv: float


class Predictions(NamedTuple):
    """Predictions for n applications as plain values: PDs from 0 to 1, points, decisions, reasons as two forms.

    Only applications that are declined or reviewed have reasons: sentences, and codes of the same order. `values` are
    empty where the version has no value, `timings` where it has no hazards.
    """

    pds: list[float]
    scores: list[int]
    decisions: list[str]
    reasons: list[list[str]]
    reason_codes: list[list[ReasonCode]]
    values: Sequence[ApplicationValue] = ()
    timings: Sequence[ApplicationTiming] = ()


@dataclass(frozen=True)
class Scorer:
    """A model version that can score by itself."""

    model: RiskModel
    kind: str
    calibration: Calibration
    policy: DecisionPolicy
    contract: Contract
    population: Population = field(default_factory=Population)
    value: ValueModel | None = None
    hazard: Hazard | None = None

    @cached_property
    def space(self) -> FeatureSpace:
        """Return the columns of the matrix that the model sees."""
        return FeatureSpace(self.contract, self.population, self.policy.decide_without_opinion)

    @cached_property
    def needed_to_approve(self) -> tuple[int, ...]:
        """Return the positions of the features without which nobody is approved: development hardly ever lacked them.

        The policy says below which share (`missing_share_at_least`).
        """
        rare = self.population.rarely_missing(self.policy.missing_share_at_least)
        return tuple(index for index in self.space.used if self.contract.feature_names[index] in rare)

    @property
    def scored(self) -> dict[str, pl.DataType]:
        """Return the columns of its predictions."""
        return SCORED | (VALUED if self.value else {}) | (TIMED if self.hazard else {})

    @cached_property
    def _loan_terms(self) -> LoanTerms:
        return LoanTerms.of(self.contract)

    @cached_property
    def _term(self) -> ApplicationTerm:
        return ApplicationTerm.of(self.contract) or ApplicationTerm()

    @cached_property
    def _reason_finder(self) -> ReasonFinder:
        return ReasonFinder(self.space)

    def score(self, loans: pl.DataFrame, *, with_reasons: bool = True) -> pl.DataFrame:
        """Score loans in natural units.

        Args:
            loans: (n rows) with every feature of the contract.
            with_reasons: whether loans that are not approved get their reasons; exact SHAP costs most of the time.

        Returns:
            n rows: `pd` (calibrated probability of default), `raw_score` (log-odds, ranks the loans), `score` (points,
            higher is safer), `decision` (approve, review, decline; at best review where `needed_to_approve` is
            missing), `reasons` (list of sentences, strongest first; empty where approved), `reason_codes` (the same for
            programs: group, field, side, share); of a version that has a value `expected_loss` and `npv`, of one with
            hazards the columns of `TIMED`.
        """
        X, values = self.space.matrix(loans), self.space.values(loans)
        raw = self.model.margins(X)
        pds = self.calibration.pds(raw)
        worth = self._worth(pds, values)
        decisions = pl.Series(self._bands(pds, values, worth)).cat.to(pl.Enum(DECISIONS))
        columns = {
            "pd": pds,
            "raw_score": raw,
            "score": points(pds, self.policy),
            "decision": decisions,
        }
        explained = (decisions != "approve").to_numpy() & with_reasons
        scored = pl.DataFrame(columns).hstack(self._reasons(X, values, pds, explained))
        if worth is not None:
            valued = {name: getattr(worth, name) for name in VALUED}
            scored = scored.hstack(pl.DataFrame(valued, nan_to_null=True))
        if self.hazard is not None:
            margins = self.hazard.margins(X)
            scored = scored.hstack(time_applications(self.hazard, margins, pds, self._term.read(values)))
        return scored

    def predict(self, values: Values, X: Matrix, margins: Floats, *, with_reasons: bool = True) -> Predictions:
        """Score to plain values, as `score` does to columns.

        Args:
            values: (n, features) as `Applications` have them.
            X: (n, columns) as `space` gives it.
            margins: (n,) of the model, from whatever computed them.
            with_reasons: as for `score`.
        """
        predictions = self.decide(values, margins, self.hazard.margins(X) if self.hazard else None)
        if with_reasons and (explained := self.explained(predictions)):
            self.explain(predictions, values, X, explained)
        return predictions

    def decide(self, values: Values, margins: Floats, hazard_margins: Floats | None = None) -> Predictions:
        """Score to plain values, without reasons yet; without the hazards' margins also without timings."""
        if len(margins) == 1:
            predictions = self._decide_one(values[0], float(margins[0]))
        else:
            predictions = self._decide_all(np.asarray(values), self.calibration.pds(margins))
        if hazard_margins is None:
            return predictions
        return predictions._replace(timings=self._timings(predictions.pds, values, hazard_margins))

    def _timings(self, pds: list[float], values: Values, hazard_margins: Floats) -> list[ApplicationTiming]:
        """Time applications one by one where there is one, else together; the same either way."""
        if self.hazard is None:
            return []
        if len(pds) == 1:
            return [time_application(self.hazard, hazard_margins[0], pds[0], self._term.read_one(values[0]))]
        terms = self._term.read(np.asarray(values))
        timed = time_applications(self.hazard, hazard_margins, np.array(pds), terms)
        return [*map(ApplicationTiming._make, timed.iter_rows())]

    def _decide_all(self, values: Floats, pds: Floats) -> Predictions:
        """Return what `decide` does of many applications."""
        worth = self._worth(pds, values)
        decisions = [DECISIONS[band] for band in self._bands(pds, values, worth).tolist()]
        valued = [*map(ApplicationValue, worth.expected_loss.tolist(), worth.npv.tolist())] if worth else ()
        blank: list[list[Any]] = [[]] * len(decisions)
        return Predictions(pds.tolist(), points(pds, self.policy).tolist(), decisions, blank, blank[:], valued)

    def _decide_one(self, values: Sequence[float] | Floats, raw: float) -> Predictions:
        """Return what `decide` does of one application, the same to the bit, without the fixed cost of arrays."""
        pd, margin = self.calibration.pd(raw), math.nan
        worth: Sequence[ApplicationValue] = ()
        if self.value is not None:
            loss, npv, margin = self.value.value_application(pd, *self._loan_terms.read_one(values))
            worth = [ApplicationValue(loss, npv)]
        band = decide_one(self.policy, pd, margin)
        decision = DECISIONS[REVIEW if band == APPROVE and self._obstacles(values) else band]
        return Predictions([pd], [_points_of(pd, self.policy)], [decision], [[]], [[]], worth)

    def explained(self, predictions: Predictions) -> list[int]:
        """Return which applications get reasons: those that are not approved."""
        return [index for index, decision in enumerate(predictions.decisions) if decision != "approve"]

    def explain(self, predictions: Predictions, values: Values, X: Matrix, explained: Sequence[int]) -> None:
        """Put the reasons of some of the applications into their predictions."""
        rows, pds = [values[index] for index in explained], [predictions.pds[index] for index in explained]
        for index, explanation in zip(explained, self._explain(X[[*explained]], rows, pds), strict=True):
            predictions.reasons[index], predictions.reason_codes[index] = explanation

    def _worth(self, pds: Floats, values: Floats) -> LoanValues | None:
        """Value applications (n,) by their PDs; None by a version that has no value."""
        return None if self.value is None else self.value.value(pds, self._loan_terms.read(values))

    def _bands(self, pds: Floats, values: Floats, worth: LoanValues | None) -> NDArray[np.uint8]:
        """Return the position of each decision (n,) among `DECISIONS`."""
        bands = decide_all(self.policy, pds, None if worth is None else worth.margins)
        bands = np.maximum(bands, np.isnan(values[:, self.needed_to_approve]).any(axis=1))
        if self._unlike is None:
            return bands
        return np.maximum(bands, self._outside(values).any(axis=1) | self._unlike.any(values))

    @cached_property
    def _unlike(self) -> UnlikePairs | None:
        """Return which values hardly any loan of development had together; None where the policy lets them pass."""
        if self.policy.outside_population == "decide":
            return None
        population = self.population
        return UnlikePairs.of(self.contract.features, self.space.used, population.edges, population.apart)

    @cached_property
    def _limits(self) -> list[tuple[int, float, float, frozenset[float]]]:
        """Return what loans of development had of each feature, by its position; none where every value passes."""
        if self.policy.outside_population == "decide":
            return []
        limits = self.population.limits(self.contract.features)
        return [(index, *limits[index]) for index in self.space.used]

    def _outside(self, values: Floats) -> NDArray[np.bool_]:
        """Tell which values (n, features) no loan of development had."""
        outside = np.zeros(values.shape, dtype=np.bool_)
        for index, least, most, absent in self._limits:
            column = values[:, index]
            outside[:, index] = (column < least) | (column > most) | (np.isin(column, [*absent]) if absent else False)
        return outside

    def _obstacles(self, values: Sequence[float] | Floats) -> list[Needed]:
        """Return what keeps an application from an approval: what it lacks, what no loan had, and what none together.

        Of what it lacks the position of the feature, else the positions of one or two.
        """
        outside = [
            (index,)
            for index, least, most, absent in self._limits
            if (value := values[index]) < least or value > most or value in absent
        ]
        pair = self._unlike.first(values) if self._unlike and not outside else None
        return [*self._absent(values), *outside, *([pair] if pair else ())]

    def _absent(self, values: Sequence[float] | Floats) -> list[int]:
        """Return which of `needed_to_approve` an application lacks."""
        return [index for index in self.needed_to_approve if math.isnan(values[index])]

    def _explain(self, X: Matrix, values: Values, pds: Sequence[float]) -> list[Explanation]:
        """Explain what is not approved, first by what it lacks where the cut-offs alone would have approved it."""
        contributions = self.model.contributions(X)
        if self.value is not None and self.policy.by_value:
            return self._explain_value(self.value, contributions, np.asarray(values, np.float64), np.asarray(pds))
        below = self.policy.approve_below
        needed = [self._obstacles(row) if pd < below else () for row, pd in zip(values, pds, strict=True)]
        return self._reason_finder.explain(contributions, values, self.policy.reasons_at_most, needed)

    def _explain_value(
        self, value: ValueModel, contributions: Floats, values: Floats, pds: Floats
    ) -> list[Explanation]:
        """Explain by the rule that turned an application down: its risk, its value, or what both come to.

        One that has no value is told which field of amount, rate and term that is due to.
        """
        loans, by_risk = self._loan_terms.read(values), field_contributions(contributions, self.space)
        margins, policy = value.value(pds, loans).margins, self.policy
        by_value = self._lost_value(value, by_risk, loans, pds)
        bands = pd_bands(policy, pds) if policy.by_pd else np.zeros(len(pds), np.uint8), value_bands(policy, margins)
        weights = (bands[0] >= bands[1]) & policy.by_pd, bands[1] >= bands[0]
        unvalued = np.isnan(margins)
        by_field = np.where(weights[0][:, None], _raising_shares(by_risk), 0.0)
        by_field += np.where((weights[1] & ~unvalued)[:, None], _raising_shares(by_value), 0.0)
        needed = [
            [*self._loan_terms.unknown(row, value.endings), *self._obstacles(row)]
            if lacks
            else self._obstacles(row)
            if approved
            else ()
            for row, lacks, approved in zip(values, unvalued & weights[1], np.maximum(*bands) == APPROVE, strict=True)
        ]
        return self._reason_finder.explain_by_field(by_field, values, policy.reasons_at_most, needed)

    def _lost_value(self, value: ValueModel, by_risk: Floats, loans: PricedLoans, pds: Floats) -> Floats:
        """Return what of the value of one unit lent each field takes away (n, features), against the typical loan."""
        by_risk = by_risk * self.calibration.slope
        lost = lost_value(value, pds, by_risk.sum(axis=1), loans, self._loan_terms.typical(self.population.typical))
        by_field = by_risk * lost.per_log_odds[:, None]
        terms = self._loan_terms
        by_field[:, terms.rate] += lost.rate
        if terms.term.position is not None:
            by_field[:, terms.term.position] += lost.term
        return by_field

    def _reasons(self, X: Matrix, values: Floats, pds: Floats, explained: NDArray[np.bool_]) -> pl.DataFrame:
        """Return sentences and codes of each row (n,), none where it is not explained.

        Polars makes a list of records for each row 7 times as fast from all records than from lists of them.
        """
        rows = self._explain(X[explained], values[explained], pds[explained].tolist()) if explained.any() else []
        counts = np.array([len(row.sentences) for row in rows], dtype=np.int64)
        items = {
            "row": np.repeat(np.flatnonzero(explained), counts),
            "reasons": pl.Series([*chain.from_iterable(row.sentences for row in rows)], dtype=pl.String),
            "reason_codes": pl.Series([*chain.from_iterable(row.codes for row in rows)], dtype=_REASON_CODE),
        }
        lists = pl.DataFrame(items).group_by("row", maintain_order=True).agg("reasons", "reason_codes")
        of_all = pl.DataFrame({"row": np.arange(len(X))}).join(lists, on="row", how="left", maintain_order="left")
        return of_all.select(pl.col(name).fill_null(pl.lit([], SCORED[name])) for name in ("reasons", "reason_codes"))

    def save(self, folder: Path) -> None:
        """Write the model package: the model's file, `model.json`, `contract.json`, value and hazards if any."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder)
        content = {
            "format": FORMAT,
            "kind": self.kind,
            "calibration": asdict(self.calibration),
            "decision": self.policy.model_dump(),
            "population": asdict(self.population),
        }
        (folder / "model.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        (folder / "contract.json").write_text(self.contract.model_dump_json(indent=1), encoding="utf-8")
        if self.value is not None:
            (folder / VALUE_FILE).write_text(json.dumps(self.value.to_dict()), encoding="utf-8")
        if self.hazard is not None:
            self.hazard.save(folder / HAZARD_FOLDER)

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        """Read what `save` wrote.

        Raises:
            BadInput: the folder is no model package, or one of a later format.
        """
        try:
            content: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise BadInput(f"{folder} is no model package: model.json cannot be read; register it again.") from error
        if content.get("format") not in _READ_FORMATS:
            raise BadInput(
                f"{folder} has format {content.get('format')}, this release reads "
                f"{', '.join(map(str, _READ_FORMATS))}; use that which wrote it."
            )
        return cls(
            model=load_model(folder, content["kind"]),
            kind=content["kind"],
            calibration=Calibration(**content["calibration"]),
            policy=DecisionPolicy(**content["decision"]),
            contract=load_packaged_contract(folder / "contract.json"),
            population=Population(**content.get("population", {})),
            value=_read_value(folder / VALUE_FILE),
            hazard=Hazard.load(folder / HAZARD_FOLDER) if (folder / HAZARD_FOLDER).is_dir() else None,
        )


def _raising_shares(by_field: Floats) -> Floats:
    """Return what speaks against applications (n, features) as shares of all of it that does."""
    raising = np.maximum(by_field, 0).sum(axis=1, keepdims=True)
    shares: Floats = np.divide(by_field, raising, out=np.zeros_like(by_field), where=raising > 0)
    return shares


def _read_value(file: Path) -> ValueModel | None:
    """Read the value of a package; versions without one have no such file."""
    return ValueModel.from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def points(pds: Floats, policy: DecisionPolicy) -> NDArray[np.int64]:
    """Turn PDs (n,) into score points (n,), higher is safer.

    offset + factor · ln((1 - PD) / PD) with factor = points to double the odds / ln 2; N. Siddiqi, Credit Risk
    Scorecards, 2006, chapter 6.
    """
    factor, offset = policy.scale
    certain = np.clip(pds, CERTAIN, 1 - CERTAIN)
    return np.rint(offset + factor * (np.log1p(-certain) - np.log(certain))).astype(np.int64)


def _points_of(pd: float, policy: DecisionPolicy) -> int:
    """Turn one PD into score points, to the bit as `points` does many."""
    factor, offset = policy.scale
    certain = min(max(pd, CERTAIN), 1 - CERTAIN)
    return round(offset + factor * float(np.log1p(-certain) - np.log(certain)))
