"""The distributed engine: Dask's workers read, clean, train, tune, score and profile, each some of the parts.

How work is spread, and what becomes of it when a worker dies, belongs here; what is done with a part is `risk`'s.
Neither this process nor any worker ever has all rows of a table in memory, and a worker that dies costs time only.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.adapters.xgboost_tracker import tracker_apart
from loan_default.risk.arrays import Floats
from loan_default.risk.compute import Schema, Table, TablePart, part_bounds, stream_frames
from loan_default.risk.data.splits import Splits, WindowName
from loan_default.risk.data.splitting import window_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.model.development import (
    BoostingSpec,
    Development,
    OpenLabel,
    Sample,
    SampledFrom,
    margins_of,
)
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.text import plural

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

MISSING = (
    "LOAN_DEFAULT_ENGINE is dask, but Dask is not installed here; install it with make dask or pip install "
    "'loan-default[dask]', or set LOAN_DEFAULT_ENGINE=local."
)
_FEWEST_ROWS = 10_000  # of a part, where there are more parts for the sake of workers
_PARTS_OF_A_WORKER = 4  # or more: the rest of what one that died did is shared out among the others
_CONNECT_SECONDS = 15
_REPLACED_SECONDS = 60  # in which a worker that died should be replaced; then those that live go on alone
_FITS = 4  # times that a fit is begun, as workers die
_SILENT_SECONDS = 30  # of a worker in a fit, before the others give it up
_FREE_SECONDS = 10.0  # in which the others should have; who waits for one to connect would never
_GATHER_SECONDS = 120  # for the workers of a fit to find each other, and to part: one that died before never comes
# One thread for each worker: a part or a trial is one thread's work, and Dask runs a task in each.
_WORKER_ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

log = logging.getLogger(__name__)


class WorkersError(OSError):
    """The scheduler or its workers do not answer, which may pass; the message says which and what to do."""


def require_dask() -> None:
    """Check that Dask is installed.

    Raises:
        BadInput: says what to install.
    """
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise BadInput(MISSING)


class DaskEngine:
    """The workers of a scheduler, or where no address is given some of this machine's, which end with `close`.

    `patience`: seconds in which a scheduler without workers may get one.
    """

    def __init__(self, address: str = "", workers: int | None = None, patience: float = 60) -> None:
        require_dask()
        self._address, self._workers, self._patience = address, workers, patience

    @cached_property
    def client(self) -> Client:
        """The client of the scheduler, connected when it is first needed.

        Raises:
            WorkersError: no scheduler answers, or it has no worker.
        """
        from distributed import Client, LocalCluster

        if not self._address:
            return Client(
                LocalCluster(
                    n_workers=self._workers or os.cpu_count(),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    env=_WORKER_ENVIRONMENT,
                )
            )
        try:
            client = Client(self._address, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkersError(
                f"No Dask scheduler answers at {self._address} (LOAN_DEFAULT_DASK_ADDRESS); start one with dask "
                "scheduler, or leave the address empty for workers of this machine."
            ) from error
        if not _wait_for_workers(client, 1, self._patience):
            client.close()
            raise WorkersError(
                f"The Dask scheduler at {self._address} has had no worker for {self._patience:g} seconds; start some "
                f"with dask worker {self._address}."
            )
        return client

    def close(self) -> None:
        """Leave the scheduler, and end workers that were started here."""
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.close()
            if client.cluster is not None:
                client.cluster.close()

    @property
    def workers(self) -> Sequence[Mapping[str, Any]]:
        """The scheduler's facts on each worker: `nthreads`, `memory_limit` in bytes, …"""
        return list(self.client.scheduler_info(n_workers=-1)["workers"].values())

    @property
    def dashboard(self) -> str:
        """The address of Dask's own page, on which the workers can be watched."""
        return str(self.client.dashboard_link)

    # --- what any engine does ---------------------------------------------------------------------------------

    @property
    def processes(self) -> int:
        """The number of workers that there are now."""
        return len(self.client.nthreads())

    def parts(self, table: Table) -> Sequence[TablePart]:
        """Cut a table into some parts for each worker."""
        least = min(_PARTS_OF_A_WORKER * self.processes, table.rows // _FEWEST_ROWS)
        return [table.part(*bounds) for bounds in part_bounds(table.rows, max(least, 1))]

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function to each item as a task; a few more than there are threads are under way at once."""
        most = 2 * sum(self.client.nthreads().values())
        function_future, submit = self._ship(function)
        waiting: deque[Future[Any]] = deque()
        with _explaining_errors():
            try:
                for item in items:
                    waiting.append(submit(item))
                    if len(waiting) >= most:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                self.client.cancel([*waiting, function_future])

    def map_rows(self, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, schema: Schema) -> pl.LazyFrame:
        """Apply a function to a table part by part; each comes here when it is ready."""
        return stream_frames(lambda: self.map(partial(_through, function), self.parts(table)), schema)

    def development(
        self,
        loans: Table,
        space: FeatureSpace,
        splits: Splits,
        at_most: int | None = None,
        label: OpenLabel | None = None,
    ) -> Development:
        """Lay out both windows in the memory of the workers, each holding some of their loans."""
        return DaskDevelopment(self, loans, _Windows(space, splits, splits.share_of(at_most), label))

    # --- how it is done ---------------------------------------------------------------------------------------

    def _ship(self, function: Callable[..., Any]) -> tuple[Future[Any], Callable[..., Future[Any]]]:
        """Send a function to the workers, once each; return its future, and what submits it for an item."""
        from distributed.protocol.pickle import dumps

        name, shipped = _name_of(function), _ShippedFunction(dumps(function))
        function_future = self.client.submit(_same, shipped, key=f"{name}_itself-{uuid.uuid4().hex}")

        def submit(item: Any, **where: Any) -> Future[Any]:
            return self.client.submit(_call, function_future, item, key=f"{name}-{uuid.uuid4().hex}", **where)

        return function_future, submit

    def spread(self, function: Callable[[Item], Any], items: Sequence[Item]) -> list[Future[Any]]:
        """Have the workers compute and hold a function's results, in turn; what is lost with a worker is made again."""
        from distributed import wait

        workers = list(self.client.nthreads())
        _, submit = self._ship(function)
        with _explaining_errors():
            futures = [
                submit(item, workers=[workers[number % len(workers)]], allow_other_workers=True)
                for number, item in enumerate(items)
            ]
            wait(futures)
            for future in futures:
                if future.status == "error":
                    future.result()
        return futures


def _name_of(function: Callable[..., Any]) -> str:
    """Return the name by which Dask's page shows a function's tasks."""
    while isinstance(function, partial):
        function = function.args[0] if function.func is _through else function.func
    return function.__name__.strip("_")


def _same(function: Result) -> Result:
    return function


class _ShippedFunction:
    """A function that moves from worker to worker as it left here.

    What it caches in one worker is that one's own: a worker may hand it to another while a task fills its caches, which
    cannot be pickled then (and a task that waits for a function that was not handed on waits for ever).
    """

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[type[_ShippedFunction], tuple[bytes]]:
        return _ShippedFunction, (self._pickled,)

    @cached_property
    def function(self) -> Callable[[Any], Any]:
        """Load the function, once in each process."""
        from distributed.protocol.pickle import loads

        function: Callable[[Any], Any] = loads(self._pickled)
        return function


def _call(shipped: _ShippedFunction, item: Any) -> Any:
    return shipped.function(item)


def _through(function: Callable[[pl.DataFrame], pl.DataFrame], part: TablePart) -> pl.DataFrame:
    return function(part.scan().collect())


def _wait_for_workers(client: Client, number: int, seconds: float) -> bool:
    """Wait for so many workers; where the time is over, tell whether there are any."""
    try:
        client.wait_for_workers(number, timeout=seconds)
    except TimeoutError:
        return bool(client.nthreads())
    return True


def _dead_workers(client: Client, workers: set[str]) -> set[str]:
    """Return those of the workers that the scheduler has lost, or loses within some seconds."""
    for _ in range(20):
        if died := workers - set(client.nthreads()):
            return died
        time.sleep(0.25)
    return set()


def _restart_waiting(client: Client, seconds: float) -> None:
    """Restart workers that after so many seconds are still at a task of this client, whose fit has failed.

    XGBoost's workers wait without limit for each other to connect, and the thread that waits for a dead one does
    nothing else any more: a task that Dask gives it waits for ever.
    """
    deadline = time.monotonic() + seconds
    while waiting := [worker for worker, keys in client.processing().items() if {*keys} & {*client.futures}]:
        if time.monotonic() > deadline:
            log.warning("Restarting %s, which would wait for ever for one that died.", plural(len(waiting), "worker"))
            client.restart_workers(waiting, raise_for_error=False)
            return
        time.sleep(0.25)


@contextmanager
def _explaining_errors() -> Iterator[None]:
    """Raise what Dask gives up as one sentence."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise BadInput(
            f"{error.allowed_failures + 1} Dask workers died one after the other at the same piece of work; give each "
            "more memory (dask worker --memory-limit), and see what their logs say."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise WorkersError(
            "The Dask scheduler was lost in the middle of work; see what its log says, and run again once it is back."
        ) from error


# --- training -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Windows:
    """The loans to develop a model on: a share of those of each window; by a label also those not matured."""

    space: FeatureSpace
    splits: Splits
    share: float
    label: OpenLabel | None

    def sample(self, window: WindowName, part: TablePart) -> Sample:
        """Return the loans of a window that a part holds."""
        drawn = window_loans(
            part.scan(),
            self.space.contract,
            self.splits,
            window,
            offset=part.offset,
            share=self.share,
            with_open=self.label is not None,
        )
        return Sample.of(drawn, self.space, self.label)


def _names_of(window: SampledFrom) -> tuple[WindowName, ...]:
    return ("train", "calibrate") if window == "both" else (window,)


@dataclass(eq=False)
class DaskDevelopment:
    """Both windows, of which each worker holds some samples."""

    engine: DaskEngine
    loans: Table
    windows: _Windows

    @cached_property
    def space(self) -> FeatureSpace:
        """The columns that models see."""
        return self.windows.space

    @cached_property
    def _parts(self) -> Sequence[TablePart]:
        return self.engine.parts(self.loans)

    def _hold(self) -> dict[str, list[Future[Sample]]]:
        """Have each window's samples made, and return those that hold any loan."""
        samples = {}
        for name in ("train", "calibrate"):
            futures = self.engine.spread(partial(self.windows.sample, name), self._parts)
            rows = self._map(_loans_in, futures)
            samples[name] = [sample for sample, some in zip(futures, rows, strict=True) if some]
        return samples

    @cached_property
    def _samples(self) -> dict[str, list[Future[Sample]]]:
        return self._hold()

    def _map(self, function: Callable[[Sample], Result], samples: Sequence[Future[Sample]]) -> Iterator[Result]:
        """Apply a function to samples where they are: Dask puts each in the place of its future."""
        items: Sequence[Any] = samples
        return self.engine.map(function, items)

    def _window(self, window: SampledFrom) -> list[Future[Sample]]:
        return [sample for name in _names_of(window) for sample in self._samples[name]]

    def train_trees(self, fit: BoostingSpec) -> Any:
        """Fit by `xgboost.dask`; where a worker dies, for which it has no remedy, begin again with those that live."""
        workers: set[str] = set()
        with _explaining_errors():
            for again in range(_FITS):
                if workers:  # some of them died: shared out anew, once they are replaced
                    _wait_for_workers(self.engine.client, len(workers), _REPLACED_SECONDS)
                    self._samples = self._hold()
                workers = set(self.engine.client.nthreads())
                try:
                    return self._fit(fit)
                except Exception as error:
                    if not (died := _dead_workers(self.engine.client, workers)):
                        raise
                    lost = error
                log.warning("%d of %d workers died in fit %d.", len(died), len(workers), again + 1)
                _restart_waiting(self.engine.client, _FREE_SECONDS)
        raise BadInput(
            f"Dask workers died in each of {_FITS} fits; give each more memory (dask worker --memory-limit), or start "
            "more of them, and see what their logs say."
        ) from lost

    def _fit(self, fit: BoostingSpec) -> Any:
        from xgboost import dask as xgboost_dask
        from xgboost.collective import Config

        train = self._matrix(self._window(fit.window))
        calibrate = None if fit.stop_after is None else self._matrix(self._samples["calibrate"], train)
        train_by = partial(xgboost_dask.train, self.engine.client)
        config = Config(retry=3, timeout=_SILENT_SECONDS, tracker_timeout=_GATHER_SECONDS)
        with tracker_apart():
            return fit.by(train_by, train, calibrate, coll_cfg=config)["booster"]

    def _matrix(self, samples: Sequence[Future[Sample]], like: Any = None) -> Any:
        from dask import array
        from dask.delayed import delayed
        from xgboost.dask import DaskQuantileDMatrix

        def concatenate(name: str, *columns: int) -> Any:
            pieces = [
                array.from_delayed(delayed(getattr)(sample, name), shape=(np.nan, *columns), dtype=np.float32)
                for sample in samples
            ]
            return array.concatenate(pieces, allow_unknown_chunksizes=True)

        names = list(self.space.columns)
        X, y = concatenate("X", len(names)), concatenate("y")
        return DaskQuantileDMatrix(self.engine.client, X, y, feature_names=names, ref=like)

    def sample(self, window: SampledFrom, at_most: int, seed: int) -> Sample:
        """Draw loans, each with the same chance, and bring them here."""
        samples = self._window(window)
        rows = sum(self._map(_loans_in, samples))
        return Sample.concat([*self._map(partial(Sample.thin, share=at_most / rows, seed=seed), samples)])

    def margins(self, model: RiskModel) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Compute the margins of each sample where it is, with the outcomes."""
        parts = self._map(partial(margins_of, model), self._samples["calibrate"])
        margins, outcomes, matured = zip(*parts, strict=True)
        return np.concatenate(margins), np.concatenate(outcomes), np.concatenate(matured)

    def each(self, function: Callable[[Development, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Try one item for each worker at a time, which has binned all loans of both windows for itself."""
        development = _OneWorkerDevelopment(tuple(self._parts), self.windows)
        return self.engine.map(partial(function, development), items)  # type: ignore[arg-type]


def _loans_in(sample: Sample) -> int:
    return len(sample.y)


class _OneWorkerDevelopment:
    """Both windows as one worker has them to itself for a trial: binned, and read part by part for that."""

    def __init__(self, parts: tuple[TablePart, ...], windows: _Windows) -> None:
        self._parts, self._windows = parts, windows

    @property
    def space(self) -> FeatureSpace:
        """The columns that models see."""
        return self._windows.space

    @cached_property
    def _matrices(self) -> tuple[Any, Any]:
        train = self._binned("train")
        return train, self._binned("calibrate", train)

    def _binned(self, window: WindowName, like: Any = None) -> Any:
        import xgboost

        parts, windows = self._parts, self._windows
        names = list(self.space.columns)

        class SampleIterator(xgboost.DataIter):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self._rest = iter(parts)

            def next(self, input_data: Callable[..., Any]) -> bool:
                for part in self._rest:
                    sample = windows.sample(window, part)
                    if len(sample.y):
                        input_data(data=sample.X, label=sample.y, feature_names=names)
                        return True
                return False

            def reset(self) -> None:
                self._rest = iter(parts)

        return xgboost.QuantileDMatrix(SampleIterator(), ref=like)

    def sample(self, window: SampledFrom, at_most: int, seed: int) -> Sample:
        """Read the window's loans, each with the same chance."""
        loans = Sample.concat([self._windows.sample(name, part) for name in _names_of(window) for part in self._parts])
        return loans.thin(at_most / max(len(loans.y), 1), seed)

    def train_trees(self, fit: BoostingSpec) -> Any:
        """Fit on the train window."""
        import xgboost

        assert fit.window == "train"
        return fit.by(xgboost.train, *self._matrices)
