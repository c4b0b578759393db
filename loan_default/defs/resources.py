"""What assets are given: the loan book, the room for files, MLflow's run and the model store.

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

from loan_default.adapters import storage as files
from loan_default.adapters.alerts import Channels
from loan_default.adapters.layout import Layout
from loan_default.adapters.tracking import Tracking
from loan_default.defs.io_managers import JsonIOManager, ParquetIOManager, TextIOManager
from loan_default.defs.lost_runs import RunLockResource
from loan_default.defs.mlflow_run import MlflowRunResource
from loan_default.risk.contract import Contract, load_contract
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.policy import Policy, load_policy
from loan_default.settings import ADMIN_TOKENS, API_TOKENS, SLACK, SMTP_PASSWORD, Settings, load_settings

if TYPE_CHECKING:
    from google.cloud.storage import Client

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.scoring_server import ScoringServer
    from loan_default.risk.compute import Engine


class LoanBookResource(dg.ConfigurableResource):
    """What a loan is, what the lender has decided, what tuning may try; and where the loans lie."""

    data: str
    contract_file: str = ""
    policy_file: str = ""
    search_space_file: str = ""

    @property
    def contract(self) -> Contract:
        """What a loan is."""
        return load_contract(_file(self.contract_file))

    @property
    def policy(self) -> Policy:
        """What the lender has decided."""
        return load_policy(_file(self.policy_file))

    @property
    def search_space(self) -> SearchSpace:
        """How candidates are fitted."""
        return load_search_space(_file(self.search_space_file))


def _file(path: str) -> Path | None:
    return Path(path) if path else None


@functools.cache
def gcs_client() -> "Client":
    """dagster-gcp's client, one for each process; imported when a bucket is first asked, as that takes seconds."""
    from dagster_gcp import GCSResource

    return GCSResource().get_client()


def root_of(storage_root: str) -> UPath:
    """The storage root; where it is a bucket, it is asked by dagster-gcp's client."""
    return files.root_of(storage_root, connect=gcs_client)


class StorageResource(dg.ConfigurableResource):
    """Where files lie: the storage root and local scratch space."""

    root: str
    scratch: str

    @property
    def staging(self) -> Path:
        """Local scratch space for files that are being written."""
        folder = Path(self.scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def layout(self) -> Layout:
        """Where each file lies under the storage root."""
        return Layout(root_of(self.root))


@dataclass(frozen=True)
class StudiesResource:
    """Where tuning studies are kept: no configuration, which Dagster would show with the password that it may hold."""

    storage: str = field(repr=False)


class ComputeResource(dg.ConfigurableResource):
    """Where heavy work is done: by the engine of the settings. Assets ask it, and do not know which it is."""

    engine_name: str
    address: str

    _engine: "Engine | None" = PrivateAttr(default=None)

    @property
    def engine(self) -> "Engine":
        """The engine; workers are started, or met, when they are first needed."""
        if self._engine is None:
            self._engine = self._made()
        return self._engine

    def _made(self) -> "Engine":
        if self.engine_name == "dask":
            from loan_default.adapters.dask_engine import DaskEngine

            return DaskEngine(self.address)
        from loan_default.risk.compute import LocalEngine

        return LocalEngine()

    @property
    def shown(self) -> Mapping[str, Any]:
        """Metadata of what was done: where its workers can be watched."""
        dashboard = self.engine.dashboard
        return {"dask_dashboard": dg.MetadataValue.url(dashboard)} if dashboard else {}

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leave the workers."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


class ModelRegistryResource(dg.ConfigurableResource):
    """The registered model and what its training runs kept."""

    tracking_uri: str
    artifact_root: str
    cache: str
    ui: str

    @property
    def tracking(self) -> Tracking:
        """MLflow's store."""
        return Tracking(self.tracking_uri, self.artifact_root)

    @property
    def models(self) -> "ModelStore":
        """Models, candidates and reference profiles."""
        from loan_default.adapters.model_store import ModelStore

        return ModelStore(self.tracking, Path(self.cache))

    def run_link(self, run_id: str) -> dg.UrlMetadataValue:
        """A link to the run in MLflow's UI."""
        return dg.MetadataValue.url(self.tracking.run_url(run_id, self.ui))


class ScoringServerResource(dg.ConfigurableResource):
    """The scoring server's address, and how it is started where nobody else does."""

    url: str
    home: str
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
            supervised=self.supervised,
            token=scoring[0] if scoring else "",
            admin_token=admin[0] if admin else "",
        )

    @property
    def command(self) -> list[str]:
        """What starts it."""
        where = urlsplit(self.url)
        address = ["--host", where.hostname or "127.0.0.1", "--port", str(where.port or 80)]
        return [sys.executable, "-m", "loan_default.cli", "serve", *address]


class ClockResource(dg.ConfigurableResource):
    """What time it is, for whatever decides by it; a simulation gives another."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)


class NotificationsResource(dg.ConfigurableResource):
    """Who is told of what happens, and by which ways."""

    emails: list[str]
    smtp_host: str
    smtp_port: int
    smtp_user: str
    sender: str

    @property
    def channels(self) -> Channels:
        """The ways to tell; their secrets come from the environment, so that no configuration shows them."""
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
    """Every resource, from the settings."""
    root = root_of(settings.storage)
    store = {"tracking_uri": settings.tracking_uri, "artifact_root": settings.artifacts}
    return {
        "loan_book": LoanBookResource(
            data=settings.data,
            contract_file=str(settings.contract or ""),
            policy_file=str(settings.policy or ""),
            search_space_file=str(settings.search_space or ""),
        ),
        "storage": StorageResource(root=settings.storage, scratch=str(settings.staging)),
        "studies": StudiesResource(settings.study_storage),
        "compute": ComputeResource(engine_name=settings.engine, address=settings.dask_address),
        "model_registry": ModelRegistryResource(**store, cache=str(settings.models), ui=settings.mlflow_ui),
        "mlflow_run": MlflowRunResource(**store),
        "run_lock": RunLockResource(
            folder=str(settings.runs),
            scratch=str(settings.staging),
            models=str(settings.models),
            storage=settings.storage,
        ),
        "scoring_server": ScoringServerResource(
            url=settings.serving_url, home=str(settings.serving), supervised=settings.serving_supervised
        ),
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
