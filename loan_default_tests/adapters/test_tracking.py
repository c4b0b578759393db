"""Conversations with real MLflow stores: an SQLite file, a server on loopback, a server that is not there."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

import loan_default
from loan_default.adapters.tracking import (
    MLFLOW_ENVIRONMENT,
    PREVIOUS,
    PRODUCTION,
    STAGING,
    ModelVersion,
    SignatureField,
    Tracking,
    TrackingError,
    load_environment,
    serving_requirements,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.integration

FIELDS = (
    SignatureField("loan_amount", "double", required=True),
    SignatureField("annual_income", "double", required=False),
    SignatureField("purpose", "string", required=False),
)

# A scorer in the shape of the real one, so small that what comes back shows which code answered.
FAKE_CLEANING = """
import polars as pl

def clean_applications(frame, contract):
    small = frame.filter(pl.col("loan_amount") <= 0)
    if small.height:
        raise ValueError(f"Row 1: loan_amount is {small['loan_amount'][0]}; give more than 0 dollars.")
    return frame.with_columns([pl.lit(None, pl.String).alias(n) for n in ["purpose"] if n not in frame.columns])
"""
FAKE_SCORING = """
import json
from pathlib import Path

import polars as pl

class Scorer:
    contract = None

    @classmethod
    def load(cls, folder):
        scorer = cls()
        scorer.cutoff = json.loads((Path(folder) / "model.json").read_text())["cutoff"]
        return scorer

    def score(self, frame, *, with_reasons=True):
        risk = pl.col("loan_amount") / 100_000
        reason = pl.format("purpose {}", pl.col("purpose").fill_null("unknown"))
        return frame.select(
            risk.alias("pd"),
            risk.alias("raw_score"),
            (850 - 500 * risk).cast(pl.Int64).alias("score"),
            pl.when(risk > self.cutoff).then(pl.lit("decline")).otherwise(pl.lit("approve")).alias("decision"),
            pl.concat_list(reason).alias("reasons"),
        )
"""


@functools.cache
def _empty_database() -> bytes:
    """An SQLite store takes seconds to create, in a folder that may not exist yet: once is enough."""
    with TemporaryDirectory() as folder:
        assert Tracking(f"sqlite:///{folder}/not/there/mlflow.db", folder).versions() == ()
        return Path(folder, "not/there/mlflow.db").read_bytes()


def new_tracking(folder: Path) -> Tracking:
    """A fresh store in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "mlflow.db").write_bytes(_empty_database())
    return Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))


def client_of(tracking: Tracking) -> MlflowClient:
    load_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking.tracking_uri)


def new_run(tracking: Tracking) -> str:
    client = client_of(tracking)
    return client.create_run(tracking.ensure_experiment()).info.run_id


def write_fake_code(folder: Path) -> Path:
    """A `loan_default` package with the real pyfunc file and a fake scorer."""
    code = folder / "loan_default"
    real = Path(loan_default.__file__).parent
    (code / "risk").mkdir(parents=True)
    (code / "serving").mkdir()
    (code / "__init__.py").touch()
    (code / "risk" / "__init__.py").touch()
    (code / "risk" / "cleaning.py").write_text(FAKE_CLEANING)
    (code / "risk" / "scoring.py").write_text(FAKE_SCORING)
    shutil.copy(real / "serving" / "pyfunc_model.py", code / "serving")
    return code


@contextmanager
def fake_scorer(code: Path) -> Iterator[None]:
    """Let this process find the fake scorer too: MLflow tries a model in the process that logs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cleaning", "scoring"):
            spec = importlib.util.spec_from_file_location(name, code / "risk" / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            patch.setitem(sys.modules, f"loan_default.risk.{name}", module)
        yield


def log_fake_model(tracking: Tracking, run_id: str, folder: Path) -> str:
    package, code = folder / "trained", write_fake_code(folder)
    package.mkdir()
    (package / "model.json").write_text('{"cutoff": 0.2}')
    with fake_scorer(code):
        return tracking.log_model_package(
            run_id,
            package,
            input_example={"loan_amount": 1000, "annual_income": None, "purpose": "car"},
            fields=FIELDS,
            requirements=serving_requirements(),
            code=code,
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running_server(arguments: list[str], port: int, env: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run `mlflow ARGUMENTS` in an empty folder until it answers its health check; yield its address."""
    folder.mkdir()
    command = [sys.executable, "-P", "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": path, "HOME": str(folder), **MLFLOW_ENVIRONMENT, **env},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return new_tracking(tmp_path / "store")


def registered(tracking: Tracking, tags: Mapping[str, str] | None = None) -> ModelVersion:
    """A version whose files do not matter."""
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


def test_bucket_stays_a_bucket_and_a_server_chooses_for_itself() -> None:
    assert Tracking("http://x", "gs://b/p/")._artifact_location() == "gs://b/p/loan_default"
    assert Tracking("http://x", "")._artifact_location() is None


