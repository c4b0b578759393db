"""The registry asked by a helper: real processes, that die, hang, or lose the one that they work for.

A helper imports this module and has no Polars: what needs it is imported by the test that does.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from loan_default.adapters.tracking import PRODUCTION, STAGING, ModelVersion, Tracking, TrackingError
from loan_default.risk.errors import BadInput
from loan_default.serving.registry_client import RegistryClient, last_version_file
from loan_default_tests.waiting import within

pytestmark = pytest.mark.integration

OWNER = """
import sys, time
from pathlib import Path
from loan_default.adapters.tracking import PRODUCTION, Tracking
from loan_default.serving.registry_client import RegistryClient

if __name__ == "__main__":
    registry = RegistryClient(Tracking(sys.argv[1], ""), Path(sys.argv[2]), first=PRODUCTION)
    registry.version_of(PRODUCTION)
    print("asked", *sorted({"mlflow"} & {*sys.modules}), flush=True)
    time.sleep(60)
"""


class Odd(Exception):
    """Needs two arguments and so cannot be sent."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


@dataclass(frozen=True)
class Local(Tracking):
    """A registry that needs no MLflow: the alias says what happens to the helper."""

    def version_of(self, alias: str) -> ModelVersion | None:
        if alias == "refused":
            raise TrackingError("The registry is down.")
        if alias == "bad":
            raise BadInput("The alias is bad.")
        if alias == "odd":
            raise Odd("this", "that")
        if alias == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if alias == "hangs":
            time.sleep(60)
        return None

    def download_package(self, version: ModelVersion, folder: Path) -> NoReturn:
        raise BadInput("The package is bad.")


@contextmanager
def asking(tracking: Tracking, models: Path, first: str = PRODUCTION) -> Iterator[RegistryClient]:
    registry = RegistryClient(tracking, models, first=first)
    try:
        yield registry
    finally:
        registry.close()


def helpers(pid: int) -> set[int]:
    """List the processes below this one that answer questions."""
    pids = set()
    for child in {child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()}:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if b"--multiprocessing-fork" in Path(f"/proc/{child}/cmdline").read_bytes():
                pids.add(int(child))
    return pids


def helper_of(pid: int) -> int:
    """Return the only helper below this process, which is found a moment after it was started."""
    assert within(10, lambda: len(helpers(pid)) == 1), helpers(pid)
    return helpers(pid).pop()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_answers_as_the_registry_does(tmp_path: Path) -> None:
    from loan_default_tests.stores import log_model, new_run, new_tracking

    tracking = new_tracking(tmp_path / "store")
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_model(tracking, run_id, "logistic_regression"), {"why": "a test"})
    with asking(tracking, tmp_path / "models", first=STAGING) as registry:
        assert registry.version_of(PRODUCTION) is None
        assert registry.version_of(STAGING) == version
        assert registry.download_package(version) == tracking.download_package(version, tmp_path / "models")
        tracking.move_alias(PRODUCTION, version.version)
        assert registry.version_of(PRODUCTION) == tracking.version_of(PRODUCTION), "what was asked early is forgotten"


@pytest.mark.parametrize("is_remembered", [False, True])
def test_the_first_question_is_asked_at_once_where_answers_wait_for_it(tmp_path: Path, is_remembered: bool) -> None:
    assert within(10, lambda: not helpers(os.getpid())), "those of other tests end by themselves"
    if is_remembered:
        last_version_file(tmp_path, PRODUCTION).touch()
    registry = RegistryClient.begin(Local("", ""), tmp_path, tmp_path)
    try:
        assert within(10, lambda: bool(helpers(os.getpid())) is not is_remembered)
        assert registry.version_of(PRODUCTION) is None
    finally:
        registry.close()


def test_errors_arrive_as_what_they_are(tmp_path: Path) -> None:
    with asking(Local("", ""), tmp_path, first="refused") as registry:
        for _ in range(2):
            with pytest.raises(TrackingError, match=r"^The registry is down\.$"):
                registry.version_of("refused")
        with pytest.raises(BadInput, match=r"^The alias is bad\.$"):
            registry.version_of("bad")
        with pytest.raises(RuntimeError, match=r"^Odd: this: that$"):
            registry.version_of("odd")
        assert registry.version_of(PRODUCTION) is None, "the helper lives on"


def test_a_helper_that_dies_is_replaced(tmp_path: Path) -> None:
    assert within(10, lambda: not helpers(os.getpid())), "those of other tests end by themselves"
    with asking(Local("", ""), tmp_path) as registry:
        with pytest.raises(TrackingError, match=r"^The process that asks the registry has died; [^.]+\.$"):
            registry.version_of("dies")
        assert registry.version_of("anything") is None
        helper = helper_of(os.getpid())
        os.kill(helper, signal.SIGKILL)
        assert within(10, lambda: gone(helper))

        def answers() -> bool:
            with suppress(TrackingError):  # asked before the death is noticed
                return registry.version_of("anything") is None
            return False

        assert within(10, answers)
        assert within(10, lambda: bool(helpers(os.getpid()) - {helper}))


def test_a_question_without_an_answer_does_not_keep_it_from_closing(tmp_path: Path) -> None:
    with asking(Local("", ""), tmp_path) as registry:
        assert registry.version_of("anything") is None
        helper = helper_of(os.getpid())
        registry._submit(registry._tracking.version_of, "hangs")
        time.sleep(0.2)
        began = time.monotonic()
        registry.close()
        assert within(20, lambda: gone(helper))
        assert time.monotonic() - began < 20  # it would take 60
        with pytest.raises(TrackingError, match="is not asked any more"):
            registry.version_of("anything")


@pytest.mark.parametrize("answers", [True, False])
def test_the_helper_ends_with_the_process_it_works_for(tmp_path: Path, answers: bool) -> None:
    """Even where that one is killed, and whether the helper waits for a question or for an answer."""
    from loan_default_tests.stores import new_tracking

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says a word
        uri = (
            new_tracking(tmp_path / "store").tracking_uri if answers else f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        (tmp_path / "owner.py").write_text(OWNER, encoding="utf-8")
        command = [sys.executable, str(tmp_path / "owner.py"), uri, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
            if answers:
                assert owner.stdout is not None
                assert owner.stdout.readline() == "asked\n", "the process that asks has not imported MLflow"
            else:
                silent.accept()
            helper = helper_of(owner.pid)
            owner.kill()
            assert within(5, lambda: gone(helper))


def test_ctrl_c_does_not_reach_the_helper(tmp_path: Path) -> None:
    with asking(Local("", ""), tmp_path) as registry:
        helper = helper_of(os.getpid())
        for _ in range(20):  # while it starts, too
            os.kill(helper, signal.SIGINT)
            time.sleep(0.02)
        assert registry.version_of("anything") is None
        assert not gone(helper)
