"""The command line as a person uses it: what it prints, what it says of mistakes, and its exit codes."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

import loan_default
from loan_default import console as shown
from loan_default.cli import main
from loan_default.operations.doctor import Diagnosis
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default_tests.homes import new_home, own_environment
from loan_default_tests.serving.test_client import ROWS, standing_in
from loan_default_tests.stores import free_port

COMMANDS = (
    "run",
    "clean",
    "tune",
    "train",
    "promote",
    "rollback",
    "status",
    "history",
    "score",
    "score-again",
    "drift",
    "performance",
    "sample-data",
    "demo",
    "dev",
    "serve",
    "score-rest",
    "init",
    "doctor",
)
MISTAKE = """
import sys
from loan_default.cli import main
code = main(["promote"])
print("dagster" in sys.modules)
sys.exit(code)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty working directory; the home is `var` in it."""
    monkeypatch.chdir(tmp_path)
    with own_environment():
        for name in list(os.environ):
            if name.startswith(("LOAN_DEFAULT_", "DAGSTER_", "MLFLOW_TRACKING")):
                del os.environ[name]
        yield tmp_path


@pytest.fixture
def command(place: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; returns exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capfd.readouterr()

    return run


def said(told: tuple[int, str, str]) -> str:
    """The one sentence of a mistake."""
    code, _, errors = told
    assert code == 1
    assert "Traceback" not in errors
    (line,) = errors.splitlines()
    assert line.startswith("loan-default: ")
    return line.removeprefix("loan-default: ")


# --- wrong arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["learn"],
        ["score"],
        ["score-again"],
        ["score-again", "--to", "2018-10"],
        ["score-again", "2018-10", "--all"],
        ["drift"],
        ["train", "--trials", "0"],
        ["train", "--trials", "many"],
        ["sample-data", "--rows", "0"],
        ["sample-data", "--seed", "-1"],
        ["sample-data", "--batch", "--month", "2018-13"],
        ["sample-data", "--shift", "far"],
        ["run", "--speed", "high"],
        ["rollback"],
        ["promote", "--version", "0"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_two(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: loan-default")
    assert not list(place.iterdir())


def test_help_names_every_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert set(COMMANDS) == set(re.findall(r"^ {4}(\S+)", told, re.MULTILINE))


# --- mistakes that cost no job --------------------------------------------------------------------------------


def test_an_unknown_environment_is_said(place: Path, command: Callable[..., Any]) -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "weird"
    assert said(command("init")) == "LOAN_DEFAULT_ENV is 'weird'; it must be one of local, staging, prod."


def test_a_home_that_is_a_file_is_said(place: Path, command: Callable[..., Any]) -> None:
    (place / "var").touch()
    assert str(place / "var") in said(command("init"))


def test_promoting_needs_a_model(command: Callable[..., Any]) -> None:
    expected = "There is no trained model to decide on; run loan-default train first."
    assert said(command("promote")) == expected


@pytest.mark.parametrize("arguments", [["--force"], ["--force", "--version", "2"], ["--force", "--reason", "Why."]])
def test_promoting_against_the_policy_needs_a_version_and_a_reason(
    command: Callable[..., Any], arguments: list[str]
) -> None:
    assert said(command("promote", *arguments)).endswith("give --version N and --reason TEXT.")


@pytest.mark.integration
def test_there_is_nothing_to_go_back_to(command: Callable[..., Any]) -> None:
    told = said(command("rollback", "--reason", "Why."))
    assert told == "No other version was in production before; there is nothing to go back to."


@pytest.mark.integration
def test_a_version_that_is_not_there_is_said(command: Callable[..., Any]) -> None:
    assert "version=9" in said(command("promote", "--version", "9", "--force", "--reason", "Why."))


@pytest.mark.integration
def test_an_empty_home_has_a_status_and_no_history(command: Callable[..., Any]) -> None:
    code, told, errors = command("status")
    assert (code, errors) == (0, "")
    assert re.search(r"production │ none", told)
    assert "does not answer" in told
    code, told, _ = command("history")
    assert (code, told) == (0, "Nothing has been decided yet.\n")


def test_outcomes_that_cannot_be_read_are_refused_before_any_is_taken(place: Path, command: Callable[..., Any]) -> None:
    place.joinpath("good.csv").write_text("id,loan_status,month\n1,Current,2019-03\n")
    place.joinpath("bad.csv").write_text("id,loan_status\n1,Current\n")
    assert said(command("performance", "good.csv", "bad.csv")) == "bad.csv lacks the column month; add it."
    assert not (place / "var" / "storage" / "outcomes").exists()


def test_drift_needs_a_scored_batch(command: Callable[..., Any]) -> None:
    assert said(command("drift", "2018-10")) == ("Batch 2018-10 is not scored yet; run loan-default score FILE first.")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("october 2018.csv", "a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."),
        ("[bold].csv", "a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."),
        ("2018-10.xlsx", "a batch file ends in .csv, .csv.gz or .parquet."),
    ],
)
def test_a_batch_of_an_odd_name_is_refused(place: Path, command: Callable[..., Any], file: str, told: str) -> None:
    (place / file).touch()
    assert said(command("score", file)) == f"{file}: {told}"
    assert not (place / "var" / "storage").exists()


def test_a_batch_that_is_not_there_is_said(command: Callable[..., Any]) -> None:
    expected = "none.csv is not a file; give the path of a CSV, CSV.GZ or Parquet file of applications."
    assert said(command("score", "none.csv")) == expected


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "is empty; a loan file has a header line and one line for each loan."),
        ("loan_amnt;term\n", "is separated by semicolons; save it with commas between the columns."),
        (None, "none of the 20 loans is usable; the most frequent reason is annual_inc: out of range."),
    ],
    ids=["empty", "semicolons", "no usable row"],
)
def test_a_batch_that_cannot_be_scored_is_named_as_given_and_not_delivered(
    place: Path, command: Callable[..., Any], lines: str | None, told: str
) -> None:
    (place / "in").mkdir()
    file = Path("in", "2018-10.csv")
    if lines is None:
        command("sample-data", "--batch", "--rows", "20", "--out", str(file))
        pl.read_csv(file, infer_schema=False).with_columns(annual_inc=pl.lit("-5")).write_csv(file)
    else:
        file.write_text(lines, encoding="utf-8")
    assert re.fullmatch(rf"in/2018-10\.csv:? {re.escape(told)}", said(command("score", str(file))))
    assert not (place / "var" / "storage").exists()
    assert not list((place / "var" / "staging").iterdir())


@pytest.mark.parametrize("out", [".", "loans.parquet", "loans"])
def test_sample_data_is_csv(command: Callable[..., Any], out: str) -> None:
    expected = f"{out} cannot be written; name a file that ends in .csv or .csv.gz."
    assert said(command("sample-data", "--rows", "5", "--out", out)) == expected


@pytest.mark.integration
def test_a_mistake_ends_the_process_with_one(tmp_path: Path) -> None:
    """As the shell sees it, and without waiting for Dagster."""
    done = subprocess.run(
        [sys.executable, "-c", MISTAKE],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(loan_default.__file__).parents[1])},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "False\n")
    assert done.stderr == "loan-default: There is no trained model to decide on; run loan-default train first.\n"


# --- what needs no job ----------------------------------------------------------------------------------------


def test_init_makes_the_home_once(place: Path, command: Callable[..., Any]) -> None:
    code, output, _ = command("init")
    assert code == 0
    assert output.replace("\n", "") == f"Ready: {place}/var"
    assert (place / ".env").read_text("utf-8") == f"DAGSTER_HOME={place}/var/dagster\n"
    assert "enabled: false" in (place / "var" / "dagster" / "dagster.yaml").read_text("utf-8")
    (place / ".env").write_text("LOAN_DEFAULT_HOME=elsewhere\n", encoding="utf-8")
    assert command("init")[0] == 0
    kept, added = (place / ".env").read_text("utf-8").splitlines()
    assert kept == "LOAN_DEFAULT_HOME=elsewhere"
    assert added.startswith(f"DAGSTER_HOME={place}")
    assert (place / "elsewhere" / "staging").is_dir()


@pytest.mark.parametrize("name", ["loans.csv", "deep/er/loans.csv.gz"])
def test_sample_data_writes_loans(place: Path, command: Callable[..., Any], name: str) -> None:
    for out in (name, f"again-{Path(name).name}"):
        assert command("sample-data", "--rows", "30", "--seed", "3", "--out", out)[0] == 0
    assert (place / name).read_bytes() == (place / f"again-{Path(name).name}").read_bytes()
    loans = pl.read_csv(place / name, infer_schema=False)
    assert loans.height == 32, "two lines of totals follow the loans"
    assert loans.width == 151


def test_sample_data_writes_a_batch(place: Path, command: Callable[..., Any]) -> None:
    asked = ("sample-data", "--batch", "--rows", "30", "--month", "2019-02", "--out")
    code, output, _ = command(*asked, "2019-02.csv")
    assert (code, output) == (0, "30 rows written to 2019-02.csv.\n")
    assert command(*asked, "shifted.csv", "--shift", "1")[0] == 0
    calm, shifted = (pl.read_csv(place / name) for name in ("2019-02.csv", "shifted.csv"))
    assert calm["issue_d"].unique().to_list() == ["Feb-2019"]
    assert calm.height == 30
    assert calm["fico_range_low"].mean() > shifted["fico_range_low"].mean()


# --- jobs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Dagster keeps the runs of all these tests: its databases take a second to create."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def loans(place: Path, runs: Path) -> Path:
    os.environ["DAGSTER_HOME"] = str(runs)
    write_csv(make_loans(400, seed=1), place / "loans.csv", footer=True)
    return place / "loans.csv"


@pytest.mark.integration
def test_clean_shows_what_it_kept(place: Path, loans: Path, command: Callable[..., Any]) -> None:
    code, output, errors = command("clean", "--data", "loans.csv", "--test-from", "2014-01")
    assert (code, errors) == (0, "")
    assert "▸ clean_raw_loans" in output
    assert "✓ loan_splits" in output
    assert "402, of which 2 are no loans" in output
    report = json.loads((place / "var" / "storage" / "cleaning_report.json").read_text("utf-8"))
    assert report["fingerprint"] in output
    assert "2014-01 to " in output
    assert "test" in output


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "No loan data is named; set LOAN_DEFAULT_DATA or give --data PATH (a file, a glob or gs://…)."),
        (
            ["--data", "none.csv"],
            "none.csv names no file; give the path of a CSV, CSV.GZ or Parquet file, a glob or gs://….",
        ),
        (["--data", "empty.csv"], "empty.csv is empty; a loan file has a header line and one line for each loan."),
        (["--data", "loans.csv", "--snapshot", "2019-13"], "snapshot_month is '2019-13'; write a month as YYYY-MM."),
    ],
    ids=["no data", "no file", "empty file", "bad month"],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    place: Path, loans: Path, command: Callable[..., Any], arguments: list[str], told: str
) -> None:
    (place / "empty.csv").touch()
    assert said(command("clean", *arguments)) == told


@pytest.mark.integration
def test_a_missing_column_is_named(place: Path, loans: Path, command: Callable[..., Any]) -> None:
    pl.read_csv(loans, infer_schema=False).drop("annual_inc").write_csv(place / "narrow.csv")
    told = said(command("train", "--data", "narrow.csv", "--trials", "1"))
    assert "narrow.csv" in told
    assert "annual_inc" in told


@pytest.mark.integration
def test_scoring_needs_production(place: Path, command: Callable[..., Any]) -> None:
    command("sample-data", "--batch", "--rows", "20", "--out", "2018-10.csv")
    assert said(command("score", "2018-10.csv")) == "No version is in production; run full_pipeline_job first."


@pytest.mark.integration
def test_a_server_that_is_away_is_one_sentence(place: Path, loans: Path, command: Callable[..., Any]) -> None:
    os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    told = said(command("train", "--data", "loans.csv", "--trials", "1"))
    assert told.endswith(
        "MLflow at http://127.0.0.1:9 cannot be reached to open the experiment loan_default: start it or correct "
        "MLFLOW_TRACKING_URI."
    )


@pytest.mark.integration
def test_a_relative_home_of_dagster_is_taken(place: Path, loans: Path, command: Callable[..., Any]) -> None:
    os.environ["DAGSTER_HOME"] = "runs"
    assert command("clean", "--data", "loans.csv")[0] == 0
    assert (place / "runs" / "history").is_dir()


# --- many batches ---------------------------------------------------------------------------------------------

BATCHES = ("2014-07", "2014-08", "2014-09", "2014-10")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a version in production and four batches in its inbox, as the storage of the platform."""
    settings = new_home(tmp_path_factory.mktemp("trained"))
    with own_environment():
        os.environ |= {
            "LOAN_DEFAULT_HOME": str(settings.home),
            "LOAN_DEFAULT_DATA": settings.data,
            "LOAN_DEFAULT_POLICY": str(settings.policy),
            "LOAN_DEFAULT_SEARCH_SPACE": str(settings.search_space),
            "DAGSTER_HOME": str(settings.dagster_home),
        }
        assert main(["run", "--trials", "2"]) == 0
        storage = Path(settings.storage)
        deliver(storage, seed=1)
        yield storage