def test_run_keeps_what_is_logged(tracking: Tracking) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    run_id = new_run(tracking)
    tracking.log_parameters(run_id, {f"p{i}": i for i in range(150)})  # MLflow takes 100 in one request
    tracking.log_metrics(run_id, {"auc": 0.7})
    tracking.set_tags(run_id, {"decision": "hold"})
    tracking.log_figures(run_id, {"roc.png": Figure()})
    tracking.log_json(run_id, "decision.json", {"promote": False})
    tracking.log_text(run_id, "model_card.md", "# Card")
    client = client_of(tracking)
    run = client.get_run(run_id)
    files = {file.path for file in client.list_artifacts(run_id)}
    assert (len(run.data.params), run.data.params["p149"], run.data.metrics) == (150, "149", {"auc": 0.7})
    assert run.data.tags["decision"] == "hold"
    assert files == {"roc.png", "decision.json", "model_card.md"}
    expected = f"http://ui/#/experiments/{run.info.experiment_id}/runs/{run_id}"
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


def test_promotion_keeps_the_version_it_replaces(tracking: Tracking) -> None:
    first, second = registered(tracking), registered(tracking)
    assert tracking.promote(first.version, {"decision": "promote"}).tags == {"decision": "promote"}
    assert tracking.version_of(PREVIOUS) is None
    for _ in range(2):  # the second time changes nothing
        assert tracking.promote(second.version, {}).aliases == (PRODUCTION, STAGING)
        assert tracking.get(first.version).aliases == (PREVIOUS,)
    tracking.move_alias(PRODUCTION, first.version)
    assert tracking.get(first.version).aliases == (PREVIOUS, PRODUCTION)


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


def test_logged_model_carries_what_it_needs_and_no_pickle(
    tracking: Tracking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(sys.path)
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_fake_model(tracking, run_id, tmp_path), {})
    assert sys.path == before
    (model,) = Path(tracking.artifact_root, "loan_default", "models").glob("*/artifacts")
    files = {str(file.relative_to(model)) for file in model.rglob("*") if file.is_file()}
    assert {file for file in files if "pkl" in file or "pickle" in file or "pycache" in file} == set()
    assert {file for file in files if file.startswith(("code/", "artifacts/"))} == {
        "code/loan_default/__init__.py",
        "code/loan_default/risk/__init__.py",
        "code/loan_default/risk/cleaning.py",
        "code/loan_default/risk/scoring.py",
        "artifacts/package/model.json",
    }
    requirements = (model / "requirements.txt").read_text().split()
    assert set(serving_requirements()) < set(requirements)
    assert all("==" in requirement for requirement in requirements)
    example = json.loads((model / "input_example.json").read_text())
    assert example == {"columns": ["loan_amount", "purpose"], "data": [[1000.0, "car"]]}
    assert "Failed to validate serving input example" not in caplog.text
    assert version.run_id == run_id


def test_package_is_downloaded_once(tracking: Tracking, tmp_path: Path) -> None:
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_fake_model(tracking, run_id, tmp_path), {})
    folder = tracking.download_package(version, tmp_path / "cache")
    assert json.loads((folder / "model.json").read_text()) == {"cutoff": 0.2}
    nobody = replace(tracking, tracking_uri="http://127.0.0.1:9")
    assert nobody.download_package(version, tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_default_store_is_lent_and_given_back(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    with tracking.as_default():
        assert mlflow.get_tracking_uri() == tracking.tracking_uri
    assert mlflow.get_tracking_uri() == os.environ["MLFLOW_TRACKING_URI"] == "http://elsewhere"
    mlflow.set_tracking_uri(None)


def test_refusal_is_one_sentence(tracking: Tracking) -> None:
    with pytest.raises(TrackingError) as refusal:
        tracking.get(7)
    assert str(refusal.value) == (
        f"MLflow at {tracking.tracking_uri} refused to read version 7: "
        "Model Version (name=loan_default_model, version=7) not found."
    )


def test_dead_server_is_one_sentence_without_its_password_and_soon() -> None:
    tracking = Tracking(f"http://me:secret@127.0.0.1:{free_port()}", "")
    started = time.monotonic()
    with pytest.raises(TrackingError) as refusal:
        tracking.version_of(PRODUCTION)
    assert time.monotonic() - started < 30
    sentence = str(refusal.value)
    assert "cannot be reached to read the alias production: start it or correct MLFLOW_TRACKING_URI." in sentence
    assert "secret" not in sentence


def test_environment_that_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    load_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_server_does_what_a_file_does(tmp_path: Path) -> None:
    local = new_tracking(tmp_path / "store")
    port = free_port()
    store = ["--backend-store-uri", local.tracking_uri, "--artifacts-destination", str(tmp_path / "kept")]
    with running_server(["server", *store, "--workers", "1"], port, {}, tmp_path / "server") as url:
        tracking = Tracking(url, "")
        run_id = new_run(tracking)
        version = tracking.register(run_id, log_fake_model(tracking, run_id, tmp_path), {"auc": "0.7"})
        assert tracking.promote(version.version, {}) == tracking.versions()[0] == tracking.version_of(PRODUCTION)
        folder = tracking.download_package(version, tmp_path / "cache")
    assert (folder / "model.json").exists()
    assert local.get(version.version).aliases == (PRODUCTION, STAGING)
