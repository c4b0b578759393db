"""Profiles the columns of a table of which nothing is known yet: what is missing, numbers, months, levels.

Values are texts here, as a file has them. What a profile suggests for a contract is `contract_draft`'s; reading a table
by a contract is `loan_files`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, reduce

import polars as pl

from loan_default.risk.contract.file_format import NOTHING
from loan_default.risk.data.parsing import read_parts

_NOTHING = [*map(str.lower, NOTHING)]
MOST_LEVELS = 40  # of what counts as levels, and not as free text
_ROWS_OF_A_LEVEL = 5  # at least, of a column whose levels may tell the outcome
_SUFFIXES = {word: rf"^\d+(\.\d+)? {word[:-1]}s?$" for word in ("months", "years")}
_CURRENCY = (  # $, R$, NT$, €, ₹, and words for others
    r"(\p{L}{0,3}\p{Sc}|USD|EUR|GBP|CHF|PLN|CZK|HUF|RON|TRY|RUB|UAH|BGN|BRL|INR|KES|NGN|ZAR|IDR|MYR|kr\.?|zł|Kč|Ft|Rs\.?|TL|"
    r"lei|руб\.?|грн\.?|лв\.?|[KTU][Ss]h\.?|Rp|RM|/[-=])"
)
_THOUSANDS = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f]", "'": "['\u2019]"}  # each sign with what is read as it
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# Negative numbers that stand for no value beside others from 0 up: -9, -98, -999; beside many different ones -1 too.
_NO_VALUE, _NO_SCORE = r"^-(9+[6-9]?|[6-9])$", r"^-[1-5]$"
_MOST_CODES = 4  # of these in a column
_MOST_WORDS = 3  # beside the numbers of a column, as `k.A.`
_MANY_NUMBERS = 20  # different ones: beside so many the words are none of a list
_PADDED = r"^0\d+$"
_READ_SHARE = 0.98  # of the values that are there, for a column to count as numbers or months
# What the contract reads without a format comes first; a day comes before the month where either may be meant.
_DIRECTIVES = {
    **{"%d": r"\d{1,2}", "%m": r"\d{1,2}", "%Y": r"(19|20)\d{2}", "%y": r"\d{2}"},
    **{"%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}"},
    **{"%H": r"\d{1,2}", "%I": r"\d{1,2}", "%M": r"\d{2}", "%S": r"\d{2}", "%p": "[AaPp][Mm]"},
}
_DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y"),
    *(f"%d{sign}{month}{sign}{year}" for month in ("%b", "%B") for year in ("%Y", "%y") for sign in "-/ ."),
    *("%b %d, %Y", "%B %d, %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_MONTHS = (
    *(f"{month}{sign}{year}" for month in ("%b", "%B") for year in ("%y", "%Y") for sign in "-/ "),
    *("%m/%Y", "%m-%Y", "%m.%Y", "%Y/%m"),
)
_FORMATS: Mapping[str, str] = {
    "%b-%Y": r"[A-Za-z]{3}-\d{4}",
    "%Y-%m": r"\d{4}-\d{2}",
    "%Y-%m-%d": r"\d{4}-\d{2}-\d{2}([ T]\d{2}:.*)?",  # of a time the day, in whatever zone it was written
    **{
        form: reduce(lambda text, key: text.replace(key, _DIRECTIVES[key]), _DIRECTIVES, form.replace(".", r"\."))
        for form in (*(day + time for time in _TIMES for day in _DAYS), *_MONTHS)
    },
    "%Y%m%d": r"(19|20)\d{6}",
    "%Y%m": r"(19|20)\d{2}(0[1-9]|1[0-2])",
}
_DURATION = re.compile(r"(?:\d+\s*(y|yrs?|years?)\.?[\s,]*)?(?:\d+\s*(m|mos?|mons?|mths?|months?)\.?)?", re.IGNORECASE)
_SAMPLE_ROWS = 50  # of which most are of a format, or durations, before all are tried
UNDECLARED = {"%b-%Y", "%Y-%m", "%Y-%m-%d"}  # formats that a month needs no `format` for


@dataclass(frozen=True)
class NumberStyle:
    """Describe how a file writes its numbers; `currencies` and `brackets` were met in it."""

    decimal: str = "."
    thousands: str | None = None
    currencies: tuple[str, ...] = ()
    brackets: bool = False


@dataclass(frozen=True)
class ColumnProfile:
    """Describe what a column of texts holds.

    Attributes:
        name: as the header has it.
        rows: of the table.
        missing: rows without a value.
        distinct: different values.
        levels: the values, the most frequent first, where there are few of them.
        formats: of its months; several where they cannot be told apart.
        numbers: least and most, where the values are numbers; without `codes`.
        words: texts beside the numbers, where there are few different ones.
        codes: numbers below 0 that may stand for no value, as -9 and -8 beside others from 0 up.
        money: whether the numbers carry the sign of a currency.
        integral: whether the numbers are whole.
        percent: whether they carry a percent sign.
        suffix: `months` or `years`, where each number has the word behind it.
        parts: the letters of years and of months, with the months that one is, where durations are written by both.
        auc: how well the column alone tells defaulted from repaid loans, 0.5 to 1; None where no outcome is known.
    """

    name: str
    rows: int
    missing: int
    distinct: int
    levels: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    numbers: tuple[float, float] | None = None
    integral: bool = False
    percent: bool = False
    suffix: str = ""
    auc: float | None = None
    codes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    money: bool = False
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def missing_share(self) -> float:
        """Return the share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def is_unique(self) -> bool:
        """Tell whether each row has a value of its own."""
        return self.rows > 0 and self.missing == 0 and self.distinct == self.rows


