"""Reads months from texts by one format, and reckons with months, as expressions over a column.

Which formats a field has belongs in `contract.months`, reading a value of a file in `data.parsing`. Tested in
`risk/data/test_parsing.py` and `risk/contract/test_months.py`.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

import polars as pl

from loan_default.risk.contract.months import CENTURY, SINCE, epoch_of

_FIRST_YEAR, _LAST_YEAR = 1920, 2079
_WHOLE_YEAR = 1000  # from which a year has its four figures
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Every spelling of every month, two a month: the position in this list says which month a text is.
MONTH_TEXTS = tuple(
    text
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1)
    for number, name in enumerate(MONTHS, 1)
    for text in (f"{name}-{year}", f"{year}-{number:02d}")
)
MONTH_CODES = pl.Enum(MONTH_TEXTS)  # type of a column that a reader made of such texts alone
_DAY = re.compile(r"%[-_0]?[dejsDFxc]")  # directives that say the day
_FIGURES_ALONE = re.compile(r"(?:%[Ymdyj])+")


def month_by(format_: str, text: pl.Expr, century: int) -> pl.Expr:
    """Return the first day of the month that a text of a format means; null where it is of another.

    Args:
        format_: strptime's directives, or `days since 1899-12-30` (months, days or seconds).
        text: stripped.
        century: the hundred years that `%y` means begin here.
    """
    day = day_by(format_, text)
    if "%y" in format_ and century != CENTURY:  # the hundred years that Polars means
        year = century + (day.dt.year() - century) % 100
        return _checked_month(12 * (year - _FIRST_YEAR).cast(pl.Int32) + day.dt.month() - 1)
    return month_of(day)


def day_by(format_: str, text: pl.Expr) -> pl.Expr:
    """Return a day of the month that a text of a format means, whatever its year; arguments as `month_by`."""
    if since := SINCE.fullmatch(format_):
        return _day_since(since[1], epoch_of(since), text.cast(pl.Float64, strict=False))
    if _FIGURES_ALONE.fullmatch(format_):  # one number, which may be written as one
        text = text.str.strip_suffix(".0")
    if not _DAY.search(format_):
        text, format_ = text + " 1", format_ + " %d"
    return text.str.to_date(format_, strict=False)


def read_differently(first: str, second: str, century: int) -> tuple[str, date, date] | None:
    """Return a text that two formats read as different months, and these months; None where there is none.

    The texts are those that either format makes of the days of twelve years.
    """
    days = [date(2001, 1, 1) + timedelta(days=number) for number in range(12 * 365)]
    texts = [_written(day, format_) for format_ in (first, second) for day in days]
    months = pl.DataFrame({"text": texts}).with_columns(
        month_by(format_, pl.col("text"), century).alias(name) for name, format_ in (("a", first), ("b", second))
    )
    different = months.filter(pl.col("a") != pl.col("b"))
    return None if different.is_empty() else different.row(0)


def _written(day: date, format_: str) -> str:
    """Write a day by a format."""
    since = SINCE.fullmatch(format_)
    if since is None:
        return f"{day:{format_}}"
    epoch = epoch_of(since)
    if since[1] == "months":
        return str(12 * (day.year - epoch.year) + day.month - epoch.month)
    return str((day - epoch).days * (86_400 if since[1] == "seconds" else 1))


def _day_since(unit: str, epoch: date, number: pl.Expr) -> pl.Expr:
    """Return a day so many whole units after the epoch; null where it is beyond what a calendar holds."""
    count = number / 86_400 if unit == "seconds" else number
    count = pl.when(count.is_between(-(10**5), 10**5)).then(count).floor().cast(pl.Int32)
    if unit == "months":
        return first_day(count + (12 * (epoch.year - _FIRST_YEAR) + epoch.month - 1))
    return (count + (epoch - date(1970, 1, 1)).days).cast(pl.Date)


def _checked_month(months: pl.Expr) -> pl.Expr:
    return first_day(pl.when(months.is_between(0, len(MONTH_TEXTS) // 2 - 1)).then(months).cast(pl.Int32))


def month_of(day: pl.Expr) -> pl.Expr:
    """Return the first day of a day's month; null where no loan is of that year."""
    return pl.when(day.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR)).then(day.dt.month_start())


def out_of_years(day: pl.Expr, today: date | None = None) -> pl.Expr:
    """Say of a day of four figures of a year that no loan is of it; null of others."""
    year = day.dt.year()
    later, last = (day > today, f"{today:%Y-%m-%d}") if today else (year > _LAST_YEAR, f"December {_LAST_YEAR}")
    future = pl.when(later).then(pl.lit(f"lies in the future, after {last}"))
    return future.when(year.is_between(_WHOLE_YEAR, _FIRST_YEAR - 1)).then(pl.lit(f"lies before January {_FIRST_YEAR}"))


def month_number(month: pl.Expr) -> pl.Expr:
    """Count the months (Int32) since January of 1920: half the position of the month's text in `MONTH_TEXTS`."""
    return 12 * (month.dt.year() - _FIRST_YEAR).cast(pl.Int32) + month.dt.month() - 1


def coded_month_number(month: pl.Expr) -> pl.Expr:
    """Return the `month_number` of a column of `MONTH_CODES`."""
    return month.to_physical().cast(pl.Int32) // 2


def months_after(month: pl.Expr, months: pl.Expr) -> pl.Expr:
    """Return the first day of the month that comes so many months (Float64) later."""
    return months_after_number(month_number(month), months)


def months_after_number(number: pl.Expr, months: pl.Expr) -> pl.Expr:
    """Return what `months_after` does of a month by its `month_number`."""
    count = months.clip(0, 1200).ceil().cast(pl.Int32)  # no date can hold more; a term as wild is rejected elsewhere
    return first_day(number + count)


def first_day(months: pl.Expr) -> pl.Expr:
    """Turn months since January of `_FIRST_YEAR` into the first day of that month.

    By whole numbers, a fifth of the time of `pl.date`: days since 1970 by years that begin in March, so that the day of
    a leap year is their last (E. Richards, Mapping Time, 1998).
    """
    months = months.cast(pl.Int32) + 12 * _FIRST_YEAR - 2
    year, month = months // 12, months % 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 - 719_468
    return days.cast(pl.Int32).cast(pl.Date)
