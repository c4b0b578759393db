"""The platform with all that it records in a real Postgres: Dagster's runs, MLflow's versions, Optuna's studies."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest

import loan_default
from loan_default.adapters import probes
from loan_default.adapters.tracking import PRODUCTION, Tracking, TrackingError
from loan_default.cli import main
from loan_default.defs.instance import open_instance
from loan_default.homes import prepare_process
from loan_default.operations import doctor
from loan_default.operations.doctor.registry import check_registry
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.serving.registry_client import RegistryClient
from loan_default.settings import Settings
from loan_default_tests.databases import Postgres
from loan_default_tests.homes import QUICK, Platform, dagster_of, new_home, own_environment
from loan_default_tests.stores import Server, started_server

MONTH = date(2014, 8, 1)
ADMIN = "password of the admin"
SECONDS = 240  # of a command, also on a machine that is busy


@dataclass(frozen=True)
class Lender:
    """A home whose records are in Postgres, and what its commands find in their environment."""

    settings: Settings
    postgres: Postgres

    def environment(self, **other: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(loan_default.__file__).parents[1]),
            "LOAN_DEFAULT_ENV": "staging",
            "LOAN_DEFAULT_HOME": str(self.settings.home),
            "LOAN_DEFAULT_STORAGE": self.settings.storage,
            "LOAN_DEFAULT_DATA": self.settings.data,
            "LOAN_DEFAULT_POLICY": str(self.settings.policy),
            "LOAN_DEFAULT_SEARCH_SPACE": str(self.settings.search_space),
            "LOAN_DEFAULT_API_TOKENS": "token-of-scoring",
            "LOAN_DEFAULT_ADMIN_TOKENS": "token-of-people",
            **self.postgres.environment(self.settings),
            **other,
        }

    def begin(self, *arguments: str, **other: str) -> subprocess.Popen[str]:
        """Start a command of a user."""
        return subprocess.Popen(
            [sys.executable, "-m", "loan_default.cli", *arguments],
            cwd=self.settings.home.parent,
            env=self.environment(**other),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sentence(self, *arguments: str, **other: str) -> str:
        """Return what a command that fails says last; assert that nothing that it says holds a password."""
        return self.last_words(self.begin(*arguments, **other))

    def last_words(self, command: subprocess.Popen[str]) -> str:
        output = self.end(command, code=1)
        assert "Traceback" not in output, output
        return output.splitlines()[-1]

    def end(self, command: subprocess.Popen[str], *, code: int = 0) -> str:
        """Wait until a command ends with this code; return what it said."""
        try:
            out, err = command.communicate(timeout=SECONDS)
        finally:
            command.kill()
        assert command.returncode == code, out + err
        self.keeps_its_secret(out + err)
        return out + err

    def keeps_its_secret(self, text: str) -> None:
        assert "p@ss/w" not in text
        assert "p%40ss" not in text


@pytest.fixture(scope="module")
def lender(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    settings = postgres.with_databases(new_home(tmp_path_factory.mktemp("postgres")), "one")
    with own_environment():
        os.environ["PGPASSWORD"] = postgres.password
        yield Lender(settings, postgres)


@pytest.fixture(scope="module")
def platform(lender: Lender) -> Iterator[Platform]:
    """With the instance that its `dagster.yaml` describes."""
    with dagster_of(lender.settings) as instance:
        yield Platform(lender.settings, instance)


@pytest.fixture(scope="module")
def trained(platform: Platform) -> Platform:
    """One version in production, and one batch scored by it."""
    assert platform.run("full_pipeline_job", config=QUICK).success
    platform.deliver("2014-08", make_applications(300, seed=3, month=MONTH))
    assert platform.run("batch_prediction_job", batch="2014-08").success
    return platform


@pytest.fixture
def command(lender: Lender, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """A command of a user in this process: its exit code and all that it says."""

    def run(*arguments: str, **other: str) -> tuple[int, str]:
        os.environ.update(lender.environment(**other))
        code = main(arguments)
        streams = capfd.readouterr()
        lender.keeps_its_secret(streams.out + streams.err)
        return code, streams.out + streams.err

    with own_environment():
        yield run


@pytest.mark.integration
def test_what_is_recorded_is_in_postgres_and_nowhere_else(trained: Platform, lender: Lender) -> None:
    settings, count = trained.settings, lender.postgres.count
    counted = {"one-dagster": "runs", "one-mlflow": "model_versions", "one-optuna": "trials"}
    assert [count(*where) for where in counted.items()] == [2, 1, 2]
    assert Tracking(settings.tracking_uri, settings.artifacts).version_of(PRODUCTION)
    files = [file for file in settings.home.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix == ".db"]
    for file in files:
        lender.keeps_its_secret(file.read_text("utf-8", "ignore"))
    lender.keeps_its_secret(str(trained.instance.info_dict()))


@pytest.mark.integration
def test_status_history_and_doctor_read_it(trained: Platform, command: Callable[..., tuple[int, str]]) -> None:
    code, status = command("status")
    assert (code, "2014-08" in status) == (0, True), status
    code, history = command("history")
    assert (code, "promote" in history) == (0, True), history
    code, output = command("doctor", "--json")
    diagnoses = json.loads(output)["diagnoses"]
    assert [diagnosis for diagnosis in diagnoses if diagnosis["mark"] == "wrong"] == []
    messages = {diagnosis["check"]: diagnosis["message"] for diagnosis in diagnoses}
    where = f"postgresql://127.0.0.1:{trained.settings.dagster_storage.rpartition(':')[2].partition('/')[0]}"
    assert messages["dagster"] == f"The records in {where}/one-dagster can be read; 0 runs under way."
    assert messages["tuning studies"] == f"The database at {where}/one-optuna answers and holds studies."
    assert messages["production"] == "Version 1 is in production, loads and answers its canary."


@pytest.mark.integration
def test_an_empty_database_is_only_looked_at(lender: Lender, command: Callable[..., tuple[int, str]]) -> None:
    empty = lender.postgres.url(lender.postgres.create("empty"))
    _, output = command("doctor", "--json", LOAN_DEFAULT_DAGSTER_STORAGE=empty, LOAN_DEFAULT_STUDY_STORAGE=empty)
    messages = {diagnosis["check"]: diagnosis["message"] for diagnosis in json.loads(output)["diagnoses"]}
    assert messages["dagster"].startswith("Nothing has run from postgresql://127.0.0.1:")
    assert messages["tuning studies"].endswith("/empty answers and is empty yet.")
    assert probes.read_tables(empty) == set()


@pytest.mark.long
def test_processes_that_find_it_empty_at_once_share_it(lender: Lender) -> None:
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(3)
    addresses = [lender.postgres.url(lender.postgres.create(f"shared{number}")) for number in range(3)]
    arguments = (lender.settings, lender.environment(), addresses, together)
    processes = [spawn.Process(target=open_each, args=arguments) for _ in range(together.parties)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * together.parties


def open_each(settings: Settings, environment: Mapping[str, str], addresses: Sequence[str], together: Barrier) -> None:
    """Open the records in each database when all of the processes are ready to, and look into each of its parts."""
    os.environ.update(environment)
    for address in addresses:
        here = replace(settings, dagster_storage=address)
        prepare_process(here)
        together.wait(SECONDS)
        with open_instance(here) as instance:
            assert instance.get_runs_count() == 0
            assert not instance.all_instigator_state()
            assert not instance.get_dynamic_partitions("batch")


@pytest.mark.long
def test_two_processes_score_at_once(trained: Platform, lender: Lender) -> None:
    for seed, batch in enumerate(("2014-09", "2014-10")):
        write_csv(make_applications(300, seed=seed, month=MONTH), trained.settings.home / f"{batch}.csv")
    before = lender.postgres.count("one-dagster", "event_logs")
    commands = [lender.begin("score", str(trained.settings.home / f"{batch}.csv")) for batch in ("2014-09", "2014-10")]
    for command in commands:
        lender.end(command)
    runs = trained.instance.get_runs(dg.RunsFilter(job_name="batch_prediction_job"), limit=2)
    assert {run.tags["dagster/partition"]: run.status.value for run in runs} == {
        "2014-09": "SUCCESS",
        "2014-10": "SUCCESS",
    }
    assert lender.postgres.count("one-dagster", "event_logs") > before + 100


@pytest.mark.long
def test_a_database_that_goes_away_is_one_sentence_and_the_study_goes_on(trained: Platform, lender: Lender) -> None:
    postgres = lender.postgres
    tuning = lender.begin("tune", "--trials", "500")
    deadline = time.monotonic() + SECONDS
    while (trials := postgres.count("one-optuna", "trials")) < 5:
        assert tuning.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    postgres.stop()
    try:
        sentence = lender.last_words(tuning)
    finally:
        postgres.start()
    assert sentence.startswith(
        ("loan-default: Dagster cannot keep its records in Postgres (", "loan-default: The tuning")
    )
    lender.end(lender.begin("tune", "--trials", str(trials + 1)))
    assert json.loads((trained.storage / "tuned_params.json").read_text())["trials"] == trials + 1
    runs = trained.instance.get_runs(dg.RunsFilter(job_name="tuning_job"))
    assert [run.status.value for run in runs] == ["SUCCESS", "FAILURE"]


@pytest.mark.parametrize(
    ("variable", "arguments", "beginning"),
    [
        pytest.param(
            "LOAN_DEFAULT_DAGSTER_STORAGE",
            ["status"],
            "Dagster cannot keep its records in Postgres (",
            marks=pytest.mark.integration,
        ),
        pytest.param("PGPASSWORD", ["status"], "MLflow at postgresql://127.0.0.1:", marks=pytest.mark.long),
        pytest.param(
            "LOAN_DEFAULT_STUDY_STORAGE",
            ["tune"],
            "The tuning study cannot be kept at postgresql://***@127.0.0.1:",
            marks=pytest.mark.integration,
        ),
    ],
)
def test_a_wrong_password_is_one_sentence(
    trained: Platform,
    lender: Lender,
    command: Callable[..., tuple[int, str]],
    variable: str,
    arguments: list[str],
    beginning: str,
) -> None:
    password = "p@ss/wrong"
    if variable == "PGPASSWORD":  # this process has connections to MLflow's database
        sentence = lender.sentence(*arguments, PGPASSWORD=password)
    else:
        code, output = command(*arguments, **{variable: lender.postgres.url("one-optuna", password=password)})
        assert code == 1
        assert "Traceback" not in output
        sentence = output.splitlines()[-1]
    assert sentence.startswith(f"loan-default: {beginning}"), sentence
    assert 'password authentication failed for user "lender"' in sentence


# --- MLflow's server with log-in, as in staging and prod -------------------------------------------------------


@pytest.fixture(scope="module")
def server(trained: Platform, lender: Lender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It keeps runs, models and users in Postgres."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    url = lender.postgres.url("one-mlflow")
    users = f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {url.replace('%', '%%')}\n"
    (folder / "basic_auth.ini").write_text(users)
    environment = {
        "MLFLOW_BACKEND_STORE_URI": url,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of these tests",
    }
    how = ["server", "--app-name", "basic-auth", "--no-serve-artifacts", "--workers", "1"]
    with started_server(how, folder / "server", environment) as started:
        started.wait()
        yield started


@contextmanager
def logged_in(password: str = ADMIN) -> Iterator[None]:
    with own_environment():
        os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
        yield


@pytest.mark.long
def test_the_platform_and_the_scoring_server_log_in(server: Server, trained: Platform, tmp_path: Path) -> None:
    tracking = Tracking(server.url, trained.settings.artifacts)
    with logged_in():
        tracking.set_version_tags(1, {"seen": "by the admin"})
        version = tracking.version_of(PRODUCTION)
        assert version is not None
        assert version.tags["seen"] == "by the admin"
        registry = RegistryClient(tracking, tmp_path)
        try:
            assert registry.version_of(PRODUCTION) == version
            assert (registry.download_package(version) / "canary.json").exists()
        finally:
            registry.close()
        context = doctor.CheckContext(replace(trained.settings, tracking_uri=server.url))
        diagnoses = [*check_registry(context)]
    assert [diagnosis.mark for diagnosis in diagnoses] == ["ok"] * 3
    assert diagnoses[-1].message == "Version 1 is in production, loads and answers its canary."


@pytest.mark.long
def test_a_wrong_log_in_is_one_sentence(server: Server, trained: Platform) -> None:
    tracking = Tracking(server.url, trained.settings.artifacts)
    with logged_in("another password"):
        with pytest.raises(TrackingError) as refused:
            tracking.version_of(PRODUCTION)
        diagnoses = [*check_registry(doctor.CheckContext(replace(trained.settings, tracking_uri=server.url)))]
    reason = "lets nobody read the alias production by this log-in"
    assert str(refused.value) == (
        f"MLflow at {server.url} {reason}: correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    )
    (diagnosis,) = diagnoses
    assert diagnosis.mark == "wrong"
    assert reason in diagnosis.message
