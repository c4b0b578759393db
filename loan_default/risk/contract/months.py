"""Describes how files write months: by which formats, and when those read none.

Reading a text by a format belongs in `data.parsing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import combinations
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DIRECTIVE = re.compile(r"%-?([A-Za-z%])")
SINCE = re.compile(r"(months|days|seconds) since (\d{4}-\d{2})(-\d{2})?")
_YEARS, _MONTHS = set("YyFDGs"), set("mbBhFDjs")  # directives that say the year, and the month
CENTURY = 1970  # in which the hundred years begin that %y means


def _as_formats(formats: Any) -> Any:
    return (formats,) if isinstance(formats, str) else formats


Formats = Annotated[  # of a month: one, or several in order of trial
    tuple[str, ...],
    BeforeValidator(_as_formats),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
FirstOfMonth = Annotated[date, WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}(-01)?$"})]


def epoch_of(since: re.Match[str]) -> date:
    """Return the day from which a format counts that `SINCE` matches.

    Raises:
        ValueError: there is no such day.
    """
    return date.fromisoformat(since[2] + (since[3] or "-01"))


def allowed_month(formats: Iterable[str]) -> str:
    """Say how a month may be written: for error messages."""
    examples = (f"{date(2015, 12, 31):{form}} ({form})" if "%" in form else f"the {form}" for form in formats)
    return "a month, as " + ", ".join([*examples, "Dec-2015 or 2015-12"])


def format_problem(formats: Sequence[str], century: int) -> str | None:
    """Say why months cannot be read by these formats, or not by all of them, or why a century says nothing."""
    for format_ in formats:
        directives = set(_DIRECTIVE.findall(format_))
        if since := SINCE.fullmatch(format_):
            try:
                epoch_of(since)
            except ValueError:
                return f"format {format_} counts from a day that there is not; write days since 1899-12-30"
        elif not (directives & _YEARS and directives & _MONTHS):
            return f"format {format_} says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
        elif strange := directives - set("YymbBhdejHMSfpIFTDRzZaAs%G"):
            return (
                f"format {format_} holds %{min(strange)}, which is not read; write %Y, %y, %m, %b, %B, %d, %H, %M, %S"
            )
    if century != CENTURY and not any("%y" in format_ or "%D" in format_ for format_ in formats):
        return "century is of years in two digits, and no format holds %y; delete century"
    return _ambiguity(formats, century) if len(formats) > 1 else None


def _ambiguity(formats: Sequence[str], century: int) -> str | None:
    """Say which text two of the formats read as different months."""
    from loan_default.risk.month_texts import read_differently  # needed by nobody who has one format

    for first, second in combinations(formats, 2):
        if different := read_differently(first, second, century):
            text, month, other = different
            return (
                f"formats {first} and {second} read {text} as {month:%Y-%m} and as {other:%Y-%m}; write the one "
                "by which the files are written"
            )
    return None
