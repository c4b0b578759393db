"""The root of the command: its groups, and how a function becomes a command.

The modules of commands are light, as a typo and completion look at all of them: a function imports its operation on
its first line. Which arguments several commands share is `arguments`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from inspect import cleandoc
from itertools import count
from typing import Any, TypeVar

from cyclopts import App, Group, Parameter

import loan_default

Command = TypeVar("Command", bound=Callable[..., Any])

SETUP, TRAIN, SCORE, WATCH, SERVE = (
    Group.create_ordered(name) for name in ("Set up", "Train", "Score", "Watch", "Serve")
)


def version() -> str:
    """Return the package's version, looked up only when it is asked for."""
    return loan_default.__version__


def show_default(value: object) -> str | None:
    """Return a default as it would be typed; None where there is nothing to show."""
    if value is None or value is False or value in ((), ""):
        return None
    return f"{value:%Y-%m}" if isinstance(value, date) else str(value)


app = App(
    name="loan-default",
    help="Train, promote, score and watch a loan-default model.",
    help_format="rich",
    version=version,
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    default_parameter=Parameter(negative=(), show_default=show_default),  # no --no-force beside --force
    suppress_keyboard_interrupt=False,  # `main` names the exit code
    exit_on_error=False,
    print_error=False,
    result_action="return_int_as_exit_code_else_zero",
)
app["--help"].group = app["--version"].group = Group("Options", sort_key=100)

_numbers = count()  # commands stand in the order in which they are registered


def command(group: Group, *examples: str, parent: App = app) -> Callable[[Command], Command]:
    """Register a function as a command of a group, or of a command of several, with examples for its help's end."""
    lines = "\n".join(f"    loan-default {example}" for example in examples)
    epilogue = f"[bold]Examples[/bold]\n{lines}" if examples else ""
    options: dict[str, Any] = {"group": group} if parent is app else {}

    def register(function: Command) -> Command:
        function.__doc__ = _unwrap(function.__doc__ or "")
        return parent.command(function, sort_key=next(_numbers), help_epilogue=epilogue, **options)

    return register


def _unwrap(docstring: str) -> str:
    """Join the lines of each paragraph and of each argument, so that a help page breaks them by its own width."""
    return re.sub(r"(?<!\n)\n( {8})?(?=\S)", " ", cleandoc(docstring))
