"""Following an alias: swapped in one step, and whatever fails, the last good version stays."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loan_default.adapters.tracking import ModelVersion, TrackingError
from loan_default.serving import follower as follower_module
from loan_default.serving.follower import FollowedAlias, Follower
from loan_default_tests.packages import package
from loan_default_tests.waiting import within


class Registry:
    """A registry in memory: which version the alias names, and what happens when it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version: int | None = None
        self.error: Exception | None = None

    def find(self, alias: str) -> ModelVersion | None:
        if self.error:
            raise self.error
        return None if self.version is None else ModelVersion("m", self.version, "run", datetime.now(UTC))

    def package(self, version: ModelVersion) -> Path:
        return self.folder / str(version.version)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for version in (1, 2):
        package(tmp_path / str(version))
    return Registry(tmp_path)


@pytest.fixture
def production() -> FollowedAlias:
    return FollowedAlias("production")


@pytest.fixture
def follower(registry: Registry, production: FollowedAlias, tmp_path: Path) -> Follower:
    return Follower([production], registry.find, registry.package, sign=tmp_path / "reload", seconds=1000)


def version_of(followed: FollowedAlias) -> int | None:
    return followed.model.version if followed.model else None


def test_versions_are_swapped_as_the_alias_moves(
    registry: Registry, production: FollowedAlias, follower: Follower
) -> None:
    follower.look()
    assert production.model is None
    assert "No version has the alias production" in (production.trouble or "")
    for version in (1, 2, 1):
        registry.version = version
        follower.look()
        assert (version_of(production), production.trouble) == (version, None)
        assert production.registry_version == version
    assert production.swaps == 3
    assert production.answered_at and abs(time.time() - production.answered_at) < 60
    same = production.model
    follower.look()
    assert production.model is same


@pytest.mark.parametrize("error", [TrackingError("The registry is down."), RuntimeError("odd")])
def test_a_registry_that_fails_changes_nothing(
    registry: Registry, production: FollowedAlias, follower: Follower, error: Exception
) -> None:
    registry.version = 1
    follower.look()
    registry.version, registry.error = 2, error
    follower.look()
    assert version_of(production) == 1
    assert str(error) in (production.trouble or "")
    registry.error = None
    follower.look()
    assert (version_of(production), production.trouble) == (2, None)


def test_a_version_that_cannot_be_loaded_leaves_the_last_good_one(
    registry: Registry, production: FollowedAlias, follower: Follower
) -> None:
    registry.version = 1
    follower.look()
    registry.version = 7  # has no package
    follower.look()
    follower.look()
    assert (version_of(production), production.failures) == (1, 1), "it is not tried at every look"
    assert "Version 7 cannot be loaded" in (production.trouble or "")
    package(registry.folder / "7")
    follower.look(again=True)
    assert (version_of(production), production.trouble) == (7, None)


def test_a_sign_is_followed_at_once(registry: Registry, production: FollowedAlias, follower: Follower) -> None:
    registry.version = 1
    follower.start()
    try:
        assert within(10, lambda: version_of(production) == 1)
        registry.version = 2
        (registry.folder / "reload").touch()
        assert within(10, lambda: version_of(production) == 2)
    finally:
        follower.close()


def test_a_restart_answers_by_the_last_version_before_the_registry_does(registry: Registry, tmp_path: Path) -> None:
    last = tmp_path / "last.json"

    def follower_of(followed: FollowedAlias) -> Follower:
        return Follower([followed], registry.find, registry.package, sign=tmp_path / "reload", seconds=1000)

    registry.version = 1
    follower_of(FollowedAlias("production", last)).look()
    registry.error = TrackingError("The registry is down.")
    again = FollowedAlias("production", last)
    follower = follower_of(again)
    follower.recall()
    follower.look()
    assert (version_of(again), again.trouble) == (1, "The registry is down.")
    for text in ("{", "[]", '{"version": 1}', '{"version": 1, "package": "gone"}'):
        last.write_text(text, encoding="utf-8")
        nothing = FollowedAlias("production", last)
        follower_of(nothing).recall()
        assert nothing.model is None


@pytest.mark.integration
def test_what_loading_needs_is_imported_without_what_can_be_had_later() -> None:
    code = """
import sys
from loan_default.serving.follower import _warm_up
_warm_up()
assert {"xgboost", "onnxruntime"} <= sys.modules.keys()
assert not {"sklearn", "pandas", "scipy.stats", "numpy.f2py"} & sys.modules.keys()
import numpy
from sklearn.linear_model import LogisticRegression
assert callable(numpy.f2py.run_main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_registry_that_does_not_answer_is_told_of(
    registry: Registry, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, is_asking = threading.Event(), threading.Event()

    def find(alias: str) -> None:
        is_asking.set()
        answers.wait(10)

    monkeypatch.setattr(follower, "_find", find)
    monkeypatch.setattr(follower_module, "_HANG_SECONDS", 0.05)
    assert follower.hang is None
    look = threading.Thread(target=follower.look)
    look.start()
    assert is_asking.wait(10)
    assert within(5, lambda: follower.hang is not None)
    assert "The registry has not answered for 0 s" in (follower.hang or "")
    answers.set()
    look.join()
    assert follower.hang is None
