"""Describes how the files of a book are written, and its layouts: other forms of the same loans.

Reading such a file belongs in `data.loan_files` and `data.delimited`, turning a layout back in `data.field_values`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from pydantic import Field, field_validator

from loan_default.risk.contract.months import FirstOfMonth
from loan_default.risk.contract.outcome import Outcome
from loan_default.risk.section import Problem, Section

# Words that say that there is no value, in any letter case.
NOTHING = ("", "n/a", "NA", "nan", "null", "None", "<NA>", "#N/A", r"\N", "NaT", "-")
MAIN_LAYOUT = "main"  # what the form that the contract itself describes is called beside its layouts


_OF_NUMBERS = re.compile(r"\d|^[-+.,]$")


def _decodes_texts(encoding: str) -> bool:
    """Tell whether Python can read a file by an encoding, whatever bytes it holds."""
    try:
        return codecs.lookup(encoding)._is_text_encoding and b"a\xff".decode(encoding, "replace") != ""
    except (LookupError, UnicodeError):
        return False


class FileFormat(Section):
    """Says how the files of a book are written.

    Attributes:
        separator: the sign between two values.
        quote: the sign around a value; `none` where there is none.
        encoding: of the text, as Python calls it.
        decimal: the sign before the decimals of a number.
        thousands: the sign between thousands.
        currency: signs and words to cut off a number.
        negative_in_brackets: whether (1,200) is -1,200.
        nothing: words, in any letter case, that say that there is no value.
    """

    separator: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str | None = None
    currency: tuple[str, ...] = ()
    negative_in_brackets: bool = False
    nothing: tuple[str, ...] = NOTHING

    @field_validator("quote", "thousands", mode="before")
    @classmethod
    def _none_is_none(cls, sign: Any) -> Any:
        return None if sign == "none" else sign

    @property
    def caption(self) -> str:
        """Return the key of the contract."""
        return "files"

    def problems(self) -> Iterator[Problem]:
        """Yield signs that no file can be read by."""
        for key in ("separator", "quote", "decimal", "thousands"):
            sign = getattr(self, key)
            if sign is not None and len(sign) != 1:
                yield Problem(f"{key} {sign!r} is not one sign; write one, in quotes", (key,))
            elif sign is not None and (sign.isalnum() or sign in "\n\r\0"):
                yield Problem(f"{key} {sign!r} is a part of values or of lines; write another sign, in quotes", (key,))
            elif sign is not None and not sign.isascii() and key in ("separator", "quote"):
                yield Problem(f"{key} {sign} is no sign of ASCII, and a file is divided by one", (key,))
            elif sign in ("+", "-") and key in ("decimal", "thousands"):
                yield Problem(f"{key} {sign} is the sign before a number; write the one within it", (key,))
        if self.quote in (self.separator, self.decimal):
            yield Problem(
                f"quote and another sign are both {self.quote}; write the sign that the files have", ("quote",)
            )
        if self.decimal == self.thousands:
            yield Problem(f"decimal and thousands are both {self.decimal}; write two signs", ("thousands",))
        if "" in self.currency:
            yield Problem("currency holds an empty text; delete it", ("currency",))
        for sign in (sign for sign in self.currency if _OF_NUMBERS.search(sign)):
            yield Problem(f"currency {sign} may be a part of a number; delete it", ("currency",))
        if not _decodes_texts(self.encoding):
            problem = f"encoding {self.encoding} is none that Python knows; write utf-8, cp1252, latin-1 or utf-16"
            yield Problem(problem, ("encoding",))


class YearOnly(Section):
    """A layout that publishes only the year of a month field.

    Attributes:
        column: of the layout, with the year.
        field: the month field of the contract.
        month: 1 to 12, which completes it.
    """

    column: str
    field: str
    month: int = Field(ge=1, le=12)


class FileLayout(Section):
    """Another form of the same loans, recognised by columns of its header and turned back into natural units.

    Attributes:
        name: what people call the layout.
        recognised_by: columns that the header of no other layout has together.
        log1p: columns that hold the logarithm of one more than the value.
        texts: what the texts of a column stand for.
        year: the month field of which it publishes only the year.
        snapshot_month: when its files were taken.
    """

    name: str
    recognised_by: tuple[str, ...]
    log1p: tuple[str, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = {}
    year: YearOnly | None = None
    snapshot_month: FirstOfMonth | None = None

    def holds_ended_loans_only(self, outcome: Outcome) -> bool:
        """Tell whether all of its statuses say how a loan ended: loans without an outcome are not in such files."""
        statuses = {*self.texts.get(outcome.column, {}).values()}
        return bool(statuses) and not statuses & {*outcome.unresolved}

    @field_validator("snapshot_month", mode="before")
    @classmethod
    def _first_of_month(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])(-01)?", value):
            raise ValueError(f"{value} is no month; write it as 2018-12")
        return date.fromisoformat(f"{value[:7]}-01")

    @property
    def caption(self) -> str:
        """Return what people call it."""
        return f"layout {self.name}"

    def problems(self) -> Iterator[Problem]:
        """Yield what keeps the layout from being recognised or turned back."""
        if not self.recognised_by:
            yield Problem(
                "recognised_by names no column; write those of its header that others lack", ("recognised_by",)
            )
        elif self.year and self.year.column not in self.recognised_by:
            problem = f"year reads {self.year.column}, by which the layout is not recognised; add it to recognised_by"
            yield Problem(problem, ("year", "column"))
