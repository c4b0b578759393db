"""Resources of assets and sensors: the loan book, the storage, the engine, MLflow, the server, clock and alerts.

Resources only hold settings and open adapters; nothing heavy is imported before an asset asks for it.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg
from pydantic import PrivateAttr
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.alerts import Channels
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.web_pages import WebPages
from loan_default.defs.book import BookNames
from loan_default.defs.io_managers import JsonIOManager, ParquetIOManager, TextIOManager
from loan_default.defs.lost_runs import RunLockResource
from loan_default.defs.mlflow_run import MlflowResource, MlflowRunResource
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.policy import Policy, load_policy
from loan_default.settings import ADMIN_TOKENS, API_TOKENS, SLACK, SMTP_PASSWORD, Settings, load_settings
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    from google.cloud.storage import Client

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.scoring_server import ScoringServer
    from loan_default.risk.compute import Engine


class LoanBookResource(dg.ConfigurableResource[Any]):
    """The loan file, the contract that describes a loan, the lender's policy, and the search space of tuning."""

    data: str
    contract_file: str = ""
    policy_file: str = ""
    search_space_file: str = ""

    @property
    def contract(self) -> Contract:
        """The contract: what a loan is."""
        return load_contract(_file(self.contract_file))

    @property
    def policy(self) -> Policy:
        """The policy: what the lender has decided."""
        return load_policy(_file(self.policy_file), self.contract)

    @property
    def search_space(self) -> SearchSpace:
        """The search space: how candidates are fitted."""
        return load_search_space(_file(self.search_space_file))


def _file(path: str) -> Path | None:
    return Path(path) if path else None


@functools.cache
def gcs_client() -> "Client":
    """Return dagster-gcp's client, one for each process; it is imported at the first call, as that takes seconds."""
    from dagster_gcp import GCSResource

    return GCSResource().get_client()


def root_of(storage_root: str) -> UPath:
    """Return the storage root; a bucket is reached by dagster-gcp's client."""
    return storage.to_path(storage_root, connect=gcs_client)


