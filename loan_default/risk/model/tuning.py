"""Searches for a candidate's parameters on the train and calibrate windows, by Optuna: seeded, pruned, resumable.

A study is named after its data, its fields, its search space and its seed, and continues where it stopped. Where it
is stored is a setting. How a candidate is fitted with the parameters is its class in `candidates`.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.errors import BadInput
from loan_default.risk.files import JOURNAL
from loan_default.risk.model.candidates.boosting import BoostedModel, BoostingParameters, OnRound, Span
from loan_default.risk.model.candidates.registry import boosted_class
from loan_default.risk.model.development import Development
from loan_default.risk.model.search_space import SearchSpace

TUNED = "xgboost"  # the candidate whose parameters are searched where none is named
_START, _SLOT = "is_start", "slot"
_REPORT_EVERY = 10
_WARM_UP_TRIALS = 4
_WARM_UP_ROUNDS = 60


@dataclass(frozen=True)
class TunedParams:
    """The parameters to fit a candidate with, and how they were searched; log losses are on the calibrate window.

    `parameters` are the start's unless the best trial's log loss is less by the search space's `least_gain_errors`
    standard errors `gain_error` of the difference, None where the start is the best trial; `on_bounds` says where they
    sit on a bound of the search then, beyond which a better value may lie.
    """

    parameters: Mapping[str, float | int]
    log_loss: float
    start_log_loss: float
    gain_error: float | None
    best_trial: int
    study: str
    trials: int
    pruned: int
    seconds: float
    candidate: str = TUNED
    on_bounds: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Say what a person should look at."""
        if not self.on_bounds:
            return ()
        values = "; ".join(self.on_bounds)
        return (f"The best trial sits on a bound of the search: {values}. Widen it there and tune again.",)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """One trial, for showing progress: log loss is None where it was pruned."""

    number: int
    log_loss: float | None
    best: float