def deliver(storage: Path, seed: int) -> None:
    (storage / "applications").mkdir(exist_ok=True)
    for at, batch in enumerate(BATCHES):
        applications = make_applications(60, seed=seed + at, month=date(2014, 7 + at, 1))
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
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    assert main(["score-again", "--all"]) == 1
    told = capfd.readouterr().err
    assert told.startswith("loan-default: 1 of 4 batches failed. 2014-08: ")
    assert "is empty" in told
    first = scored_at(trained)
    assert first.keys() == {*BATCHES} - {"2014-08"}
    assert [(batch, status) for batch, status, _ in reversed(batch_runs())] == [
        (batch, "FAILURE" if batch == "2014-08" else "SUCCESS") for batch in BATCHES
    ]
    assert len({together for _, _, together in batch_runs()}) == 1

    broken.write_bytes(whole)
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
    ("arguments", "told"),
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
    trained: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    runs = batch_runs()
    assert said((main(["score-again", "--force", *arguments]), *capfd.readouterr())) == told
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
    told = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    return told


# --- servers --------------------------------------------------------------------------------------------------


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
    place: Path, command: Callable[..., Any], name: str, out: str, written: str
) -> None:
    command("sample-data", "--batch", "--rows", str(ROWS), "--out", name)
    with standing_in() as server:
        code, output, errors = command("score-rest", name, "--url", server.url, *(["--out", out] if out else []))
    assert (code, errors) == (0, "")
    assert written in output
    assert pl.read_csv(place / written).height == ROWS
    assert {str(path.relative_to(place)) for path in place.rglob("*.csv*")} == {name, written}


