"""A search for parameters goes on where it stopped, and a training registers its best candidate or nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from loan_default.risk.policy import Policy
from loan_default.risk.validation import alternatives
from loan_default.risk.validation.alternatives import ANOTHER_SEED, ON_SAMPLE, WITHOUT_OPINION
from loan_default.steps.gates import GateFailed
from loan_default.steps.training import Training, train_and_register, tune_parameters
from loan_default_tests.steps.book import Book
from loan_default_tests.stores import client_of, new_run

pytestmark = pytest.mark.integration


def _train(book: Book, policy: Policy) -> tuple[Training, str]:
    run_id = new_run(book.models.tracking)
    training = train_and_register(
        book.data,
        book.record("tuned_params"),
        book.search_space,
        policy,
        book.models,
        run_id,
        kinds=["logistic_regression"],
        seed=7,
        on_fitted=lambda candidate: None,
    )
    return training, run_id


def test_a_search_goes_on_where_it_stopped(own_book: Book) -> None:
    before, numbers = own_book.record("tuned_params"), list[int]()
    tuned = tune_parameters(
        own_book.data,
        own_book.search_space,
        own_book.policy.decision,
        candidate="xgboost",
        study_storage=own_book.settings.study_storage,
        trials=before["trials"] + 1,
        seed=7,
        on_trial=lambda trial: numbers.append(trial.number),
    ).tuned
    assert (tuned.study, tuned.trials) == (before["study"], before["trials"] + 1)
    assert numbers == [before["trials"]]


def test_the_best_candidate_is_registered_with_what_later_steps_read(own_book: Book) -> None:
    training, run_id = _train(own_book, own_book.policy)
    record: Mapping[str, Any] = training.record
    assert (record["version"], record["kind"], record["run_id"]) == (2, "logistic_regression", run_id)
    assert record["training_fingerprint"] == own_book.data.splits.fingerprint
    version = own_book.models.tracking.get(2)
    assert version.tags["kind"] == "logistic_regression"
    assert version.tags["contract_fingerprint"] == record["contract_fingerprint"] == own_book.contract.fingerprint
    assert version.tags["policy_fingerprint"] == record["policy_fingerprint"] == own_book.policy.fingerprint
    assert (version.tags["seed"], record["seed"]) == ("7", 7)
    assert own_book.models.scorer(version).contract.fingerprint == own_book.contract.fingerprint
    run = client_of(own_book.models.tracking).get_run(run_id).data
    auc = training.candidates[0].metrics["auc"].value
    assert run.metrics["calibrate.logistic_regression.auc"] == pytest.approx(auc)
    assert own_book.models.tracking.read_json(run_id, "windows.json") == own_book.record("loan_splits")


def test_of_many_loans_the_leading_candidate_is_fitted_once_more_on_a_sample(
    own_book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ON_SAMPLE not in _train(own_book, own_book.policy)[0].record["variants"]
    monkeypatch.setattr(alternatives, "SAMPLED_AT_MOST", 1_000)
    training, run_id = _train(own_book, own_book.policy)
    assert [*training.record["variants"]] == [ANOTHER_SEED, ON_SAMPLE, WITHOUT_OPINION]
    pds = [own_book.models.candidate(run_id, name).calibration for name in ("logistic_regression", ON_SAMPLE)]
    assert pds[0] != pds[1]


def test_a_candidate_that_is_too_good_to_be_true_is_not_registered(own_book: Book) -> None:
    promotion = own_book.policy.promotion.model_copy(update={"suspect_leak_above_auc": 0.51})
    with pytest.raises(GateFailed, match=r"a leak is suspected\.") as raised:
        _train(own_book, own_book.policy.model_copy(update={"promotion": promotion}))
    assert raised.value.asset == "trained_model"
    assert [version.version for version in own_book.models.tracking.versions()] == [1]
