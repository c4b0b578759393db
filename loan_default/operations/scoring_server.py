"""The scoring server of this home: planned, run, stopped, and asked to score a file.

What it answers is `serving`'s. Dagster is never imported here: the scoring server's image has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loan_default.operations.book import read_contract, read_policy
from loan_default.settings import ADMIN_TOKENS, API_TOKENS, Settings

if TYPE_CHECKING:
    from socket import socket

    from loan_default.adapters.scoring_server import ScoringServer
    from loan_default.serving.client import ClientReport
    from loan_default.serving.registry_client import RegistryClient
    from loan_default.serving.server import ServerConfig

HOST, PORT = "127.0.0.1", 5001  # the port where the address names none, as behind a proxy
_STOP_SECONDS = 40.0  # longer than the server waits for what is in flight


def address(settings: Settings) -> str:
    """Return where the scoring server of this home answers, or else where the settings say that one does."""
    from loan_default.adapters.scoring_server import recorded_url

    return recorded_url(settings.serving) or settings.serving_url


def server_of(settings: Settings) -> ScoringServer:
    """Return the scoring server of the home, asked with the first token of each kind."""
    from loan_default.adapters.scoring_server import ScoringServer

    token, admin_token = (next(iter(settings.tokens(kind)), "") for kind in (API_TOKENS, ADMIN_TOKENS))
    return ScoringServer(address(settings), settings.serving, settings.model_name, token=token, admin_token=admin_token)


def plan(settings: Settings, host: str | None, port: int | None, workers: int, poll_seconds: float) -> ServerConfig:
    """Plan a scoring server that follows the version in production.

    Without host and port it is that of a platform which calls it, on all addresses, or else of this machine alone, on
    the port of `serving_url`.
    """
    from loan_default.serving.server import ServerConfig

    return ServerConfig(
        host=host or (HOST if settings.hosting.port is None else "0.0.0.0"),
        port=port or settings.hosting.port or urlsplit(settings.serving_url).port or PORT,
        workers=workers,
        home=settings.serving,
        models=settings.models,
        storage=settings.book_storage,
        tracking=settings.tracking,
        policy=read_policy(settings).serving,
        seconds=poll_seconds,
        tokens=settings.tokens(API_TOKENS),
        fsync=settings.log_fsync,
        retention_months=settings.retention_months,
        admin_tokens=settings.tokens(ADMIN_TOKENS),
        hosting=settings.hosting,
        authenticated_by=settings.authenticated_by,
    )


@contextmanager
def asking_registry(settings: Settings, workers: int) -> Iterator[RegistryClient | None]:
    """Ask the registry while a server is planned and its libraries are imported; several workers each do."""
    from loan_default.serving.registry_client import RegistryClient

    if workers > 1:
        yield None
        return
    registry = RegistryClient.begin(settings.tracking, settings.models, settings.serving)
    try:
        yield registry
    finally:
        registry.close()


def run(settings: Settings, config: ServerConfig, listener: socket, registry: RegistryClient | None = None) -> None:
    """Answer on a bound socket until the process is ended; its number is recorded in the home meanwhile."""
    from loan_default.adapters.scoring_server import record_process
    from loan_default.serving.server import serve

    host = HOST if config.host in ("0.0.0.0", "::") else config.host
    with record_process(settings.serving, f"http://{f'[{host}]' if ':' in host else host}:{config.port}"):
        serve(config, listener, registry)


def stop(settings: Settings) -> int | None:
    """End the scoring server of this home, if one runs; return its process number."""
    from loan_default.adapters.scoring_server import ScoringServer

    return ScoringServer(address(settings), settings.serving).stop(wait=_STOP_SECONDS)


def score_by_rest(settings: Settings, file: Path, out: Path, *, url: str = "") -> ClientReport:
    """Send a file of applications through the scoring server and write its answers; errors as `score_file`.

    Args:
        settings: of the home.
        file: CSV, CSV.GZ or Parquet of applications.
        out: CSV to write.
        url: of the server; by default its `address`.
    """
    from loan_default.serving.client import score_file

    contract, tokens = read_contract(settings), settings.tokens(API_TOKENS)
    return score_file(file, url or address(settings), out, contract=contract, token=next(iter(tokens), ""))


def answers_file(file: Path) -> Path:
    """Return the CSV beside a file of applications that its answers are written to by default."""
    name = Path(file.name.removesuffix(".gz")).stem
    return file.parent / f"{name}-scored.csv"
