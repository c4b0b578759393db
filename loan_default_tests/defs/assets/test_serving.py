"""The `model_server` asset by Dagster's own command: it starts a server that outlives it, and makes it follow."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loan_default.adapters.tracking import PRODUCTION, Tracking
from loan_default.settings import Settings
from loan_default_tests.homes import Platform, failure, new_platform
from loan_default_tests.stores import free_port, log_model, new_run, new_tracking

pytestmark = pytest.mark.integration


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a home whose registry is empty; whatever serves there is stopped at the end."""
    tracking = new_tracking(tmp_path / "store")
    (tmp_path / "home" / "dagster").mkdir(parents=True)
    env = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path / "home" / "dagster"),
        "LOAN_DEFAULT_HOME": str(tmp_path / "home"),
        "MLFLOW_TRACKING_URI": tracking.tracking_uri,
        "LOAN_DEFAULT_SERVING_URL": f"http://127.0.0.1:{free_port()}",
        "LOAN_DEFAULT_ADMIN_TOKENS": "chief",
    }
    yield env
    run(env, "loan_default.cli", "serve", "--stop")


def run(env: dict[str, str], module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    cwd = Path(env["LOAN_DEFAULT_HOME"]).parent
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=180, check=False)


def serve(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(env, "dagster", "job", "execute", "-m", "loan_default.definitions", "-j", "serving_job")


def test_the_promoted_version_is_served(env: dict[str, str], tmp_path: Path) -> None:
    tracking = new_tracking(tmp_path / "store")
    versions = []
    for kind in ("xgboost", "logistic_regression"):
        run_id = new_run(tracking)
        versions.append(tracking.register(run_id, log_model(tracking, run_id, kind), {}).version)
    pids = set()
    for version in versions:
        tracking.move_alias(PRODUCTION, version)
        done = serve(env)
        assert done.returncode == 0, done.stderr[-3000:]
        health = httpx.get(f"{env['LOAN_DEFAULT_SERVING_URL']}/health").json()
        assert health["version"] == version
        pids.add(health["pid"])
    assert len(pids) == 1, "the running server was made to follow, not replaced"

    stopped = run(env, "loan_default.cli", "serve", "--stop")
    assert f"process {pids.pop()}) has stopped" in stopped.stdout
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{env['LOAN_DEFAULT_SERVING_URL']}/ping")
    assert (tmp_path / "home" / "serving" / "server.log").exists()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A home whose registry is empty, and whose server is another service's."""
    settings = Settings(home=tmp_path / "home", serving_url=f"http://127.0.0.1:{free_port()}", serving_supervised=True)
    new_tracking(settings.home / "mlflow")
    with new_platform(settings) as platform:
        yield platform


def test_a_supervised_server_is_not_started(platform: Platform) -> None:
    message = failure(platform.run("serving_job"))
    assert message == "No version is in production; run full_pipeline_job, or promote a version that was held."
    tracking = Tracking(platform.settings.tracking_uri, platform.settings.artifacts)
    run_id = new_run(tracking)
    tracking.promote(tracking.register(run_id, log_model(tracking, run_id), {}).version, {})
    assert "another service is said to run it; start that service" in failure(platform.run("serving_job"))
