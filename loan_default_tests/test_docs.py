"""Docs that name settings, targets, commands, options and files name those that exist, and leave no setting out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

import loan_default.cli.entry  # noqa: F401 - registers the commands
from loan_default.cli.app import app
from loan_default.settings import known_variables

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "adr", ROOT / ".github")
    for page in folder.glob("*.md")
    if page.name != "CHANGELOG.md"  # tells of what there was
)
BY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
COMMANDS = {name: command for name, command in app.resolved_commands().items() if not name.startswith("-")}
# Read by libraries alone, or by tests.
OTHERS = {
    *("MLFLOW_TRACKING_USERNAME", "PGPASSWORD", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "STORAGE_EMULATOR_HOST", "LOAN_DEFAULT_REAL_DATA", "DAGSTER_LOCATION_NAME"),
}


def code(page: Path) -> Iterator[str]:
    """Yield every line of a code block, without its comment, and every span of code."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S):
        yield from (line.split(" #")[0].strip() for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def test_readme_lists_every_setting_and_no_other() -> None:
    cells = re.findall(r"^\| (`[A-Z_`, ]+`) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert {name for cell in cells for name in re.findall("[A-Z_]+", cell)} - OTHERS == known_variables() - OTHERS


def test_the_example_lists_every_setting_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {*re.findall(r"^(?:# )?([A-Z_]+)=", example, re.M)} - OTHERS == known_variables() - OTHERS


def subcommands(command: str) -> dict[str, App]:
    app = COMMANDS[command]
    names = () if app.default_command else (name for name in app.resolved_commands() if not name.startswith("-"))
    return {f"{command} {name}": app[name] for name in names} or {command: app}


def options_of(command: str) -> set[str]:
    collected = [argument for app in subcommands(command).values() for argument in app.assemble_argument_collection()]
    return {"--help", *(name for argument in collected for name in argument.names)}


def test_commands_page_tells_of_every_command_that_prints_json() -> None:
    apps = {name: app for command in COMMANDS for name, app in subcommands(command).items()}
    printing = {
        name
        for name, app in apps.items()
        if any("--json" in argument.names for argument in app.assemble_argument_collection())
    }
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert {*re.findall("^## (.+)$", page, re.M)} == printing


@BY_PAGE
def test_targets_that_docs_name_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in code(page):
        if match := re.match(r"make((?: [a-z][a-z-]*(?= |$))+)", line):
            for target in match[1].split():
                assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"


@BY_PAGE
def test_commands_and_options_that_docs_name_exist(page: Path) -> None:
    for line in code(page):
        for call in re.findall(r"(?:^|[/'])loan-default ([a-z][^']*)", line):
            for alternative in call.split(" | "):
                name, *words = alternative.split()
                assert name in COMMANDS, f"loan-default {name}"
                options = {word.strip("[]").partition("=")[0] for word in words if word.strip("[").startswith("--")}
                assert options <= options_of(name), f"loan-default {name} has no {options - options_of(name)}"


@BY_PAGE
def test_files_that_docs_link_to_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in link or (page.parent / link).exists(), link
