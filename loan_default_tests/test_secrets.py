"""`make secrets`: a private file with all that the containers will not start without, never written over."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[1] / "docker"
COMPOSE = """
x-client: &client
  MLFLOW_TRACKING_USERNAME: ${MLFLOW_AUTH_ADMIN_USERNAME:?run make secrets}
services:
  mlflow:
    environment:
      URI: postgresql://me:${POSTGRES_PASSWORD:?run make secrets}@${POSTGRES_HOST:-postgres}:5432/mlflow
      LOAN_DEFAULT_STORAGE: ${LOAN_DEFAULT_STORAGE:-/storage}
  scoring:
    environment:
      TOKENS: ${LOAN_DEFAULT_API_TOKENS:?run make secrets}
      POSTGRES: ${POSTGRES_PASSWORD:?run make secrets}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(DOCKER / "secrets.sh", tmp_path)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return tmp_path


def run_script(folder: Path) -> tuple[dict[str, str], str]:
    """Run the script; return what the file holds then, and what was said."""
    finished = subprocess.run([folder / "secrets.sh"], cwd="/", check=True, capture_output=True, text=True)
    lines = (folder / ".env").read_text().splitlines()
    assert len({line.partition("=")[0] for line in lines}) == len(lines)
    return dict(line.split("=", 1) for line in lines), finished.stdout + finished.stderr


@pytest.mark.integration
def test_each_secret_is_long_its_own_and_for_its_owner_only(folder: Path, tmp_path: Path) -> None:
    (folder / ".env").write_text("LOAN_DEFAULT_STORAGE=gs://mine")  # no end of the line
    (folder / ".env").chmod(0o644)
    secrets, output = run_script(folder)
    assert secrets.pop("LOAN_DEFAULT_STORAGE") == "gs://mine"
    assert secrets.pop("MLFLOW_AUTH_ADMIN_USERNAME") == "admin"
    assert secrets.keys() == {"POSTGRES_PASSWORD", "LOAN_DEFAULT_API_TOKENS"}
    assert all(len(value) == 64 and value.isalnum() for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert not [value for value in secrets.values() if value in output]
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    (again := tmp_path / "again").mkdir()
    for name in ("secrets.sh", "compose.yaml"):
        shutil.copy(folder / name, again)
    assert not set(run_script(again)[0].values()) & set(secrets.values())


@pytest.mark.integration
def test_what_is_there_is_never_written_over(folder: Path) -> None:
    before, _ = run_script(folder)
    (folder / "compose.yaml").write_text(
        f"{COMPOSE}      MORE: ${{MLFLOW_FLASK_SERVER_SECRET_KEY:?run make secrets}}\n"
    )
    after, output = run_script(folder)
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {"MLFLOW_FLASK_SERVER_SECRET_KEY"}
    assert output == "docker/.env: MLFLOW_FLASK_SERVER_SECRET_KEY\n"


@pytest.mark.integration
@pytest.mark.skipif(not (DOCKER.parent / ".git").exists(), reason="this is no checkout of git")
def test_git_ignores_it() -> None:
    done = subprocess.run(["git", "check-ignore", "docker/.env"], cwd=DOCKER.parent, check=False, capture_output=True)
    assert done.returncode == 0
