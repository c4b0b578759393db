"""Where the platform keeps and finds things: the only reader of the environment.

Everything has a safe default under one home folder, so that nothing has to be exported first. Secrets come
through the environment only and are never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from upath import UPath

from loan_default.adapters.hosting import (
    AUTHENTICATED_BY,
    NO_PLATFORM,
    AuthenticatedBy,
    Hosting,
    read_authenticated_by,
    read_hosting,
    read_port,
)
from loan_default.adapters.layout import FOLDERS, MODELS, StorageLayout
from loan_default.adapters.tracking import EXPERIMENT, MODEL_NAME, Tracking
from loan_default.adapters.web_pages import WebPages
from loan_default.risk.errors import BadInput
from loan_default.risk.files import JOURNAL

Environment = Literal["local", "staging", "prod"]
EngineName = Literal["local", "dask"]
Fsync = Literal["never", "second", "decision"]

HOME, DAGSTER_HOME = "LOAN_DEFAULT_HOME", "DAGSTER_HOME"
DEFAULT_HOME = Path("var")  # of the working folder
API_TOKENS, ADMIN_TOKENS = "LOAN_DEFAULT_API_TOKENS", "LOAN_DEFAULT_ADMIN_TOKENS"
SLACK, SMTP_PASSWORD = "SLACK_WEBHOOK_URL", "SMTP_PASSWORD"
DAGSTER_STORAGE, STUDY_STORAGE = "LOAN_DEFAULT_DAGSTER_STORAGE", "LOAN_DEFAULT_STUDY_STORAGE"
ENGINE, DASK_ADDRESS = "LOAN_DEFAULT_ENGINE", "LOAN_DEFAULT_DASK_ADDRESS"
DAGSTER_UI, MLFLOW_UI = "LOAN_DEFAULT_DAGSTER_UI", "LOAN_DEFAULT_MLFLOW_UI"
LOG_FSYNC = "LOAN_DEFAULT_LOG_FSYNC"
WEB_PORT, WEB_USERS, WEB_KEY = "LOAN_DEFAULT_WEB_PORT", "LOAN_DEFAULT_WEB_USERS", "LOAN_DEFAULT_WEB_KEY"
NOTICE_TEMPLATE = "LOAN_DEFAULT_NOTICE_TEMPLATE"
WEB_USER_HEADER, WEB_PROXIES = "LOAN_DEFAULT_WEB_USER_HEADER", "LOAN_DEFAULT_WEB_PROXIES"
BOOK, CONTRACT = "LOAN_DEFAULT_BOOK", "LOAN_DEFAULT_CONTRACT"
SHIPPED_BOOK = "lendingclub"  # the name of the contract that the package ships
CODE_LOCATION = "DAGSTER_LOCATION_NAME"  # Dagster's own variable, by which `dagster api grpc` names what it serves
_LIBRARIES_OWN = ("MLFLOW_TRACKING_PASSWORD", "PGPASSWORD")  # read by MLflow and Postgres; here only to be hidden
_CALLER = re.compile(r"[\w.-]{1,64}", re.ASCII)  # a caller's name
_SECRETS = (SLACK, SMTP_PASSWORD, API_TOKENS, ADMIN_TOKENS, WEB_USERS, WEB_KEY, *_LIBRARIES_OWN)
# What staging and prod must name: nothing may land in a default there that nobody meant.
SERVING_NEEDS = ("LOAN_DEFAULT_STORAGE", "MLFLOW_TRACKING_URI", API_TOKENS, ADMIN_TOKENS)
PLATFORM_NEEDS = (*SERVING_NEEDS, DAGSTER_STORAGE, STUDY_STORAGE)
METRICS_NEEDS = ("LOAN_DEFAULT_STORAGE", "MLFLOW_TRACKING_URI", DAGSTER_STORAGE)
_PREFIX = "LOAN_DEFAULT_"
# With the driver that is installed; host and port are told apart as SQLAlchemy does.
_POSTGRES = re.compile(r"postgresql(\+psycopg2)?://([^@]*@)?(\[[^\]@/]+\]|[^:/?@]*)(:\d+)?([/?][^@]*)?")
_BOOK_NAME = re.compile(r"[a-z][a-z0-9_]*")  # it names folders, models in MLflow, and assets in Dagster
_ALIKE = 0.7  # STORE means STORAGE; REAL_DATA does not mean DATA


@dataclass(frozen=True)
class Settings:
    """All settings; `from_environment` reads them, tests make their own."""

    home: Path
    dagster_home: Path = None  # type: ignore[assignment] # by default the folder `dagster` of the home
    environment: Environment = "local"
    storage: str = ""  # of all books
    data: str = ""
    book: str = ""  # the name of the loan book; empty: that of the contract that the package ships
    tracking_uri: str = ""
    mlflow_ui: str = "http://127.0.0.1:5000"
    dagster_ui: str = "http://127.0.0.1:3000"  # to which the pages link
    web_url: str = "http://127.0.0.1:5002"  # of the pages, to which Dagster links
    code_location: str = "loan_default.definitions"  # as `dagster dev` calls it: its pages list runs by this name
    serving_url: str = "http://127.0.0.1:5001"
    web_port: int = 5002  # of the pages
    web_user_header: str = ""  # by which a proxy before the pages names who has signed in
    notice_template: Path | None = None  # of the notice that an applicant gets
    web_proxies: tuple[str, ...] = ("127.0.0.1", "::1")  # from which that header and X-Forwarded-For count
    sensors: bool = True  # run from the start
    schedules: bool = False  # run from the start
    time_zone: str = "UTC"  # of the schedules
    alert_emails: tuple[str, ...] = ()
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 25  # 465: TLS; 587: STARTTLS
    smtp_user: str = ""
    smtp_sender: str = "loan-default@localhost"
    hosting: Hosting = NO_PLATFORM  # the platform that calls the scoring server, if one does
    authenticated_by: AuthenticatedBy = "tokens"  # who says that a caller may score
    serving_supervised: bool = False  # a container or a service manager starts and stops the scoring server
    log_fsync: Fsync = "second"  # when a decision of the scoring server is durable
    retention_months: int = 25  # of the prediction log; Regulation B, 12 CFR 1002.12(b)
    dagster_storage: str = field(default="", repr=False)  # empty: SQLite in dagster_home
    study_storage: str = field(default="", repr=False)  # both may hold a password
    engine: EngineName = "local"
    dask_address: str = ""  # of a scheduler; empty: workers of this machine
    contract: Path | None = None
    policy: Path | None = None
    search_space: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser().resolve())
        dagster_home = self.dagster_home or self.home / "dagster"  # Dagster takes no relative path
        object.__setattr__(self, "dagster_home", dagster_home.expanduser().resolve())
        defaults = {
            "storage": str(self.home / "storage"),
            "tracking_uri": f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}",
            "study_storage": self._studies_here(),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    def _studies_here(self) -> str:
        """Address tuning studies by default; several processes cannot well share SQLite's file."""
        if self.engine == "dask":
            return f"{JOURNAL}{self.home / 'optuna.journal'}"
        return f"sqlite:///{self.home / 'optuna.db'}"

    @property
    def book_storage(self) -> str:
        """Locate the storage of this book: the shipped one's is the root, another has a folder there."""
        return f"{self.storage.rstrip('/')}/{self.book}" if self.book else self.storage

    @property
    def layout(self) -> StorageLayout:
        """Locate each file in the storage."""
        return StorageLayout(UPath(self.book_storage))

    @property
    def artifacts(self) -> str:
        """Locate MLflow's models and plots: beside the data."""
        return f"{self.book_storage.rstrip('/')}/{MODELS}"

    @property
    def experiment(self) -> str:
        """Name the book's experiment in MLflow."""
        return self.book or EXPERIMENT

    @property
    def model_name(self) -> str:
        """Name the book's registered model in MLflow."""
        return f"{self.book}_model" if self.book else MODEL_NAME

    @property
    def tracking(self) -> Tracking:
        """Return the client of the book's runs and models in MLflow."""
        return Tracking(self.tracking_uri, self.artifacts, self.experiment, self.model_name)

    @property
    def web_pages(self) -> WebPages:
        """Return the addresses of the pages."""
        return WebPages(self.web_url)

    @property
    def serving(self) -> Path:
        """Locate where the scoring server leaves its process number, its log and its sign of a reload."""
        return self._folder_of_book("serving")

    @property
    def evidently(self) -> Path:
        """Locate the copy of a bucket's workspace that Evidently's UI reads."""
        return self._folder_of_book("evidently")

    def _folder_of_book(self, name: str) -> Path:
        return self.home / (f"{name}-{self.book}" if self.book else name)

    @property
    def runs(self) -> Path:
        """Locate the locks of the runs that are under way."""
        return self.home / "runs"

    @property
    def models(self) -> Path:
        """Locate the model packages that were downloaded from the registry."""
        return self.home / "models"

    def tokens(self, name: str) -> dict[str, str]:
        """Return the names of callers by their tokens, of a secret that holds several as `name:token`, by commas.

        Raises:
            BadInput: it is set and holds none.
        """
        return _tokens(name, self.secrets.get(name, ""))

    @property
    def staging(self) -> Path:
        """Locate the scratch space of this machine for files that are being written."""
        return self.home / "staging"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    What staging and prod must name is not asked for here: see `missing_variables`.

    Raises:
        BadInput: names a variable whose value cannot be used, and what it may be.
    """
    variables = os.environ if environment is None else environment
    environments: tuple[Environment, ...] = get_args(Environment)
    name = variables.get("LOAN_DEFAULT_ENV", Settings.environment)
    chosen = next((allowed for allowed in environments if allowed == name), None)
    if chosen is None:
        raise BadInput(f"LOAN_DEFAULT_ENV is {name!r}; it must be one of {', '.join(environments)}.")
    home = Path(variables.get(HOME) or DEFAULT_HOME)
    web_port = _port(variables, WEB_PORT, Settings.web_port)
    contract, hosting = _path(variables, CONTRACT), read_hosting(variables)
    for kind in (API_TOKENS, ADMIN_TOKENS):
        _tokens(kind, variables.get(kind, ""))
    return Settings(
        home=home,
        dagster_home=_path(variables, DAGSTER_HOME) or home / "dagster",
        environment=chosen,
        storage=_location(variables, "LOAN_DEFAULT_STORAGE"),
        data=_location(variables, "LOAN_DEFAULT_DATA"),
        book=_book(variables, contract),
        tracking_uri=_tracking_uri(variables),
        mlflow_ui=variables.get(MLFLOW_UI) or Settings.mlflow_ui,
        dagster_ui=(variables.get(DAGSTER_UI) or Settings.dagster_ui).rstrip("/"),
        web_url=(variables.get("LOAN_DEFAULT_WEB_URL") or f"http://127.0.0.1:{web_port}").rstrip("/"),
        code_location=variables.get(CODE_LOCATION) or Settings.code_location,
        serving_url=(variables.get("LOAN_DEFAULT_SERVING_URL") or Settings.serving_url).rstrip("/"),
        web_port=web_port,
        notice_template=_path(variables, NOTICE_TEMPLATE),
        web_user_header=variables.get(WEB_USER_HEADER, ""),
        web_proxies=_list(variables, WEB_PROXIES) or Settings.web_proxies,
        sensors=_switch(variables, "LOAN_DEFAULT_SENSORS", default=Settings.sensors),
        schedules=_switch(variables, "LOAN_DEFAULT_SCHEDULES", default=Settings.schedules),
        time_zone=_time_zone(variables),
        alert_emails=_list(variables, "ALERT_EMAILS"),
        smtp_host=variables.get("SMTP_HOST") or Settings.smtp_host,
        smtp_port=_port(variables, "SMTP_PORT", Settings.smtp_port),
        smtp_user=variables.get("SMTP_USER", ""),
        smtp_sender=variables.get("SMTP_SENDER") or Settings.smtp_sender,
        hosting=hosting,
        authenticated_by=read_authenticated_by(variables, hosting),
        serving_supervised=_switch(variables, "LOAN_DEFAULT_SERVING_SUPERVISED", default=Settings.serving_supervised),
        log_fsync=_fsync(variables),
        retention_months=_months(variables, "LOAN_DEFAULT_RETENTION_MONTHS", Settings.retention_months),
        dagster_storage=_dagster_storage(variables),
        study_storage=_study_storage(variables),
        engine=_engine(variables),
        dask_address=variables.get(DASK_ADDRESS, ""),
        contract=contract,
        policy=_path(variables, "LOAN_DEFAULT_POLICY") or find_beside(contract, "policy"),
        search_space=_path(variables, "LOAN_DEFAULT_SEARCH_SPACE") or find_beside(contract, "search_space"),
        secrets={key: variables[key] for key in _SECRETS if variables.get(key)},
    )


def missing_variables(
    needs: Sequence[str] = PLATFORM_NEEDS, environment: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Name what of this is not set though `LOAN_DEFAULT_ENV` is staging or prod.

    A platform that authenticates takes the place of tokens.
    """
    variables = os.environ if environment is None else environment
    if variables.get("LOAN_DEFAULT_ENV", Settings.environment) == "local":
        return ()
    spared = (API_TOKENS, ADMIN_TOKENS) if variables.get(AUTHENTICATED_BY) == "platform" else ()
    return tuple(name for name in needs if not variables.get(name) and name not in spared)


