"""The scoring server's process: what it is made of, the socket, the workers, and how it stops.

`ServerConfig` travels to each worker, which builds its own application when it starts.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import resource
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters.hosting import NO_PLATFORM, AuthenticatedBy, Hosting
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.tracking import PRODUCTION, STAGING, Tracking
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ServingPolicy
from loan_default.serving.background_writer import LOG_FORMAT, log_in_background
from loan_default.serving.http import is_loopback
from loan_default.serving.log_process import LogProcess, LogSettings
from loan_default.serving.ready_workers import ReadyWorkers
from loan_default.serving.registry_client import RegistryClient, last_version_file

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

    from loan_default.serving.app import ScoringApp
    from loan_default.serving.decisions import Decision
    from loan_default.serving.follower import Follower
    from loan_default.serving.journal import Fsync
    from loan_default.serving.prediction_log import PredictionLog

_GRACE_SECONDS = 30
_USEFUL_SECONDS, _USEFUL_TURN_SECONDS = 60.0, 0.02  # then /health tells what hinders
# After which a worker that does not answer its supervisor is replaced. A machine with much to do takes longer than
# uvicorn's 5 s to start one: it would be ended and begun again without end.
_HUNG_SECONDS = 30
_SUPERVISOR_SECONDS = 1.0  # between two looks at whether the supervisor lives
_NOBODYS = (signal.SIGUSR1, signal.SIGUSR2)  # which end a process that does not ignore them
_MOST_CONNECTIONS = 4_000  # half open, each holds up to 16 KB
# A request of 1,000 rows makes 1,000 tuples, which are gone with it; by default the collector looks at each of them.
_COLLECT_AFTER = 10_000
# Of a thread that reads a large request, when an answer waits for the interpreter; Python gives it 5 ms.
_TURN_SECONDS = 0.0005
# By default the C library gives back to the system what a request of 1,000 rows has freed, and the next one meets each
# page anew: they took 7.1 ms of processor time to score, and 5.4 with this. A larger single array is still given back.
_TRIM_BYTES, _ARRAY_BYTES = 64_000_000, 32_000_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
RELOAD_SIGN, JOURNAL, KEYS = "reload", "journal", "idempotency.db"  # in the home of the server


@dataclass(frozen=True)
class ServerConfig:
    """A worker's settings; plain values, so that they can be sent to one."""

    host: str
    port: int
    workers: int
    home: Path  # of the server: its sign of a reload
    models: Path  # where packages are downloaded to
    storage: str  # where predictions are logged
    tracking: Tracking
    policy: ServingPolicy
    seconds: float  # between two looks at the registry
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # names of callers by their tokens
    admin_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    fsync: Fsync = "second"  # when a decision is durable
    hosting: Hosting = NO_PLATFORM
    authenticated_by: AuthenticatedBy = "tokens"
    retention_months: int = 25  # of the prediction log, where the storage is a folder

    def __post_init__(self) -> None:
        has_tokens = self.tokens and self.admin_tokens
        if not is_loopback(self.host) and not has_tokens and self.authenticated_by == "tokens":
            raise BadInput(
                f"{self.host} can be reached by other machines; set LOAN_DEFAULT_API_TOKENS and "
                "LOAN_DEFAULT_ADMIN_TOKENS before the server binds to it."
            )


class Worker:
    """Runs what uvicorn starts and stops in each worker, and calls by ASGI's lifespan; its connections ask the app."""

    def __init__(self, config: ServerConfig, registry: RegistryClient | None = None) -> None:
        self._config, self._registry = config, registry
        self._supervisor: int | None = None  # the process that says when this one ends, where it is another

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a process of its own, whose parent says when it ends: by SIGTERM, maybe before uvicorn listens."""
        self.__dict__.update(state)
        self._supervisor = os.getppid()
        _ignore(signal.SIGINT, signal.SIGHUP, *_NOBODYS)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Start and stop with the process."""
        assert scope["type"] == "lifespan"  # the rest is for the connections
        components = WorkerComponents(self._config, self._registry)
        # A second Ctrl-C cancels: that is no failure, and nobody waits for what the registry is still asked.
        with suppress(asyncio.CancelledError), closing(components.registry):
            await receive()
            scope["state"].update(app=components.app, connections=components.app.connections)
            components.app.keep_metrics()
            components.follower.start()
            if self._supervisor is not None:
                self._follow_supervisor(self._supervisor)
            await components.wait_until_useful()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            components.close()
            await send({"type": "lifespan.shutdown.complete"})

    def _follow_supervisor(self, supervisor: int) -> None:
        """Stop where the supervisor has died: nobody would replace this worker, and make files of its log."""
        if os.getppid() != supervisor:
            signal.raise_signal(signal.SIGTERM)
        else:
            asyncio.get_running_loop().call_later(_SUPERVISOR_SECONDS, self._follow_supervisor, supervisor)