@dataclass(frozen=True)
class TableProfile:
    """The columns of a table, and how it writes numbers."""

    columns: tuple[ColumnProfile, ...]
    style: NumberStyle = field(default_factory=NumberStyle)

    @cached_property
    def by_name(self) -> Mapping[str, ColumnProfile]:
        """Return the columns by their names."""
        return {column.name: column for column in self.columns}


def profile_table(table: pl.DataFrame, outcome: pl.Series | None = None) -> TableProfile:
    """Profile a table of texts.

    Args:
        table: every column a text.
        outcome: 1 where the loan of a row defaulted, 0 where it was repaid, else null.
    """
    table = table.select(_without_nothing(name) for name in table.columns)
    style = number_style(table)
    return TableProfile(tuple(_profile(table[name], style, outcome) for name in table.columns), style)


def _without_nothing(name: str) -> pl.Expr:
    text = _spelled(pl.col(name))
    return pl.when(~text.str.to_lowercase().is_in(_NOTHING)).then(text).alias(name)


def _spelled(text: pl.Expr) -> pl.Expr:
    """Return texts as the contract reads them: without blanks around, true and false in small letters."""
    text = text.str.strip_chars()
    return pl.when(text.str.contains("(?i)^(true|false)$")).then(text.str.to_lowercase()).otherwise(text)


def number_style(table: pl.DataFrame) -> NumberStyle:
    """Guess how the numbers of a table of texts are written, from all that look like numbers of a style."""

    def share(pattern: str) -> tuple[float, float]:
        """Return the largest share of a column's values that match, and the sum of all columns'."""
        shares = table.select(pl.all().str.contains(pattern).mean()).row(0) if table.width else ()
        values = [value or 0.0 for value in shares]
        return max(values, default=0.0), sum(values)

    sign, end = rf"^[(\s+-]*{_CURRENCY}?[(\s+-]*", rf"\s*{_CURRENCY}?[\s%)]*$"
    with_point = {
        thousands: share(rf"{sign}\d{{1,3}}({each}\d{{3}})+(\.\d+)?{end}")
        for thousands, each in _THOUSANDS.items()
        if thousands != "."
    }
    with_comma = {
        thousands: share(rf"{sign}(\d{{1,3}}({each}\d{{3}})*|\d+),\d{{1,2}}{end}")
        for thousands, each in _THOUSANDS.items()
        if thousands != ","
    }
    has_comma = max(with_comma.values())[0] > max(with_point.values())[0]
    decimal, shares = (",", with_comma) if has_comma else (".", with_point)
    thousands = max(shares, key=lambda each: shares[each])  # of those that are alike the first
    brackets = share(rf"^\(\s*{_CURRENCY}?\s*\d[\d.,]*\)$") > (0, 0)
    return NumberStyle(decimal, thousands if shares[thousands][0] else None, _currencies(table), brackets)


