"""Types of arguments that several commands share: months, counts, reasons, JSON.

A value that cannot be one ends the command with exit code 2, before anything is done. What only the data can tell is
checked by the operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter, Token, validators


def _to_month(kind: Any, tokens: Sequence[Token]) -> date:
    text = tokens[0].value
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise ValueError(f"{text!r} is no month; write it as YYYY-MM.") from None


def _require_text(kind: Any, text: str | None) -> None:
    if text is not None and not text.strip():
        raise ValueError("It must not be empty.")


def _to_integer(kind: Any, tokens: Sequence[Token]) -> int:
    text = tokens[0].value
    if not text.removeprefix("-").isdecimal():  # else 2.5 would pass as 2
        raise ValueError(f"{text!r} is no whole number.")
    return int(text)


def between(least: int, most: int | None = None) -> Parameter:
    """Describe a whole number from `least` to `most`."""
    return Parameter(converter=_to_integer, validator=validators.Number(gte=least, lte=most), metavar="N")


Month = Annotated[date, Parameter(converter=_to_month, metavar="YYYY-MM")]
Reason = Annotated[
    str, Parameter(validator=_require_text, metavar="TEXT", help="Kept with the version and in the history.")
]
Port = Annotated[int, between(1, 65535)]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON and nothing else; docs/commands.md names its keys.")]