class StorageResource(dg.ConfigurableResource[Any]):
    """The storage of a book, a folder or a bucket, or a folder in that of all books; and local scratch space."""

    root: str
    scratch: str
    book: str = ""

    @property
    def staging(self) -> Path:
        """The folder for files that are being written; it is made when it is asked for."""
        folder = Path(self.scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def layout(self) -> StorageLayout:
        """The paths of all that lies in the storage."""
        root = root_of(self.root)
        return StorageLayout(root / self.book if self.book else root)

    @property
    def names(self) -> BookNames:
        """The names of the book in Dagster."""
        return BookNames(self.book)

    def workspace(self, run_id: str) -> Workspace:
        """Return the files of a run."""
        return Workspace(self.layout, self.staging, run_id)


@dataclass(frozen=True)
class StudiesResource:
    """The store of tuning studies: no configuration, which Dagster would display with the password that it may hold."""

    storage: str = field(repr=False)


class ComputeResource(dg.ConfigurableResource[Any]):
    """The engine that does heavy work, as the settings name it; assets do not know which it is."""

    engine_name: str
    address: str

    _engine: "Engine | None" = PrivateAttr(default=None)

    @property
    def engine(self) -> "Engine":
        """The engine; workers are started, or met, when they are first needed."""
        if self._engine is None:
            self._engine = self._start()
        return self._engine

    def _start(self) -> "Engine":
        if self.engine_name == "dask":
            from loan_default.adapters.dask_engine import DaskEngine

            return DaskEngine(self.address)
        from loan_default.risk.compute import LocalEngine

        return LocalEngine()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of what the engine did: the page on which its workers can be watched."""
        dashboard = self.engine.dashboard
        return {"dask_dashboard": dg.MetadataValue.url(dashboard)} if dashboard else {}

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leave the workers."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


class ModelRegistryResource(MlflowResource):
    """The registered model and what its training runs kept."""

    cache: str
    ui: str

    @property
    def models(self) -> "ModelStore":
        """The models, candidates and reference profiles in it."""
        from loan_default.adapters.model_store import ModelStore

        return ModelStore(self.tracking, Path(self.cache))

    def run_link(self, run_id: str) -> dg.UrlMetadataValue:
        """Return a link to the run in MLflow's UI."""
        return dg.MetadataValue.url(self.tracking.run_url(run_id, self.ui))


class WebPagesResource(dg.ConfigurableResource[Any]):
    """The pages of `loan-default web`, to which results link."""

    url: str

    @property
    def pages(self) -> WebPages:
        """The addresses of the pages."""
        return WebPages(self.url)


class ScoringServerResource(dg.ConfigurableResource[Any]):
    """The scoring server's address, and how it is started where nobody else does."""

    url: str
    home: str
    model: str
    supervised: bool
    wait_seconds: float = 60.0

    @property
    def server(self) -> "ScoringServer":
        """The server; its tokens come from the environment, so that no configuration shows them."""
        from loan_default.adapters.scoring_server import ScoringServer

        settings = load_settings()
        scoring, admin = settings.tokens(API_TOKENS), settings.tokens(ADMIN_TOKENS)
        return ScoringServer(
            self.url,
            Path(self.home),
            self.model,
            supervised=self.supervised,
            token=next(iter(scoring), ""),
            admin_token=next(iter(admin), ""),
        )

    @property
    def command(self) -> list[str]:
        """The command that starts it."""
        url = urlsplit(self.url)
        address = ["--host", url.hostname or "127.0.0.1", "--port", str(url.port or 80)]
        return [sys.executable, "-m", "loan_default.cli", "serve", *address]


class ClockResource(dg.ConfigurableResource[Any]):
    """The time, for whatever decides by it; a simulation sets another."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class NotificationsResource(dg.ConfigurableResource[Any]):
    """The people who are alerted, and the channels to them."""

    emails: list[str]
    smtp_host: str
    smtp_port: int
    smtp_user: str
    sender: str

    @property
    def channels(self) -> Channels:
        """The channels; their secrets come from the environment, so that no configuration shows them."""
        secrets = load_settings().secrets
        return Channels(
            slack=secrets.get(SLACK, ""),
            emails=tuple(self.emails),
            smtp_host=self.smtp_host,
            smtp_port=self.smtp_port,
            smtp_user=self.smtp_user,
            smtp_password=secrets.get(SMTP_PASSWORD, ""),
            sender=self.sender,
        )


def build_resources(settings: Settings) -> Mapping[str, Any]:
    """Build every resource from the settings."""
    root = root_of(settings.storage)
    store = {
        "tracking_uri": settings.tracking_uri,
        "artifact_root": settings.artifacts,
        "experiment": settings.experiment,
        "model_name": settings.model_name,
    }
    return {
        "loan_book": LoanBookResource(
            data=settings.data,
            contract_file=str(settings.contract or ""),
            policy_file=str(settings.policy or ""),
            search_space_file=str(settings.search_space or ""),
        ),
        "storage": StorageResource(root=settings.storage, scratch=str(settings.staging), book=settings.book),
        "studies": StudiesResource(settings.study_storage),
        "compute": ComputeResource(engine_name=settings.engine, address=settings.dask_address),
        "model_registry": ModelRegistryResource(**store, cache=str(settings.models), ui=settings.mlflow_ui),
        "mlflow_run": MlflowRunResource(**store),
        "run_lock": RunLockResource(
            folder=str(settings.runs),
            scratch=str(settings.staging),
            models=str(settings.models),
            storage=settings.book_storage,
        ),
        "scoring_server": ScoringServerResource(
            url=settings.serving_url,
            home=str(settings.serving),
            model=settings.model_name,
            supervised=settings.serving_supervised,
        ),
        "web_pages": WebPagesResource(url=settings.web_url),
        "clock": ClockResource(),
        "notifications": NotificationsResource(
            emails=list(settings.alert_emails),
            smtp_host=settings.smtp_host,
            smtp_port=settings.smtp_port,
            smtp_user=settings.smtp_user,
            sender=settings.smtp_sender,
        ),
        "parquet": ParquetIOManager(root, settings.staging),
        "json": JsonIOManager(root),
        "markdown": TextIOManager(root),
    }
