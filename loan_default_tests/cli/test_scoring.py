"""Commands that score: a batch, many again, a file by the server."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default.cli import main
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.settings import Settings
from loan_default_tests.cli.conftest import Run, sentence
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.serving.test_client import ROWS, standing_in


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("october 2018.csv", "a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."),
        ("[bold].csv", "a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."),
        ("2018-10.xlsx", "a batch file ends in .csv, .csv.gz or .parquet."),
    ],
)
def test_a_batch_of_an_odd_name_is_refused(folder: Path, command: Run, file: str, message: str) -> None:
    (folder / file).touch()
    assert sentence(command("score", file)) == f"{file}: {message}"
    assert not (folder / "var" / "storage").exists()


def test_a_batch_that_is_not_there_is_one_sentence(command: Run) -> None:
    expected = "none.csv is not a file; give the path of a CSV, CSV.GZ or Parquet file of applications."
    assert sentence(command("score", "none.csv")) == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "is empty; a loan file has a header line and one line for each loan."),
        (
            "loan_amnt;term\n",
            "is separated by semicolons where the contract expects commas; save it with commas between the columns, "
            'or write separator: ";" under files in the contract.',
        ),
        (
            None,
            "none of the 20 loans is usable; the most frequent reason is annual_inc: out of range (20). The first: "
            "2018-10.csv, row 1: annual_inc '-5' is outside of 100 to 100,000,000 dollars a year.",
        ),
    ],
    ids=["empty", "semicolons", "no usable row"],
)
def test_a_batch_that_cannot_be_scored_is_named_as_given_and_not_delivered(
    folder: Path, command: Run, lines: str | None, message: str
) -> None:
    (folder / "in").mkdir()
    file = Path("in", "2018-10.csv")
    if lines is None:
        command("sample-data", "--batch", "--rows", "20", "--out", str(file))
        pl.read_csv(file, infer_schema=False).with_columns(annual_inc=pl.lit("-5")).write_csv(file)
    else:
        file.write_text(lines, encoding="utf-8")
    assert re.fullmatch(rf"in/2018-10\.csv:? {re.escape(message)}", sentence(command("score", str(file))))
    assert not (folder / "var" / "storage").exists()
    assert not list((folder / "var" / "staging").iterdir())


@pytest.mark.integration
def test_scoring_needs_production(command: Run) -> None:
    command("sample-data", "--batch", "--rows", "20", "--out", "2018-10.csv")
    message = "No version is in production; run full_pipeline_job, or promote a version that was held."
    assert sentence(command("score", "2018-10.csv")) == message


# --- many batches ---------------------------------------------------------------------------------------------

BATCHES = ("2014-07", "2014-08", "2014-09", "2014-10")


@pytest.fixture(scope="module")
def trained(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a version in production and four batches in its inbox, as the storage of the platform."""
    settings = trained_home(tmp_path_factory.mktemp("scoring") / "trained")
    with own_environment():
        os.environ |= environment_of(settings)
        storage = Path(settings.storage)
        deliver(storage, seed=1)
        yield storage


def deliver(storage: Path, seed: int) -> None:
    (storage / "applications").mkdir(exist_ok=True)
    for number, batch in enumerate(BATCHES):
        applications = make_applications(60, seed=seed + number, month=date(2014, 7 + number, 1))
        write_csv(applications, storage / "applications" / f"{batch}.csv")


def scored_at(storage: Path) -> dict[str, Any]:
    files = {batch: storage / "predictions" / f"{batch}.parquet" for batch in BATCHES}
    return {batch: pl.read_parquet(file)["scored_at"][0] for batch, file in files.items() if file.exists()}


def batch_runs() -> list[tuple[str, str, str]]:
    """Batch, status and the tag of what was asked for together, the newest first."""
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="batch_prediction_job"))
        return [(run.tags["dagster/partition"], run.status.value, run.tags["loan_default/again"]) for run in runs]