class WorkerComponents:
    """The parts of a worker: registry client, follower, application and prediction logs."""

    def __init__(self, config: ServerConfig, registry: RegistryClient | None = None) -> None:
        _prepare_process()
        log_in_background()
        self.registry = registry or RegistryClient.begin(config.tracking, config.models, config.home)
        from loan_default.serving.follower import FollowedAlias

        self._config = config
        self._production, self._challenger = (
            FollowedAlias(alias, last_version_file(config.home, alias)) for alias in (PRODUCTION, STAGING)
        )
        self._sign = config.home / RELOAD_SIGN
        self._ready_workers = ReadyWorkers(config.home / f"ready-{config.port}") if config.workers > 1 else None

    @cached_property
    def follower(self) -> Follower:
        """The follower, of `staging` only where the policy asks something of it."""
        from loan_default.serving.follower import Follower

        uses_challenger = self._config.policy.challenger_share or self._config.policy.shadow_share
        return Follower(
            [self._production, self._challenger] if uses_challenger else [self._production],
            self.registry.version_of,
            self.registry.download_package,
            sign=self._sign,
            seconds=self._config.seconds,
            unknown_fields=self._config.policy.unknown_fields,
            ready=self._join_ready,
        )

    @cached_property
    def app(self) -> ScoringApp:
        """Make the application."""
        from loan_default.serving.access import Tokens
        from loan_default.serving.app import Limits, ScoringApp
        from loan_default.serving.connection import ConnectionLimits
        from loan_default.serving.idempotency import IdempotencyKeys

        config = self._config
        return ScoringApp(
            self._production,
            self._challenger,
            self.follower,
            self.log,
            policy=config.policy,
            limits=Limits(connections=ConnectionLimits(connections=_connections())),
            tokens=Tokens(config.tokens, self._admin_tokens),
            hosting=config.hosting,
            authenticated_by=config.authenticated_by,
            reload=self._sign.touch,
            recall=self.recall,
            keys=IdempotencyKeys(config.home / KEYS, self._is_logged),
            workers=config.workers,
            ready_workers=self._ready_workers,
            model_name=config.tracking.model_name,
        )

    @property
    def _admin_tokens(self) -> Mapping[str, str]:
        """Return the tokens of admin routes; where a platform lets callers score, no caller is an admin by that."""
        if self._config.authenticated_by == "platform" and not self._config.admin_tokens:
            return {secrets.token_urlsafe(): "nobody"}
        return self._config.admin_tokens

    def recall(self, decision_id: str) -> Decision:
        """Find a decision, and score it again by the version that decided."""
        from loan_default.serving.decisions import recall
        from loan_default.serving.served_model import ServedModel

        def load(version: int) -> ServedModel:
            package = self.registry.download_package(self.registry.get(version))
            return ServedModel.load(package, version)

        with self._places_of_log() as (layout, journal, staging):
            return recall(decision_id, layout, journal, load, staging)

    def _is_logged(self, decision_id: str) -> bool:
        """Tell whether the log has a decision."""
        from loan_default.serving.decisions import find_row

        with self._places_of_log() as (layout, journal, staging):
            return find_row(decision_id, layout, journal, staging) is not None

    @contextmanager
    def _places_of_log(self) -> Iterator[tuple[StorageLayout, Path, Path]]:
        """Yield where decisions are looked for: the storage, the journal, and a folder for copies of files."""
        with TemporaryDirectory(prefix="loan-default-decision-") as staging:
            yield StorageLayout(UPath(self._config.storage)), self._config.home / JOURNAL, Path(staging)

    @cached_property
    def log(self) -> PredictionLog:
        """The prediction log; its journal stays in the home until the storage has the rows."""
        from loan_default.serving.prediction_log import PredictionLog

        config = self._config
        return PredictionLog(config.home / JOURNAL, worker=f"{config.port}-{os.getpid()}", fsync=config.fsync)

    async def wait_until_useful(self) -> None:
        """Wait before connections are taken that another worker could answer and this one could not."""
        follower, until = self.follower, time.monotonic() + _USEFUL_SECONDS
        while self._ready_workers is not None and self._production.model is None and time.monotonic() < until:
            if (follower.looked.is_set() or follower.hang) and not self._ready_workers.exist():
                return
            await asyncio.sleep(_USEFUL_TURN_SECONDS)

    def _join_ready(self) -> None:
        """Tell the other workers that this one can answer, and have them look for its version."""
        if self._ready_workers is not None and self._ready_workers.join():
            self._sign.touch()

    def close(self) -> None:
        """Stop following, and write what the logs still hold."""
        self.follower.close()
        self.registry.close()
        self.app.close()
        self.log.close()


