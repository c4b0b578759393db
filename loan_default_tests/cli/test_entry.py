"""The command as a shell sees it: exit codes, one sentence for a mistake, no stack trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import loan_default
from loan_default.cli.entry import main
from loan_default.operations import home
from loan_default_tests.cli.conftest import Run, sentence

MISTAKE = """
import sys
from loan_default.cli import main
code = main(["promote"])
print("dagster" in sys.modules)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["learn"],
        ["score"],
        ["score-again"],
        ["score-again", "--to", "2018-10"],
        ["score-again", "2018-10", "--all"],
        ["drift"],
        ["train", "--trials", "0"],
        ["train", "--trials", "many"],
        ["clean", "--trials", "3"],
        ["run", "--calibrate-from", "nonsense"],
        ["run", "--snapshot", "2019-13"],
        ["sample-data", "--rows", "0"],
        ["sample-data", "--seed", "-1"],
        ["sample-data", "--batch", "--month", "2018-13"],
        ["sample-data", "--shift", "far"],
        ["run", "--speed", "high"],
        ["rollback"],
        ["rollback", "--reason", " "],
        ["promote", "--version", "0"],
        ["serve", "--port", "70000"],
        ["serve", "--poll", "0"],
        ["completion", "tcsh"],
        ["status", "now"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_two_and_one_sentence(folder: Path, command: Run, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert sentence(outcome, 2).endswith((".", "?"))
    assert outcome[1] == ""
    assert not list(folder.iterdir()), "nothing was made"


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian"], 'Did you mean "train"? loan-default --help lists all commands.'),
        (["scoer", "2018-10.csv"], 'Did you mean "score"?'),
        (["run", "--trails", "3"], "Did you mean --trials?"),
    ],
)
def test_a_typo_suggests_what_is_nearest(command: Run, arguments: list[str], suggestion: str) -> None:
    assert suggestion in sentence(command(*arguments), 2)


@pytest.mark.parametrize("arguments", [["promote", "b c"], ["drift", "2018-10", "b c"]])
def test_what_a_command_does_not_take_is_named_and_where_its_options_are(command: Run, arguments: list[str]) -> None:
    name = arguments[0]
    assert sentence(command(*arguments), 2) == (
        f'Command "{name}" takes no "b c" there; its options have names: see loan-default {name} --help.'
    )


@pytest.mark.integration
def test_a_mistake_ends_the_process_with_one(tmp_path: Path) -> None:
    """As the shell sees it, and without waiting for Dagster."""
    process = subprocess.run(
        [sys.executable, "-c", MISTAKE],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(loan_default.__file__).parents[1])},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout) == (1, "False\n")
    assert process.stderr == "loan-default: There is no trained model to decide on; run loan-default train first.\n"


@pytest.mark.parametrize("message", ["", "Interrupted at batch 2018-10, 1 of 2; the same command goes on there."])
def test_ctrl_c_ends_with_130(command: Run, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt(message)

    monkeypatch.setattr(home, "open_home", interrupt)
    assert sentence(command("status"), 130) == (message or "Interrupted.")


def test_a_fault_of_ours_is_no_sentence(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(home, "open_home", fail)
    with pytest.raises(ZeroDivisionError):
        main(["status"])


def test_an_unknown_environment_is_one_sentence(command: Run) -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "weird"
    assert sentence(command("init")) == "LOAN_DEFAULT_ENV is 'weird'; it must be one of local, staging, prod."


def test_a_home_that_is_a_file_is_one_sentence(folder: Path, command: Run) -> None:
    (folder / "var").touch()
    assert str(folder / "var") in sentence(command("init"))
