"""Settings from the environment: safe without any, everything under one home, secrets never shown."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from sqlalchemy import make_url

from loan_default.adapters.hosting import SAGEMAKER, Hosting
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.settings import (
    API_TOKENS,
    DAGSTER_STORAGE,
    PLATFORM_NEEDS,
    SERVING_NEEDS,
    SHIPPED_BOOK,
    STUDY_STORAGE,
    HomeOrigins,
    Settings,
    dagster_yaml,
    home_origins,
    known_variables,
    load_env_file,
    load_settings,
    missing_variables,
    prepare_environment,
    prepare_process,
    require,
    unknown_variables,
    warn_of_temporary_home,
    with_homes,
)
from loan_default_tests.homes import own_environment

VARIABLES = {
    "LOAN_DEFAULT_HOME": "~/platform",
    "LOAN_DEFAULT_ENV": "prod",
    "LOAN_DEFAULT_STORAGE": "gs://bucket/prefix/",
    "LOAN_DEFAULT_DATA": "gs://bucket/*.csv",
    "LOAN_DEFAULT_MLFLOW_UI": "https://mlflow",
    "LOAN_DEFAULT_WEB_URL": "https://pages/",
    "LOAN_DEFAULT_DAGSTER_STORAGE": "postgresql://runs",
    "LOAN_DEFAULT_STUDY_STORAGE": "postgresql://study",
    "LOAN_DEFAULT_BOOK": "mortgages",
    "LOAN_DEFAULT_CONTRACT": "~/contract.yaml",
    "LOAN_DEFAULT_POLICY": "policy.yaml",
    "LOAN_DEFAULT_SEARCH_SPACE": "space.yaml",
    "LOAN_DEFAULT_SENSORS": "no",
    "LOAN_DEFAULT_SCHEDULES": "yes",
    "LOAN_DEFAULT_TIME_ZONE": "Europe/Berlin",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "DAGSTER_HOME": "~/dagster",
    "LOAN_DEFAULT_ENGINE": "dask",
    "LOAN_DEFAULT_DASK_ADDRESS": "tcp://scheduler:8786",
    "LOAN_DEFAULT_SERVING_URL": "https://scoring/",
    "LOAN_DEFAULT_SERVING_SUPERVISED": "true",
    "LOAN_DEFAULT_WEB_PORT": "80",
    "LOAN_DEFAULT_NOTICE_TEMPLATE": "notice.html",
    "LOAN_DEFAULT_WEB_USER_HEADER": "X-User",
    "LOAN_DEFAULT_WEB_PROXIES": "10.0.0.0/8, ::1",
    "LOAN_DEFAULT_LOG_FSYNC": "decision",
    "LOAN_DEFAULT_RETENTION_MONTHS": "60",
    "DAGSTER_LOCATION_NAME": "loans",
    "ALERT_EMAILS": "ann@bank, bob@bank",
    "SMTP_HOST": "mail",
    "SMTP_PORT": "587",
    "SMTP_USER": "platform",
    "SMTP_SENDER": "platform@bank",
    "AIP_HTTP_PORT": "8080",
    "AIP_PREDICT_ROUTE": "/predict",
    "AIP_HEALTH_ROUTE": "/healthy",
    "LOAN_DEFAULT_AUTHENTICATED_BY": "platform",
}


@pytest.fixture
def environment() -> Iterator[None]:
    """An empty environment that is thrown away."""
    with patch.dict(os.environ, {}, clear=True):
        yield


def test_without_an_environment_everything_lies_under_var() -> None:
    settings, home = load_settings({}), Path("var").resolve()
    assert settings == Settings(home)
    assert settings.environment == "local"
    assert settings.storage == str(home / "storage")
    assert settings.tracking_uri == f"sqlite:///{home}/mlflow/mlflow.db"
    assert settings.study_storage == f"sqlite:///{home}/optuna.db"
    assert settings.dagster_home == home / "dagster"
    assert settings.staging == home / "staging"
    assert settings.artifacts == f"{home}/storage/mlflow"
    assert (settings.contract, settings.policy, settings.search_space) == (None, None, None)
    assert settings.secrets == {}


def test_each_variable_is_read() -> None:
    assert load_settings(VARIABLES) == Settings(
        home=Path.home() / "platform",
        dagster_home=Path.home() / "dagster",
        environment="prod",
        storage="gs://bucket/prefix/",
        data="gs://bucket/*.csv",
        book="mortgages",
        tracking_uri="http://mlflow:5000",
        mlflow_ui="https://mlflow",
        web_url="https://pages",
        dagster_storage="postgresql://runs",
        study_storage="postgresql://study",
        contract=Path.home() / "contract.yaml",
        policy=Path("policy.yaml"),
        search_space=Path("space.yaml"),
        sensors=False,
        schedules=True,
        time_zone="Europe/Berlin",
        engine="dask",
        dask_address="tcp://scheduler:8786",
        serving_url="https://scoring",
        serving_supervised=True,
        web_port=80,
        notice_template=Path("notice.html"),
        web_user_header="X-User",
        web_proxies=("10.0.0.0/8", "::1"),
        log_fsync="decision",
        retention_months=60,
        code_location="loans",
        alert_emails=("ann@bank", "bob@bank"),
        smtp_host="mail",
        smtp_port=587,
        smtp_user="platform",
        smtp_sender="platform@bank",
        hosting=Hosting(8080, "/predict", "/healthy"),
        authenticated_by="platform",
    )


def test_each_other_variable_is_a_secret() -> None:
    unset = known_variables() - VARIABLES.keys() - {*SAGEMAKER}
    assert {*load_settings(dict.fromkeys(unset, "x")).secrets} == unset


def test_tokens_are_not_missing_where_the_platform_authenticates() -> None:
    variables = {**VARIABLES, "LOAN_DEFAULT_AUTHENTICATED_BY": "platform"}
    assert missing_variables(SERVING_NEEDS, variables) == ()
    assert API_TOKENS in missing_variables(SERVING_NEEDS, {**variables, "LOAN_DEFAULT_AUTHENTICATED_BY": "tokens"})


def test_artifacts_lie_in_the_storage_of_their_book() -> None:
    assert load_settings(VARIABLES).artifacts == "gs://bucket/prefix/mortgages/mlflow"


def contract_named(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    contract = load_contract().model_dump(mode="json", exclude_defaults=True) | {"name": name}
    path = folder / "homes.yaml"
    path.write_text(yaml.safe_dump(contract), encoding="utf-8")
    return path


def test_a_book_follows_the_name_of_its_contract(tmp_path: Path) -> None:
    contract = contract_named("home_loans", tmp_path)
    variables = {"LOAN_DEFAULT_CONTRACT": str(contract), "LOAN_DEFAULT_HOME": str(tmp_path)}
    settings = load_settings(variables)
    assert (settings.book, settings.model_name, settings.experiment) == ("home_loans", "home_loans_model", "home_loans")
    assert str(settings.layout.root) == f"{tmp_path}/storage/home_loans"
    assert load_settings(variables | {"LOAN_DEFAULT_BOOK": "trial"}).model_name == "trial_model"
    assert load_settings(variables | {"LOAN_DEFAULT_BOOK": SHIPPED_BOOK}).model_name == "loan_default_model"


def test_the_shipped_book_keeps_its_names_whatever_file_describes_it(tmp_path: Path) -> None:
    assert load_contract().name == SHIPPED_BOOK
    contract = contract_named(SHIPPED_BOOK, tmp_path)
    settings = load_settings({"LOAN_DEFAULT_CONTRACT": str(contract), "LOAN_DEFAULT_HOME": str(tmp_path)})
    assert settings.layout == Settings(tmp_path).layout
    assert settings.tracking == Settings(tmp_path).tracking


@pytest.mark.parametrize("name", ["Home loans", "../up", "7", "a.b"])
def test_a_name_that_names_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"LOAN_DEFAULT_BOOK is .*small letters, figures and _"):
        load_settings({"LOAN_DEFAULT_BOOK": name, "LOAN_DEFAULT_HOME": str(tmp_path)})


def test_policy_and_search_space_are_found_beside_the_contract(tmp_path: Path) -> None:
    contract = contract_named("homes", tmp_path)
    variables = {"LOAN_DEFAULT_CONTRACT": str(contract)}
    assert load_settings(variables).policy is None
    (tmp_path / "policy.yaml").touch()
    (tmp_path / "homes.search_space.yaml").touch()
    (tmp_path / "search_space.yaml").touch()
    assert load_settings(variables).policy == tmp_path / "policy.yaml"
    assert load_settings(variables).search_space == tmp_path / "homes.search_space.yaml"
    assert load_settings(variables | {"LOAN_DEFAULT_POLICY": "p.yaml"}).policy == Path("p.yaml")


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


def test_empty_variables_count_as_unset() -> None:
    names = (
        "SENSORS",
        "SCHEDULES",
        "TIME_ZONE",
        "HOME",
        "STORAGE",
        "DATA",
        "MLFLOW_UI",
        "DAGSTER_STORAGE",
        "STUDY_STORAGE",
        "CONTRACT",
        "POLICY",
        "SEARCH_SPACE",
        "ENGINE",
        "DASK_ADDRESS",
    )
    empty = dict.fromkeys([f"LOAN_DEFAULT_{name}" for name in names], "")
    assert load_settings({**empty, "MLFLOW_TRACKING_URI": "", "DAGSTER_HOME": "", "SLACK_WEBHOOK_URL": ""}) == Settings(
        Path("var")
    )


@pytest.mark.parametrize("name", ["production", "Local", "", "prod "])
def test_an_unknown_environment_stops(name: str) -> None:
    with pytest.raises(BadInput, match=f"LOAN_DEFAULT_ENV is '{name}'; it must be one of local, staging, prod."):
        load_settings({"LOAN_DEFAULT_ENV": name})


def test_an_unknown_engine_or_an_address_without_one_stops() -> None:
    with pytest.raises(BadInput, match=r"LOAN_DEFAULT_ENGINE is 'spark'; it must be one of local, dask\."):
        load_settings({"LOAN_DEFAULT_ENGINE": "spark"})
    with pytest.raises(BadInput, match="LOAN_DEFAULT_DASK_ADDRESS is set, but LOAN_DEFAULT_ENGINE is local"):
        load_settings({"LOAN_DEFAULT_DASK_ADDRESS": "tcp://scheduler:8786"})


def test_workers_share_a_store_of_studies_that_they_can_share() -> None:
    dask = {"LOAN_DEFAULT_ENGINE": "dask"}
    assert load_settings(dask).study_storage == f"journal://{Path('var').resolve()}/optuna.journal"
    with pytest.raises(BadInput, match="LOAN_DEFAULT_STUDY_STORAGE is SQLite, which workers cannot share"):
        load_settings({**dask, "LOAN_DEFAULT_STUDY_STORAGE": "sqlite:///studies.db"})


@pytest.mark.parametrize("name", ["Berlin", "../etc/passwd", "UTC+1"])
def test_an_unknown_time_zone_stops(name: str) -> None:
    with pytest.raises(BadInput, match="write it as Europe/Berlin"):
        load_settings({"LOAN_DEFAULT_TIME_ZONE": name})


def test_secrets_are_kept_and_never_shown() -> None:
    settings = load_settings({"SLACK_WEBHOOK_URL": "https://hooks/T0/secret", "AWS_SECRET_ACCESS_KEY": "other"})
    assert settings.secrets == {"SLACK_WEBHOOK_URL": "https://hooks/T0/secret"}
    assert "secret" not in repr(settings).replace("secrets", "")
    address = "postgresql://me:secret@host/db"
    stores = load_settings({"LOAN_DEFAULT_DAGSTER_STORAGE": address, "LOAN_DEFAULT_STUDY_STORAGE": address})
    assert "secret" not in repr(stores).replace("secrets", "")


@pytest.mark.parametrize("uri", ["http://me:secret@host:5000", "postgresql://me:se/cr@t@host/mlflow"])
def test_a_password_in_an_address_that_is_shown_is_refused(uri: str) -> None:
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_URI holds a password, which Dagster would show") as refused:
        load_settings({"MLFLOW_TRACKING_URI": uri})
    assert "secret" not in str(refused.value)
    for sound in ("http://host:5000", "postgresql://me@host:5432/mlflow", "sqlite:////tmp/a:b@c.db"):
        assert load_settings({"MLFLOW_TRACKING_URI": sound}).tracking_uri == sound


@pytest.mark.parametrize("name", [DAGSTER_STORAGE, STUDY_STORAGE])
def test_an_address_of_postgres_that_cannot_be_one_is_refused(name: str) -> None:
    for address in ("me:secret@host:abc/db", "me:sec@ret@host/db", "host:/db", "me:secret@host:5432db"):
        with pytest.raises(BadInput, match=f"{name} is no address of Postgres") as refused:
            load_settings({name: f"postgresql://{address}"})
        assert "sec" not in str(refused.value)
    for address in (
        "me:s/e:c%40ret@host:5432/db",
        "host?sslmode=require",
        "[::1]:5432/db",
        "/db?host=/sockets",
        "me@/db?host=a:1",
    ):
        url = f"postgresql+psycopg2://{address}"
        settings = load_settings({name: url})
        assert url in (settings.dagster_storage, settings.study_storage)
        make_url(url)


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "sqlite:///secret.db", "me:secret@host"])
def test_dagster_has_its_records_in_postgres_or_at_home(url: str) -> None:
    with pytest.raises(BadInput, match="no address of Postgres; write it as postgresql://user") as refused:
        load_settings({"LOAN_DEFAULT_DAGSTER_STORAGE": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["LOAN_DEFAULT_STORAGE", "LOAN_DEFAULT_DATA"])
@pytest.mark.parametrize(
    "address", ["s3://bucket/prefix", "gs://", "gs:///prefix", "gs://Bucket/prefix", "http://host/a"]
)
def test_files_lie_on_this_machine_or_in_a_bucket(name: str, address: str) -> None:
    with pytest.raises(
        BadInput, match=f"^{name} is '{address}'; it must be a path of this machine, or gs://bucket/prefix"
    ):
        load_settings({name: address})
    for sound in ("gs://my-bucket.example_1", "gs://bucket/prefix/*.csv", "var/storage", "/srv/loans/*.csv.gz"):
        assert sound in (load_settings({name: sound}).storage, load_settings({name: sound}).data)


def test_tokens_are_read_with_the_names_of_their_callers() -> None:
    settings = load_settings(
        {"LOAN_DEFAULT_API_TOKENS": "web:one, two ,branch-2:a:b,", "LOAN_DEFAULT_ADMIN_TOKENS": ""}
    )
    assert settings.tokens("LOAN_DEFAULT_API_TOKENS") == {"one": "web", "two": "token-2", "a:b": "branch-2"}
    assert settings.tokens("LOAN_DEFAULT_ADMIN_TOKENS") == {}


@pytest.mark.parametrize("text", [",", " ", " , ", "web:", "we b:one", ":one", "one,web: "])
@pytest.mark.parametrize("name", ["LOAN_DEFAULT_API_TOKENS", "LOAN_DEFAULT_ADMIN_TOKENS"])
def test_tokens_that_let_nobody_in_are_refused_and_not_shown(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=f"^{name}.* write name:token") as refused:
        load_settings({name: text})
    assert "one" not in str(refused.value).replace("none", "")


def test_staging_and_prod_leave_nothing_to_a_default() -> None:
    for local in ({}, {"LOAN_DEFAULT_ENV": "local"}):
        require(environment=local)
    named = dict.fromkeys(PLATFORM_NEEDS, "x")
    for environment in ("staging", "prod"):
        require(environment={**named, "LOAN_DEFAULT_ENV": environment})
        few = {**named, "LOAN_DEFAULT_ENV": environment, "LOAN_DEFAULT_STORAGE": "", "LOAN_DEFAULT_STUDY_STORAGE": ""}
        with pytest.raises(BadInput, match=r"; set LOAN_DEFAULT_STORAGE, LOAN_DEFAULT_STUDY_STORAGE\.$"):
            require(environment=few)
    with pytest.raises(BadInput) as refused:
        require(SERVING_NEEDS, {"LOAN_DEFAULT_ENV": "prod"})
    assert str(refused.value) == (
        "In staging and prod nothing is left to a default; set LOAN_DEFAULT_STORAGE, MLFLOW_TRACKING_URI, "
        "LOAN_DEFAULT_API_TOKENS, LOAN_DEFAULT_ADMIN_TOKENS."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOAN_DEFAULT_POLCY", "LOAN_DEFAULT_POLICY"),
        ("LOAN_DEFAULT_STORE", "LOAN_DEFAULT_STORAGE"),
        ("LOAN_DEFAULT_TIMEZONE", "LOAN_DEFAULT_TIME_ZONE"),
        ("loan_default_home", "LOAN_DEFAULT_HOME"),
        ("LOAN_DEFAULT_REAL_DATA", None),
    ],
)
def test_a_typo_is_told_with_what_it_is_most_like(name: str, meant: str | None) -> None:
    assert unknown_variables({name: "x", "LOAN_DEFAULT_HOME": "x", "PATH": "x"}) == {name: meant}


@pytest.mark.usefixtures("environment")
def test_an_environment_is_prepared_without_a_home(tmp_path: Path) -> None:
    prepare_environment(Settings(tmp_path / "home"))
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "home" / "dagster")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("environment")
def test_the_process_is_read_by_default() -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "staging"
    assert load_settings().environment == "staging"


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


# --- one home for every tool


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
