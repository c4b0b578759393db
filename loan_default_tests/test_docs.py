"""Docs: what they name exists, nothing that people set or type is left out, and each command is one that runs.

Keys of reviewed files are `risk/model/test_file_schemas.py`'s.
"""

import importlib
import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
import pytest
from cyclopts import App

from loan_default.cli import main
from loan_default.cli.app import app
from loan_default.defs.resources import build_resources
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.settings import known_variables, load_settings
from loan_default_tests.homes import environment_of, own_environment, unset_environment
from loan_default_tests.steps.book import Book
from loan_default_tests.test_observability import exposed
from loan_default_tests.web import test_server
from loan_default_tests.web.home import pages_home, register_again

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "adr", ROOT / ".github", *(ROOT / "examples").glob("**"))
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


SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_page_of_settings_lists_every_setting_and_no_other() -> None:
    cells = re.findall(r"^\| (`[A-Z_`, ]+`) \|", SETTINGS, re.M)
    assert {name for cell in cells for name in re.findall("[A-Z_]+", cell)} - OTHERS == known_variables() - OTHERS


def test_a_default_that_the_page_of_settings_names_changes_nothing() -> None:
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\| `([^`$]+)`[^|]*\|$", SETTINGS, re.M))
    assert len(defaults) > 10
    for name, default in defaults.items():
        assert load_settings({name: default}) == load_settings({}), f"{name}={default}"


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


# --- the pages that are made from the code


@cache
def site() -> ModuleType:
    spec = spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_says_what_it_is_for() -> None:
    page = site().commands_page()
    assert page.count("* `--") > 50
    assert re.findall(r"^\* `[^`]*`:?\s*(?:\*.*)?$", page, re.M) == []
    for name in COMMANDS:
        assert f"## loan-default {name}\n" in page
        assert COMMANDS[name].help.strip(), name


def test_every_metric_is_on_its_page() -> None:
    page = site().metrics_page()
    names = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed() if name.startswith("loan_default_")}
    assert len(names) > 20
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []
    assert "|  |" not in page, "a metric without a description"


def test_every_asset_check_job_sensor_and_schedule_is_on_its_page() -> None:
    page = site().dagster_page()
    for name in (
        "promoted_model",
        "drift_report",
        "ids_unique",
        "retraining_job",
        "lost_run_sensor",
        "weekly_training",
    ):
        assert f"`{name}` |" in page, name


def test_new_names_on_the_page_for_upgrades_are_there() -> None:
    text = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]*\| `(?:room|work|people|registry|serving_process|lifeline)` \| `(\w+)` \|$", text, re.M)
    assert len(rows) == 6
    assert {*rows} <= build_resources(load_settings({})).keys()
    modules = re.findall(
        r"`((?:cli|defs|operations|risk|serving)\.[a-z_.]+)`", "".join(re.findall(r"\|[^|]*\|$", text, re.M))
    )
    assert len(modules) > 10
    paths = [ROOT / "loan_default" / name.replace(".", "/") for name in modules]
    assert not [path for path in paths if not (path.is_dir() or path.with_suffix(".py").exists())]


def test_every_page_is_in_the_navigation() -> None:
    pages = {name for name in site().written_pages().values() if name.endswith(".md")} | site().made_pages().keys()
    listed = re.findall(r'= "([\w/.-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(pages)


def test_a_link_leads_to_the_page_in_the_site_and_elsewhere_to_the_repository() -> None:
    pages = {"docs/a.md": "a.md", "README.md": "index.md", "loan_default/cli": "reference/commands.md"}
    text = (
        "[x](../README.md#y) [cli](../loan_default/cli) [law](../LICENSE) [out](https://x.org/a.md) [gone](../gone.md)"
    )
    assert site().with_links_of_the_site(text, "docs/a.md", pages, "https://repo") == (
        "[x](index.md#y) [cli](reference/commands.md) [law](https://repo/LICENSE) [out](https://x.org/a.md) "
        "[gone](../gone.md)"
    )


def test_a_list_below_a_paragraph_is_one_in_the_site() -> None:
    text = "Names:\n- a\n  b\n- c\n\n```text\nx\n- y\n```\nThen:\n1. d\n2. e\n"
    parted = "Names:\n\n- a\n  b\n- c\n\n```text\nx\n- y\n```\nThen:\n\n1. d\n2. e\n"
    assert site().with_parted_lists(text) == parted


def test_a_page_that_would_ask_another_server_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><a href="https://x.org">x</a><img src="b.png">'
    )
    (tmp_path / "b.html").write_text('<script src="//cdn.org/x.js"></script><img src="https://x.org/y.png">')
    assert site().outside_requests(tmp_path) == {"b.html": ["//cdn.org/x.js", "https://x.org/y.png"]}


# --- commands

# What is typed beside ours; a shell reads it, and that is all that is tried here.
FOREIGN = {
    *(
        "aws",
        "bash",
        "cp",
        "curl",
        "do",
        "docker",
        "done",
        "for",
        "gcloud",
        "git",
        "mlflow",
        "pip",
        "promtool",
        "python",
    ),
    *("read", "ssh", "sudo", "terraform", "export", "."),
}
# Commands that a test runs, in a fresh home, as they stand on the page; the rest is held to the command's grammar.
RUN = ("status", "history", "doctor", "contract", "metrics")
# Those that need a trained home, and run in one for long, in this order.
RUN_LONG = ("report", "score", "score-again", "promote", "rollback", "backtest", "provision", "run", "policy")
OF_ANOTHER_BOOK = "hmeq.csv"  # `test_examples.py` has its contract
# Servers, which do not end by themselves, with the test that runs the command.
RUN_ELSEWHERE: Mapping[str, Callable[[Path], None]] = {"web": test_server.test_the_command_answers_until_it_is_stopped}


