"""Tuning: starts where it should, continues where it stopped, and replaces the start only for a real gain."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from loan_default.risk.errors import BadInput
from loan_default.risk.files import JOURNAL
from loan_default.risk.model.candidates.boosting import Span
from loan_default.risk.model.candidates.lightgbm_trees import LightGBMTrees
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.development import LocalDevelopment, Sample
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.tuning import Trial, TunedParams, tune

GOOD: Mapping[str, float | int] = {"max_depth": 2, "learning_rate": 0.1, "min_child_weight": 5.0}
BAD: Mapping[str, float | int] = {**GOOD, "learning_rate": 0.9}
SEARCH = {"max_depth": Span(low=1, high=3), "learning_rate": Span(low=0.02, high=0.9, log=True)}


@pytest.fixture(scope="module")
def few(development: LocalDevelopment) -> LocalDevelopment:
    """Keep 400 loans in each window."""
    windows = {name: getattr(development, name) for name in ("train", "calibrate")}
    return LocalDevelopment(development.space, **{name: Sample(w.X[:400], w.y[:400]) for name, w in windows.items()})


@pytest.fixture
def space(quick_search: SearchSpace) -> SearchSpace:
    return changed(quick_search, start=GOOD, search=SEARCH, rounds_at_most=20, stop_after_rounds=20)


def changed(space: SearchSpace, **xgboost: Any) -> SearchSpace:
    return space.replace("xgboost", **xgboost)


@pytest.fixture
def new_storage(tmp_path: Path) -> Callable[[str], str]:
    """Return the address of a journal, which takes a fifth of a database's time."""
    return lambda name: f"{JOURNAL}{tmp_path / name}"


@pytest.fixture
def storage(new_storage: Callable[[str], str]) -> str:
    return new_storage("tuning")


@pytest.fixture(params=["journal", pytest.param("database", marks=pytest.mark.integration)])
def each_storage(request: pytest.FixtureRequest, storage: str, tmp_path: Path) -> str:
    return storage if request.param == "journal" else f"sqlite:///{tmp_path / 'tuning.db'}"


def store_at(address: str) -> Any:
    """Open the store with what Optuna offers, beside the one that a search has open."""
    path = address.removeprefix(JOURNAL)
    return address if path == address else JournalStorage(JournalFileBackend(path))


def run(few: LocalDevelopment, space: SearchSpace, storage: str, trials: int, **other: Any) -> TunedParams:
    return tune(few, space, **{"data_fingerprint": "d", "seed": 7, **other}, storage=storage, trials=trials)


def loss_of(few: LocalDevelopment, start: Mapping[str, float | int], space: SearchSpace) -> float:
    return XGBoostTrees.calibrate_loss(few, changed(space, start=start).tunable("xgboost"), 7, lambda *report: None)


def trials_in(storage: str, study: str) -> list[optuna.trial.FrozenTrial]:
    trials: list[optuna.trial.FrozenTrial] = optuna.load_study(study_name=study, storage=store_at(storage)).trials
    return trials


def test_the_start_is_the_first_trial_and_alone_is_a_search(
    few: LocalDevelopment, space: SearchSpace, storage: str
) -> None:
    tuned = run(few, space, storage, 1)
    assert tuned.parameters == GOOD
    assert (tuned.trials, tuned.best_trial, tuned.pruned) == (1, 0, 0)
    expected = loss_of(few, GOOD, space)
    assert tuned.log_loss == tuned.start_log_loss == expected


def test_every_trial_is_told_and_stays_within_the_space(
    few: LocalDevelopment, space: SearchSpace, storage: str
) -> None:
    reported: list[Trial] = []
    tuned = run(few, space, storage, 6, on_trial=reported.append)
    assert [trial.number for trial in reported] == list(range(6))
    losses = [trial.log_loss for trial in reported if trial.log_loss is not None]
    assert [trial.best for trial in reported] == [min(losses[: number + 1]) for number in range(6)]
    assert tuned.log_loss == min(losses)
    stored = trials_in(storage, tuned.study)
    assert all(1 <= trial.params["max_depth"] <= 3 for trial in stored)
    assert all(isinstance(trial.params["max_depth"], int) for trial in stored)
    assert all(0.02 <= trial.params["learning_rate"] <= 0.9 for trial in stored)
    assert len({str(trial.params) for trial in stored}) == 6
    for trial in stored:  # what is not searched stays as it starts
        assert trial.value == loss_of(few, {**GOOD, **trial.params}, space)


