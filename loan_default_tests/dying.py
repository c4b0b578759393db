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
        self.now, self.changes, self.inside = "", 0, False

    def die(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write("died\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def begins(self, step: str) -> None:
        self.now, self.changes = step, 0
        if step == self.step and self.instant.endswith("s"):
            threading.Timer(float(self.instant[:-1]), self.die).start()

    def changing(
        self,
        does: Callable[..., Any],
        named: Callable[..., str | None],
        half: Callable[..., None] | None = None,
    ) -> Callable[..., Any]:
        """As `does`, unless this is where to die; what `does` itself calls is not counted."""

        @wraps(does)
        def change(*given: Any, **more: Any) -> Any:
            name = named(*given) if self.now and not self.inside else None
            if name is None:
                return does(*given, **more)
            self.changes += 1
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{self.now}\t{'half' if half else 'after'} {self.changes}\t{name}\n")
            mine = self.changes if self.now == self.step else 0
            if half and self.instant == f"half {mine}":
                half(*given)
                self.die()
            if self.instant == f"before {mine}":
                self.die()
            self.inside = True
            try:
                answer = does(*given, **more)
            finally:
                self.inside = False
            if self.instant == f"after {mine}":
                self.die()
            return answer

        return change


def watch(death: Death) -> None:
    """Let it see which step runs, and each change."""
    from dagster import DagsterInstance
    from mlflow import MlflowClient

    handle = DagsterInstance.handle_new_event

    @wraps(handle)
    def handled(self: Any, event: Any, **named: Any) -> None:
        handle(self, event, **named)
        told = event.dagster_event
        if told and told.event_type_value == "STEP_START":
            death.begins(told.step_key)
        elif told and told.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE"):
            death.now = ""

    DagsterInstance.handle_new_event = handled  # type: ignore[method-assign]
    home = Path(os.environ["LOAN_DEFAULT_HOME"])
    storage = Path(os.environ["LOAN_DEFAULT_STORAGE"])

    def placed(_: Any, target: Any, *__: Any) -> str | None:
        path = Path(os.fspath(target))
        folders = (storage, home / "models", home / "serving")
        below = next((folder for folder in folders if path.is_relative_to(folder)), None)
        return below and f"{path.relative_to(below)} takes its place"

    def written(path: Any, *_: Any) -> str | None:
        return f"{Path(path).relative_to(storage)} is written" if Path(path).is_relative_to(storage) else None

    def half_moved(source: Any, target: Any) -> None:
        content = Path(source).read_bytes()
        Path(target).write_bytes(content[: len(content) // 2])

    write_text = Path.write_text

    def half_written(path: Path, text: str, **_: Any) -> None:
        write_text(path, text[: len(text) // 2])

    for name in ("rename", "replace"):
        setattr(os, name, death.changing(getattr(os, name), placed))
    shutil.move = death.changing(shutil.move, lambda source, target: written(target), half_moved)
    Path.write_text = death.changing(write_text, written, half_written)  # type: ignore[method-assign]
    for name in ("create_model_version", "set_registered_model_alias"):
        told = partial(lambda name, *given: " ".join([name, *map(str, given[2:4])]), name)
        setattr(MlflowClient, name, death.changing(getattr(MlflowClient, name), told))


if __name__ == "__main__":
    log, step, instant, *sys.argv[1:] = sys.argv[1:]
    watch(Death(Path(log), step, instant))
    from dagster._cli import main

    sys.argv[0] = "dagster"
    main()
