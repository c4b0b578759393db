"""Reads one value of a file, a text, a number, a month or a word, as an expression over a column of any type.

What a field makes of it belongs in `field_values`; which columns there are belongs in `loan_files`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import product
from typing import Any

import polars as pl
import polars.selectors as cs

from loan_default.risk.contract.file_format import FileFormat
from loan_default.risk.contract.months import CENTURY
from loan_default.risk.contract.spelling import WHOLE, alike, is_boolean, spelling
from loan_default.risk.month_texts import (
    MONTH_CODES,
    coded_month_number,
    day_by,
    first_day,
    month_by,
    month_of,
    out_of_years,
)

_BITS, _TRUTHS = ("0", "1"), ("false", "true")
_LONG_WORD = 6  # letters: of longer words not every letter case is written out
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_CURRENCY = r"(\p{L}{0,3}\p{Sc}|\p{Lu}{3})?"
# Figures in groups, or with a currency, as some lender writes them: 1.234,56, 1 234, R$ 5, (5.00), 5 EUR.
_NUMBER_BY_OTHERS = rf"^[(+\-\s]*{_CURRENCY}[\s+-]*\d[\d.,'\u2019\s\x{{a0}}\x{{202f}}]*{_CURRENCY}[)\s-]*$"
_NUMBER_WITH_LETTERS = r"^[-+]?\d+(\.\d+)?\s*\p{L}{3,}\.?$"
_NUMBER_IN_PARTS = r"^\d+\s*\p{L}+\.?[\s,]*\d+\s*\p{L}+\.?$"
# Dates as some lender writes them: 31/12/2012, 1.2.12, 2012.12.31, 201212, 20121231, Dec-12.
_DATE_BY_OTHERS = (
    r"^(\d{1,2}[./ -]\d{1,2}[./ -]\d{2}(\d{2})?\b|\d{4}[./]\d{1,2}\b|"
    r"(19|20)\d{2}(0[1-9]|1[0-2])(\d{2})?$|\p{L}{3}-\d{2}$)"
)
# The white space of Unicode, which `strip_chars` cuts off by default. Polars computes once what stands in two places,
# unless a null is written in it, as that default is.
_WHITE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_SPACES, _APOSTROPHES = " \u00a0\u202f", "'\u2019"  # that stand between thousands; one is declared, all are read


def strip_text(text: pl.Expr, letters: str = "") -> pl.Expr:
    """Cut blanks and `letters` off both ends of a text; an empty text becomes null."""
    text = text.str.strip_chars(" \t" + letters)
    return pl.when(text != "").then(text)


def source_column(column: str, dtype: pl.DataType, nothing: Iterable[str], own: Collection[str] = ()) -> pl.Expr:
    """Return a column of the file; texts are stripped here, once for all readers, and null where they say nothing.

    Args:
        column: of the file.
        dtype: its type.
        nothing: the words that say so, in any letter case.
        own: words that mean something here, as they are written.
    """
    # By name, as `pl.col` takes `*`, and what begins with ^ and ends with $, for a pattern.
    by_name = cs.by_name(column).as_expr() if column == "*" or column[:1] == "^" else pl.col(column)
    if dtype != pl.String:
        return by_name
    text = by_name.str.strip_chars(_WHITE)
    return pl.when(~_says_nothing(text, nothing, own)).then(text)


def words_for_nothing(words: Iterable[str]) -> frozenset[str]:
    """Return the words in lower case, as a text stripped and made so is one of them."""
    return frozenset(map(str.lower, words))


def _says_nothing(text: pl.Expr, nothing: Iterable[str], own: Collection[str]) -> pl.Expr:
    """Compare with every letter case written out, as changing that of a column takes as long as reading it."""
    words = [*nothing]
    short = {case for word in words if not _is_long(word) for case in _letter_cases(word)}
    says_nothing = text.is_in(sorted(short.difference(own)))
    long = [word.lower() for word in words if _is_long(word)]
    if long:
        says_nothing |= text.str.to_lowercase().is_in(long) & ~text.is_in([*own])
    return says_nothing


def _is_long(word: str) -> bool:
    return sum(map(str.isalpha, word)) > _LONG_WORD


def _letter_cases(word: str) -> Iterable[str]:
    return map("".join, product(*({letter.lower(), letter.upper()} for letter in word)))


def as_text(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn a `source_column` of any type into text."""
    if dtype == pl.String:
        return expr
    if dtype.is_float():  # whole numbers, where pandas had a gap among them
        return expr.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    text = expr.cast(pl.String)
    return text.str.replace(r"\.0+$", "") if isinstance(dtype, pl.Decimal) else strip_text(text)


def as_exact_text(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn a `source_column` into text, a whole number with all its figures: 1e17 is no loan's id."""
    text = as_text(expr, dtype)
    if not dtype.is_float():
        return text
    integer = expr.cast(pl.Int128, strict=False)
    return pl.when(integer == expr).then(integer.cast(pl.String)).otherwise(text)


def text_of(value: Any) -> str:
    """Turn a value of Python into the text that `as_exact_text` makes of it."""
    integral = isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value)
    return str(int(value) if integral else value)


