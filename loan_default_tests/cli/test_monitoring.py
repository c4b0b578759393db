"""Commands that watch: an empty home, and what cannot be shown yet."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from loan_default.adapters.record_shapes import SHAPES
from loan_default.cli import main
from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.batches import DecisionCount, ScoredBatch
from loan_default.operations.doctor import Diagnosis
from loan_default.operations.history import HistoryEvent
from loan_default.operations.runs import Run as RecordedRun
from loan_default.operations.status import PerformanceStatus, ServerStatus, Status, VersionStatus
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.risk.economics.approval import ApprovedLoans, RealisedGroup
from loan_default.risk.validation.backtest import BackTestPoint, TermFigures
from loan_default.settings import Settings
from loan_default_tests.cli.conftest import Run, sentence
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.stores import free_port


@pytest.mark.integration
def test_an_empty_home_is_one_sentence(command: Run) -> None:
    code, text, errors = command("status")
    assert (code, errors) == (0, "")
    (line,) = text.splitlines()
    assert line.startswith("Nothing has been trained or scored here yet; begin with ")
    assert line.endswith(" run --data FILE.")
    assert command("history") == (0, "Nothing has been decided yet.\n", "")
    assert sentence(command("performance")) == (
        "Nothing has been scored yet that could be measured; run loan-default score FILE first."
    )


@pytest.mark.integration
def test_an_empty_home_as_json(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAN_DEFAULT_SERVING_URL", f"http://127.0.0.1:{free_port()}")  # another home's server is none
    code, text, errors = command("status", "--json")
    assert (code, errors) == (0, "")
    status = json.loads(text)
    assert [version["alias"] for version in status["versions"]] == ["production", "previous", "staging"]
    assert status["batches"] == status["waiting"] == status["runs"] == []
    assert status["server"]["status"] is None
    assert command("history", "--json") == (0, "[]\n", "")


@pytest.mark.integration
def test_metrics_of_an_empty_home_are_all_there(command: Run) -> None:
    code, text, errors = command("metrics")
    assert (code, errors) == (0, "")
    assert 'loan_default_runs_total{dagster_job="training_job",status="failure"} 0.0' in text.splitlines()
    assert 'loan_default_alias_version{alias="production"} 0.0' in text.splitlines()


@pytest.mark.integration
def test_a_report_on_an_empty_home_says_how_to_begin(folder: Path, command: Run) -> None:
    assert command("report", "--out", "new/report.html") == (0, "The report is in new/report.html.\n", "")
    assert "No version is registered in MLflow." in (folder / "new" / "report.html").read_text(encoding="utf-8")
    assert sentence(command("report", "--out", "report.pdf")) == (
        "report.pdf cannot be written; name a file that ends in .html."
    )


def test_outcomes_that_cannot_be_read_are_refused_before_any_is_taken(folder: Path, command: Run) -> None:
    folder.joinpath("good.csv").write_text("id,loan_status,month\n1,Current,2019-03\n")
    folder.joinpath("bad.csv").write_text("id,loan_status\n1,Current\n")
    assert sentence(command("performance", "good.csv", "bad.csv")) == "bad.csv lacks the column month; add it."
    assert not (folder / "var" / "storage" / "outcomes").exists()


def test_drift_needs_a_scored_batch(command: Run) -> None:
    assert sentence(command("drift", "2018-10")) == (
        "Batch 2018-10 is not scored yet; run loan-default score FILE first."
    )


# --- JSON for programs --------------------------------------------------------------------------------------------

DOCUMENTED = Path(__file__).parents[2] / "docs" / "commands.md"


def documented(command_name: str) -> set[str]:
    """Return the words that docs/commands.md has in code under a command's heading."""
    sections = re.split(r"^## ", DOCUMENTED.read_text("utf-8"), flags=re.MULTILINE)
    (section,) = (section for section in sections if section.startswith(f"{command_name}\n"))
    return set(re.findall(r"`(\w+)`", section))


def keys_of(record: object, depth: int = 2) -> set[str]:
    """Return the keys of a record and of those in it, down to a depth."""
    if isinstance(record, list):
        return set().union(*(keys_of(item, depth) for item in record))
    if not isinstance(record, dict) or not depth:
        return set()
    return set(record).union(*(keys_of(value, depth - 1) for value in record.values()))


@pytest.fixture(scope="module")
def home(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a version in production; the folder that holds it."""
    folder = tmp_path_factory.mktemp("json") / "trained"
    settings = trained_home(folder)
    with own_environment():
        os.environ |= environment_of(settings)
        write_csv(make_applications(60, seed=1, month=date(2014, 7, 1)), folder / "2014-07.csv")
        (folder / "2019-03.csv").write_text("id,loan_status,month\n1,Current,2019-03\n", encoding="utf-8")
        yield folder


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments",
    [["score", "2014-07.csv"], ["drift", "2014-07"], ["performance", "2019-03.csv"], ["status"], ["history"]],
    ids=lambda arguments: arguments[0],
)
def test_json_is_alone_on_stdout_and_its_keys_are_documented(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(home)
    assert main([*arguments, "--json"]) == 0
    text, errors = capfd.readouterr()
    record = json.loads(text)
    assert ("▸" in errors) == (arguments[0] not in ("status", "history")), "progress goes to stderr"
    if arguments[0] == "score":
        assert record["drift"]["rows"] == 60
        record["drift"] = None  # it is drift's
    assert keys_of(record) <= documented(arguments[0])


def test_every_key_that_commands_print_is_documented() -> None:
    classes: dict[str, tuple[type[Any], ...]] = {
        "status": (Status, VersionStatus, BatchStatus, ServerStatus, PerformanceStatus, RecordedRun),
        "history": (HistoryEvent,),
        "score": (ScoredBatch, DecisionCount),
        "doctor": (Diagnosis,),
        "backtest": (BackTestPoint, TermFigures, ApprovedLoans, RealisedGroup),
    }
    for name, documented_classes in classes.items():
        assert {field.name for kind in documented_classes for field in fields(kind)} <= documented(name), name
    assert {*SHAPES["backtest"].model_fields} <= documented("backtest")
    assert {*SHAPES["provision_report"].model_fields} <= documented("provision")
