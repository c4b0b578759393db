"""The root: which commands there are, in which groups, and what their help says."""

import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version as installed_version

import pytest

from loan_default.cli.app import app, show_default
from loan_default.defs.assets.training import TuningConfig
from loan_default_tests.cli.conftest import Run

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "Set up": ("contract", "init", "doctor", "sample-data", "demo", "completion"),
    "Train": ("run", "clean", "tune", "train", "backtest", "provision", "promote", "rollback", "policy"),
    "Score": ("score", "score-again", "score-rest"),
    "Watch": ("status", "history", "decision", "drift", "performance", "metrics", "report"),
    "Serve": ("serve", "web", "web-user", "evidently", "dev"),
}
NAMES = [name for names in COMMANDS.values() for name in names]
LIGHT = """
import sys
from loan_default.cli import main
main([%r])
print(sorted({"dagster", "mlflow", "polars", "upath", "loan_default.settings"} & sys.modules.keys()), file=sys.stderr)
"""


def test_help_names_every_command_in_its_group(command: Run) -> None:
    code, text, errors = command("--help")
    assert (code, errors) == (0, "")
    panels = re.findall(r"╭─ ([\w ]+) ─+╮\n(.*?)╰", text, re.DOTALL)
    groups = {title: tuple(re.findall(r"^│ (\S+)  +\w", body, re.MULTILINE)) for title, body in panels}
    assert {title: groups[title] for title in COMMANDS} == COMMANDS


@pytest.mark.parametrize("name", NAMES)
def test_each_command_describes_itself_and_its_options(command: Run, name: str) -> None:
    code, text, _ = command(name, "--help")
    assert code == 0
    assert f"Usage: loan-default {name}" in text
    described = app[name]
    assert described.help or described.default_command.__doc__
    for line in text.splitlines():
        assert not re.fullmatch(r"│ (--\S+|[A-Z]+)( [A-Z]+)?( +│)", line), f"{line} has no description"
    if name not in ("init", "contract", "policy"):  # which have commands of its own, with examples
        assert f"    loan-default {name}" in text, "an example"
    for example in re.findall(r"loan-default ([^>\n]*)", described.help_epilogue or ""):
        app.parse_args(example, exit_on_error=False, print_error=False)


def test_help_breaks_lines_by_the_width_of_the_terminal_alone() -> None:
    """What the source wraps, a page of help wraps anew."""
    description = str(app["serve"].default_command.__doc__)
    assert "5001 unless set; on Vertex AI and SageMaker the port that these call.\n" in description
    assert "\n\nArgs:\n    host: Address" in description


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("sample-data", ["[default: 60000]", "[default: 7]", "[default: 2018-10]", "[default: 0.0]"]),
        (
            "serve",
            ["Default: 127.0.0.1;", "LOAN_DEFAULT_SERVING_URL, 5001 unless set", "[default: 1]", "[default: 5.0]"],
        ),
        ("dev", ["[default: 3000]", "[default: 5000]"]),
        ("tune", [f"default: {TuningConfig().trials}."]),
    ],
)
def test_help_shows_the_defaults(command: Run, name: str, defaults: list[str]) -> None:
    text = " ".join(command(name, "--help")[1].replace("│", " ").split())
    for default in defaults:
        assert default in text


def test_version_is_the_installed_one(command: Run) -> None:
    assert command("--version") == (0, f"{installed_version('loan-default')}\n", "")


@pytest.mark.integration
@pytest.mark.parametrize("argument", ["--help", "--version", "trian"])
def test_what_needs_no_work_loads_nothing_heavy(argument: str) -> None:
    process = subprocess.run([sys.executable, "-c", LIGHT % argument], check=True, capture_output=True, text=True)
    assert process.stderr.splitlines()[-1] == "[]"


def test_defaults_are_shown_as_they_are_typed() -> None:
    assert [show_default(value) for value in (None, False, (), date(2018, 10, 1), 5.0, "")] == [
        *(None, None, None),
        *("2018-10", "5.0", None),
    ]