def tune(
    development: Development,
    search: SearchSpace,
    *,
    data_fingerprint: str,
    storage: str,
    trials: int,
    seed: int,
    candidate: str = TUNED,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> TunedParams:
    """Search until the study holds `trials` finished trials; one that does is read, and its best trial tested.

    Args:
        development: train and calibrate windows; nothing else is looked at.
        search: where to start and what to try.
        data_fingerprint: names the data in the study's name.
        storage: an SQLAlchemy address, such as `sqlite:///path`, whose folder must exist, or `postgresql://…`; or a
            journal file, `journal:///path`. Where several processes search, one of the latter two.
        trials: how many trials the study is to hold, the start among them.
        seed: of the sampler and of each fit.
        candidate: whose parameters are searched.
        on_trial: called with each trial as it ends.

    Raises:
        BadInput: fewer than one trial is asked for, the candidate cannot be tuned, or the storage cannot be used, or
            no more; the trials that it holds stay whole.
    """
    if trials < 1:
        raise BadInput(f"{trials} tuning trials were asked for; ask for at least 1, which fits the start parameters.")
    began = time.monotonic()
    model, parameters = boosted_class(candidate), search.tunable(candidate)
    model.check_installed()
    name = f"{data_fingerprint}-{development.space.fingerprint}-{parameters.fingerprint}-{seed}"
    if candidate != TUNED:  # whose studies were named before others could be tuned
        name = f"{candidate}-{name}"
    study_search = _Search(name, storage, model, parameters, seed)
    with _refuse_bad_storage(storage):
        study = study_search.open()
        for trial in development.each(study_search.make_trial, _missing_slots(study, trials)):
            on_trial(trial)
        start, best = next(trial for trial in study.trials if _is_start(trial)), study.best_trial
        error = None if best.number == start.number else study_search.gain_error(development, start, best)
        is_better = error is not None and start.value - best.value > parameters.least_gain_errors * error
        chosen = best if is_better else start
        return TunedParams(
            parameters={**parameters.start, **chosen.params},
            log_loss=best.value,
            start_log_loss=start.value,
            gain_error=error,
            best_trial=best.number,
            study=study.study_name,
            trials=_count_finished(study),
            pruned=sum(trial.state.name == "PRUNED" for trial in study.trials),
            seconds=round(time.monotonic() - began, 1),
            candidate=candidate,
            on_bounds=parameters.bounds_met(chosen.params) if chosen is best else (),
        )


@contextmanager
def _refuse_bad_storage(storage: str) -> Iterator[None]:
    """Turn what the database refuses into one sentence without its password."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
        address, cause = re.sub(r"://.*@", "://***@", storage), error.__cause__
        refusal = cause if isinstance(cause, sqlalchemy.exc.SQLAlchemyError) else error  # Optuna's own words only guess
        reason = str(refusal).partition("\n")[0].rstrip(".")
        raise BadInput(
            f"The tuning study cannot be kept at {address} ({reason}); give an address such as sqlite:///tuning.db in "
            "a folder that exists, or that of a database that answers."
        ) from error


@dataclass(frozen=True)
class _Slot:
    """Room for one trial. Its number is its sampler's seed: a continued study draws nothing again."""

    number: int
    is_start: bool


def _missing_slots(study: Any, trials: int) -> list[_Slot]:
    """Return slots for the trials that the study lacks; the first tries the start, unless that was tried."""
    before = study.trials
    needs_start = not any(_is_start(trial) for trial in before)
    return [
        _Slot(len(before) + number, is_start=needs_start and number == 0)
        for number in range(max(trials - _count_finished(study), 0))
    ]


@dataclass(frozen=True)
class _Search:
    """A study, and how its trials are made: by one process after the other, or by several at once."""

    name: str
    storage: str = field(repr=False)  # it may hold a password
    model: type[BoostedModel]
    parameters: BoostingParameters
    seed: int

    def make_trial(self, development: Development, slot: _Slot) -> Trial:
        """Draw parameters for a slot, fit with them and tell the study how well they did."""
        import optuna

        study = self.open(self._sampler(slot))
        _abandon_trials(study, slot)
        trial = study.ask()
        trial.set_user_attr(_SLOT, slot.number)
        trial.set_user_attr(_START, slot.is_start)
        values = {name: _suggest(trial, name, span) for name, span in self.parameters.search.items()}
        parameters = self._with(values)
        on_round = _ignore_round if slot.is_start else _pruning(trial)  # the others are measured against the start
        try:
            loss = self.model.calibrate_loss(development, parameters, self.seed, on_round)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return Trial(trial.number, None, study.best_value)
        except BaseException:  # also where a person stops it
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        study.tell(trial, loss)
        return Trial(trial.number, loss, study.best_value)

    def gain_error(self, development: Development, start: Any, best: Any) -> float:
        """Return the standard error of what the best trial gains over the start in log loss on the calibrate window.

        Both are fitted again, so that each loan is compared with itself: what two fits have in common is no noise.
        """
        gains = self._losses(development, start) - self._losses(development, best)
        return float(gains.std(ddof=1) / np.sqrt(len(gains)))

    def _losses(self, development: Development, trial: Any) -> Floats:
        """Return the log loss of each loan of the calibrate window (n,) under a trial's parameters."""
        model = self.model.fit(development, "train", self._with(trial.params), self.seed)
        margins, outcomes, _ = development.margins(model)
        return np.asarray(np.logaddexp(0, margins) - outcomes * margins)

    def _with(self, values: Mapping[str, float | int]) -> BoostingParameters:
        return self.parameters.model_copy(update={"start": {**self.parameters.start, **values}})

    def open(self, sampler: Any = None) -> Any:
        """Open the study, and create it where there is none."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.MedianPruner(_WARM_UP_TRIALS, _WARM_UP_ROUNDS, _REPORT_EVERY)
        return optuna.create_study(
            study_name=self.name, storage=_store(self.storage), sampler=sampler, pruner=pruner, load_if_exists=True
        )

    def _sampler(self, slot: _Slot) -> Any:
        import optuna

        # A running trial counts as a bad one, so that nobody tries the same beside it.
        sampler = optuna.samplers.TPESampler(seed=self.seed + slot.number, constant_liar=True)
        if not slot.is_start:
            return sampler
        start = {name: self.parameters.start[name] for name in self.parameters.search}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(start, sampler)


@lru_cache(maxsize=1)
def _store(address: str) -> Any:
    """Open the store once a process: to see that a database has its tables takes longer than to ask for a trial."""
    import optuna

    if address.startswith(JOURNAL):
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(address.removeprefix(JOURNAL)))
    # A fit takes longer than some databases keep a connection that says nothing.
    return optuna.storages.RDBStorage(address, engine_kwargs={"pool_pre_ping": True})


def _abandon_trials(study: Any, slot: _Slot) -> None:
    """End trials of this slot whose process died."""
    import optuna

    running = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
    for trial in running:
        if trial.user_attrs.get(_SLOT) == slot.number:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _is_start(trial: Any) -> bool:
    return bool(trial.user_attrs.get(_START)) and trial.state.name == "COMPLETE"


def _count_finished(study: Any) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _suggest(trial: Any, name: str, span: Span) -> float | int:
    suggest = trial.suggest_int if span.is_whole else trial.suggest_float
    value: float | int = suggest(name, span.low, span.high, log=span.log)
    return value


def _ignore_round(number: int, loss: float) -> None:
    """Let the fit go on."""


def _pruning(trial: Any) -> OnRound:
    """Return what reports the calibrate window's log loss to a trial, and ends a hopeless one."""
    import optuna

    def report(number: int, loss: float) -> None:
        if number % _REPORT_EVERY == 0:
            trial.report(loss, number)
            if trial.should_prune():
                raise optuna.TrialPruned

    return report
