"""The whole platform on a few thousand loans, in one home: what each job leaves for those who use it."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from sklearn.metrics import roc_auc_score

import loan_default
from loan_default.adapters import decision_log
from loan_default.adapters.model_store import ModelStore
from loan_default.adapters.tracking import PREVIOUS, PRODUCTION, Tracking
from loan_default.defs.checks import READABLE
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import window_loans
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.reviewed_file import CONF
from loan_default.risk.validation.quality_gates import CLEANING_RULES, PREDICTION_RULES, TRAINING_RULES
from loan_default.settings import Settings
from loan_default_tests.homes import (
    QUICK,
    TUNED_ON,
    Platform,
    checks,
    dagster_of,
    definitions_of,
    failure,
    new_home,
    small_loans,
    write_outcomes,
)
from loan_default_tests.stores import client_of, new_tracking

MONTH = date(2014, 8, 1)
QUICK_TRAINING = {"tuned_params": QUICK["tuned_params"]}
SCORING = ["application_batch", "rejected_applications", "application_report", "predictions"]
FRAMES = ("cleaned_loans", "rejected_loans")
RECORDS = (
    *("cleaning_report", "loan_splits", "tuned_params", "trained_model", "model_evaluation", "strategy_report"),
    "promoted_model",
)
OUTCOMES = {"loan_outcomes.parquet", "rejected_outcomes.parquet", "outcomes_report.json"}


# --- one home, in the order of its life -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A home after its first training."""
    settings = trained_home(tmp_path_factory.mktemp("platform") / "trained")
    with dagster_of(settings) as instance:
        yield Platform(settings, instance)


@pytest.fixture(scope="module")
def tracking(platform: Platform) -> Tracking:
    return Tracking(platform.settings.tracking_uri, platform.settings.artifacts)


@pytest.fixture(scope="module")
def trained(platform: Platform) -> dg.DagsterRun:
    """The first training: nothing was in production yet."""
    (run,) = platform.instance.get_runs(dg.RunsFilter(job_name="full_pipeline_job"))
    assert run.is_success
    return run


@pytest.fixture(scope="module")
def scored(platform: Platform, trained: dg.DagsterRun) -> Mapping[str, dg.ExecuteInProcessResult]:
    """Batches, scored: the same population, another one, and a small one with rows that are no applications."""
    few = make_applications(60, seed=5, month=MONTH)
    unusable = pl.int_range(pl.len()) < 10
    batches = {
        "calm": make_applications(400, seed=3, month=MONTH),
        "shifted": make_applications(400, seed=4, month=MONTH, shift=1.0),
        "few": few.with_columns(pl.when(unusable).then(-5.0).otherwise("annual_inc").alias("annual_inc")),
        "developed-on": _developed_on(platform),
    }
    for batch, applications in batches.items():
        platform.deliver(batch, applications)
    only = {"few": SCORING}  # `watched` compares it
    results = {batch: platform.run("batch_prediction_job", batch=batch, only=only.get(batch)) for batch in batches}
    assert all(result.success for result in results.values())
    return results


@pytest.fixture(scope="module")
def watched(
    platform: Platform, scored: Mapping[str, dg.ExecuteInProcessResult]
) -> Mapping[str, dg.ExecuteInProcessResult]:
    """The batches, compared with the population that the model was developed on: the small one by a job of its own."""
    few = platform.run("monitoring_job", batch="few")
    assert few.success
    return {**scored, "few": few}


def _developed_on(platform: Platform) -> pl.DataFrame:
    """The loans of the train and calibrate windows as they came in the file."""
    splits = Splits.from_dict(record(platform, "loan_splits"))
    cleaned, contract = pl.scan_parquet(platform.storage / "cleaned_loans.parquet"), load_contract()
    ids = pl.concat(window_loans(cleaned, contract, splits, name)["id"] for name in ("train", "calibrate"))
    return small_loans().filter(pl.col("id").cast(pl.String).is_in(ids.implode()))


def record(platform: Platform, *parts: str) -> Any:
    return json.loads(platform.storage.joinpath(*parts).with_suffix(".json").read_text(encoding="utf-8"))


