"""The two streams of the command: what was asked for goes to one, mistakes and progress beside JSON to the other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 110  # columns where there is no terminal to ask


def output() -> Console:
    """Return the console of stdout."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def errors() -> Console:
    """Return the console of stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(record: Any) -> None:
    """Print a record or a dataclass as JSON, and nothing else, on stdout; times as ISO 8601."""
    sys.stdout.write(json.dumps(record, indent=2, default=_plain, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Turn a dataclass into a dictionary, and any other value that JSON does not know into text."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def program() -> str:
    """Return how this command was started, as it can be typed again in this folder."""
    import shutil

    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return "python -m loan_default.cli"
    return started.name if shutil.which(started.name) == str(started.absolute()) else shorten_path(started)


def shorten_path(path: Path) -> str:
    """Return a path as a person in this folder would type it: from here, where it lies below."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)


def read_password() -> str:
    """Ask for a new password without showing it, or read it from a pipe."""
    from getpass import getpass

    return getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
