"""A search for parameters goes on where it stopped, and a training registers its best candidate or nothing."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.model_store import ModelStore
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.risk.compute import LocalEngine
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.splitting import SplitPlan
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.policy import Policy, load_policy
from loan_default.risk.validation import alternatives
from loan_default.risk.validation.alternatives import ANOTHER_SEED, ON_MATURED, ON_SAMPLE, WITHOUT_OPINION
from loan_default.steps.batch import Batch
from loan_default.steps.data import clean_loan_file, split_cleaned_loans
from loan_default.steps.evaluation import evaluate_version
from loan_default.steps.gates import GateFailed
from loan_default.steps.model_card import VersionRecords, write_card
from loan_default.steps.scoring import read_batch, score_batch
from loan_default.steps.training import Training, TrainingData, train_and_register, tune_parameters
from loan_default.steps.workspace import Workspace
from loan_default_tests.risk.small_books import TIMELESS, make_contract, make_file
from loan_default_tests.steps.book import Book, as_json
from loan_default_tests.stores import client_of, new_run, new_tracking

pytestmark = pytest.mark.integration


def _train(book: Book, policy: Policy, data: TrainingData | None = None) -> tuple[Training, str]:
    run_id = new_run(book.models.tracking)
    training = train_and_register(
        data or book.data,
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


def _learning_from_open_loans(book: Book) -> TrainingData:
    report, plan = book.record("cleaning_report"), SplitPlan()
    return replace(book.data, splits=split_cleaned_loans(book.data.loans, report, book.contract, plan, "open"))


def test_open_loans_are_learned_from_where_the_policy_says_so(own_book: Book) -> None:
    data = _learning_from_open_loans(own_book)
    assert data.splits.open_loans is not None
    training, _ = _train(own_book, own_book.policy, data)
    version = own_book.models.tracking.get(training.record["version"])
    assert training.record["training_fingerprint"] == data.splits.fingerprint
    assert own_book.models.splits(version) == data.splits
    assert ON_MATURED in training.record["variants"]
    assert len(training.candidates[0].margins) == data.splits.window("calibrate").rows
    reference = own_book.models.reference(version)
    assert reference.profile.months == ("2012-01", "2014-06")
    assert reference.profile.rows == data.splits.development_rows
    best = training.candidates[0]
    assert reference.profile.columns["raw_score"].present == len(best.scores) > len(best.margins)  # open loans too
    assert reference.profile.columns["raw_score"].mean == pytest.approx(best.scores.mean(), abs=0.001)
    assert "had not ended" in training.record["timing"]


@pytest.mark.long
def test_a_version_that_learned_from_open_loans_is_judged_described_and_used_as_any(own_book: Book) -> None:
    data, now = _learning_from_open_loans(own_book), datetime(2026, 3, 1, tzinfo=UTC)
    training, _ = _train(own_book, own_book.policy, data)
    record = as_json(training.record)
    evaluation = evaluate_version(
        data, record, own_book.models, own_book.policy, own_book.layout, now=now, bootstrap=Bootstrap(7, 20)
    )
    judged = evaluation.judgement.evaluation
    assert (judged.rows, judged.out_of_time) == (data.splits.window("test").rows, False)
    assert judged.came == "did not all come after the training loans of their term"
    assert ON_MATURED in {line.name for line in evaluation.examination.alternatives}
    records = VersionRecords(
        cleaning_report=own_book.record("cleaning_report"),
        loan_splits=data.splits.to_dict(),
        trained_model=record,
        model_evaluation=as_json(evaluation.to_dict()),
        promoted_model={**own_book.record("promoted_model"), "candidate": record["version"]},
    )
    card = write_card(records, own_book.models, own_book.policy, own_book.layout)
    assert data.splits.open_loans is not None
    assert f"{data.splits.open_loans.rows:,} loans that had not matured by 2019-03" in card.text
    assert "A version is judged by matured loans only" in card.text
    assert "learned from matured loans alone" in card.text


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
    assert record["value"].startswith("Estimated on ")
    assert record["timing"].startswith("Hazards of ")
    assert own_book.models.scorer(version).hazard is not None
    valued = own_book.models.scorer(version).value
    assert valued is not None
    assert valued.policy == own_book.policy.value
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


def test_a_book_of_semicolons_and_decimal_commas_ends_as_the_same_loans_in_commas_and_points(tmp_path: Path) -> None:
    rows = make_file(1_600)
    income = pl.col("income").map_elements(lambda amount: f"{amount:,.0f}".replace(",", "."), pl.String)
    german = make_contract(
        time="none", outcomes="final", files={"separator": ";", "decimal": ",", "thousands": ".", "encoding": "cp1252"}
    )
    predictions = [
        _run(tmp_path / "plain", TIMELESS, rows, separator=","),
        _run(tmp_path / "german", german, rows.with_columns(income), separator=";", decimal_comma=True),
    ]
    assert predictions[0].height == 400
    assert predictions[0]["pd"].n_unique() > 300
    assert predictions[1].equals(predictions[0])


def _run(folder: Path, contract: Contract, rows: pl.DataFrame, **written: Any) -> pl.DataFrame:
    """Clean, cut, train and promote three in four rows, score the others as a batch, and return the predictions."""
    workspace = Workspace(StorageLayout(UPath(folder / "storage")), folder / "staging", "run-1")
    layout, engine, now = workspace.layout, LocalEngine(), datetime(2026, 3, 1, tzinfo=UTC)
    for path in (Path(str(layout.inbox)), workspace.staging):
        path.mkdir(parents=True)
    rows[:1_200].write_csv(folder / "loans.csv", **written)
    rows[1_200:].drop("status").write_csv(Path(str(layout.inbox), "a.csv"), **written)
    report = clean_loan_file(str(folder / "loans.csv"), contract, workspace, engine, today=date(2026, 11, 1)).report
    assert (report.kept, report.rejected) == (1_200, 0)
    loans = ParquetTable.of(layout.table("cleaned_loans"), workspace.staging)
    splits = split_cleaned_loans(loans, as_json(report.to_dict()), contract, SplitPlan(0.2, 0.2, None, None))
    data = TrainingData(loans, splits, contract, engine)
    models = ModelStore(new_tracking(folder / "mlflow"), folder / "models")
    search_space = load_search_space()
    tuned = {"candidate": "xgboost", "parameters": search_space.tunable("xgboost").start}
    training = train_and_register(
        data,
        tuned,
        search_space,
        load_policy(None, contract),
        models,
        new_run(models.tracking),
        kinds=["logistic_regression"],
        seed=7,
        on_fitted=lambda candidate: None,
    )
    models.promote_by_hand(training.record["version"], reason="A test.", by="test", now=now)
    applications = read_batch("a", contract, workspace)
    table = ParquetTable.of(layout.batch_table("application_batch", "a"), workspace.staging)
    score_batch(Batch("a", table, applications.to_dict()), models, workspace, engine, now=now)
    predictions = pl.read_parquet(str(layout.batch_table("predictions", "a")))
    return predictions.drop("input_fingerprint")
