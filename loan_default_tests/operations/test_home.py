"""One home for every tool: real commands, with homes exported or not, and each kind of `.env`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loan_default.homes import with_homes
from loan_default.operations.home import open_home, write_env_file
from loan_default.risk.errors import BadInput
from loan_default.settings import SERVING_NEEDS
from loan_default_tests.homes import unset_environment

# Says which homes a code location sees; Dagster keeps the run in the home that it opened before.
LOCATION = """
import dagster as dg
from loan_default.settings import load_settings

@dg.asset
def homes() -> None:
    settings = load_settings()
    print(f"HOMES {settings.home} {settings.dagster_home}", flush=True)

defs = dg.Definitions([homes])
"""
OPENS = """
from loan_default.operations.home import open_home
settings = open_home(needs=())
print("HOMES", settings.home, settings.dagster_home)
"""
TOOLS = {
    "dagster": ("-m", "dagster", "asset", "materialize", "-f", "location.py", "--select", "homes"),
    "loan-default": ("-c", OPENS),  # as every command opens the home
}


def homes_of(tool: str, folder: Path, exports: dict[str, str]) -> tuple[Path, Path]:
    """Return the home of runs and that of models and data in which a command ended, as they lie on the disk."""
    names = ("DAGSTER_HOME", "LOAN_DEFAULT_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names} | exports
    command = [sys.executable, *TOOLS[tool]]
    finished = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    match = re.search(r"HOMES (\S+) (\S+)", finished.stdout + finished.stderr)
    assert match, finished.stderr[-2000:]
    home, runs = (Path(text) for text in match.groups())
    if tool == "dagster":
        assert (runs / "history" / "runs.db").exists(), "the run lies in the home that the location sees"
    return runs, home


@pytest.mark.parametrize(
    ("home_exported", "runs_exported"),
    [
        pytest.param(False, False, marks=pytest.mark.long, id="nothing exported"),
        pytest.param(False, True, marks=pytest.mark.long, id="DAGSTER_HOME exported"),
        pytest.param(True, False, marks=pytest.mark.integration, id="LOAN_DEFAULT_HOME exported"),
        pytest.param(True, True, marks=pytest.mark.long, id="both exported"),
    ],
)
def test_every_tool_ends_in_the_home_that_env_names(tmp_path: Path, home_exported: bool, runs_exported: bool) -> None:
    (tmp_path / "location.py").write_text(LOCATION, encoding="utf-8")
    (tmp_path / ".env").write_text(with_homes("", tmp_path / "var"), encoding="utf-8")
    exports = {
        **({"LOAN_DEFAULT_HOME": str(tmp_path / "e")} if home_exported else {}),
        **({"DAGSTER_HOME": str(tmp_path / "d")} if runs_exported else {}),
    }
    home = tmp_path / ("e" if home_exported else "var")
    (home / "dagster").mkdir(parents=True)  # Dagster takes no folder that is not there
    assert {homes_of(tool, tmp_path, exports) for tool in TOOLS} == {(home / "dagster", home)}


@pytest.mark.long
@pytest.mark.parametrize("home_exported", [False, True], ids=["", "LOAN_DEFAULT_HOME exported"])
def test_without_env_exports_hold_for_every_tool(tmp_path: Path, home_exported: bool) -> None:
    (tmp_path / "location.py").write_text(LOCATION, encoding="utf-8")
    (tmp_path / "d").mkdir()
    exports = {"DAGSTER_HOME": str(tmp_path / "d")}
    exports |= {"LOAN_DEFAULT_HOME": str(tmp_path / "e")} if home_exported else {}
    home = tmp_path / ("e" if home_exported else "var")
    assert {homes_of(tool, tmp_path, exports) for tool in TOOLS} == {(tmp_path / "d", home)}


# --- in this process ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with unset_environment():
        yield tmp_path


def test_a_home_is_made_where_the_settings_say(folder: Path) -> None:
    (folder / ".env").write_text("LOAN_DEFAULT_HOME=elsewhere\n", encoding="utf-8")
    settings = open_home(data="loans.csv")
    assert settings.home == folder / "elsewhere"
    assert settings.data == "loans.csv"
    assert settings.staging.is_dir()
    assert (folder / "elsewhere" / "dagster" / "dagster.yaml").is_file()


def test_data_of_the_settings_stays_where_none_is_named(folder: Path) -> None:
    os.environ["LOAN_DEFAULT_DATA"] = "book.csv"
    assert open_home().data == "book.csv"


@pytest.mark.parametrize(("needs", "missing"), [((), ""), (SERVING_NEEDS, "LOAN_DEFAULT_API_TOKENS")])
def test_what_prod_must_name_depends_on_what_is_done(folder: Path, needs: tuple[str, ...], missing: str) -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "prod"
    if not missing:
        assert open_home(needs).environment == "prod"
        return
    with pytest.raises(BadInput, match=missing):
        open_home(needs)
    assert not list(folder.iterdir())


def test_the_env_file_names_the_homes_once_and_keeps_its_other_lines(folder: Path) -> None:
    (folder / ".env").write_text("SMTP_HOST=mail\n", encoding="utf-8")
    settings = open_home()
    for _ in range(2):
        write_env_file(settings)
        text = (folder / ".env").read_text("utf-8")
        assert text == with_homes("SMTP_HOST=mail\n", settings.home)
