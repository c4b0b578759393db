"""The registry, asked by a process of its own: a helper that imports MLflow, so that the worker never does.

MLflow takes seconds to import and 100 MB of each worker, and asking it takes the interpreter's lock from requests.
What can be asked is `adapters.tracking`'s; what follows from the answers is `follower`'s.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, TypeVar

from loan_default.adapters.tracking import PRODUCTION, ModelVersion, Tracking, TrackingError
from loan_default.risk.errors import BadInput

Answer = TypeVar("Answer")

# MLflow imports these where they are installed, for data that the registry has none of; its small distribution,
# mlflow-skinny, goes without most of them. They would cost the helper 100 MB, and the first answer 0.3 s.
_NOT_NEEDED = ("mako.ext.pygmentplugin", "numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn")


def last_version_file(home: Path, alias: str) -> Path:
    """Return the file in a server's home that remembers the version which an alias had last."""
    return home / f"last-{alias}.json"


class RegistryClient:
    """A client that answers as `Tracking` does. A helper that has died is replaced at the next question."""

    def __init__(self, tracking: Tracking, models: Path, *, first: str | None = None) -> None:
        """Ask for the alias `first` at once, before anybody waits; else the helper starts at the first question.

        `models` is where packages are downloaded to.
        """
        self._tracking, self._models = tracking, models
        self._lock, self._closed = threading.Lock(), False
        self._helper = _Helper()
        self._early = {} if first is None else {first: self._submit(tracking.version_of, first)}

    @classmethod
    def begin(cls, tracking: Tracking, models: Path, home: Path) -> Self:
        """Ask at once for the version in production where the server's home remembers none, and so the answers wait.

        The helper imports MLflow while this process imports the rest. Where a version is remembered, the helper would
        only take time from the first answer.
        """
        return cls(tracking, models, first=None if last_version_file(home, PRODUCTION).exists() else PRODUCTION)

    def version_of(self, alias: str) -> ModelVersion | None:
        """Return the version that `alias` points at, if any.

        Raises:
            TrackingError: MLflow failed, or the helper did.
        """
        early = self._early.pop(alias, None)
        return _answer(early or self._submit(self._tracking.version_of, alias))

    def get(self, version: int) -> ModelVersion:
        """Return one version.

        Raises:
            TrackingError: MLflow failed, there is no such version, or the helper failed.
        """
        return _answer(self._submit(self._tracking.get, version))

    def download_package(self, version: ModelVersion) -> Path:
        """Return the folder of the version's model package, downloading it the first time.

        Raises:
            TrackingError: MLflow failed, or the helper did.
        """
        return _answer(self._submit(self._tracking.download_package, version, self._models))

    def close(self) -> None:
        """End the helper, whatever it waits for."""
        with self._lock:
            self._closed = True
            self._helper.close()

    def _submit(self, ask: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        with self._lock:
            if self._closed:
                raise TrackingError("The server stops; the registry is not asked any more.")
            try:
                return self._helper.submit(ask, *arguments)
            except BrokenProcessPool:  # it died while nobody asked
                self._helper.close()
                self._helper = _Helper()
                return self._helper.submit(ask, *arguments)


class _Helper:
    """A process that lives as long as this one holds the other end of a pipe: a kill -9 closes it too."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the worker's threads and their locks
        end, self._lifeline = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(1, context, _begin, (end,))

    def submit(self, ask: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        # The first question starts the process. Ctrl-C reaches the whole group; a blocked signal stays blocked in it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(_ask, ask, *arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def close(self) -> None:
        self._lifeline.close()
        self._executor.shutdown(cancel_futures=True)  # to leave it to Python's end is a race inside the executor


def _answer(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError) as error:
        raise TrackingError("The process that asks the registry has died; the next look starts another.") from error


# --- in the helper


def _begin(end: Connection) -> None:
    """Leave out what MLflow need not import; end when nobody holds the other end, even in the middle of a question."""
    gc.disable()  # until MLflow is imported: of what that makes nothing can be freed, and looking takes 0.2 s
    for name in _NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # importing it is an ImportError

    def wait() -> None:
        end.poll(None)  # nothing is ever sent
        os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _ask(question: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        return question(*arguments)
    except (TrackingError, BadInput, OSError):
        raise
    except Exception as error:  # its class might not cross, or bring its library into the worker
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    finally:
        if not gc.isenabled():  # MLflow stays
            gc.freeze()
            gc.enable()