def require(needs: Sequence[str] = PLATFORM_NEEDS, environment: Mapping[str, str] | None = None) -> None:
    """Stop where something is missing.

    Raises:
        BadInput: names all of it.
    """
    if missing := missing_variables(needs, environment):
        raise BadInput(f"In staging and prod nothing is left to a default; set {', '.join(missing)}.")


class _Recorder(dict[str, str]):
    """An empty environment that records the names by which it was read."""

    def get(self, name: str, default: Any = None) -> Any:
        self[name] = ""
        return default


def known_variables() -> set[str]:
    """Name every variable that `load_settings` reads."""
    recorder = _Recorder()
    load_settings(recorder)
    return set(recorder)


def unknown_variables(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return variables that look like settings and are none, each with the setting that it is most like, if any."""
    names = known_variables()
    stems = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
    unknown: dict[str, str | None] = {}
    for name in os.environ if environment is None else environment:
        if name.upper().startswith(_PREFIX) and name not in names:
            alike = get_close_matches(name.upper().removeprefix(_PREFIX), stems, n=1, cutoff=_ALIKE)
            unknown[name] = _PREFIX + alike[0] if alike else None
    return unknown


def _tracking_uri(variables: Mapping[str, str]) -> str:
    uri = variables.get("MLFLOW_TRACKING_URI", "")
    if re.match(r"[^/]*//[^/]*:.*@", uri):  # also where the password holds what an address would quote
        raise BadInput(
            "MLFLOW_TRACKING_URI holds a password, which Dagster would show; leave it out, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for a server, PGPASSWORD for a database."
        )
    return uri


def _location(variables: Mapping[str, str], name: str) -> str:
    """Read a path, or an address in a bucket of Google Cloud Storage."""
    text = variables.get(name, "")
    if "://" in text and not re.match(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/|$)", text):
        raise BadInput(f"{name} is {text!r}; it must be a path of this machine, or gs://bucket/prefix.")
    return text


def _dagster_storage(variables: Mapping[str, str]) -> str:
    url = variables.get(DAGSTER_STORAGE, "")
    if url:
        _require_postgres(DAGSTER_STORAGE, url)
    return url


def _require_postgres(name: str, url: str) -> None:
    if not _POSTGRES.fullmatch(url):
        raise BadInput(
            f"{name} is no address of Postgres; write it as postgresql://user:password@host:port/database, and %40 for "
            "an @ in the password."
        )


def _engine(variables: Mapping[str, str]) -> EngineName:
    name = variables.get(ENGINE) or Settings.engine
    if name not in get_args(EngineName):
        raise BadInput(f"{ENGINE} is {name!r}; it must be one of {', '.join(get_args(EngineName))}.")
    if name == "local" and variables.get(DASK_ADDRESS):
        raise BadInput(f"{DASK_ADDRESS} is set, but {ENGINE} is local; set {ENGINE}=dask, or take the address away.")
    return name  # type: ignore[return-value]


def _fsync(variables: Mapping[str, str]) -> Fsync:
    name = variables.get(LOG_FSYNC) or Settings.log_fsync
    if name not in get_args(Fsync):
        raise BadInput(f"{LOG_FSYNC} is {name!r}; it must be one of {', '.join(get_args(Fsync))}.")
    return name  # type: ignore[return-value]


def _months(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or not int(text):
        raise BadInput(f"{name} is {text!r}; it must be a number of months from 1 on.")
    return int(text)


def _study_storage(variables: Mapping[str, str]) -> str:
    storage = variables.get(STUDY_STORAGE, "")
    if storage.startswith("sqlite") and _engine(variables) == "dask":
        raise BadInput(
            f"{STUDY_STORAGE} is SQLite, which workers cannot share; give an address of Postgres (postgresql://…) or a "
            "journal file that all of them see (journal:///path), or leave it empty."
        )
    if storage.startswith("postgres"):
        _require_postgres(STUDY_STORAGE, storage)
    return storage


def _switch(variables: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = variables.get(name, "").strip().lower()
    if text not in ("", "0", "1", "false", "true", "no", "yes"):
        raise BadInput(f"{name} is {variables[name]!r}; it must be true or false.")
    return text in ("1", "true", "yes") if text else default


def _time_zone(variables: Mapping[str, str]) -> str:
    name = variables.get("LOAN_DEFAULT_TIME_ZONE") or Settings.time_zone
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadInput(f"LOAN_DEFAULT_TIME_ZONE is {name!r}; write it as Europe/Berlin.") from None
    return name


def _list(variables: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in variables.get(name, "").split(",") if text.strip())


def _tokens(name: str, text: str) -> dict[str, str]:
    """Read callers' names by their tokens: `name:token`, or a token alone, which is named by its number."""
    tokens: dict[str, str] = {}
    for nth, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        caller, colon, token = part.partition(":")
        if not colon:
            caller, token = f"token-{nth}", part
        if not _CALLER.fullmatch(caller) or not token.strip():
            raise BadInput(
                f"{name}: token {nth} cannot be used; write name:token with a name of letters, digits, '.', '_', '-'."
            )
        tokens[token.strip()] = caller
    if text and not tokens:
        raise BadInput(f"{name} is set and holds no token; write name:token, several by commas, or do not set it.")
    return tokens


def _port(variables: Mapping[str, str], name: str, default: int) -> int:
    return read_port(name, variables.get(name) or str(default))


def _path(variables: Mapping[str, str], name: str) -> Path | None:
    return Path(variables[name]).expanduser() if variables.get(name) else None


def _book(variables: Mapping[str, str], contract: Path | None) -> str:
    """Name the loan book: as the variable says, else as the contract does; the shipped contract's has no name."""
    name, origin = variables.get(BOOK, ""), BOOK
    if not name and contract is not None:
        from loan_default.risk.contract.loading import load_contract

        name, origin = load_contract(contract).name, f"{contract}: name"
    if name and not _BOOK_NAME.fullmatch(name):
        raise BadInput(
            f"{origin} is {name!r}; it names folders, models and assets: write it in small letters, figures and _, "
            "beginning with a letter."
        )
    if is_of_shipped_book(name):
        raise BadInput(
            f"{origin} is {name!r}, which names a model or a folder of the book that ships; write another name, as "
            f"{name}_book."
        )
    return "" if name == SHIPPED_BOOK else name


def is_of_shipped_book(name: str) -> bool:
    """Tell whether a book of this name would share its model or a folder with the book whose contract ships."""
    return name == EXPERIMENT or name in FOLDERS


def find_beside(contract: Path | None, what: str) -> Path | None:
    """Find the policy or the search space of a contract: `X.policy.yaml` beside `X.yaml`, or `policy.yaml` there."""
    if contract is None:
        return None
    files = contract.with_name(f"{contract.stem}.{what}.yaml"), contract.with_name(f"{what}.yaml")
    return next((file for file in files if file.is_file()), None)