def times(folder: Path) -> dict[str, int]:
    """When each file below the folder was written, in nanoseconds."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def newest_status(tracking: Tracking) -> str:
    runs = client_of(tracking).search_runs([tracking.ensure_experiment()], order_by=["attributes.start_time DESC"])
    return str(runs[0].info.status)


# --- training and decision ------------------------------------------------------------------------------------


@pytest.mark.integration
def test_every_asset_is_stored_in_its_form(platform: Platform, trained: dg.DagsterRun) -> None:
    stored = {path.name for path in platform.storage.iterdir() if path.is_file()}
    results = {f"{name}.parquet" for name in FRAMES} | {f"{name}.json" for name in RECORDS} | {"model_card.md"}
    assert stored == results | OUTCOMES, "a training reads outcome files itself"
    assert not list(platform.settings.staging.rglob("*")), "something was left behind"


@pytest.mark.integration
def test_what_is_stored_is_what_the_file_holds(platform: Platform, trained: dg.DagsterRun) -> None:
    report = record(platform, "cleaning_report")
    cleaned = pl.read_parquet(platform.storage / "cleaned_loans.parquet")
    rejected = pl.read_parquet(platform.storage / "rejected_loans.parquet")
    assert report["rows_read"] == small_loans().height + 2
    assert report["lines_not_loans"] == 2
    assert cleaned.height == report["kept"] == report["rows_read"] - 2 - rejected.height
    windows = record(platform, "loan_splits")["windows"]
    assert [window["name"] for window in windows] == ["train", "calibrate", "test"]


@pytest.mark.integration
@pytest.mark.parametrize("asset", FRAMES)
def test_frames_have_the_columns_that_their_schema_says(platform: Platform, trained: dg.DagsterRun, asset: str) -> None:
    assert list(pl.read_parquet_schema(platform.storage / f"{asset}.parquet")) == schema_of(platform, asset)


@pytest.mark.integration
@pytest.mark.parametrize("asset", ["application_batch", "rejected_applications", "predictions"])
def test_frames_of_a_batch_have_the_columns_that_their_schema_says(
    platform: Platform, scored: Mapping[str, Any], asset: str
) -> None:
    assert list(pl.read_parquet_schema(platform.storage / asset / "few.parquet")) == schema_of(platform, asset)


def metadata_of(platform: Platform, asset: str, key: str, batch: str | None = None) -> Any:
    """One value of what the UI displays of the asset's newest materialization, or of its newest of a batch."""
    return platform.metadata(asset, batch)[key].value


def schema_of(platform: Platform, asset: str) -> list[str]:
    graph = definitions_of(platform.settings).resolve_asset_graph()
    metadata = {**graph.get(dg.AssetKey(asset)).metadata, **platform.metadata(asset)}
    schema: Any = metadata["dagster/column_schema"]
    schema = getattr(schema, "schema", schema)  # of a materialization it is a metadata value
    return [column.name for column in schema.columns]


@pytest.mark.integration
def test_the_ui_shows_tables_pictures_and_links(platform: Platform, trained: dg.DagsterRun) -> None:
    run_id = record(platform, "trained_model")["run_id"]
    assert metadata_of(platform, "cleaned_loans", "dagster/row_count") == record(platform, "cleaning_report")["kept"]
    assert "| train | all | 2012-01 to " in metadata_of(platform, "loan_splits", "windows")
    assert "| max_depth |" in metadata_of(platform, "tuned_params", "parameters")
    train, calibrate, _ = record(platform, "loan_splits")["windows"]
    share = TUNED_ON / (train["rows"] + calibrate["rows"])
    assert metadata_of(platform, "tuned_params", "share_of_loans") == f"{share:.1%}"
    leaderboard = metadata_of(platform, "trained_model", "leaderboard")
    assert all(kind in leaderboard for kind in load_search_space().enabled)
    assert f"/runs/{run_id}?" in metadata_of(platform, "trained_model", "mlflow_run")
    for name in ("roc", "calibration", "default_rate_by_decile"):
        assert re.match(r"!\[.*\]\(data:image/png;base64,iVBORw0KGgo", metadata_of(platform, "model_evaluation", name))
    assert "| logistic_regression |" in metadata_of(platform, "model_evaluation", "leaderboard")
    assert "| approve |" in metadata_of(platform, "model_evaluation", "decisions")
    assert "| no_champion |" in metadata_of(platform, "promoted_model", "rules")
    assert metadata_of(platform, "model_card", "card") == (platform.storage / "model_card.md").read_text("utf-8")