def _currencies(table: pl.DataFrame) -> tuple[str, ...]:
    """List the currencies that stand at either end of a number, the longest first."""
    ends = (rf"^[(\s+-]*{_CURRENCY}\s*[\d(+-]", rf"\d\s*{_CURRENCY}[\s)]*$")
    texts = (table[name].str.extract(end).drop_nulls().unique().to_list() for name in table.columns for end in ends)
    return tuple(sorted({text for each in texts for text in each}, key=lambda text: (-len(text), text)))


def to_numbers(values: pl.Series, style: NumberStyle) -> pl.Series:
    """Read texts as numbers of a style; null where one is none."""
    text = values.str.strip_chars()
    negative = text.str.contains(r"^\(.*\)$")
    text = text.str.replace_all(r"^\(|\)$", "").str.strip_chars("%").str.strip_chars()
    if style.currencies:
        signs = "|".join(map(re.escape, style.currencies))
        text = text.str.replace(rf"^([-+]?)\s*(?:{signs})\s*", "${1}").str.replace(rf"\s*(?:{signs})$", "")
    if style.thousands:
        text = text.str.replace_all(_THOUSANDS[style.thousands], "")
    text = text.str.replace(style.decimal, ".", literal=True)
    numbers = text.set(~text.str.contains(_NUMBER), None).cast(pl.Float64, strict=False)
    return pl.select(pl.when(negative).then(-numbers).otherwise(numbers)).to_series()


def _profile(values: pl.Series, style: NumberStyle, outcome: pl.Series | None) -> ColumnProfile:
    present = values.drop_nulls()
    distinct = present.n_unique()
    counts = present.value_counts(sort=True)[values.name].to_list() if distinct <= MOST_LEVELS else []
    formats = tuple(_formats(present))
    suffix = next((word for word in _SUFFIXES if len(present) and present.str.contains(_SUFFIXES[word]).all()), "")
    if parts := _parts(present):
        numbers = values.to_frame().select(read_parts(pl.col(values.name).str.strip_chars(), parts)).to_series()
    else:
        numbers = to_numbers(values.str.replace(r"\s*[A-Za-z]+$", "") if suffix else values, style)
    read = numbers.drop_nulls()
    words = values.filter(values.is_not_null() & numbers.is_null()).unique().sort().to_list()
    is_numeric = len(present) > 0 and not formats and not _are_padded(present) and _are_numbers(present, read, words)
    auc = None if outcome is None else _auc(numbers if is_numeric else values, outcome, distinct)
    profile = ColumnProfile(values.name, len(values), values.null_count(), distinct, tuple(counts), formats, auc=auc)
    if not is_numeric:
        return profile
    codes = _codes(read)
    read = read.filter(read >= 0) if codes else read
    low, high = float(read.min()), float(read.max())  # type: ignore[arg-type] # of floats
    integral, percent = bool((read == read.round(0)).all()), present.str.ends_with("%").sum() > len(present) / 2
    signs = "|".join(map(re.escape, style.currencies))
    money = bool(signs) and present.str.contains(signs).sum() > len(present) / 2
    return ColumnProfile(
        *(profile.name, profile.rows, profile.missing, distinct, profile.levels, formats),
        *((low, high), integral, percent, suffix, auc, codes),
        tuple(words) if len(words) <= _MOST_WORDS else (),
        money=money,
        parts=parts,
    )


def _parts(present: pl.Series) -> dict[str, int]:
    """Return the letters of years and months where the values are durations of both, as `2yrs 3mon`."""
    matches = [_DURATION.fullmatch(text) for text in present.head(_SAMPLE_ROWS).str.strip_chars()]
    durations = [match for match in matches if match]
    if not durations or len(durations) < _READ_SHARE * len(matches):
        return {}
    years, months = (dict.fromkeys(match[part].lower() for match in durations if match[part]) for part in (1, 2))
    return {**dict.fromkeys(years, 12), **dict.fromkeys(months, 1)} if years and months else {}


