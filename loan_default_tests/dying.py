"""A Dagster command that kills itself: `python -m loan_default_tests.dying LOG STEP INSTANT ARGUMENTS…`.

INSTANT is `0.2s` after the step began, `before 2`, `after 2` or `half 2` of its changes, or `never`. A change is what
others may see: a file that is written in the storage or takes its place, or a word to the registry. Every change is a
line of LOG.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any


class Death:
    """Counts the changes of a step, and ends this process at the chosen one."""

    def __init__(self, log: Path, step: str, instant: str) -> None:
        self.log, self.step, self.instant = log, step, instant
        self.step_now, self.changes, self.inside = "", 0, False

    def die(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write("died\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def begin(self, step: str) -> None:
        self.step_now, self.changes = step, 0
        if step == self.step and self.instant.endswith("s"):
            threading.Timer(float(self.instant[:-1]), self.die).start()

    def end(self) -> None:
        self.step_now = ""

    def changing(
        self,
        function: Callable[..., Any],
        describe: Callable[..., str | None],
        do_half: Callable[..., None] | None = None,
    ) -> Callable[..., Any]:
        """Wrap `function`, whose call is a change where `describe` names it; what it calls itself is not counted."""

        @wraps(function)
        def change(*arguments: Any, **options: Any) -> Any:
            name = describe(*arguments) if self.step_now and not self.inside else None
            if name is None:
                return function(*arguments, **options)
            self.changes += 1
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{self.step_now}\t{'half' if do_half else 'after'} {self.changes}\t{name}\n")
            number = self.changes if self.step_now == self.step else 0
            if do_half and self.instant == f"half {number}":
                do_half(*arguments)
                self.die()
            if self.instant == f"before {number}":
                self.die()
            self.inside = True
            try:
                answer = function(*arguments, **options)
            finally:
                self.inside = False
            if self.instant == f"after {number}":
                self.die()
            return answer

        return change


def watch(death: Death) -> None:
    """Tell `death` which step runs, and each change."""
    watch_steps(death)
    watch_files(death)
    watch_registry(death)


def watch_steps(death: Death) -> None:
    from dagster import DagsterInstance

    handle = DagsterInstance.handle_new_event

    @wraps(handle)
    def handle_and_follow(self: Any, event: Any, **options: Any) -> None:
        handle(self, event, **options)
        step_event = event.dagster_event
        if step_event and step_event.event_type_value == "STEP_START":
            death.begin(step_event.step_key)
        elif step_event and step_event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE"):
            death.end()

    DagsterInstance.handle_new_event = handle_and_follow  # type: ignore[method-assign]


def watch_files(death: Death) -> None:
    home = Path(os.environ["LOAN_DEFAULT_HOME"])
    storage = Path(os.environ["LOAN_DEFAULT_STORAGE"])

    def describe_replacement(_: Any, target: Any, *__: Any) -> str | None:
        path = Path(os.fspath(target))
        folders = (storage, home / "models", home / "serving")
        folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
        return f"{path.relative_to(folder)} takes its place" if folder else None

    def describe_writing(path: Any, *_: Any) -> str | None:
        return f"{Path(path).relative_to(storage)} is written" if Path(path).is_relative_to(storage) else None

    def describe_move(_: Any, target: Any) -> str | None:
        return describe_writing(target)

    def move_half(source: Any, target: Any) -> None:
        content = Path(source).read_bytes()
        Path(target).write_bytes(content[: len(content) // 2])

    write_text = Path.write_text

    def write_half(path: Path, text: str, **_: Any) -> None:
        write_text(path, text[: len(text) // 2])

    for name in ("rename", "replace"):
        setattr(os, name, death.changing(getattr(os, name), describe_replacement))
    shutil.move = death.changing(shutil.move, describe_move, move_half)
    Path.write_text = death.changing(write_text, describe_writing, write_half)  # type: ignore[method-assign]


def watch_registry(death: Death) -> None:
    from mlflow import MlflowClient

    def describe_request(name: str, *arguments: Any) -> str:
        return " ".join([name, *map(str, arguments[2:4])])

    for name in ("create_model_version", "set_registered_model_alias"):
        describe = partial(describe_request, name)
        setattr(MlflowClient, name, death.changing(getattr(MlflowClient, name), describe))


if __name__ == "__main__":
    log, step, instant, *sys.argv[1:] = sys.argv[1:]
    watch(Death(Path(log), step, instant))
    from dagster._cli import main

    sys.argv[0] = "dagster"
    main()  # type: ignore[no-untyped-call]
