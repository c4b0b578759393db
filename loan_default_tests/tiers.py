"""The tiers of tests, by what a test needs: each has one, and what a unit test may not do fails it.

A test without a marker is a unit test. `pyproject.toml` explains the markers, and `Makefile` has the commands that run
each tier. The hooks are pytest's once `conftest.py` imports them; fixtures belong there.
"""

import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from typing import Any
from unittest import mock

import pytest

MARKERS = ("integration", "container", "long")
# Audit events of Python that a unit test may not cause.
_FORBIDDEN = {
    "socket.bind": "opens a socket",
    "socket.connect": "opens a socket",
    "subprocess.Popen": "starts a process",
    "os.exec": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "sqlite3.connect": "opens a database on disk",
}


def tier_of(item: pytest.Item) -> str:
    """Return the marker of the test's tier, `unit` where it has none; raise `UsageError` where it has several.

    A test's own marker counts before that of its module.
    """
    for node in reversed(item.listchain()):
        markers = {marker.name for marker in node.own_markers if marker.name in MARKERS}
        if len(markers) > 1:
            raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(sorted(markers))}: a test has one tier")
        if markers:
            return markers.pop()
    return "unit"


class UnitGuard:
    """Fails the test under way when it does what is forbidden, also where it swallows the failure."""

    def __init__(self) -> None:
        self._active = False
        self._violation: str | None = None
        self._bystanders: set[int | None] = set()  # threads of earlier tests' libraries
        platform.processor()  # libraries ask for it when they are loaded; Python starts `uname` for it, once
        sys.addaudithook(self._audit)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Forbid all of that meanwhile; raise pytest's `Failed` at the end where a thread tried."""
        others = (thread.ident for thread in threading.enumerate() if thread is not threading.current_thread())
        self._active, self._violation, self._bystanders = True, None, {*others}
        try:
            with mock.patch.object(BaseProcess, "start", lambda _: self._fail("starts a process")):
                yield
        finally:
            self._active = False
        if self._violation:
            pytest.fail(self._violation)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        in_memory = event == "sqlite3.connect" and "memory" in str(arguments[0])
        if self._active and event in _FORBIDDEN and not in_memory and threading.get_ident() not in self._bystanders:
            self._fail(f"{_FORBIDDEN[event]} ({event}{arguments!r:.120})")

    def _fail(self, action: str) -> None:
        self._violation = (
            f"a unit test {action}: mark it `integration`, or `long` where it takes 20 seconds and more, "
            "or `container` where it needs a container engine"
        )
        pytest.fail(self._violation)


_UNIT_GUARD = UnitGuard()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test of several tiers before any test runs."""
    tier_of(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Hold a unit test, its setup and its call alike, to what its tier allows."""
    with _UNIT_GUARD.guard() if tier_of(item) == "unit" else nullcontext():
        return (yield)


pytest_runtest_call = pytest_runtest_setup
