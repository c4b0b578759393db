"""Steps of group `training`: search for parameters, and fit the candidates, of which the best is registered.

Fitting, tuning and judging candidates are `risk`'s; what a training leaves in MLflow is named by `model_store`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.policy import DecisionPolicy, Finding, Policy
from loan_default.risk.validation.quality_gates import NO_LEAK, judge_candidate
from loan_default.steps.data import read_windows
from loan_default.steps.gates import GateFailed

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.compute import Engine
    from loan_default.risk.data.splits import Splits
    from loan_default.risk.model.development import Development, OpenLabel
    from loan_default.risk.model.search_space import SearchSpace
    from loan_default.risk.model.training import CalibrateWindow, Candidate
    from loan_default.risk.model.tuning import Trial, TunedParams


@dataclass(frozen=True)
class TrainingData:
    """Cleaned loans, their windows, what a loan is, and where work on them is done."""

    loans: ParquetTable
    splits: Splits
    contract: Contract
    engine: Engine

    @classmethod
    def of(
        cls,
        loans: ParquetTable,
        cleaning_report: Mapping[str, Any],
        loan_splits: Mapping[str, Any],
        contract: Contract,
        engine: Engine,
    ) -> TrainingData:
        """Read the records of the cleaning, and of the windows that the loans were cut into.

        Raises:
            BadInput: the windows are of another file.
        """
        return cls(loans, read_windows(loan_splits, cleaning_report), contract, engine)


@dataclass(frozen=True)
class Tuning:
    """The parameters that a study found, and the share of the loans that it searched on."""

    tuned: TunedParams
    share_of_loans: float


@dataclass(frozen=True)
class Training:
    """A training that was registered: the candidates, best first, what the gate says, and the record of it."""

    candidates: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    record: Mapping[str, Any]


def tune_parameters(
    data: TrainingData,
    search_space: SearchSpace,
    decision: DecisionPolicy,
    *,
    candidate: str,
    study_storage: str,
    trials: int,
    seed: int,
    on_trial: Callable[[Trial], None],
) -> Tuning:
    """Continue the study of these loans until it holds this many trials, and return the candidate's best parameters."""
    from loan_default.risk.model.tuning import tune

    search_space = search_space.for_loans(data.splits.window("train").rows)
    at_most = search_space.tunable(candidate).tuned_on_at_most
    tuned = tune(
        _Developments(data, search_space, seed).of(decision, at_most),
        search_space,
        data_fingerprint=data.splits.fingerprint,
        storage=study_storage,
        trials=trials,
        seed=seed,
        candidate=candidate,
        on_trial=on_trial,
    )
    return Tuning(tuned, data.splits.share_of(at_most))


@dataclass(frozen=True)
class _Developments:
    """Gives the windows that models may be developed on, as each may see them; open loans are labelled once a view."""

    data: TrainingData
    search_space: SearchSpace
    seed: int

    def of(self, decision: DecisionPolicy, at_most: int | None = None) -> Development:
        """Return the windows, of which about so many loans are drawn, as a decision may see them."""
        from loan_default.risk.model.development import development_on

        data, hidden = self.data, decision.decide_without_opinion
        if hidden not in self._labels:
            self._labels[hidden] = self._fit_label(hidden)
        return development_on(
            *(data.engine, data.loans, data.contract, data.splits, at_most),
            without_opinion=hidden,
            label=self._labels[hidden],
        )

    @property
    def matured(self) -> _Developments:
        """Return the same of matured loans alone."""
        return replace(self, data=replace(self.data, splits=replace(self.data.splits, open_loans=None)))

    @cached_property
    def _labels(self) -> dict[bool, OpenLabel | None]:
        return {}

    def _fit_label(self, hidden: bool) -> OpenLabel | None:
        from loan_default.risk.model.features import FeatureSpace
        from loan_default.risk.model.open_label import fit_label

        data = self.data
        space = FeatureSpace(data.contract, data.splits.population, hidden)
        return fit_label(data.engine, data.loans, data.splits, space, self.search_space, self.seed)