def shell_blocks(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    yield from (
        re.sub("^  ", "", block, flags=re.M) for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S)
    )


def calls(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block, without variables before it, and without comments."""
    unfinished = ""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(unfinished + line, posix=True, punctuation_chars=";&|<>()")
        lexer.whitespace_split, lexer.commenters = True, "#"
        try:
            tokens = [*lexer, ";"]
        except ValueError:  # a quotation goes on in the next line
            unfinished += f"{line}\n"
            continue
        unfinished, words = "", list[str]()
        for token in tokens:
            if set(token) <= set(";&|"):
                if words:
                    yield words
                words = []
            elif words or not re.match(r"[A-Z_]+=", token):
                words.append(token)


@BY_PAGE
def test_a_shell_can_read_every_block_and_knows_every_program(page: Path) -> None:
    for block in shell_blocks(page):
        for call in calls(block):
            programs = {*FOREIGN, "make", "loan-default", "dagster", "dg", "dask"}
            assert (Path(call[0]).name or call[0]) in programs or call[0].startswith(("$", ")", "(")), (
                f"{call}: not known here"
            )


@pytest.mark.integration
def test_bash_takes_every_block() -> None:
    for page in PAGES:
        for block in shell_blocks(page):
            done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
            assert done.returncode == 0, f"{page.name}: {done.stderr}{block}"


@BY_PAGE
def test_no_command_hides_in_a_block_that_is_not_for_a_shell(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?!sh\n)\w*\n(.*?)^```", text, re.M | re.S):
        assert not re.search(r"^(\.venv/bin/)?(loan-default|make|dg|dagster|curl) ", block, re.M), block


@BY_PAGE
def test_every_command_of_ours_takes_its_arguments(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in shell_blocks(page):
        for call in calls(block):
            if Path(call[0]).name == "loan-default":
                words = call[1 : next((n for n, word in enumerate(call) if set(word) <= set("<>")), None)]
                app.parse_args(words, exit_on_error=False, print_error=False)


def parse_by_click(command: click.Command, words: list[str]) -> None:
    """Have a command of click, or one of its commands, parse what is typed after its name."""
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, subcommand, words = command.resolve_command(context, words)
        assert subcommand is not None, name
        command, context = subcommand, click.Context(subcommand, parent=context, info_name=name)
    command.make_parser(context).parse_args(words)


@BY_PAGE
def test_every_command_of_dagsters_takes_its_arguments(page: Path) -> None:
    for block in shell_blocks(page):
        for call in calls(block):
            match Path(call[0]).name:
                case "dagster":
                    parse_by_click(importlib.import_module("dagster._cli").create_dagster_cli(), call[1:])
                case "dg":
                    parse_by_click(importlib.import_module("dagster_dg_cli.cli").create_dg_cli(), call[1:])


@pytest.mark.integration
def test_quick_commands_run_as_they_stand_on_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(make_loans(300, seed=1), tmp_path / "loans.csv")
    quick = commands_on_pages(RUN)
    assert {words[0] for words in quick} == {*RUN}
    for words in sorted(quick, key=lambda words: words[:2] == ("contract", "check")):  # after init
        with unset_environment():
            code = main([word for word in words if word != "--send-test-alert"])
        out, err = capfd.readouterr()
        assert code in (0, 1), f"{words}: {err}"
        assert out, words
        assert "Traceback" not in err, f"{words}: {err}"


def commands_on_pages(names: Collection[str]) -> dict[tuple[str, ...], None]:
    """Return the words after `loan-default` of the commands of these names, each once, as the pages have them."""
    every = (call for page in PAGES for block in shell_blocks(page) for call in calls(block))
    ours = (tuple(call[1:]) for call in every if Path(call[0]).name == "loan-default")
    return dict.fromkeys(words for words in ours if words[0] in names)


def test_each_command_on_the_pages_is_run_by_a_test() -> None:
    every = {words[0] for words in commands_on_pages(COMMANDS)}
    assert every == {*RUN, *RUN_LONG, *RUN_ELSEWHERE}
    for name, test in RUN_ELSEWHERE.items():
        assert f'"{name}", ' in inspect.getsource(test)


@pytest.mark.long
def test_commands_for_a_trained_home_run_as_they_stand_on_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = pages_home(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    book = Book(settings)
    register_again(book)  # a third version
    for name, month in (("2018-10", 10), ("2018-12", 12), ("applications", 11)):
        loans = make_loans(300, seed=month, first_month=date(2014, 7, 1), last_month=date(2014, 7, 1))
        write_csv(loans, tmp_path / f"{name}.csv")
        write_csv(loans, Path(settings.storage, "applications", f"{name}.csv"))
    own_loans = make_loans(6_000, seed=1)
    (tmp_path / "book").mkdir()
    for name in ("loans.csv", "book/loans.csv.gz", "accepted_2007_to_2018Q4.csv.gz"):
        write_csv(own_loans, tmp_path / name)
    ranks = {name: rank for rank, name in enumerate(RUN_LONG)}
    of_our_book = (words for words in commands_on_pages(RUN_LONG) if OF_ANOTHER_BOOK not in words)
    for words in sorted(of_our_book, key=lambda words: ranks[words[0]]):
        with own_environment():
            os.environ |= environment_of(settings)
            code = main([*words])
        out, err = capfd.readouterr()
        assert code == 0, f"{words}: {err}"
        assert out + err, words
    assert (tmp_path / "committee.html").exists()