def test_a_search_continues_where_it_stopped(few: LocalDevelopment, space: SearchSpace, each_storage: str) -> None:
    first: list[Trial] = []
    run(few, space, each_storage, 5, on_trial=first.append)
    rest: list[Trial] = []
    tuned = run(few, space, each_storage, 8, on_trial=rest.append)
    assert [trial.number for trial in first + rest] == list(range(8))
    assert len(rest) == 3
    assert tuned.trials == 8
    drawn = [str(trial.params) for trial in trials_in(each_storage, tuned.study)]
    assert len(set(drawn)) == 8  # nothing is drawn again
    again = run(few, space, each_storage, 8, on_trial=lambda trial: pytest.fail("the search was complete"))
    assert replace(again, seconds=0) == replace(tuned, seconds=0)


def test_a_killed_search_loses_only_the_trial_it_was_in(
    few: LocalDevelopment, space: SearchSpace, each_storage: str
) -> None:
    study = run(few, space, each_storage, 3).study
    for _ in range(2):
        optuna.load_study(study_name=study, storage=store_at(each_storage)).ask()  # left RUNNING for ever, as by a kill
    tuned = run(few, space, each_storage, 5)
    assert tuned.trials == 5
    states = [trial.state.name for trial in trials_in(each_storage, study)]
    assert (states.count("COMPLETE"), states.count("RUNNING")) == (5, 2)


