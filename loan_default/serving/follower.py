"""Follows an alias of the registry: loads its version in the background, checks it, and swaps it in in one step.

Whatever fails, the last good version goes on answering, and `trouble` says what is wrong. Requests that hold the old
version finish on it; it is freed with the last of them.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.tracking import ModelVersion, TrackingError
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import UnknownFields
from loan_default.serving.served_model import ServedModel

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25  # how often the sign of a reload is looked for
_HANG_SECONDS = 10.0  # after which a registry that does not answer is told of
_RETRY_SECONDS = 60.0  # before a version that failed is tried again


@dataclass
class FollowedAlias:
    """One alias: the version that answers for it, and what went wrong with a newer one.

    `last` is a file that remembers the version, so that a restart answers before, or without, the registry.
    `registry_version` is the version that the registry named last, and `answered_at` when (seconds since 1970).
    """

    alias: str
    last: Path | None = None
    model: ServedModel | None = None
    trouble: str | None = None
    swaps: int = 0
    failures: int = 0
    registry_version: int | None = None
    answered_at: float | None = None
    failed: tuple[int, float] | None = field(default=None, repr=False)


class Follower:
    """A background thread that keeps each `FollowedAlias` at the version that its alias names."""

    def __init__(
        self,
        followed: list[FollowedAlias],
        find: Callable[[str], ModelVersion | None],
        package: Callable[[ModelVersion], Path],
        *,
        sign: Path,
        seconds: float,
        unknown_fields: UnknownFields = "refuse",
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Follow aliases.

        Args:
            followed: what to keep current; the caller reads `model` of each at any time.
            find: the version that an alias names now.
            package: where the model package of a version lies, downloaded.
            sign: a file; touching it makes every worker look at once.
            seconds: between two looks at the registry.
            unknown_fields: what versions do with fields that their contract does not know.
            ready: called before the first alias gets a version, and after each look at which it has one.
        """
        self.followed = followed
        self._find, self._package = find, package
        self._sign, self._seconds, self._unknown_fields, self._ready = sign, seconds, unknown_fields, ready
        self.looked = threading.Event()  # at the registry, at least once
        self._one_at_a_time = threading.Lock()
        self._asked_at: float | None = None  # while the registry is asked
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow; the first look is immediate."""
        self._thread.start()

    def close(self) -> None:
        """Stop following the aliases."""
        self._stop.set()

    def look(self, *, again: bool = False) -> None:
        """Look at the registry now; `again` also tries a version that failed a moment ago."""
        with self._one_at_a_time:
            for followed in self.followed:
                if again:
                    followed.failed = None
                self._follow(followed)
            if self.followed and self.followed[0].model is not None:
                self._ready()  # again, where it could not be told when the version came
        self.looked.set()

    @property
    def hang(self) -> str | None:
        """Tell of a registry that has been asked and does not answer."""
        asked_at = self._asked_at
        if asked_at is None or (seconds := time.monotonic() - asked_at) < _HANG_SECONDS:
            return None
        return f"The registry has not answered for {seconds:.0f} s; nothing newer is seen until it does."

    def recall(self) -> None:
        """Answer by the versions that were served last, until the registry is asked."""
        with self._one_at_a_time:
            for followed in self.followed:
                if followed.model is None and followed.last is not None and followed.last.exists():
                    self._take(followed, recall_version(followed.last, self._unknown_fields))

    def _take(self, followed: FollowedAlias, model: ServedModel | None) -> None:
        """Answer by a version; others, who wait for one instead of refusing, learn before the first answer of it."""
        try:
            if model is not None and followed is self.followed[0]:
                self._ready()
        finally:
            followed.model = model

    def _run(self) -> None:
        _warm_up()
        self.recall()
        last_sign, due = self._sign_time(), 0.0
        while not self._stop.is_set():
            sign = self._sign_time()
            if sign != last_sign or time.monotonic() >= due:
                self.look(again=sign != last_sign)
                last_sign, due = sign, time.monotonic() + self._seconds
            self._stop.wait(_LOOK_SECONDS)

    def _sign_time(self) -> int:
        try:
            return self._sign.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _follow(self, followed: FollowedAlias) -> None:
        try:
            version = self._ask(followed.alias)
            followed.answered_at, followed.registry_version = time.time(), version.version if version else None
            if version is None:
                followed.trouble = f"No version has the alias {followed.alias}; promote one."
            elif followed.model is not None and followed.model.version == version.version:
                followed.trouble = None
            elif not _failed_lately(followed, version.version):
                self._swap(followed, version)
        except TrackingError as error:
            followed.trouble = str(error)
        except Exception as error:  # the thread must live on, and the last good model with it
            log.exception("following %s failed", followed.alias)
            followed.trouble = f"Following {followed.alias} failed: {error}"

    def _ask(self, alias: str) -> ModelVersion | None:
        self._asked_at = time.monotonic()
        try:
            return self._find(alias)
        finally:
            self._asked_at = None

    def _swap(self, followed: FollowedAlias, version: ModelVersion) -> None:
        try:
            package = self._package(version)
            model = _load(package, version.version, self._unknown_fields)
        except Exception as error:
            followed.failures += 1
            followed.failed = (version.version, time.monotonic())
            followed.trouble = f"Version {version.version} cannot be loaded: {str(error).rstrip('.')}."
            if not isinstance(error, BadInput | TrackingError | OSError):
                log.exception("version %s cannot be loaded", version.version)
            return
        self._take(followed, model)
        followed.trouble = None
        followed.swaps += 1
        if followed.last is not None:
            remembered = {"version": version.version, "package": str(package)}
            storage.write_json(UPath(followed.last), remembered)
        log.warning("%s is version %s (%s)", followed.alias, version.version, model.quick_form)


def recall_version(last: Path, unknown_fields: UnknownFields = "refuse") -> ServedModel | None:
    """Load the version that a file remembers, None where it cannot be had any more."""
    try:
        remembered = json.loads(last.read_text(encoding="utf-8"))
        return _load(Path(remembered["package"]), remembered["version"], unknown_fields)
    except (BadInput, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is not recalled, the registry will tell: %s", last, error)
        return None


def _load(package: Path, version: int, unknown_fields: UnknownFields) -> ServedModel:
    model = ServedModel.load(package, version, unknown_fields)
    gc.freeze()  # what is loaded now stays: later collections need not look at it while requests wait
    return model


def _warm_up() -> None:
    """Import what loading a version will: the first answer of the registry takes longer, in another process.

    XGBoost imports scikit-learn for estimators that are not used here, and with it pandas and SciPy's statistics: 0.8
    of 1.1 s. SciPy asks for all that numpy has, and with it for its translator of Fortran: 0.12 s, 3 MB. Both go
    without; whoever needs them imports them later.
    """
    with _hidden(sys.modules, "sklearn", None), _hidden(vars(np), "f2py", ModuleType("numpy.f2py")):
        for name in ("onnxruntime", "xgboost"):
            with suppress(ImportError):  # loading says it where it matters
                import_module(name)


@contextmanager
def _hidden(names: MutableMapping[str, Any], name: str, instead: Any) -> Iterator[None]:
    """Have a name stand for something else, unless it has been imported already."""
    if name in names:
        yield
        return
    names[name] = instead
    try:
        yield
    finally:
        del names[name]


def _failed_lately(followed: FollowedAlias, version: int) -> bool:
    if followed.failed is None or followed.failed[0] != version:
        return False
    return time.monotonic() - followed.failed[1] < _RETRY_SECONDS