def serve(config: ServerConfig, listener: socket, registry: RegistryClient | None = None) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; what is in flight is finished then.

    Several workers have a client each; a `registry` that was opened before is the one worker's.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from loan_default.serving.connection import Connection

    config.home.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
    _raise_file_limit()
    with TemporaryDirectory(prefix="loan-default-metrics-") as counts, LogProcess(_log_settings(config)):
        if config.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts  # read when prometheus_client is imported
        uvicorn_config = uvicorn.Config(
            Worker(config, registry),
            host=config.host,
            port=config.port,
            http=Connection,
            workers=config.workers,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_worker_healthcheck=_HUNG_SECONDS,
            lifespan="on",  # by default it would serve without what has failed to start
        )
        listener.set_inheritable(True)  # by the workers
        # uvicorn puts this back, then raises again what has stopped it
        _ignore(signal.SIGTERM, signal.SIGINT, *_NOBODYS)
        hangup = signal.getsignal(signal.SIGHUP)
        if config.workers > 1:
            supervisor = Multiprocess(uvicorn_config, sockets=[listener])
            _stop_at_hangup(hangup)
            supervisor.run()
            _ignore(signal.SIGTERM, signal.SIGINT)  # that one puts nothing back
        else:
            _stop_at_hangup(hangup)
            uvicorn.Server(uvicorn_config).run(sockets=[listener])


def _log_settings(config: ServerConfig) -> LogSettings:
    return LogSettings(
        str(config.home / JOURNAL),
        config.storage,
        config.retention_months,
        str(last_version_file(config.home, STAGING)),
        config.policy.shadow_share,
    )


def _ignore(*stops: signal.Signals) -> None:
    """Ignore stops, which uvicorn handles while it serves: they are no failure, and the end is not to be broken off."""
    for stop in stops:
        signal.signal(stop, signal.SIG_IGN)


def _stop_at_hangup(handler: Any) -> None:
    """Stop, as at SIGTERM, when the terminal closes; unless the one that started us says that we outlive it."""
    outlives = handler is signal.SIG_IGN  # as nohup does
    signal.signal(signal.SIGHUP, signal.SIG_IGN if outlives else lambda *_: signal.raise_signal(signal.SIGTERM))


def _raise_file_limit() -> None:
    """Have as many connections as the system allows, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = 2 * _MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * _MOST_CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))


def _connections() -> int:
    """Compute how many connections a worker may have; the other files are for the model, the logs and the registry."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_CONNECTIONS, files // 2 if files != resource.RLIM_INFINITY else _MOST_CONNECTIONS)


def _prepare_process() -> None:
    """Set for many small answers what Python and the C library set for one large program."""
    gc.set_threshold(_COLLECT_AFTER)
    sys.setswitchinterval(_TURN_SECONDS)
    with suppress(AttributeError):  # a C library that has no such setting
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        set_option(_M_MMAP_THRESHOLD, _ARRAY_BYTES)
