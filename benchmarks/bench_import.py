"""Importing the platform's definitions, which Dagster does for each process it starts, against Dagster alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.fresh import alternating, fresh


def figures(folder: Path, *, times: int = 5) -> list[Figure]:
    """Import in fresh interpreters; `folder` is not used."""
    names = ("loan_default.definitions", "dagster")
    ours, dagster = alternating(times, *(partial(fresh, load, module=name) for name in names))
    what = "import loan_default.definitions"
    return [compared(what, ours, dagster, "import dagster", ours.seconds / dagster.seconds, 1.5, "most")]


def load(module: str) -> Callable[[], Any]:
    """Import the module; nothing is prepared."""

    def work() -> None:
        importlib.import_module(module)

    return work