def _are_numbers(present: pl.Series, read: pl.Series, words: Sequence[str]) -> bool:
    """Tell whether values are numbers, nearly all or many different ones beside a few words."""
    if len(read) >= _READ_SHARE * len(present):
        return True
    return len(words) <= _MOST_WORDS and 2 * len(read) > len(present) and read.n_unique() > _MANY_NUMBERS


def _are_padded(present: pl.Series) -> bool:
    """Tell whether values are figures of one length with noughts before them, as postal codes are: no numbers."""
    return bool(present.str.contains(_PADDED).any()) and present.str.len_chars().n_unique() == 1


def _codes(numbers: pl.Series) -> tuple[str, ...]:
    """Return the numbers that may stand for no value; none where another lies below 0, or none lies above."""
    negative = numbers.filter(numbers < 0).unique().sort()
    codes, count = tuple(f"{number:g}" for number in negative), numbers.n_unique()
    pattern = f"{_NO_VALUE}|{_NO_SCORE}" if count > _MANY_NUMBERS else _NO_VALUE
    fit = all(re.match(pattern, code) for code in codes) and len(codes) <= _MOST_CODES
    return codes if fit and len(negative) < count else ()


def _formats(present: pl.Series) -> Iterator[str]:
    """Yield the format by which the values are dates, and the other where day and month cannot be told apart."""
    sample = present.head(_SAMPLE_ROWS).to_list()
    likely = [form for form in _FORMATS if 2 * sum(map(_matcher(form), sample)) >= len(sample) > 0]
    form = next((form for form in likely if _are_dates(present, form)), None)
    if form is not None:
        yield form
        swapped = form.translate(str.maketrans("dm", "md"))
        if swapped != form and swapped in likely and _are_dates(present, swapped):
            yield swapped


@cache
def _matcher(form: str) -> Callable[[str], bool]:
    """Return what tells whether a text has the shape of a format, without the cost of a call of Polars."""
    pattern = re.compile(_FORMATS[form])
    return lambda text: pattern.fullmatch(text) is not None


def _are_dates(present: pl.Series, form: str) -> bool:
    """Tell whether nearly all values are dates of a format."""
    text, with_day = (present, form) if "%d" in form else (present + " 1", f"{form} %d")
    text = text.str.slice(0, 10) if form == "%Y-%m-%d" else text
    shaped = present.str.contains(f"^{_FORMATS[form]}$")
    read = shaped & text.str.strptime(pl.Datetime, with_day, strict=False).is_not_null()
    return read.sum() >= _READ_SHARE * len(present)


def _auc(values: pl.Series, outcome: pl.Series, distinct: int) -> float | None:
    """Return how well a column alone tells defaulted from repaid loans: by its order, its levels, or its gaps."""
    ended = outcome.is_not_null()
    y = outcome.filter(ended).cast(pl.Float64)
    sample = values.filter(ended)
    scores = [sample.is_null().cast(pl.Float64)]
    if sample.dtype == pl.Float64:
        scores.append(sample)
    if distinct <= min(MOST_LEVELS, len(y) / _ROWS_OF_A_LEVEL):
        frame = pl.DataFrame({"value": sample, "y": y})
        scores.append(frame.select(pl.col("y").mean().over("value"))["y"])
    areas = [_area(score, y) for score in scores]
    return max((max(area, 1 - area) for area in areas if area is not None), default=None)


def _area(score: pl.Series, y: pl.Series) -> float | None:
    """Return the area under the ROC curve, by ranks; None where only one outcome has scores."""
    there = score.is_not_null()
    y, ranks = y.filter(there), score.filter(there).rank("average")
    defaults, others = float(y.sum()), float(len(y) - y.sum())
    if not defaults or not others:
        return None
    return (float((ranks * y).sum()) - defaults * (defaults + 1) / 2) / (defaults * others)


def labels(values: pl.Series, defaulted: Sequence[str], repaid: Sequence[str]) -> pl.Series:
    """Return 1 where a status means default, 0 where it means repayment, else null."""
    text = _spelled(pl.lit(values))
    status = pl.when(text.is_in(defaulted)).then(1).when(text.is_in(repaid)).then(0)
    return pl.select(status.cast(pl.Int8)).to_series()
