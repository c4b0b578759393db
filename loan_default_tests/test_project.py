"""What the project says of itself to pip, Dagster, GitHub and pre-commit: one version, one name for each thing."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

import loan_default

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "loan_default"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_what_is_installed() -> None:
    assert loan_default.__version__ == importlib.metadata.version("loan-default")
    assert not hasattr(loan_default, "versions")


@pytest.mark.integration
def test_importing_is_cheap_and_works_where_nothing_is_installed(tmp_path: Path, pyproject: dict[str, Any]) -> None:
    (tmp_path / "loan_default").mkdir()
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "loan_default")
    script = "import sys; import loan_default; print(*sys.modules); print(loan_default.__version__)"
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    modules, version = done.stdout.splitlines()
    assert "importlib.metadata" not in modules.split()
    assert version == pyproject["tool"]["setuptools_scm"]["fallback_version"]


def test_files_beside_the_code_are_packed(pyproject: dict[str, Any]) -> None:
    patterns = pyproject["tool"]["setuptools"]["package-data"]["loan_default"]
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()]
    data = [name for name in files if not name.endswith((".py", ".pyc"))]
    assert {"py.typed", "conf/contract.yaml"} <= {*data}
    assert not [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)]


def test_every_dagster_command_loads_the_same_code_location(pyproject: dict[str, Any]) -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    module = location["python_module"]["module_name"]
    project = pyproject["tool"]["dg"]["project"]
    assert pyproject["tool"]["dagster"] == {"module_name": module}
    # A location without a name is called after its module; sensors' cursors go by it.
    assert project["code_location_target_module"] == project["code_location_name"] == module


@pytest.mark.integration
def test_dg_lists_the_definitions_and_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").mkdir()  # which nobody has activated
    home = tmp_path / "home" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "DAGSTER_HOME": str(home)}
    command = [str(Path(sys.executable).parent / "dg"), "list", "defs", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    definitions = json.loads(done.stdout)
    assert {"cleaned_loans", "promoted_model"} <= {asset["asset_key"] for asset in definitions["assets"]}


def test_one_organization_stands_for_the_lenders() -> None:
    files = ("pyproject.toml", "infra/staging.tfvars", "infra/prod.tfvars", ".github/CODEOWNERS")
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in files)
    organizations = re.findall(r'(?:github\.com/|^github_repository = "| @)([\w-]+)/', text, re.M)
    assert len(organizations) > 8
    assert len({*organizations}) == 1


def test_everything_with_an_owner_exists() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    paths = [line.split()[0] for line in lines if line.startswith("/")]
    assert paths
    assert not [path for path in paths if not (ROOT / path.strip("/")).exists()]


def test_hooks_run_what_is_locked_and_ci_runs_too(pyproject: dict[str, Any]) -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local", "another repository is a second list of versions"
    makefile, lock, ci = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("Makefile", "requirements/dev.lock", ".github/workflows/ci.yml")
    )
    for hook in repository["hooks"]:
        words = hook["entry"].split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M)
            assert f"make {words[1]}\n" in ci
        else:
            assert f"\n{words[0].removeprefix('.venv/bin/')}==" in lock
        for tool in hook.get("additional_dependencies", []):
            assert f"pipx install {tool}\n" in ci