@pytest.mark.parametrize("state", ["RUNNING", "FAIL"])
def test_a_search_killed_in_its_first_trial_starts_at_the_start_again(
    few: LocalDevelopment,
    space: SearchSpace,
    each_storage: str,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(XGBoostTrees, "calibrate_loss", killed)
        with pytest.raises(KeyboardInterrupt):
            run(few, space, each_storage, 3)
    (study,) = optuna.get_all_study_names(store_at(each_storage))
    if state == "RUNNING":
        optuna.delete_study(study_name=study, storage=store_at(each_storage))
        optuna.create_study(study_name=study, storage=store_at(each_storage)).ask()
    tuned = run(few, space, each_storage, 3)
    states = [trial.state.name for trial in trials_in(each_storage, study)]
    assert states == [state, "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials_in(each_storage, study)[1].params == {name: GOOD[name] for name in SEARCH}
    assert tuned.start_log_loss == loss_of(few, GOOD, space)
    assert run(few, space, each_storage, 3).trials == 3


def test_the_same_search_finds_the_same(
    few: LocalDevelopment, space: SearchSpace, new_storage: Callable[[str], str]
) -> None:
    runs = [run(few, space, new_storage(name), 6) for name in ("one", "two")]
    assert replace(runs[0], seconds=0) == replace(runs[1], seconds=0)


def losses_of(few: LocalDevelopment, search: SearchSpace, values: Mapping[str, float | int]) -> Any:
    """Return the log loss of each loan of the calibrate window (n,)."""
    parameters = search.tunable("xgboost").model_copy(update={"start": values})
    margins, outcomes, _ = few.margins(XGBoostTrees.fit(few, "train", parameters, 7))
    pds = 1 / (1 + np.exp(-margins))
    return -np.log(np.where(outcomes == 1, pds, 1 - pds))


@pytest.mark.slow
def test_the_start_stays_unless_it_is_beaten_by_so_many_standard_errors(
    few: LocalDevelopment, space: SearchSpace, new_storage: Callable[[str], str]
) -> None:
    from_bad = changed(space, start=BAD)
    free = run(few, from_bad, new_storage("free"), 6)
    gain = free.start_log_loss - free.log_loss
    assert gain > 0.01
    assert free.parameters["learning_rate"] < 0.9
    assert free.parameters["min_child_weight"] == 5.0
    gains = losses_of(few, space, BAD) - losses_of(few, space, free.parameters)
    assert gains.mean() == pytest.approx(gain, abs=1e-6)
    assert free.gain_error == pytest.approx(gains.std(ddof=1) / np.sqrt(400), rel=1e-5)
    errors = gain * np.sqrt(400) / gains.std(ddof=1)
    for least, replaced in ((errors * 0.99, True), (errors * 1.01, False)):
        tuned = run(few, changed(from_bad, least_gain_errors=least), new_storage(str(replaced)), 6)
        assert tuned.log_loss == free.log_loss
        assert tuned.parameters == (free.parameters if replaced else BAD)


def test_a_best_trial_on_a_bound_is_told_unless_the_start_stays(
    few: LocalDevelopment, space: SearchSpace, new_storage: Callable[[str], str]
) -> None:
    narrow = changed(space, start=BAD, search={"max_depth": Span(low=1, high=2)})
    tuned = run(few, narrow, new_storage("narrow.db"), 4)
    (sentence,) = replace(tuned, on_bounds=("max_depth 2 is the most that may be tried",)).warnings()
    assert sentence.startswith("The best trial sits on a bound of the search: max_depth 2 is the most")
    assert len(tuned.on_bounds) == (tuned.parameters != BAD)
    assert run(few, changed(narrow, least_gain_errors=99), new_storage("start.db"), 4).on_bounds == ()


@pytest.mark.slow
def test_hopeless_trials_are_pruned_and_counted(few: LocalDevelopment, space: SearchSpace, storage: str) -> None:
    reported: list[Trial] = []
    slow = {**SEARCH, "learning_rate": Span(low=0.0005, high=0.2, log=True)}
    patient = changed(space, search=slow, rounds_at_most=90, stop_after_rounds=90)
    tuned = run(few, patient, storage, 14, on_trial=reported.append)
    assert tuned.pruned >= 1
    assert tuned.pruned == sum(trial.log_loss is None for trial in reported)
    assert tuned.trials == 14
    stored = trials_in(storage, tuned.study)
    assert tuned.pruned == sum(trial.state.name == "PRUNED" for trial in stored)
    assert stored[0].state.name == "COMPLETE"
    assert all(max(trial.intermediate_values) < 89 for trial in stored if trial.state.name == "PRUNED")


@pytest.mark.parametrize("other", ["seed", "space", "data"])
def test_another_seed_space_or_data_is_another_study(
    few: LocalDevelopment, space: SearchSpace, storage: str, other: str
) -> None:
    first = run(few, space, storage, 1)
    second = {
        "seed": lambda: run(few, space, storage, 1, seed=8),
        "space": lambda: run(few, changed(space, rounds_at_most=19), storage, 1),
        "data": lambda: run(few, space, storage, 1, data_fingerprint="e"),
    }[other]()
    assert second.study != first.study
    assert second.trials == 1
    assert len(optuna.get_all_study_names(store_at(storage))) == 2


@pytest.mark.parametrize("trials", [0, -3])
def test_no_trial_at_all_is_refused(few: LocalDevelopment, space: SearchSpace, storage: str, trials: int) -> None:
    with pytest.raises(BadInput, match=f"^{trials} tuning trials were asked for; ask for at least 1"):
        run(few, space, storage, trials)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("address", "beginning"),
    [
        ("sqlite:////absent/tuning.db", "at sqlite:////absent/tuning.db ("),
        ("tuning.db", "at tuning.db ("),
        ("nosql://person:secret@host/db", "at nosql://***@host/db ("),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_without_its_password(
    few: LocalDevelopment, space: SearchSpace, address: str, beginning: str
) -> None:
    with pytest.raises(BadInput) as refused:
        run(few, space, address, 1)
    sentence = str(refused.value)
    assert sentence.startswith(f"The tuning study cannot be kept {beginning}")
    assert sentence.endswith(
        "; give an address such as sqlite:///tuning.db in a folder that exists, or that of a database that answers."
    )
    assert "secret" not in sentence
    assert "\n" not in sentence


def test_the_outcome_is_a_json_record(few: LocalDevelopment, space: SearchSpace, storage: str) -> None:
    tuned = run(few, space, storage, 1)
    record = tuned.to_dict()
    assert record["parameters"] == GOOD
    assert TunedParams(**record) == tuned


def test_lightgbm_is_tuned_the_same_way_in_a_study_of_its_own(
    few: LocalDevelopment, quick_search: SearchSpace, storage: str
) -> None:
    spans = {"num_leaves": Span(low=4, high=12), "learning_rate": Span(low=0.02, high=0.2, log=True)}
    search = quick_search.replace("lightgbm", search=spans, rounds_at_most=30)
    other = run(few, changed(quick_search, search={}), storage, 1)
    tuned = run(few, search, storage, 3, candidate="lightgbm")
    assert (tuned.candidate, other.candidate) == ("lightgbm", "xgboost")
    assert tuned.study.startswith("lightgbm-d-")
    assert tuned.trials == 3
    assert 4 <= tuned.parameters["num_leaves"] <= 12
    assert tuned.log_loss <= tuned.start_log_loss
    parameters = search.tunable("lightgbm").model_copy(update={"start": tuned.parameters})
    losses = []
    LightGBMTrees.calibrate_loss(few, parameters, 7, lambda number, loss: losses.append(loss))
    assert min(losses) == min(tuned.log_loss, tuned.start_log_loss)


def test_a_candidate_without_parameters_to_tune_is_refused(
    few: LocalDevelopment, space: SearchSpace, storage: str
) -> None:
    with pytest.raises(BadInput, match="The candidate logistic_regression has no parameters to tune; choose among"):
        run(few, space, storage, 1, candidate="logistic_regression")


def test_records_from_before_there_was_a_choice_are_of_xgboost(
    few: LocalDevelopment, space: SearchSpace, storage: str
) -> None:
    record = run(few, space, storage, 1).to_dict()
    del record["candidate"]
    assert TunedParams(**record).candidate == "xgboost"
