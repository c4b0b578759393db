"""Commands that train and decide: what they show, and that a mistake is told before a run exists."""

import json
import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from loan_default.cli.training import _next_step
from loan_default_tests.cli.conftest import Run, sentence


def test_a_first_version_that_was_held_is_nothing_to_score_with() -> None:
    decision = {"verdict": "hold", "candidate": 1, "champion": None}
    assert "Nothing is in production yet, as version 1 was held. Next: mend" in _next_step(decision, "loan-default")
    for other in (None, {**decision, "verdict": "promote"}, {**decision, "champion": 3}):
        assert _next_step(other, "loan-default").startswith("Next: loan-default score FILE")


def test_promoting_needs_a_model(command: Run) -> None:
    expected = "There is no trained model to decide on; run loan-default train first."
    assert sentence(command("promote")) == expected


@pytest.mark.parametrize("arguments", [["--force"], ["--force", "--version", "2"], ["--force", "--reason", "Why."]])
def test_promoting_against_the_policy_needs_a_version_and_a_reason(command: Run, arguments: list[str]) -> None:
    assert sentence(command("promote", *arguments)).endswith("give --version N and --reason TEXT.")


@pytest.mark.integration
def test_there_is_nothing_to_go_back_to(command: Run) -> None:
    message = sentence(command("rollback", "--reason", "Why."))
    assert message == "No other version was in production before; there is nothing to go back to."


@pytest.mark.integration
def test_a_version_that_is_not_there_is_one_sentence(command: Run) -> None:
    assert "MLflow has no version 9 of loan_default_model." in sentence(
        command("promote", "--version", "9", "--force", "--reason", "Why.")
    )


@pytest.mark.integration
def test_clean_shows_what_it_kept(folder: Path, loans: Path, command: Run) -> None:
    code, output, errors = command("clean", "--data", "loans.csv", "--test-from", "2014-01")
    assert (code, errors) == (0, "")
    assert "▸ clean_raw_loans" in output
    assert "✓ loan_splits" in output
    assert "402 rows read: 400 kept" in output, "in the step's log, which is there where a later step stops"
    assert "402, of which 2 are no loans" in output
    report = json.loads((folder / "var" / "storage" / "cleaning_report.json").read_text("utf-8"))
    assert report["fingerprint"] in output
    assert "2014-01 to " in output
    assert "test" in output


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH (a file, a glob or gs://…)."),
        (
            ["--data", "none.csv"],
            "none.csv names no file; give the path of a CSV, CSV.GZ or Parquet file, a glob or gs://….",
        ),
        (["--data", "empty.csv"], "empty.csv is empty; a loan file has a header line and one line for each loan."),
        (["--data", "narrow.csv"], "narrow.csv lacks the column annual_inc; add it, or say in the contract what "),
        (
            ["--data", "loans.csv", "--calibrate-from", "2014-01", "--test-from", "2013-01"],
            "calibrate_from (2014-01) must be before test_from (2013-01).",
        ),
        (
            ["--data", "loans.csv", "--snapshot", "2015-01", "--test-from", "2015-02"],
            "test_from (2015-02) lies after the snapshot month (2015-01), in which the file was taken; give an ",
        ),
    ],
    ids=["no data", "no file", "empty file", "missing column", "windows", "snapshot"],
)
@pytest.mark.parametrize("name", ["run", "clean"])
def test_what_can_be_told_before_a_run_is_told_before_a_run(
    folder: Path, loans: Path, command: Run, name: str, arguments: list[str], message: str
) -> None:
    (folder / "empty.csv").touch()
    pl.read_csv(loans, infer_schema=False).drop("annual_inc").write_csv(folder / "narrow.csv")
    runs = count_runs()
    assert sentence(command(name, *arguments)).startswith(message)
    assert count_runs() == runs
    assert not (folder / "var" / "mlflow").exists()
    assert not (folder / "var" / "storage").exists()


def count_runs() -> int:
    """Return how many runs Dagster has recorded."""
    with dg.DagsterInstance.get() as instance:
        return instance.get_runs_count()


@pytest.mark.integration
def test_a_server_that_is_away_is_one_sentence(loans: Path, command: Run) -> None:
    os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    message = sentence(command("train", "--data", "loans.csv", "--trials", "1"))
    assert message.endswith(
        "MLflow at http://127.0.0.1:9 cannot be reached to open the experiment loan_default: start it or correct "
        "MLFLOW_TRACKING_URI."
    )


@pytest.mark.integration
def test_a_relative_home_of_dagster_is_taken(folder: Path, loans: Path, command: Run) -> None:
    os.environ["DAGSTER_HOME"] = "runs"
    assert command("clean", "--data", "loans.csv")[0] == 0
    assert (folder / "runs" / "history").is_dir()
