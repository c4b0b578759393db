"""Settings from the environment: safe without any, everything under one home, secrets never shown."""

from pathlib import Path

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
    Settings,
    known_variables,
    load_settings,
    missing_variables,
    require,
    unknown_variables,
)

VARIABLES = {
    "LOAN_DEFAULT_HOME": "~/platform",
    "LOAN_DEFAULT_ENV": "prod",
    "LOAN_DEFAULT_STORAGE": "gs://bucket/prefix/",
    "LOAN_DEFAULT_DATA": "gs://bucket/*.csv",
    "LOAN_DEFAULT_DAGSTER_UI": "https://dagster/",
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
        dagster_ui="https://dagster",
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


@pytest.mark.parametrize("name", ["loan_default", "applications", "predictions", "mlflow"])
def test_no_book_shares_a_model_or_a_folder_with_the_shipped_one(name: str, tmp_path: Path) -> None:
    contract = contract_named(name, tmp_path)
    with pytest.raises(BadInput, match=rf"name is '{name}', which names a model or a folder .*, as {name}_book\.$"):
        load_settings({"LOAN_DEFAULT_CONTRACT": str(contract), "LOAN_DEFAULT_HOME": str(tmp_path)})


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


def test_links_lead_to_the_port_of_the_pages() -> None:
    assert load_settings({"LOAN_DEFAULT_WEB_PORT": "7502"}).web_url == "http://127.0.0.1:7502"


def test_empty_variables_count_as_unset() -> None:
    names = (
        "SENSORS",
        "SCHEDULES",
        "TIME_ZONE",
        "HOME",
        "STORAGE",
        "DATA",
        "DAGSTER_UI",
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


def test_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAN_DEFAULT_ENV", "staging")
    assert load_settings().environment == "staging"