DEV_ENDS_SECONDS = 30.0
# A shell has what it starts in the background with `&` ignore Ctrl-C, and exec hands that on.
IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


def until_answering(process: subprocess.Popen[str], *ports: int) -> None:
    deadline, waiting = time.monotonic() + 90, [*ports]
    while waiting:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"nothing answers on {waiting}"
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", waiting[0])) == 0:
                waiting.pop(0)
                continue
        time.sleep(0.1)


@pytest.mark.long
def test_dev_ends_by_sigterm_with_all_that_it_started_in_the_background(place: Path) -> None:
    port, mlflow_port = free_port(), free_port()
    dev = [sys.executable, "-m", "loan_default.cli", "dev", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    process = subprocess.Popen(
        [*IN_THE_BACKGROUND, *dev],
        env={**os.environ, "MLFLOW_WORKERS": "1"},  # four only slow the start
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        until_answering(process, port, mlflow_port)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=DEV_ENDS_SECONDS)  # returns when the last that inherited the pipe is gone
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, told
    assert "Stopping." in told


# --- what is printed ------------------------------------------------------------------------------------------


@pytest.fixture
def printed() -> tuple[Console, Callable[[], str]]:
    console = Console(record=True, width=120, file=io.StringIO())
    return console, console.export_text


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


METRICS = {name: interval(value) for name, value in {"auc": 0.7, "ks": 0.3, "brier": 0.12, "ece": 0.02}.items()}


def test_evaluation_names_candidates_production_and_grade(printed: Any) -> None:
    console, text = printed
    evaluation = {
        "version": 3,
        "champion_version": 2,
        "judgement": {
            "leaderboard": {"xgboost": METRICS, "random_forest": METRICS},
            "champion": METRICS,
            "evaluation": {"grade_auc": 0.65},
        },
    }
    shown.show_evaluation(console, evaluation, {"kind": "xgboost"})
    told = text()
    assert "xgboost → version 3" in told
    assert "random_forest " in told
    assert "production: version 2" in told
    assert "0.7000 (0.6900 to 0.7100)" in told
    assert "the lender's grade alone" in told


def test_evaluation_without_champion_and_grade_is_shown(printed: Any) -> None:
    console, text = printed
    evaluation = {
        "version": 1,
        "champion_version": None,
        "judgement": {"leaderboard": {"xgboost": METRICS}, "champion": None, "evaluation": {"grade_auc": None}},
    }
    shown.show_evaluation(console, evaluation, {"kind": "xgboost"})
    told = text()
    assert "xgboost → version 1" in told
    assert "production" not in told
    assert "grade" not in told


@pytest.mark.parametrize("verdict", ["promote", "hold"])
def test_a_decision_is_shown_with_its_reasons(printed: Any, verdict: str) -> None:
    console, text = printed
    shown.show_decision(console, {"verdict": verdict, "candidate": 4, "reasons": ["AUC 0.70.", "No champion."]})
    told = text()
    assert f"{verdict} version 4" in told
    assert "• AUC 0.70." in told
    assert "• No champion." in told


def test_cleaning_shows_problems_and_missing_fields(printed: Any) -> None:
    console, text = printed
    report = {
        "files": ["loans.csv"],
        "layouts": ["published"],
        "fingerprint": "0123456789abcdef",
        "rows_read": 1_012,
        "lines_not_loans": 2,
        "kept": 1_000,
        "rejected": 10,
        "problems": {"term: missing": 6, "dti: unreadable number": 4},
        "missing_fields": ["fico_range_low"],
        "first_month": "2012-01",
        "last_month": "2014-06",
        "snapshot": "2019-03",
        "matured": 900,
        "default_rate": None,
    }
    shown.show_cleaning(console, report)
    told = text()
    assert "10 (term: missing 6, dti: unreadable number 4)" in told
    assert "1,012, of which 2 are no loans" in told
    assert "fico_range_low" in told
    assert "matured by 2019-03" in told


@pytest.mark.parametrize("out_of_time", [True, False])
def test_windows_say_whether_they_are_out_of_time(printed: Any, out_of_time: bool) -> None:
    console, text = printed
    window = {"name": "test", "first_month": "2014-01", "last_month": "2014-06", "rows": 1_200, "defaults": 240}
    shown.show_windows(console, {"out_of_time": out_of_time, "windows": [window]})
    told = " ".join(text().split())
    assert "1,200" in told
    assert "20.0%" in told
    assert ("not out of time" in told) == (not out_of_time)


def test_drift_shows_a_few_reasons_and_counts_the_rest(printed: Any) -> None:
    console, text = printed
    reports = [
        {"batch": batch, "rows": 50, "model_version": 1, "verdict": verdict, "reasons": reasons}
        for batch, verdict, reasons in [
            ("a", "stable", ["0 drifted"]),
            ("b", "drifted", ["r1", "r2", "r3", "r4", "r5"]),
            ("c", "not enough rows", ["50 rows"]),
        ]
    ]
    shown.show_drift(console, reports)
    told = text()
    assert "r1; r2; r3 (+2 more)" in told
    assert all(word in told for word in ("stable", "drifted", "not enough rows", "0 drifted"))


def test_performance_shows_real_figures_and_marks_estimates(printed: Any) -> None:
    counts = {"loans": 1_200, "matured": 900, "known": 800}
    estimated = {"auc": 0.61, "ks": 0.62, "brier": 0.63}
    row = {**counts, "model_version": 2, "mean_pd": 0.125, "default_rate": 0.2, **dict.fromkeys(("auc", "ks"), 0.71)}
    row |= {"brier": None} | {f"estimated_{name}": value for name, value in estimated.items()}
    report = {
        "versions": [{"version": 2, **counts, "defaults": 90, "real": METRICS, "estimate": estimated}],
        "vintages": [{**row, "vintage": "2016-Q3"}],
        "decisions": [{**row, "decision": "approve", "mean_pd": None, "default_rate": None}],
        **{"verdict": "degraded", "model_version": 2, "reasons": ["AUC 0.5 is too low."], "unreadable": ["b.csv"]},
        **{"told_until": "2019-03", "estimates": "Every PD is supposed to be right."},
    }
    console, text = printed
    shown.show_performance(console, report)
    seen = text()
    for told in (
        *("1,200", "0.7000 (0.6900 to 0.7100)", "[0.6100]", "2016-Q3", "0.7100", "[0.6300]", "12.5%", "20.0%"),
        *("version 2: degraded; outcomes are told until 2019-03", "AUC 0.5 is too low.", "Outcome file b.csv cannot"),
        "[…] estimated without outcomes. Every PD is supposed to be right.",
    ):
        assert told in seen


def test_a_finding_is_one_line_however_long(printed: Any) -> None:
    console, text = printed
    shown.show_diagnosis(console, Diagnosis("storage", "wrong", f"It is [red]full[/red]{'.' * 200}", "Empty it."))
    shown.show_diagnosis(console, Diagnosis("clock", "ok", "It ticks."))
    first, second = text().splitlines()
    assert first.split() == ["storage", "wrong", "It", "is", f"[red]full[/red]{'.' * 200}", "→", "Empty", "it."]
    assert second.split() == ["clock", "ok", "It", "ticks."]


def test_predictions_and_places_are_shown(printed: Any) -> None:
    console, text = printed
    shown.show_predictions(console, "2018-10", [("approve", 1_500, 0.081), ("decline", 20, 0.4)])
    shown.show_places(console, {"Parquet": "/somewhere/2018-10.parquet"})
    told = text()
    assert "Batch 2018-10" in told
    assert "1,500" in told
    assert "8.1%" in told
    assert "/somewhere/2018-10.parquet" in told
