"""Reads one value of a file, a text, a month or a word, as an expression over a column of any type.

What a field makes of it belongs in `field_values`; which columns there are belongs in `loan_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import polars as pl

_EMPTY_TEXTS = ("", "n/a", "N/A", "NA", "nan", "NaN", "null", "NULL")  # texts that mean: no value
_FIRST_YEAR, _LAST_YEAR = 1920, 2079
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Every spelling of every month, two a month: the position in this list says which month a text is.
MONTH_TEXTS = tuple(
    text
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1)
    for number, name in enumerate(MONTHS, 1)
    for text in (f"{name}-{year}", f"{year}-{number:02d}")
)


def strip_text(text: pl.Expr, letters: str = "") -> pl.Expr:
    """Cut blanks and `letters` off both ends of a text; an empty text becomes null."""
    text = text.str.strip_chars(" \t" + letters)
    return pl.when(text != "").then(text)


def source_column(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column of the file; texts are stripped here, once for all readers, and null where they say nothing."""
    if dtype != pl.String:
        return pl.col(column)
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.is_in(_EMPTY_TEXTS)).then(text)


def as_text(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn a `source_column` of any type into text."""
    if dtype.is_float():  # whole numbers, where pandas had a gap among them
        return expr.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    return expr if dtype == pl.String else strip_text(expr.cast(pl.String))


def translate_words(text: pl.Expr, words: Mapping[str, Any], otherwise: pl.Expr, dtype: Any) -> pl.Expr:
    """Replace each word by what it stands for, any other text by `otherwise`.

    A chain of conditions, as `replace` would gather the column in memory.
    """
    return reduce(
        lambda rest, word: pl.when(text == word).then(pl.lit(words[word], dtype=dtype)).otherwise(rest),
        words,
        otherwise,
    )


def read_month(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Read the first day of the month from a date, `Dec-2015`, `2015-12` or `2015-12-31`."""
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _month_of(expr.dt.date())
    text = as_text(expr, dtype)
    named = _first_day(text.cast(pl.Enum(MONTH_TEXTS), strict=False).to_physical().cast(pl.Int32) // 2)
    day = pl.when(text.str.len_bytes() >= 10).then(text.str.slice(0, 10)).str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(named, _month_of(day))


def _month_of(day: pl.Expr) -> pl.Expr:
    return pl.when(day.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR)).then(day.dt.month_start())


def month_number(month: pl.Expr) -> pl.Expr:
    """Count the months (Int32) since January of 1920: half the position of the month's text in `MONTH_TEXTS`."""
    return 12 * (month.dt.year() - _FIRST_YEAR).cast(pl.Int32) + month.dt.month() - 1


def months_after(month: pl.Expr, months: pl.Expr) -> pl.Expr:
    """Return the first day of the month that comes so many months (Float64) later."""
    count = months.clip(0, 1200).ceil().cast(pl.Int32)  # no date can hold more; a term as wild is rejected elsewhere
    return _first_day(month_number(month) + count)


def _first_day(months: pl.Expr) -> pl.Expr:
    """Turn months since January of `_FIRST_YEAR` into the first day of that month."""
    return pl.date(_FIRST_YEAR + months // 12, months % 12 + 1, 1)
