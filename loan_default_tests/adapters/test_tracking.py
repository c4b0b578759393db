"""Conversations with real MLflow stores: an SQLite file, a server on loopback, a server that is not there."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import loan_default
from loan_default.adapters.tracking import (
    PREVIOUS,
    PRODUCTION,
    STAGING,
    ModelVersion,
    SignatureField,
    Tracking,
    TrackingError,
    load_environment,
    serving_requirements,
    signature_fields,
)
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.model.scorer import Scorer
from loan_default_tests.packages import applications, contract, scorer
from loan_default_tests.stores import client_of, free_port, log_model, new_run, new_tracking, started_server

pytestmark = pytest.mark.integration


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return new_tracking(tmp_path / "store")


def registered(tracking: Tracking, tags: Mapping[str, str] | None = None) -> ModelVersion:
    """Register a version whose files do not matter."""
    run_id = new_run(tracking)
    client = client_of(tracking)
    model = client.create_logged_model(tracking.ensure_experiment(), source_run_id=run_id)
    return tracking.register(run_id, f"models:/{model.model_id}", tags or {})


def test_experiment_is_created_once_with_its_artifact_location(tracking: Tracking) -> None:
    first = tracking.ensure_experiment()
    assert tracking.ensure_experiment() == first
    client = client_of(tracking)
    location = client.get_experiment(first).artifact_location
    assert location == f"{Path(tracking.artifact_root).as_uri()}/loan_default"
    assert client.get_experiment(first).tags["mlflow.experimentKind"] == "custom_model_development"


def test_artifacts_that_lie_elsewhere_are_told(tracking: Tracking) -> None:
    assert tracking.other_location() is None
    tracking.ensure_experiment()
    assert tracking.other_location() is None
    assert replace(tracking, artifact_root="").other_location() is None
    moved = replace(tracking, artifact_root="gs://bucket")
    assert moved.other_location() == f"{Path(tracking.artifact_root).as_uri()}/loan_default"


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tracking: Tracking) -> None:
    assert tracking.restoring_command() is None, "there is none yet"
    number = tracking.ensure_experiment()
    assert tracking.restoring_command() is None
    with tracking._client("delete it") as client:
        client.delete_experiment(number)
    command = f"MLFLOW_TRACKING_URI={tracking.tracking_uri} mlflow experiments restore --experiment-id {number}"
    assert tracking.restoring_command() == command
    with pytest.raises(
        TrackingError, match="The experiment loan_default is deleted in MLflow; run MLFLOW_TRACKING_URI"
    ):
        tracking.ensure_experiment()


def test_bucket_stays_a_bucket_and_a_server_chooses_for_itself() -> None:
    assert Tracking("http://x", "gs://b/p/")._artifact_location() == "gs://b/p/loan_default"
    assert Tracking("http://x", "")._artifact_location() is None


def test_a_run_has_a_name_its_data_and_pictures_as_they_are_now(tracking: Tracking, tmp_path: Path) -> None:
    run_id = new_run(tracking)
    tracking.rename_run(run_id, "v1 AUC 0.702 2018Q4 xgboost")
    tracking.log_input(run_id, "lendingclub", fingerprint="f1", source="/data/loans.parquet", profile={"train": 400})
    run = client_of(tracking).get_run(run_id)
    assert run.info.run_name == "v1 AUC 0.702 2018Q4 xgboost"
    assert run.inputs is not None
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("lendingclub", "f1")
    assert tracking.read_folder(run_id, "plots") == {}
    folder = tmp_path / "plots"
    folder.mkdir()
    for content in (b"first", b"second"):
        (folder / "roc.png").write_bytes(content)
        tracking.log_folder(run_id, folder, "plots")
        assert tracking.read_folder(run_id, "plots") == {"roc.png": content}


def test_run_keeps_what_is_logged(tracking: Tracking) -> None:
    run_id = new_run(tracking)
    tracking.log_parameters(run_id, {f"p{i}": i for i in range(150)})  # MLflow takes 100 in one request
    tracking.log_metrics(run_id, {"auc": 0.7})
    tracking.set_tags(run_id, {"decision": "hold"})
    tracking.log_json(run_id, "decision.json", {"promote": False})
    tracking.log_text(run_id, "model_card.md", "# Card")
    client = client_of(tracking)
    run = client.get_run(run_id)
    files = {file.path for file in client.list_artifacts(run_id)}
    assert (len(run.data.params), run.data.params["p149"], run.data.metrics) == (150, "149", {"auc": 0.7})
    assert run.data.tags["decision"] == "hold"
    assert files == {"decision.json", "model_card.md"}
    expected = f"http://ui/#/experiments/{run.info.experiment_id}/runs/{run_id}?workflowType=machine_learning"
    assert tracking.run_url(run_id, "http://ui/") == expected


def test_run_is_found_by_its_tag_and_ended(tracking: Tracking) -> None:
    assert tracking.find_run("origin", "x") is None
    run_id = new_run(tracking)
    tracking.set_tags(run_id, {"origin": "x"})
    assert tracking.find_run("origin", "y") is None
    assert tracking.find_run("origin", "x") == run_id
    tracking.end_run(run_id, "FAILED")
    client = client_of(tracking)
    assert client.get_run(run_id).info.status == "FAILED"


def test_newest_version_is_staging_and_the_list_starts_with_it(tracking: Tracking) -> None:
    assert tracking.versions() == ()
    assert tracking.version_of(STAGING) is None
    first, second = registered(tracking, {"auc": "0.70"}), registered(tracking)
    assert (first.version, first.tags, first.aliases) == (1, {"auc": "0.70"}, (STAGING,))
    assert abs(datetime.now(UTC) - first.created_at).total_seconds() < 60
    assert [(v.version, v.aliases) for v in tracking.versions()] == [(2, (STAGING,)), (1, ())]
    assert tracking.version_of(STAGING) == second == tracking.get(2)
    assert tracking.version_of("champion") is None
    assert tracking.versions_of(STAGING, "champion", STAGING) == [second, None, second]


def test_promotion_keeps_the_version_it_replaces(tracking: Tracking) -> None:
    first, second = registered(tracking), registered(tracking)
    assert tracking.promote(first.version, {"decision": "promote"}).tags == {"decision": "promote"}
    assert tracking.version_of(PREVIOUS) is None
    for _ in range(2):  # the second time changes nothing
        assert tracking.promote(second.version, {}).aliases == (PRODUCTION, STAGING)
        assert tracking.get(first.version).aliases == (PREVIOUS,)
    tracking.move_alias(PRODUCTION, first.version)
    assert tracking.get(first.version).aliases == (PREVIOUS, PRODUCTION)


def test_the_models_page_describes_the_version_in_production_or_the_newest_while_none_is(tracking: Tracking) -> None:
    client = client_of(tracking)
    for version in (1, 2):
        registered(tracking)
        tracking.describe(version, f"It is {version}.")
    assert client.get_registered_model(tracking.model_name).description == "Version 2:\n\nIt is 2."
    tracking.promote(2, {})
    registered(tracking)
    tracking.describe(3, "It was held.")
    assert client.get_model_version(tracking.model_name, "3").description == "It was held."
    assert client.get_registered_model(tracking.model_name).description == "Version 2:\n\nIt is 2."


def test_interrupted_promotion_leaves_production_in_place(tracking: Tracking) -> None:
    class Interrupted(Tracking):
        def move_alias(self, alias: str, version: int) -> None:
            if alias == PRODUCTION:
                raise KeyboardInterrupt
            super().move_alias(alias, version)

    tracking.promote(registered(tracking).version, {})
    second = registered(tracking)
    with pytest.raises(KeyboardInterrupt):
        Interrupted(tracking.tracking_uri, tracking.artifact_root).promote(second.version, {"decision": "yes"})
    assert tracking.get(1).aliases == (PREVIOUS, PRODUCTION)
    assert tracking.get(2).tags == {"decision": "yes"}  # whoever sees the alias sees its reasons


def test_signature_asks_for_what_the_contract_requires_in_natural_units() -> None:
    fields = {field.name: field for field in signature_fields(contract())}
    required = {name for name, field in fields.items() if field.required}
    assert required == {"loan_amnt", "term", "int_rate", "annual_inc", "dti"}
    assert fields["term"] == SignatureField("term", "double", required=True)
    assert fields["grade"] == SignatureField("grade", "string", required=False)
    assert fields["purpose"].type == "string"
    for month in ("issue_d", "earliest_cr_line"):  # what credit_history_months follows from
        assert fields[month] == SignatureField(month, "string", required=False)
    assert not {"id", "zip_code", "loan_status"} & set(fields)


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression"])
def test_logged_model_carries_what_it_needs_and_no_pickle(
    tracking: Tracking, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(sys.path)
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_model(tracking, run_id, kind), {})
    assert sys.path == before
    assert version.run_id == run_id
    assert "Failed to validate serving input example" not in caplog.text
    (model,) = Path(tracking.artifact_root, "loan_default", "models").glob("*/artifacts")
    files = {str(file.relative_to(model)): file for file in model.rglob("*") if file.is_file()}
    ours = {name for name in files if name.startswith(("code/", "artifacts/"))}
    package = {name.removeprefix("artifacts/package/") for name in ours if name.startswith("artifacts/")}
    trees = {"model.onnx"} if kind == "xgboost" else set()
    assert package == {"contract.json", "model.json", "canary.json", scorer(kind).model.file_name} | trees
    own = Path(loan_default.__file__).parent
    carried = [path.relative_to(own.parent) for path in (own / "risk").rglob("*.py")]
    scoring_code = {
        f"code/{path.as_posix()}" for path in carried if not {*path.parts} & {"validation", "monitoring", "value"}
    }
    assert "code/loan_default/risk/contract/book.py" in scoring_code
    assert {name for name in ours if name.startswith("code/")} == {*scoring_code, "code/loan_default/__init__.py"}
    assert set(files) - ours == {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "pyfunc_model.py"),
        *("input_example.json", "serving_input_example.json"),
    }
    for file in files.values():
        _assert_no_pickle(file.name, file.read_bytes())
    assert sum(file.stat().st_size for file in files.values()) < 1_200_000  # most of it the code of `risk`
    example = json.loads(files["input_example.json"].read_text())
    sent = {name: value for name, value in applications()[0][0].items() if value is not None}  # NaN is no JSON
    assert dict(zip(example["columns"], example["data"][0], strict=True)) == sent
    requirements = (model / "requirements.txt").read_text().split()
    assert set(serving_requirements(candidate_class(kind).requirements)) < set(requirements)
    assert all("==" in requirement for requirement in requirements)


def _assert_no_pickle(name: str, content: bytes) -> None:
    """Check that a file is no pickle (protocol 2 and later begin with two known bytes), and a skops file has none."""
    assert not name.endswith((".pkl", ".pickle", ".joblib"))
    assert not (content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")), name
    if name.endswith(".skops"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert {Path(member).suffix for member in archive.namelist()} <= {".json", ".npy"}
            for member in archive.namelist():
                if member.endswith(".npy"):
                    np.load(io.BytesIO(archive.read(member)), allow_pickle=False)


def test_package_is_downloaded_once(tracking: Tracking, tmp_path: Path) -> None:
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_model(tracking, run_id), {})
    folder = tracking.download_package(version, tmp_path / "cache")
    features = applications()[1]
    assert Scorer.load(folder).score(features).equals(scorer("xgboost").score(features))
    nobody = replace(tracking, tracking_uri="http://127.0.0.1:9")
    assert nobody.download_package(version, tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def keep_folder(tracking: Tracking, folder: Path) -> str:
    """Make a run that keeps a folder of two files, one of them in a folder of its own."""
    (folder / "xgboost").mkdir(parents=True)
    (folder / "about.json").write_text('{"rows": 3}')
    (folder / "xgboost" / "model.ubj").write_bytes(b"\0trees")
    run_id = new_run(tracking)
    tracking.log_folder(run_id, folder, "candidates")
    return run_id


def test_folder_of_a_run_comes_back_whole_and_is_downloaded_once(tracking: Tracking, tmp_path: Path) -> None:
    run_id = keep_folder(tracking, tmp_path / "given")
    folder = tracking.download_folder(run_id, "candidates", tmp_path / "cache")
    assert folder == tmp_path / "cache" / "candidates"
    assert (folder / "xgboost" / "model.ubj").read_bytes() == b"\0trees"
    assert tracking.read_json(run_id, "candidates/about.json") == {"rows": 3}
    nobody = replace(tracking, tracking_uri="http://127.0.0.1:9")
    assert nobody.download_folder(run_id, "candidates", tmp_path / "cache") == folder


def test_what_a_run_did_not_keep_is_one_sentence(tracking: Tracking, tmp_path: Path) -> None:
    run_id = new_run(tracking)
    with pytest.raises(TrackingError, match=rf"refused to read profile\.json of the run {run_id}: .*profile\.json"):
        tracking.read_json(run_id, "profile.json")
    with pytest.raises(TrackingError, match=f"refused to download candidates of the run {run_id}: "):
        tracking.download_folder(run_id, "candidates", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_default_store_is_lent_and_given_back(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    with tracking.as_default():
        assert mlflow.get_tracking_uri() == tracking.tracking_uri
    assert mlflow.get_tracking_uri() == os.environ["MLFLOW_TRACKING_URI"] == "http://elsewhere"
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # the way back to the environment's


def test_a_version_that_is_not_there_is_one_sentence(tracking: Tracking) -> None:
    with pytest.raises(TrackingError) as refusal:
        tracking.get(7)
    assert str(refusal.value) == "MLflow has no version 7 of loan_default_model."


def test_dead_server_is_one_sentence_without_its_password_and_soon() -> None:
    tracking = Tracking(f"http://me:secret@127.0.0.1:{free_port()}", "")
    started = time.monotonic()
    with pytest.raises(TrackingError) as refusal:
        tracking.version_of(PRODUCTION)
    assert time.monotonic() - started < 30
    sentence = str(refusal.value)
    assert "cannot be reached to read the alias production: start it or correct MLFLOW_TRACKING_URI." in sentence
    assert "secret" not in sentence


def test_a_database_that_is_away_is_one_sentence_and_soon() -> None:
    tracking = Tracking(f"postgresql+psycopg2://me@127.0.0.1:{free_port()}/mlflow", "")
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"refused to read the alias production: .*Connection refused"):
        tracking.version_of(PRODUCTION)
    assert time.monotonic() - started < 30


def test_environment_that_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    load_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.long
def test_server_does_what_a_file_does(tmp_path: Path) -> None:
    local = new_tracking(tmp_path / "store")
    store = ["--backend-store-uri", local.tracking_uri, "--artifacts-destination", str(tmp_path / "kept")]
    with started_server(["server", *store, "--workers", "1"], tmp_path / "server") as server:
        server.wait()
        tracking = Tracking(server.url, "")
        run_id = keep_folder(tracking, tmp_path / "given")
        version = tracking.register(run_id, log_model(tracking, run_id), {"auc": "0.7"})
        assert tracking.promote(version.version, {}) == tracking.versions()[0] == tracking.version_of(PRODUCTION)
        folder = tracking.download_package(version, tmp_path / "cache")
        candidates = tracking.download_folder(run_id, "candidates", tmp_path / "cache")
        assert tracking.read_json(run_id, "candidates/about.json") == {"rows": 3}
        with pytest.raises(TrackingError, match=r"refused to read profile\.json"):
            tracking.read_json(run_id, "profile.json")
    assert (folder / "model.ubj").exists()
    assert (candidates / "xgboost" / "model.ubj").exists()
    assert local.get(version.version).aliases == (PRODUCTION, STAGING)