def train_and_register(
    data: TrainingData,
    tuned: Mapping[str, Any],
    search_space: SearchSpace,
    policy: Policy,
    models: ModelStore,
    mlflow_run_id: str,
    *,
    kinds: Sequence[str] = (),
    seed: int,
    on_fitted: Callable[[Candidate], None],
) -> Training:
    """Fit and calibrate the candidates, log them, and register the best as the newest version.

    Args:
        data: the loans.
        tuned: the record of tuning: a candidate, and the parameters that take the place of its start.
        search_space: the parameters of all candidates.
        policy: cut-offs, limits of the gate, and the size of the reference sample; its fingerprint is recorded.
        models: where it is registered.
        mlflow_run_id: the run that it is logged to.
        kinds: the candidates to fit; where none is named, those that the search space enables.
        seed: of everything random.
        on_fitted: called with each candidate.

    Raises:
        BadInput: a candidate is not known or cannot be fitted.
        GateFailed: the best is too good to be true; nothing is registered then.
    """
    from loan_default.adapters.model_store import TRAINING
    from loan_default.risk.metrics import Bootstrap
    from loan_default.risk.model.timed_version import with_timing
    from loan_default.risk.model.training import train_candidates
    from loan_default.risk.model.valued_version import valued_alike, with_value
    from loan_default.risk.monitoring.reference_profile import reference_of

    loans, splits = data.loans, data.splits
    search_space = _tuned_space(data, tuned, search_space)
    developments = _Developments(data, search_space, seed)
    candidates = train_candidates(
        developments.of(policy.decision), search_space, policy.decision, seed=seed, kinds=kinds, on_fitted=on_fitted
    )
    best = candidates[0]
    findings = judge_candidate(best, _calibrate_window(data), policy.promotion, bootstrap=Bootstrap(seed))
    if any(finding.rule == NO_LEAK and not finding.passed for finding in findings):
        raise GateFailed("trained_model", findings)
    _log(models, mlflow_run_id, candidates, data, {**(tags := _tags(data, policy, seed)), "kind": best.kind})
    scorer, value = with_value(best.scorer, policy.value, data.engine, loans, splits)
    scorer, timing = with_timing(scorer, data.engine, loans, splits, search_space, seed)
    candidates = tuple(replace(each, scorer=valued_alike(each.scorer, scorer)) for each in candidates)
    reference = reference_of(data.engine, loans, data.contract, splits, best.scores, policy.drift.report_sample_rows)
    variants = _fit_variants(developments, policy.decision, best.kind)
    variants = {name: replace(each, scorer=valued_alike(each.scorer, scorer)) for name, each in variants.items()}
    version = models.register(mlflow_run_id, candidates, variants, reference=reference, tags=tags)
    trained = _record(candidates, version.version, mlflow_run_id, seed, tags)
    record = {**trained, "variants": list(variants), "value": value, "timing": timing}
    models.tracking.log_json(mlflow_run_id, TRAINING, record)
    models.tracking.rename_run(mlflow_run_id, run_name(version.version, best.kind, best.metrics["auc"].value, splits))
    return Training(candidates, findings, record)


def _tuned_space(data: TrainingData, tuned: Mapping[str, Any], search_space: SearchSpace) -> SearchSpace:
    """Return the search space for so many loans, with what tuning found as the start of its candidate."""
    from loan_default.risk.model.tuning import TUNED

    search_space = search_space.for_loans(data.splits.window("train").rows)
    return search_space.replace(tuned.get("candidate", TUNED), start=tuned["parameters"])


def run_name(version: int, kind: str, auc: float, splits: Splits) -> str:
    """Name a training by what tells it from others, as a list shows some 20 letters: `v3 AUC 0.702 2018Q4 xgboost`.

    The quarter is that of the newest loans.
    """
    month = splits.windows[-1].last_month
    quarter = f" {month:%Y}Q{(month.month + 2) // 3}" if month else ""
    return f"v{version} AUC {auc:.3f}{quarter} {kind}"


