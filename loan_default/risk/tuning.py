"""Searches for XGBoost's parameters on the train and calibrate windows, by Optuna: seeded, pruned, resumable.

A study is named after its data, its fields, its search space and its seed, and continues where it stopped. Where it
is stored is a setting. Fitting with the parameters found is `training`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from loan_default.risk.errors import BadInput
from loan_default.risk.search_space import SearchSpace, Span
from loan_default.risk.training import Development, boost

_START = "is_start"
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
        storage: an SQLAlchemy address, such as `sqlite:///path`, whose folder must exist, or `postgresql://…`.
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
    with _kept_at(storage):
        study = _study(name, space, storage, seed)

        def objective(trial: Any) -> float:
            parameters = {**space.xgboost.start, **{k: _suggest(trial, k, s) for k, s in space.xgboost.search.items()}}
            return boost(development, parameters, space, seed, callbacks=[_pruning(trial)])[2]

        def told(study: Any, trial: Any) -> None:
            on_trial(Trial(trial.number, trial.value if trial.state.name == "COMPLETE" else None, study.best_value))

        study.optimize(objective, n_trials=max(trials - _finished(study), 0), callbacks=[told])
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


def _study(name: str, space: SearchSpace, storage: str, seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(_WARM_UP_TRIALS, _WARM_UP_ROUNDS, _REPORT_EVERY)
    # A fit takes longer than some databases keep a connection that says nothing.
    place = optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    study = optuna.create_study(study_name=name, storage=place, pruner=pruner, load_if_exists=True)
    # A continued study must not draw again what it drew before.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    # Also where a run was killed during the start itself; a trial that was left RUNNING never ends.
    if not any(_is_start(trial) for trial in study.trials):
        start = {name: space.xgboost.start[name] for name in space.xgboost.search}
        study.enqueue_trial(start, user_attrs={_START: True})
    return study


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