@pytest.mark.long
def test_batches_are_scored_again_one_run_each_and_one_that_fails_stops_no_other(
    trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = trained / "applications" / "2014-08.csv"
    content = broken.read_bytes()
    broken.write_bytes(b"")
    assert main(["score-again", "--all"]) == 1
    errors = capfd.readouterr().err
    assert errors.startswith("loan-default: 1 of 4 batches failed. 2014-08: ")
    assert "is empty" in errors
    first = scored_at(trained)
    assert first.keys() == {*BATCHES} - {"2014-08"}
    assert [(batch, status) for batch, status, _ in reversed(batch_runs())] == [
        (batch, "FAILURE" if batch == "2014-08" else "SUCCESS") for batch in BATCHES
    ]
    assert len({together for _, _, together in batch_runs()}) == 1

    broken.write_bytes(content)
    assert main(["score-again", "--all"]) == 0
    assert "Scored by version 1 already; --force scores again: 2014-07, 2014-09, 2014-10." in capfd.readouterr().out
    assert len(batch_runs()) == 5
    second = scored_at(trained)
    assert second == first | {"2014-08": second["2014-08"]}

    before = {batch: pl.read_parquet(trained / "predictions" / f"{batch}.parquet") for batch in BATCHES}
    assert main(["score-again", "--from", "2014-08", "--to", "2014-09", "--force"]) == 0
    again = scored_at(trained)
    assert {batch for batch in BATCHES if again[batch] > second[batch]} == {"2014-08", "2014-09"}
    for batch, frame in before.items():
        assert_frame_equal(
            frame.drop("scored_at"), pl.read_parquet(trained / "predictions" / f"{batch}.parquet").drop("scored_at")
        )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2014-07", "2015-01"], "The inbox holds no batch 2015-01; correct the name, or put its file there."),
        (
            ["--from", "2014-07", "--to", "2015"],
            "The inbox holds no batch 2015; correct the name, or put its file there.",
        ),
        (["--from", "2014-08", "--to", "2014-07"], "2014-07 comes before 2014-08; exchange --from and --to."),
    ],
    ids=["unknown", "unknown end", "no range"],
)
def test_batches_that_are_not_there_are_said_and_nothing_runs(
    trained: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    runs = batch_runs()
    assert sentence((main(["score-again", "--force", *arguments]), *capfd.readouterr())) == message
    assert batch_runs() == runs


@pytest.mark.long
def test_scoring_again_goes_on_where_it_stopped(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """After Ctrl-C and after kill -9, of which Dagster learns when a command runs again."""
    deliver(trained, seed=11)
    for ended_by, last in (
        (signal.SIGINT, "Interrupted at batch 2014-08, 2 of 4; the same command goes on there."),
        (signal.SIGKILL, ""),
    ):
        assert last in stopped_at_its_second_batch("score-again", "--all", ended_by=ended_by)
    assert batch_runs()[0][1] in ("NOT_STARTED", "STARTED")
    assert main(["score-again", "--all"]) == 0
    assert "Scored by version 1 already; --force scores again: 2014-07, 2014-08." in capfd.readouterr().out
    runs = [(batch, status) for batch, status, _ in reversed(batch_runs())]
    assert runs[-6:] == [
        *(("2014-07", "SUCCESS"), ("2014-08", "FAILURE")),
        *(("2014-08", "SUCCESS"), ("2014-09", "FAILURE")),
        *(("2014-09", "SUCCESS"), ("2014-10", "SUCCESS")),
    ]


def stopped_at_its_second_batch(*arguments: str, ended_by: signal.Signals) -> str:
    """What the command said last."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "loan_default.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    batches = 0
    for line in process.stdout:
        batches += line.startswith("Batch ")
        if batches == 2 and line.startswith("▸"):  # its run is under way
            time.sleep(0.3)  # Dagster forgets a Ctrl-C that comes while it goes from one step to another
            process.send_signal(ended_by)
            break
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    return output


# --- by the server


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "out", "written"),
    [
        ("in/2018.10.csv", "", "in/2018.10-scored.csv"),
        ("in/2018-10.csv.gz", "", "in/2018-10-scored.csv"),
        ("2018-10.csv", "", "2018-10-scored.csv"),
        ("in/2018-10.csv", "out/scored.csv", "out/scored.csv"),
    ],
)
def test_scores_by_rest_stand_beside_the_file_unless_told(
    folder: Path, command: Run, name: str, out: str, written: str
) -> None:
    command("sample-data", "--batch", "--rows", str(ROWS), "--out", name)
    with standing_in() as server:
        code, output, errors = command("score-rest", name, "--url", server.url, *(["--out", out] if out else []))
    assert (code, errors) == (0, "")
    assert written in output
    assert pl.read_csv(folder / written).height == ROWS
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.csv*")} == {name, written}
