"""One value of a file: a text, a month or a word, as an expression over a column of any type.

What a field makes of it is `cleaning`'s; which columns there are is `loan_files`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import polars as pl

_NOTHING = ("", "n/a", "N/A", "NA", "nan", "NaN", "null", "NULL")  # texts that mean: no value
_FIRST_YEAR, _LAST_YEAR = 1920, 2079
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Every spelling of every month, two a month: the position in this list says which month a text is.
MONTH_TEXTS = tuple(
    text
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1)
    for number, name in enumerate(_MONTHS, 1)
    for text in (f"{name}-{year}", f"{year}-{number:02d}")
)


def trimmed(text: pl.Expr, letters: str = "") -> pl.Expr:
    """Text without blanks (and `letters`) around it; empty text is null."""
    text = text.str.strip_chars(" \t" + letters)
    return pl.when(text != "").then(text)


def taken(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column of the file; its texts are trimmed here, once for all that reads it, and null where they say nothing."""
    if dtype != pl.String:
        return pl.col(column)
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.is_in(_NOTHING)).then(text)


def text_of(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A taken column as text."""
    if dtype.is_float():  # whole numbers, where pandas had a gap among them
        return expr.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    return expr if dtype == pl.String else trimmed(expr.cast(pl.String))


def in_words(text: pl.Expr, words: Mapping[str, Any], otherwise: pl.Expr, dtype: Any) -> pl.Expr:
    """What the words stand for, else `otherwise`. A chain, as `replace` would gather the column in memory."""
    return reduce(
        lambda rest, word: pl.when(text == word).then(pl.lit(words[word], dtype=dtype)).otherwise(rest),
        words,
        otherwise,
    )


def read_month(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """First day of the month: from a date, `Dec-2015`, `2015-12` or `2015-12-31`."""
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _month_of(expr.dt.date())
    text = text_of(expr, dtype)
    named = _first_day(text.cast(pl.Enum(MONTH_TEXTS), strict=False).to_physical().cast(pl.Int32) // 2)
    day = pl.when(text.str.len_bytes() >= 10).then(text.str.slice(0, 10)).str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(named, _month_of(day))


def _month_of(day: pl.Expr) -> pl.Expr:
    return pl.when(day.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR)).then(day.dt.month_start())


def month_number(month: pl.Expr) -> pl.Expr:
    """Count the months (Int32) since January of 1920: half the position of the month's text in `MONTH_TEXTS`."""
    return 12 * (month.dt.year() - _FIRST_YEAR).cast(pl.Int32) + month.dt.month() - 1


def months_after(month: pl.Expr, months: pl.Expr) -> pl.Expr:
    """The first day of the month that comes so many months (Float64) later."""
    whole = months.clip(0, 1200).ceil().cast(pl.Int32)  # no date can hold more; a term as wild is rejected elsewhere
    return _first_day(month_number(month) + whole)


def _first_day(months: pl.Expr) -> pl.Expr:
    """Months since January of `_FIRST_YEAR` → the first day of that month."""
    return pl.date(_FIRST_YEAR + months // 12, months % 12 + 1, 1)