def read_number(text: pl.Expr, files: FileFormat, *, percent: bool = False) -> pl.Expr:
    """Read a stripped text as Float64; null where it is no number as the book's files write them.

    Thousands are groups of three figures, the first of one to three; those before the last may have two, as in India.

    Args:
        text: what the file says.
        files: the decimal sign, and what may stand in and around a number.
        percent: whether a percent sign may stand behind it.
    """
    text = _cut_signs(text, files, percent=percent)
    inside = None
    if files.negative_in_brackets:
        inside = text.str.extract(r"^\(\s*([^-+\s].*?)\s*\)$")
        text = pl.coalesce(_cut_signs(inside, files, percent=percent), text)
    number = _with_point(text, files).cast(pl.Float64, strict=False).fill_nan(None)
    return number if inside is None else pl.when(inside.is_not_null()).then(-number).otherwise(number)


def read_parts(text: pl.Expr, parts: Mapping[str, float]) -> pl.Expr:
    """Read a stripped text such as `2yrs 3mon` as Float64; null where it is none of these parts, in their order.

    Args:
        text: what the file says.
        parts: the letters behind each whole number, in any letter case, with what one of it counts.
    """
    pattern = "".join(rf"(?:(\d+)\s*{re.escape(letters)}\.?[\s,]*)?" for letters in parts)
    pattern = f"(?i)^{pattern}$"
    counts = (
        text.str.extract(pattern, number).cast(pl.Float64, strict=False).fill_null(0.0) * each
        for number, each in enumerate(parts.values(), start=1)
    )
    return pl.when(text.str.contains(pattern)).then(pl.sum_horizontal(counts))


def why_no_number(text: pl.Expr, allowed: str) -> pl.Expr:
    """Say why `read_number` reads nothing from a value of a file, which may be a number by other signs."""
    must = f"it must be {allowed}"
    if_declared = "is no number by the signs that the contract gives under files (decimal, thousands, currency)"
    return (
        pl.when(text.str.contains(_NUMBER_BY_OTHERS))
        .then(pl.lit(f"{if_declared}; write it by them, or give those of the file: {must}"))
        .when(text.str.contains(_NUMBER_IN_PARTS))
        .then(pl.lit(f"is written in parts; say what each counts, as parts: {{yrs: 12, mon: 1}} of this field: {must}"))
        .when(text.str.contains(_NUMBER_WITH_LETTERS))
        .then(pl.lit(f"is no number alone; if the letters are its unit, say them as strip of this field: {must}"))
        .otherwise(pl.lit(f"is no number; {must}"))
    )


def _cut_signs(text: pl.Expr, files: FileFormat, *, percent: bool) -> pl.Expr:
    """Cut a currency off either end of a number, and a percent sign off its right end."""
    if percent:
        text = text.str.strip_suffix("%").str.strip_chars_end()
    if files.currency:
        signs = "|".join(map(re.escape, sorted(files.currency, key=len, reverse=True)))
        text = text.str.replace(rf"^([-+]?)\s*(?:{signs})\s*", "${1}").str.replace(rf"\s*(?:{signs})$", "")
    return text


def _with_point(text: pl.Expr, files: FileFormat) -> pl.Expr:
    """Take the thousands' signs out of well grouped numbers, and make the decimal sign a point."""
    if files.thousands:
        alike = next((signs for signs in (_SPACES, _APOSTROPHES) if files.thousands in signs), files.thousands)
        sign, decimal = f"[{re.escape(alike)}]", re.escape(files.decimal)
        grouped = rf"^[-+]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}(?:{decimal}\d*)?$"
        text = pl.when(text.str.contains(grouped)).then(text.str.replace_all(sign, "")).otherwise(text)
    return text if files.decimal == "." else text.str.replace_many([".", files.decimal], ["?", "."])


