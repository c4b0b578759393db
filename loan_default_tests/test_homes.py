"""One home for every tool: what `.env` names, and what Dagster finds in a home and libraries in the environment."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from loan_default.homes import (
    HomeOrigins,
    dagster_yaml,
    home_origins,
    load_env_file,
    prepare_environment,
    prepare_process,
    warn_of_temporary_home,
    with_homes,
)
from loan_default.risk.errors import BadInput
from loan_default.settings import DAGSTER_STORAGE, Settings
from loan_default_tests.homes import own_environment


@pytest.fixture
def environment() -> Iterator[None]:
    """An empty environment that is thrown away."""
    with patch.dict(os.environ, {}, clear=True):
        yield


def test_what_env_says_wins_over_exports_and_an_empty_export_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text(with_homes("SLACK_WEBHOOK_URL=theirs\n", tmp_path / "var"), encoding="utf-8")
    with own_environment():
        for exported, home in {"": tmp_path / "var", str(tmp_path / "e"): tmp_path / "e"}.items():
            os.environ |= {"LOAN_DEFAULT_HOME": exported, "DAGSTER_HOME": "/elsewhere", "SLACK_WEBHOOK_URL": "ours"}
            load_env_file(file)
            assert os.environ["LOAN_DEFAULT_HOME"] == str(home)
            assert os.environ["DAGSTER_HOME"] == str(home / "dagster")
            assert os.environ["SLACK_WEBHOOK_URL"] == "theirs"
            assert home_origins(file) == HomeOrigins(".env", ".env")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["LOAN_DEFAULT_HOME=${LOAN_DEFAULT_HOME:-/srv/var}", "DAGSTER_HOME=${LOAN_DEFAULT_HOME}/dagster"]),
        (
            "DAGSTER_HOME=/srv/var/dagster\nA=1\n",
            ["A=1", "LOAN_DEFAULT_HOME=${LOAN_DEFAULT_HOME:-/srv/var}", "DAGSTER_HOME=${LOAN_DEFAULT_HOME}/dagster"],
        ),
        ("LOAN_DEFAULT_HOME=x\n", ["LOAN_DEFAULT_HOME=x", "DAGSTER_HOME=${LOAN_DEFAULT_HOME}/dagster"]),
        (
            "export DAGSTER_HOME=/mnt/runs",
            ["export DAGSTER_HOME=/mnt/runs", "LOAN_DEFAULT_HOME=${LOAN_DEFAULT_HOME:-/srv/var}"],
        ),
    ],
    ids=["new", "of an earlier release", "another home", "Dagster's home on purpose"],
)
def test_an_env_file_names_both_homes_once(text: str, lines: list[str]) -> None:
    written = with_homes(text, Path("/srv/var"))
    assert written.splitlines() == lines
    assert with_homes(written, Path("/srv/var")) == written


@pytest.mark.parametrize("name", ["var", "é #%", 'a "b" #', r"a\b #"])
def test_an_env_file_keeps_every_sign_of_a_home(tmp_path: Path, name: str) -> None:
    home, file = tmp_path / name, tmp_path / ".env"
    file.write_text(with_homes("", home), encoding="utf-8")
    with own_environment():
        os.environ.pop("LOAN_DEFAULT_HOME", None)
        load_env_file(file)
        assert os.environ["LOAN_DEFAULT_HOME"] == str(home)
        assert os.environ["DAGSTER_HOME"] == str(home / "dagster")


def test_dagster_without_a_home_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with own_environment():
        os.environ["DAGSTER_HOME"] = "/srv/var/dagster"
        warn_of_temporary_home()
        assert not caplog.records
        del os.environ["DAGSTER_HOME"]
        warn_of_temporary_home()
    assert "Run loan-default init here." in caplog.text


@pytest.mark.parametrize("letter", "[?")
def test_a_home_in_which_dagster_finds_no_file_is_refused(letter: str, tmp_path: Path) -> None:
    settings = Settings(tmp_path / f"a{letter}b")
    with pytest.raises(BadInput, match="Dagster takes for a pattern"):
        prepare_process(settings)
    assert not settings.home.exists()
    for name in ("é # %41", "a*b", "axb"):
        prepare_process(Settings(tmp_path / name))
    with pytest.raises(BadInput, match=r"holds \*, which Dagster takes for a pattern"):
        prepare_process(Settings(tmp_path / "a*b"))


@pytest.mark.usefixtures("environment")
def test_an_environment_is_prepared_without_a_home(tmp_path: Path) -> None:
    prepare_environment(Settings(tmp_path / "home"))
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home" / "dagster")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("environment")
def test_a_process_is_prepared(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    prepare_process(settings)
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home" / "dagster")
    switches = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_THREAD_TIMEOUT": "4",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    assert {name: os.environ[name] for name in switches} == switches
    assert settings.staging.is_dir()
    assert "telemetry:\n  enabled: false" in (tmp_path / "home" / "dagster" / "dagster.yaml").read_text()


@pytest.mark.usefixtures("environment")
def test_dagsters_home_names_its_storage_and_keeps_no_password(tmp_path: Path) -> None:
    settings = Settings(tmp_path, dagster_storage="postgresql://me:secret@host/dagster")
    assert yaml.safe_load(dagster_yaml(settings))["storage"]["postgres"] == {"postgres_url": {"env": DAGSTER_STORAGE}}
    assert "storage" not in yaml.safe_load(dagster_yaml(Settings(tmp_path)))
    prepare_process(settings)
    assert os.environ[DAGSTER_STORAGE] == settings.dagster_storage
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and "secret" in file.read_text()]


@pytest.mark.parametrize(
    ("storage", "prefix"), [("gs://bucket", "compute_logs"), ("gs://bucket/a b/c/", "a b/c/compute_logs")]
)
def test_what_steps_print_lies_in_the_bucket(tmp_path: Path, storage: str, prefix: str) -> None:
    logs = yaml.safe_load(dagster_yaml(Settings(tmp_path, storage=storage)))["compute_logs"]
    assert logs["class"] == "GCSComputeLogManager"
    assert (logs["config"]["bucket"], logs["config"]["prefix"]) == ("bucket", prefix)
    assert "compute_logs" not in yaml.safe_load(dagster_yaml(Settings(tmp_path)))


@pytest.mark.usefixtures("environment")
def test_what_a_person_has_set_stays(tmp_path: Path) -> None:
    os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("mine: true")
    prepare_process(Settings(tmp_path / "home", dagster_home=tmp_path / "dagster"))
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == "mine: true"
