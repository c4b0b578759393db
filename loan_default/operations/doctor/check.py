"""Describes a check of the doctor, what it may leave for the next, and its diagnosis, in sentences that people read.

What is checked stands in the module of its topic, how checks are run in `examination`.

Tested in `operations/doctor/test_examination.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from loan_default.homes import HomeOrigins
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion

Mark = Literal["ok", "note", "wrong"]

ASK_SECONDS = 5.0  # of one question to a server
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Diagnosis:
    """The finding of a check as a sentence, and the remedy where something is to be done."""

    check: str
    mark: Mark
    message: str
    remedy: str = ""


@dataclass
class CheckContext:
    """The settings, and what a check leaves for those after it."""

    settings: Settings
    homes: HomeOrigins = field(default_factory=lambda: HomeOrigins("export", "export"))
    storage_works: bool = False
    production: ModelVersion | None = None
    records_open: bool = False  # those of Dagster
    clocks: list[tuple[str, datetime, datetime]] = field(default_factory=list)  # owner, its time, ours at that moment
    timestamps: list[tuple[str, datetime]] = field(default_factory=list)  # owner, a time that should lie in the past


@dataclass(frozen=True)
class Check:
    """A named check; `remedy` is for a failure that it does not know, or where no answer comes within `seconds`."""

    name: str
    run: Callable[[CheckContext], Iterator[Diagnosis]]
    remedy: str
    seconds: float = 20.0


def diagnosis_of(check: str, error: Exception | str, remedy: str, before: str = "") -> Diagnosis:
    """Turn a sentence of the platform into a diagnosis; `remedy` serves where the sentence names none."""
    line = " ".join(str(error).split())
    message, *advice = re.split(r"; |: (?=start )", line, maxsplit=1)
    return Diagnosis(check, "wrong", f"{before}{message.rstrip('.')}.", _sentence(advice[0]) if advice else remedy)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def size_of(size: int) -> str:
    """Format a size in bytes as MB or GB."""
    return f"{size / GIGABYTE:,.1f} GB" if size >= GIGABYTE // 10 else f"{size / 1_000_000:,.1f} MB"


def duration_of(span: timedelta) -> str:
    """Format a span roughly: `40 s`, `5 hours`."""
    seconds = span.total_seconds()
    for length, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}s"
    return f"{seconds:.0f} s"


def unreachable_database(check: str, what: str, error: ConnectionError, variable: str) -> Diagnosis:
    """Diagnose that a database cannot be asked, whose address the variable holds."""
    message = f"The database at {what} cannot be asked: {str(error).rstrip('.')}."
    return Diagnosis(check, "wrong", message, f"Start it, or correct {variable}.")


def address_without_login(url: str) -> str:
    """Leave out of a database's address who logs in."""
    return re.sub(r"//.*@", "//", url).partition("?")[0]
