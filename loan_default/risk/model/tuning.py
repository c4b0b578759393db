"""Searches for XGBoost's parameters on the train and calibrate windows, by Optuna: seeded, pruned, resumable.

A study is named after its data, its fields, its search space and its seed, and continues where it stopped. Where it
is stored is a setting. Fitting with the parameters found is `training`.
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

from loan_default.risk.errors import BadInput
from loan_default.risk.model.development import Development
from loan_default.risk.model.search_space import SearchSpace, Span
from loan_default.risk.model.training import boost

JOURNAL = "journal://"  # begins the address of a journal file: journal:///path
_START, _SLOT = "is_start", "slot"
_REPORT_EVERY = 10
_WARM_UP_TRIALS = 4
_WARM_UP_ROUNDS = 60


@dataclass(frozen=True)
class TunedParams:
    """The parameters to fit with, and how they were found; log losses are on the calibrate window.

    `parameters` are the start's unless the best trial beats it by the search space's `least_gain`.
    """

    parameters: Mapping[str, float | int]
    log_loss: float
    start_log_loss: float
    best_trial: int
    study: str
    trials: int
    pruned: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For a JSON record."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """One trial, for showing progress: log loss is None where it was pruned."""

    number: int
    log_loss: float | None
    best: float


def tune(
    development: Development,
    space: SearchSpace,
    *,
    data_fingerprint: str,
    storage: str,
    trials: int,
    seed: int,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> TunedParams:
    """Search until the study holds `trials` finished trials; a study that does is only read.

    Args:
        development: train and calibrate windows; nothing else is looked at.
        space: where to start and what to try.
        data_fingerprint: names the data in the study's name.
        storage: an SQLAlchemy address, such as `sqlite:///path`, whose folder must exist, or `postgresql://…`; or a
            journal file, `journal:///path`. Where several processes search, one of the latter two.
        trials: how many trials the study is to hold, the start among them.
        seed: of the sampler and of XGBoost.
        on_trial: told of each trial as it ends.

    Raises:
        BadInput: fewer than one trial is asked for, or the storage cannot be used, or no more; what it holds is whole.
    """
    if trials < 1:
        raise BadInput(f"{trials} tuning trials were asked for; ask for at least 1, which fits the start parameters.")
    began = time.monotonic()
    name = f"{data_fingerprint}-{development.space.fingerprint}-{space.fingerprint}-{seed}"
    search = _Search(name, storage, space, seed)
    with _kept_at(storage):
        study = search.opened()
        known = study.trials
        first = len(known)
        slots = [
            _Slot(first + at, is_start=at == 0 and not any(_is_start(trial) for trial in known))
            for at in range(max(trials - _finished(study), 0))
        ]
        for trial in development.each(search.make_trial, slots):
            on_trial(trial)
        start, best = next(trial for trial in study.trials if _is_start(trial)), study.best_trial
        chosen = best if start.value - best.value >= space.xgboost.least_gain else start
        return TunedParams(
            parameters={**space.xgboost.start, **chosen.params},
            log_loss=best.value,
            start_log_loss=start.value,
            best_trial=best.number,
            study=study.study_name,
            trials=_finished(study),
            pruned=sum(trial.state.name == "PRUNED" for trial in study.trials),
            seconds=round(time.monotonic() - began, 1),
        )


@contextmanager
def _kept_at(storage: str) -> Iterator[None]:
    """What the database refuses is one sentence without its password."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
        where, cause = re.sub(r"://.*@", "://***@", storage), error.__cause__
        told = cause if isinstance(cause, sqlalchemy.exc.SQLAlchemyError) else error  # Optuna's own words only guess
        said = str(told).partition("\n")[0].rstrip(".")
        raise BadInput(
            f"The tuning study cannot be kept at {where} ({said}); give an address such as sqlite:///tuning.db in a "
            "folder that exists, or that of a database that answers."
        ) from error


@dataclass(frozen=True)
class _Slot:
    """A place for one trial. Whoever fills it draws by its number: a continued study draws nothing again."""

    number: int
    is_start: bool


@dataclass(frozen=True)
class _Search:
    """A study, and how its trials are made: by one process after the other, or by several at once."""

    name: str
    storage: str = field(repr=False)  # it may hold a password
    space: SearchSpace
    seed: int

    def make_trial(self, development: Development, slot: _Slot) -> Trial:
        """Fill a slot."""
        import optuna

        study = self.opened(self._sampler(slot))
        _give_up(study, slot)
        trial = study.ask()
        trial.set_user_attr(_SLOT, slot.number)
        trial.set_user_attr(_START, slot.is_start)
        given = {name: _suggest(trial, name, span) for name, span in self.space.xgboost.search.items()}
        parameters = {**self.space.xgboost.start, **given}
        callbacks = [] if slot.is_start else [_pruning(trial)]  # the others are measured against the start
        try:
            _, _, loss = boost(development, parameters, self.space, self.seed, callbacks)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return Trial(trial.number, None, study.best_value)
        except BaseException:  # also where a person stops it
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        study.tell(trial, loss)
        return Trial(trial.number, loss, study.best_value)

    def opened(self, sampler: Any = None) -> Any:
        """The study, which is made where there is none."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.MedianPruner(_WARM_UP_TRIALS, _WARM_UP_ROUNDS, _REPORT_EVERY)
        return optuna.create_study(
            study_name=self.name, storage=_store(self.storage), sampler=sampler, pruner=pruner, load_if_exists=True
        )

    def _sampler(self, slot: _Slot) -> Any:
        import optuna

        # Trials that others are at count as bad ones, so that nobody tries the same beside them.
        sampler = optuna.samplers.TPESampler(seed=self.seed + slot.number, constant_liar=True)
        if not slot.is_start:
            return sampler
        start = {name: self.space.xgboost.start[name] for name in self.space.xgboost.search}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(start, sampler)


@lru_cache(maxsize=1)
def _store(address: str) -> Any:
    """One for each process: to look whether a database has its tables takes longer than to ask it for a trial."""
    import optuna

    if address.startswith(JOURNAL):
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(address.removeprefix(JOURNAL)))
    # A fit takes longer than some databases keep a connection that says nothing.
    return optuna.storages.RDBStorage(address, engine_kwargs={"pool_pre_ping": True})


def _give_up(study: Any, slot: _Slot) -> None:
    """End what a process left in this slot when it died."""
    import optuna

    running = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
    for trial in running:
        if trial.user_attrs.get(_SLOT) == slot.number:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _is_start(trial: Any) -> bool:
    return bool(trial.user_attrs.get(_START)) and trial.state.name == "COMPLETE"


def _finished(study: Any) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _suggest(trial: Any, name: str, span: Span) -> float | int:
    if span.whole:
        whole: int = trial.suggest_int(name, span.low, span.high, log=span.log)
        return whole
    value: float = trial.suggest_float(name, span.low, span.high, log=span.log)
    return value


def _pruning(trial: Any) -> Any:
    """An XGBoost callback that reports the calibrate window's log loss and ends a hopeless trial."""
    import optuna
    import xgboost

    class Pruning(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch % _REPORT_EVERY == 0:
                trial.report(evals_log["calibrate"]["logloss"][-1], epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return False

    return Pruning()