@dataclass(frozen=True)
class Vocabulary:
    """The words that a field or the status lists, each with its meaning, as any writer may write them.

    A whole number may have a point and noughts behind it, a boolean any letter case, unless two words that are listed
    would then be one and mean different things. Where 0 and 1 are listed and no other number, false and true stand for
    them, and the other way round.
    """

    meanings: Mapping[str, Any]
    numbers: bool
    booleans: bool
    decimal: str

    @classmethod
    def of(cls, meanings: Mapping[str, Any], decimal: str = ".") -> Vocabulary:
        """Take words with their meanings."""
        rules = {
            "numbers": any(WHOLE.fullmatch(word) for word in meanings),
            "booleans": any(is_boolean(word) for word in meanings),
        }
        for rule in [name for name, applies in rules.items() if applies]:
            rules[rule] = not any(alike(meanings, **{"numbers": False, "booleans": False, rule: True}))
        return cls({spelling(word, **rules): meaning for word, meaning in meanings.items()}, **rules, decimal=decimal)

    def spell(self, word: str) -> str:
        """Return a listed word as texts of `spell_column` have it."""
        return spelling(word, numbers=self.numbers, booleans=self.booleans)

    @property
    def truths(self) -> Mapping[str, str]:
        """Return the words that stand for listed ones, as false for 0."""
        words, pairs = self.meanings.keys(), dict(zip(_BITS, _TRUTHS, strict=True))
        figures = {word for word in words if WHOLE.fullmatch(word)}
        if figures == {*_BITS} and words.isdisjoint(_TRUTHS):
            return {truth: bit for bit, truth in pairs.items()}
        return pairs if not figures and words >= {*_TRUTHS} else {}

    def spell_column(self, text: pl.Expr) -> pl.Expr:
        """Return texts of a file as `meanings` has them."""
        if self.numbers or self.truths.keys() >= {*_BITS}:
            text = text.str.replace(rf"^(-?\d+)(?:{re.escape(self.decimal)}0*|\.0)$", "${1}")
        if self.booleans or self.truths:
            lower = text.str.to_lowercase()
            text = pl.when(lower.is_in(_TRUTHS)).then(lower).otherwise(text)
        return translate_words(text, self.truths, text, pl.String)

    def translate(self, text: pl.Expr, otherwise: pl.Expr, dtype: Any) -> pl.Expr:
        """Replace each word by its meaning, any other text by `otherwise`."""
        return translate_words(self.spell_column(text), self.meanings, otherwise, dtype) if self.meanings else otherwise

    def lists(self, text: pl.Expr) -> pl.Expr:
        """Tell whether a text is one of the words."""
        return self.spell_column(text).is_in([*self.meanings])


def numeric_words(words: Iterable[str]) -> dict[str, float]:
    """Return those of a contract's words that are written as a number, with it."""
    return {word: float(word) for word in words if _NUMBER.fullmatch(word)}


def translate_words(text: pl.Expr, words: Mapping[Any, Any], otherwise: pl.Expr, dtype: Any) -> pl.Expr:
    """Replace each word, or number, by what it stands for, any other by `otherwise`.

    A chain of conditions, as `replace` would gather the column in memory.
    """
    return reduce(
        lambda rest, word: pl.when(text == word).then(pl.lit(words[word], dtype=dtype)).otherwise(rest),
        words,
        otherwise,
    )


def read_month(expr: pl.Expr, dtype: pl.DataType, formats: Sequence[str] = (), century: int = CENTURY) -> pl.Expr:
    """Read the first day of the month from a date, or from a text or number of one of the formats.

    Args:
        expr: a `source_column`.
        dtype: its type.
        formats: strptime's directives, or `days since 1899-12-30` (months, days or seconds); the first that fits
            counts, and behind them `Dec-2015`, `2015-12` and `2015-12-31`, which mean one month to everybody.
        century: the hundred years that `%y` means begin here.
    """
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return month_of(expr.dt.date())
    if dtype == MONTH_CODES:
        return first_day(coded_month_number(expr))
    text = as_text(expr, dtype)
    named = text.cast(MONTH_CODES, strict=False)
    others = text
    if all("%b" in format_ for format_ in formats):  # no such format means another month by these texts
        others = pl.when(named.is_null()).then(text).otherwise(pl.lit(""))
    by_format = [month_by(format_, others, century) for format_ in formats]
    return pl.coalesce(*by_format, first_day(coded_month_number(named)), month_of(_day(text)))


def why_no_date(text: pl.Expr, allowed: str) -> pl.Expr:
    """Say why nothing is read from a value of a file of which no format is said, and which may be a date by one."""
    if_declared = 'is no month, as the contract says no format; write format: "%d/%m/%Y", or that of the file, there'
    return (
        pl.when(text.str.contains(_DATE_BY_OTHERS))
        .then(pl.lit(f"{if_declared}, or the value as {allowed}"))
        .otherwise(pl.lit(f"is no month; it must be {allowed}"))
    )


def why_no_month(
    expr: pl.Expr, dtype: pl.DataType, formats: Sequence[str], otherwise: pl.Expr, today: date | None = None
) -> pl.Expr:
    """Say why nothing is read from a month's value: that it is of another time, as after `today`, or `otherwise`.

    To be asked of the few rows that are rejected: each format is tried again.
    """
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        days = [expr.dt.date()]
    else:
        text = as_text(expr, dtype)
        days = [*(day_by(format_, text) for format_ in (*formats, "%b-%Y", "%Y-%m")), _day(text)]
    return pl.coalesce(*(out_of_years(day, today) for day in days), otherwise)


def _day(text: pl.Expr) -> pl.Expr:
    dated = (text.str.len_bytes() == 10) | text.str.slice(10, 1).is_in(["T", " "])
    day = pl.when(dated).then(text.str.slice(0, 10)).otherwise(pl.lit(""))
    return day.str.to_date("%Y-%m-%d", strict=False)