def _tags(data: TrainingData, policy: Policy, seed: int) -> dict[str, str]:
    """Return what a version is made of, as its tags and the record of its training name it."""
    from loan_default.adapters.model_store import provenance

    return {
        "data_fingerprint": data.splits.data_fingerprint,
        "training_fingerprint": data.splits.fingerprint,
        "contract_fingerprint": data.contract.fingerprint,
        "policy_fingerprint": policy.fingerprint,
        "seed": str(seed),
        **provenance(),
    }


def _fit_variants(developments: _Developments, decision: DecisionPolicy, kind: str) -> dict[str, Candidate]:
    """Fit the best kind once more by another seed, and once with the lender's opinion if it has none, or without.

    Where it learned from loans that have not matured, it is also fitted on those that have. They are measured beside
    it, never chosen: so the card can say what hangs on chance, what on the opinion and what on open loans. Of many
    loans all are fitted on a sample, and the kind as it is too, so that the card tells what the sample costs.
    """
    from loan_default.risk.model.training import train_candidates
    from loan_default.risk.validation.alternatives import (
        ANOTHER_SEED,
        ON_MATURED,
        ON_SAMPLE,
        SAMPLED_AT_MOST,
        WITH_OPINION,
        WITHOUT_OPINION,
    )

    data, seed = developments.data, developments.seed
    ways = {ANOTHER_SEED: (developments, decision, seed + 1)}
    if data.splits.share_of(SAMPLED_AT_MOST) < 1:
        ways[ON_SAMPLE] = (developments, decision, seed)
    if data.splits.open_loans:
        ways[ON_MATURED] = (developments.matured, decision, seed)
    if data.contract.opinions and len(data.contract.opinions) < len(data.contract.features):
        hidden = decision.decide_without_opinion
        other = decision.model_copy(update={"decide_without_opinion": not hidden})
        ways[WITH_OPINION if hidden else WITHOUT_OPINION] = (developments, other, seed)
    return {
        name: train_candidates(
            loans.of(view, SAMPLED_AT_MOST), developments.search_space, view, seed=chance, kinds=[kind]
        )[0]
        for name, (loans, view, chance) in ways.items()
    }


def _calibrate_window(data: TrainingData) -> CalibrateWindow:
    """Collect what the candidate is judged against, in the order in which its margins come."""
    import polars as pl

    from loan_default.risk.model.development import on_windows
    from loan_default.risk.model.training import CalibrateWindow, select_opinions

    opinions = partial(select_opinions, data.contract)
    loans = pl.concat(on_windows(data.engine, data.loans, data.contract, data.splits, ["calibrate"], opinions))
    return CalibrateWindow.of(loans, data.contract)


def _record(
    candidates: Sequence[Candidate], version: int, mlflow_run_id: str, seed: int, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return what later steps read of this training."""
    from loan_default.adapters.model_store import libraries

    return {
        "version": version,
        "run_id": mlflow_run_id,
        "kind": candidates[0].kind,
        "candidates": [candidate.kind for candidate in candidates],
        "parameters": {candidate.kind: dict(candidate.parameters) for candidate in candidates},
        "calibrate": {c.kind: {name: asdict(metric) for name, metric in c.metrics.items()} for c in candidates},
        **tags,
        "libraries": libraries(),
        "seed": seed,
    }


def _log(
    models: ModelStore, run_id: str, candidates: Sequence[Candidate], data: TrainingData, tags: Mapping[str, str]
) -> None:
    """Log what a person compares runs by, and as files what they may look up."""
    from loan_default.adapters.model_store import LIBRARIES, SPLITS, libraries

    tracking, splits = models.tracking, data.splits
    tracking.set_tags(run_id, tags)
    tracking.log_parameters(
        run_id, {f"{c.kind}.{name}": value for c in candidates for name, value in c.parameters.items()}
    )
    tracking.log_metrics(run_id, {f"calibrate.{c.kind}.auc": c.metrics["auc"].value for c in candidates})
    rows = {str(window.name): window.rows for window in splits.windows}
    tracking.log_input(
        run_id, data.contract.name, fingerprint=splits.data_fingerprint, source=str(data.loans.address), profile=rows
    )
    tracking.log_json(run_id, LIBRARIES, libraries())
    tracking.log_json(run_id, SPLITS, splits.to_dict())