@pytest.mark.integration
def test_checks_show_what_the_gates_decided(platform: Platform, trained: dg.DagsterRun) -> None:
    entries = platform.instance.all_logs(trained.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
    evaluated = {check.check_name: check for check in checks}
    registry = {"newest_version_is_promoted", "alias_points_where_the_decision_says"}
    assert evaluated.keys() == {*CLEANING_RULES, *TRAINING_RULES, *registry, READABLE}
    assert all(check.passed for check in evaluated.values())
    rejected = evaluated["rejected_share_within_limit"]
    assert rejected.description == "0.00% of the rows were rejected; 5% is allowed."


@pytest.mark.integration
def test_mlflow_knows_the_run(platform: Platform, tracking: Tracking, trained: dg.DagsterRun) -> None:
    training, client = record(platform, "trained_model"), client_of(tracking)
    run = client.get_run(training["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster_run_id"] == trained.run_id
    assert run.data.tags["data_fingerprint"] == record(platform, "cleaning_report")["fingerprint"]
    assert run.data.params["xgboost.max_depth"] == str(training["parameters"]["xgboost"]["max_depth"])
    auc = record(platform, "model_evaluation")["judgement"]["evaluation"]["metrics"]["auc"]["value"]
    assert re.fullmatch(rf"v1 AUC {auc:.3f} 201\dQ\d \w+", run.info.run_name), run.info.run_name
    assert {f"calibrate.{kind}.auc" for kind in load_search_space().enabled} <= run.data.metrics.keys()
    assert run.data.metrics["auc"] == pytest.approx(auc)
    assert {"ks", "brier", "ece", "gain_over_opinion"} <= run.data.metrics.keys()
    assert run.inputs is not None
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("lendingclub", training["data_fingerprint"])


@pytest.mark.integration
def test_mlflow_keeps_what_a_reviewer_asks_for(platform: Platform, tracking: Tracking, trained: dg.DagsterRun) -> None:
    run_id, client = record(platform, "trained_model")["run_id"], client_of(tracking)
    artifacts = {entry.path for entry in client.list_artifacts(run_id)}
    assert artifacts >= {"windows.json", "evaluation.json", "promotion.json", "model_card.md", "plots", "candidates"}
    assert {"plots/roc.png", "plots/calibration.png"} <= {e.path for e in client.list_artifacts(run_id, "plots")}
    assert tracking.read_json(run_id, "windows.json") == record(platform, "loan_splits")
    assert tracking.read_json(run_id, "promotion.json") == record(platform, "promoted_model")
    card = Path(client.download_artifacts(run_id, "model_card.md")).read_text("utf-8")
    assert card == (platform.storage / "model_card.md").read_text("utf-8")


@pytest.mark.integration
def test_nothing_is_pickled(platform: Platform, trained: dg.DagsterRun) -> None:
    artifacts = [path for path in Path(platform.settings.artifacts).rglob("*") if path.is_file()]
    assert any(path.suffix == ".ubj" for path in artifacts)
    for path in artifacts:
        assert path.suffix not in {".pkl", ".pickle", ".joblib"}, path
        assert not re.match(rb"\x80[\x02-\x05]", path.read_bytes()[:2]), path


@pytest.mark.integration
def test_the_first_version_goes_to_production(platform: Platform, tracking: Tracking, trained: dg.DagsterRun) -> None:
    training = record(platform, "trained_model")
    promoted = tracking.get(1)
    assert record(platform, "promoted_model")["verdict"] == "promote"
    assert promoted.tags["decision"] == "promote"
    assert promoted.tags["decided_by"] == f"policy, run {trained.run_id}"
    assert "There is no version in production to compare with." in promoted.tags["decision_reasons"]
    for tag in ("kind", "data_fingerprint", "training_fingerprint", "git_commit"):
        assert promoted.tags[tag] == training[tag]


@pytest.mark.integration
def test_the_version_can_be_served_and_watched(platform: Platform, tracking: Tracking, trained: dg.DagsterRun) -> None:
    from mlflow.models import get_model_info

    with tracking.as_default():
        info = get_model_info("models:/loan_default_model/1")
    assert info.signature is not None
    assert "annual_inc" in info.signature.inputs.input_names()
    assert info.saved_input_example_info is not None
    reference = ModelStore(tracking, platform.settings.home / "models").reference(tracking.get(1))
    assert reference.profile.rows == sum(window["rows"] for window in record(platform, "loan_splits")["windows"][:2])
    assert reference.sample.height == 300


# --- batches --------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_csv_and_parquet_hold_the_same_predictions(platform: Platform, scored: Mapping[str, Any]) -> None:
    folder = platform.storage / "predictions"
    parquet = pl.read_parquet(folder / "shifted.parquet")
    with (folder / "shifted.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == parquet["id"].to_list()
    assert [float(row["pd"]) for row in rows] == pytest.approx(parquet["pd"].to_list())
    assert [row["reasons"] for row in rows] == parquet["reasons"].list.join(" ").to_list()
    assert [json.loads(row["reason_codes"]) for row in rows] == parquet["reason_codes"].to_list()
    assert (parquet.filter(decision="decline")["reasons"].list.len() > 0).all()
    assert parquet["model_version"].unique().to_list() == [1]


@pytest.mark.integration
def test_predictions_report_their_checks(scored: Mapping[str, dg.ExecuteInProcessResult]) -> None:
    assert checks(scored["calm"]) == dict.fromkeys(
        ["no_rows_lost", *PREDICTION_RULES, "population_is_stable", "enough_rows"], True
    )
    lost = next(c for c in scored["few"].get_asset_check_evaluations() if c.check_name == "no_rows_lost")
    assert (lost.passed, lost.severity, lost.partition) == (False, dg.AssetCheckSeverity.WARN, "few")
    assert lost.description == "10 of 60 rows were rejected; annual_inc: out of range."


@pytest.mark.integration
def test_of_a_batch_the_ui_shows_trends_and_ten_rows_and_no_more_of_an_applicant(
    platform: Platform, scored: Mapping[str, Any]
) -> None:
    lineage = "dagster/column_lineage"
    rows = metadata_of(platform, "predictions", "first_rows").records
    assert len(rows) == 10
    assert set(rows[0].data) == {"id", "PD", "score", "decision", "first reason"}
    rates = {name: metadata_of(platform, "predictions", name) for name in ("approval_rate", "decline_rate", "mean_pd")}
    assert all(0 < rate < 1 for rate in rates.values()), rates
    sources = {dep.column_name for dep in metadata_of(platform, "predictions", lineage).deps_by_column["pd"]}
    assert {"annual_inc", "dti"} <= sources
    (outcome,) = metadata_of(platform, "cleaned_loans", lineage).deps_by_column["outcome"]
    assert (outcome.asset_key.to_user_string(), outcome.column_name) == ("raw_loans", "loan_status")
    assert metadata_of(platform, "rejected_applications", "rejected_rows", "few") == 10
    rejected = metadata_of(platform, "rejected_applications", "first_rows", "few").records
    assert set(rejected[0].data) == {"row", "field", "reason"}


@pytest.mark.integration
def test_rows_that_are_no_applications_are_kept_with_their_reason(
    platform: Platform, scored: Mapping[str, Any]
) -> None:
    rejected = pl.read_parquet(platform.storage / "rejected_applications" / "few.parquet")
    assert rejected["row"].to_list() == list(range(1, 11))
    assert rejected["reason"][0] == "annual_inc '-5' is outside of 100 to 100,000,000 dollars a year"
    assert pl.read_parquet(platform.storage / "predictions" / "few.parquet").height == 50
    assert record(platform, "application_report", "few")["rejected"] == 10


@pytest.mark.integration
def test_scoring_again_replaces_this_batch_only(platform: Platform, scored: Mapping[str, Any]) -> None:
    path, before = platform.storage / "predictions" / "calm.parquet", times(platform.storage)
    first = pl.read_parquet(path).drop("scored_at")
    assert platform.run("batch_prediction_job", batch="calm", only=SCORING).success
    after = times(platform.storage)
    changed = {Path(name).name.split(".")[0] for name in after if after[name] != before.get(name)}
    assert changed == {"calm"}
    assert before.keys() == after.keys()
    assert pl.read_parquet(path).drop("scored_at").equals(first)


@pytest.mark.integration
def test_the_same_population_is_calm_and_another_is_not(platform: Platform, watched: Mapping[str, Any]) -> None:
    calm, shifted = (record(platform, "drift_report", batch) for batch in ("calm", "shifted"))
    assert (calm["verdict"], shifted["verdict"]) == ("stable", "drifted")
    assert calm["rows"] == 400
    assert shifted["score_psi"] > calm["score_psi"]
    assert any("fico_range_low" in reason for reason in shifted["reasons"])


@pytest.mark.integration
def test_the_population_of_the_training_has_not_moved_at_all(platform: Platform, watched: Mapping[str, Any]) -> None:
    report = record(platform, "drift_report", "developed-on")
    assert report["verdict"] == "stable"
    assert report["drifted_features"] == []
    assert max(line["psi"] for line in report["features"] if line["psi"] is not None) < 0.001


@pytest.mark.integration
def test_a_batch_of_few_rows_gets_no_verdict_and_a_warning(
    platform: Platform, watched: Mapping[str, dg.ExecuteInProcessResult]
) -> None:
    assert record(platform, "drift_report", "few")["verdict"] == "not enough rows"
    stable, enough = watched["few"].get_asset_check_evaluations()
    assert {check.severity for check in (stable, enough)} == {dg.AssetCheckSeverity.WARN}
    assert not stable.passed, "it is not known"
    assert enough.description == "50 applications; 200 are needed for a verdict."


@pytest.mark.integration
def test_a_drifted_batch_is_a_warning_of_its_partition(watched: Mapping[str, dg.ExecuteInProcessResult]) -> None:
    shifted = {check.check_name: check for check in watched["shifted"].get_asset_check_evaluations()}
    check = shifted["population_is_stable"]
    assert (check.passed, check.severity, check.partition) == (False, dg.AssetCheckSeverity.WARN, "shifted")
    assert (check.description or "").startswith("drifted: ")
    assert checks(watched["calm"])["population_is_stable"]


@pytest.mark.integration
def test_the_verdict_links_to_evidentlys_report_which_is_drawn_when_it_is_opened(
    platform: Platform, watched: Mapping[str, Any]
) -> None:
    assert (platform.storage / "drift_report" / "shifted.sample.parquet").exists()
    assert not (platform.storage / "evidently").exists()
    assert metadata_of(platform, "drift_report", "evidently").startswith("http://127.0.0.1:5002/batches/")
    assert metadata_of(platform, "predictions", "csv").startswith("http://127.0.0.1:5002/batches/")
    assert metadata_of(platform, "predictions", "csv").endswith("/predictions.csv")


@pytest.mark.integration
def test_a_batch_file_that_was_replaced_must_be_scored_before_it_is_watched(
    platform: Platform, trained: dg.DagsterRun
) -> None:
    for seed, only in {11: SCORING, 12: SCORING[:-1]}.items():
        platform.deliver("replaced", make_applications(30, seed=seed, month=MONTH))
        assert platform.run("batch_prediction_job", batch="replaced", only=only).success
    message = failure(platform.run("monitoring_job", batch="replaced"))
    assert message == "The predictions of batch replaced are of an earlier file of that name; score it again."


@pytest.mark.integration
def test_an_empty_inbox_is_said(platform: Platform, trained: dg.DagsterRun) -> None:
    platform.instance.add_dynamic_partitions("batch", ["absent"])
    message = failure(platform.run("batch_prediction_job", batch="absent"))
    assert message.endswith("holds no file absent.csv|.csv.gz|.parquet; put the batch there.")


# --- how loans ended ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(platform: Platform, watched: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
    """The calm batch five years later, loans of the training, and a file that is no table."""
    calm = make_loans(400, seed=3, first_month=MONTH, last_month=MONTH)
    outcomes = pl.concat([frame.select("id", "loan_status") for frame in (calm, small_loans())])
    file = write_outcomes(platform.storage / "outcomes", outcomes)
    file.with_name("broken.csv").write_text("nothing\n", encoding="utf-8")
    result = platform.run("performance_job", config={"performance_report": {"resamples": 20}})
    assert result.success
    return result


@pytest.mark.integration
def test_outcomes_show_how_good_the_version_proved_to_be(platform: Platform, judged: dg.ExecuteInProcessResult) -> None:
    calm = pl.read_parquet(platform.storage / "predictions" / "calm.parquet")
    outcomes = pl.read_parquet(platform.storage / "loan_outcomes.parquet")
    ended = calm.join(outcomes, on="id").drop_nulls("outcome")
    report = record(platform, "performance_report")
    (version,) = report["versions"]
    assert version["known"] == ended.height > 390
    assert version["real"]["auc"]["value"] == pytest.approx(roc_auc_score(ended["outcome"], ended["pd"]))
    assert version["learned"] == _developed_on(platform).height, "what it was developed on does not count"
    assert version["estimate"]["auc"] > 0.5, "of the shifted batch, whose outcomes nobody told"
    assert (report["verdict"], report["model_version"], report["told_until"]) == ("healthy", 1, "2020-01")
    assert {(row["decision"], row["model_version"]) for row in report["decisions"]} >= {("approve", 1), ("decline", 1)}


@pytest.mark.integration
def test_an_outcome_file_that_cannot_be_read_is_shown(platform: Platform, judged: dg.ExecuteInProcessResult) -> None:
    assert checks(judged) == {"every_file_readable": False, "as_good_as_the_policy_asks": True}
    assert record(platform, "performance_report")["unreadable"] == ["broken.csv"]
    assert "broken.csv has no header" in metadata_of(platform, "loan_outcomes", "unreadable")
    assert "AUC expected of the known" in metadata_of(platform, "performance_report", "versions")


@pytest.mark.integration
def test_what_a_version_said_stays_when_another_scores_the_batch(
    platform: Platform, judged: dg.ExecuteInProcessResult
) -> None:
    history = platform.storage / "prediction_history" / "calm.version-1.parquet"
    assert pl.read_parquet(history).equals(pl.read_parquet(platform.storage / "predictions" / "calm.parquet"))


# --- once more, and what stops a training ---------------------------------------------------------------------


@pytest.mark.integration
def test_retraining_resumes_the_study_and_holds_an_equal_version(
    platform: Platform, tracking: Tracking, scored: Mapping[str, Any]
) -> None:
    study = record(platform, "tuned_params")
    result = platform.run("retraining_job", config=QUICK)
    assert result.success
    again = record(platform, "tuned_params")
    assert (again["study"], again["trials"], again["best_trial"]) == (study["study"], 2, study["best_trial"])
    decision = record(platform, "promoted_model")
    assert (decision["verdict"], decision["candidate"], decision["champion"]) == ("hold", 2, 1)
    assert decision["reasons"][0].startswith("Against version 1 on the same loans AUC changes by +0.0000")
    assert tracking.get(1).aliases == (PRODUCTION,)
    assert tracking.get(2).aliases == ("staging",)
    assert tracking.get(2).tags["decision"] == "hold"
    assert tracking.version_of(PREVIOUS) is None
    assert "version 1, in production" in metadata_of(platform, "model_evaluation", "leaderboard")


@pytest.mark.long
def test_retraining_takes_loans_that_have_matured_since(platform: Platform, trained: dg.DagsterRun) -> None:
    before = record(platform, "loan_splits")
    newer = Path(platform.settings.data).with_name("loans-2015.csv")
    write_csv(make_loans(1_500, seed=8, first_month=date(2014, 7, 1), last_month=date(2015, 1, 1)), newer)
    platform = replace(platform, settings=replace(platform.settings, data=f"{newer.parent}/loans*.csv"))
    assert platform.run("retraining_job", config=QUICK).success
    after = record(platform, "loan_splits")
    assert (before["windows"][-1]["last_month"], after["windows"][-1]["last_month"]) == ("2014-06", "2015-01")
    assert sum(w["rows"] for w in after["windows"]) > sum(w["rows"] for w in before["windows"]) + 1_000
    assert record(platform, "model_evaluation")["champion_version"] == 1, "measured on the same newer loans"
    newer.unlink()


@pytest.mark.integration
def test_a_person_may_promote_against_the_policy_and_go_back(
    platform: Platform, tracking: Tracking, trained: dg.DagsterRun
) -> None:
    store, now = ModelStore(tracking, platform.settings.models), datetime(2026, 3, 1, tzinfo=UTC)
    newest, champion = tracking.versions()[0].version, tracking.version_of(PRODUCTION)
    assert champion is not None
    forced = store.promote_by_hand(newest, reason="The board wants it.", by="ann, by hand", now=now)
    assert (forced["candidate"], forced["champion"]) == (newest, champion.version)
    assert tracking.get(newest).aliases == (PRODUCTION, "staging")
    assert tracking.get(newest).tags["decision_reasons"] == "The board wants it."
    with pytest.raises(BadInput, match="is in production already"):
        store.promote_by_hand(newest, reason="Again.", by="ann, by hand", now=now)
    back = store.roll_back(reason="It declines too many.", by="ann, by hand", now=now)
    assert (back["verdict"], back["candidate"]) == ("rollback", champion.version)
    assert tracking.get(champion.version).aliases == (PRODUCTION,)
    assert tracking.get(newest).aliases == (PREVIOUS, "staging")
    decisions = [(record["verdict"], record["candidate"]) for record in decision_log.read(platform.settings.layout)]
    assert decisions[:2] == [("promote", 1), ("hold", 2)], "what the policy decided; the command adds what a person did"


@pytest.mark.integration
def test_a_field_that_knows_the_outcome_stops_the_training(
    platform: Platform, tracking: Tracking, trained: dg.DagsterRun, tmp_path: Path
) -> None:
    contract = yaml.safe_load((CONF / "contract.yaml").read_text(encoding="utf-8"))
    leak = {"kind": "number", "role": "feature", "unit": "dollars", "range": [0, 1e9], "description": "Unknown origin."}
    contract["fields"].append({"name": "amount_seen", **leak})
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    write_csv(small_loans().rename({"recoveries": "amount_seen"}), tmp_path / "loans.csv")
    leaking = replace(
        platform.settings,
        contract=tmp_path / "contract.yaml",
        data=str(tmp_path / "loans.csv"),
        storage=str(tmp_path / "storage"),
    )
    before = tracking.versions()
    config: dict[str, dict[str, Any]] = {"tuned_params": {"trials": 1}, "trained_model": {"candidates": ["xgboost"]}}
    result = replace(platform, settings=leaking).run("full_pipeline_job", config=config)
    assert re.search(r"^AUC 0\.9\d+; above 0\.80 a leak is suspected\.", failure(result))
    assert checks(result)["not_too_good_to_be_true"] is False
    assert tracking.versions() == before
    assert not (tmp_path / "storage" / "trained_model.json").exists()
    assert newest_status(tracking) == "FAILED"


@pytest.mark.integration
def test_a_wrong_configuration_fails_in_mlflow_too(
    platform: Platform, tracking: Tracking, trained: dg.DagsterRun
) -> None:
    before = tracking.versions()
    message = failure(
        platform.run("training_job", config=QUICK_TRAINING | {"trained_model": {"candidates": ["oracle"]}})
    )
    assert message.startswith("oracle is no candidate that this release knows; choose among xgboost,")
    assert newest_status(tracking) == "FAILED"
    assert tracking.versions() == before


@pytest.mark.integration
def test_a_version_is_not_judged_on_loans_that_it_may_have_seen(platform: Platform, trained: dg.DagsterRun) -> None:
    splits, stored = record(platform, "loan_splits"), platform.storage / "loan_splits.json"
    before = stored.read_text("utf-8")
    first = splits["windows"][1]["first_month"]
    assert platform.run("cleaning_job", config={"loan_splits": {"test_from": first}}).success
    message = failure(platform.run("promotion_job"))
    stored.write_text(before, encoding="utf-8")
    assert re.fullmatch(r"Version \d was trained on other loans or windows than these; train again\.", message)


def _without_income(folder: Path) -> Path:
    write_csv(small_loans().head(50).drop("annual_inc"), folder / "loans.csv")
    return folder / "loans.csv"


def _empty(folder: Path) -> Path:
    (folder / "loans.csv").touch()
    return folder / "loans.csv"


def _half_unreadable(folder: Path) -> Path:
    odd = pl.int_range(pl.len()) % 2 == 0
    loans = small_loans().with_columns(pl.when(odd).then(pl.lit("many")).otherwise("loan_amnt").alias("loan_amnt"))
    write_csv(loans, folder / "loans.csv")
    return folder / "loans.csv"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("file", "config", "sentence"),
    [
        pytest.param(_without_income, {}, r"loans\.csv.*annual_inc.*\.", id="missing column"),
        pytest.param(_empty, {}, r".*loans\.csv is empty; a loan file has a header line.*\.", id="empty"),
        pytest.param(
            _half_unreadable,
            {},
            r"50\.00% of the rows were rejected \(.*\); 5% is allowed\. The first: .*\.",
            id="rejected rows",
        ),
        pytest.param(lambda folder: folder / "none", {}, r".*none names no file; give the path .*\.", id="no file"),
        pytest.param(
            None, {"snapshot_month": "2015-13"}, r"snapshot_month is '2015-13'; write a month.*\.", id="month"
        ),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing(
    platform: Platform,
    trained: dg.DagsterRun,
    tmp_path: Path,
    file: Callable[[Path], Path] | None,
    config: Mapping[str, str],
    sentence: str,
) -> None:
    before = times(platform.storage)
    cleaning = {**config, **({"data": str(file(tmp_path))} if file else {})}
    result = platform.run("cleaning_job", config={"clean_raw_loans": cleaning})
    assert re.search(f"{sentence}$", failure(result))
    after = times(platform.storage)
    rejected = {"rejected_loans.parquet"} if file is _half_unreadable else set()  # says which rows, and why
    assert {name for name, time in after.items() if before.get(name) != time} == rejected | OUTCOMES
    assert not list(platform.settings.staging.rglob("*.parquet"))


# --- Dagster's own command line -------------------------------------------------------------------------------


def _command(*arguments: str, cwd: Path, settings: Settings) -> subprocess.CompletedProcess[str]:
    """Run a module in a fresh interpreter that knows nothing but where the loans lie."""
    unset = ("DAGSTER_HOME", "LOAN_DEFAULT_HOME", "MLFLOW_TRACKING_URI")
    env = {name: value for name, value in os.environ.items() if name not in unset} | {
        "PYTHONPATH": str(Path(loan_default.__file__).parents[1]),
        "LOAN_DEFAULT_DATA": settings.data,
        "LOAN_DEFAULT_POLICY": str(settings.policy),
        "LOAN_DEFAULT_SEARCH_SPACE": str(settings.search_space),
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.long
def test_dagster_job_execute_runs_where_init_was(tmp_path: Path) -> None:
    settings = replace(new_home(tmp_path), home=tmp_path / "var")
    var = tmp_path / "var"
    _command("loan_default.cli", "init", cwd=tmp_path, settings=settings)
    new_tracking(var / "mlflow")
    run_config = tmp_path / "run.yaml"
    small = {"tuned_params": {"trials": 1}, "trained_model": {"candidates": ["logistic_regression"]}}
    ops = {op: {"config": values} for op, values in small.items()}
    run_config.write_text(yaml.safe_dump({"ops": ops}), encoding="utf-8")
    execute = ("dagster", "job", "execute", "-m", "loan_default.definitions", "-j")
    _command(*execute, "training_job", "-c", str(run_config), cwd=tmp_path, settings=settings)
    tracking = Tracking(f"sqlite:///{var}/mlflow/mlflow.db", f"{var}/storage/mlflow")
    tracking.promote(1, {})
    with dg.DagsterInstance.from_config(str(var / "dagster")) as instance:
        Platform(replace(settings, storage=str(var / "storage")), instance).deliver(
            "2014-08", make_applications(40, seed=1, month=MONTH)
        )
        tags = json.dumps({"dagster/partition": "2014-08"})
        _command(*execute, "batch_prediction_job", "--tags", tags, cwd=tmp_path, settings=settings)
        runs = {run.job_name: run.status for run in instance.get_runs()}
    assert runs == dict.fromkeys(("training_job", "batch_prediction_job"), dg.DagsterRunStatus.SUCCESS)
    assert pl.read_parquet(var / "storage" / "predictions" / "2014-08.parquet").height == 40
    assert newest_status(tracking) == "FINISHED"
