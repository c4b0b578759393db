"""Writes numbers, shares, counts and lists for people: of a list the first entries are named and the others counted.

Sentences themselves belong beside what they tell of; tables belong in `markdown`.
"""

from collections.abc import Sequence

from loan_default.risk.markdown import EMPTY_CELL


def shorten_number(number: float) -> str:
    """Write a number with two decimals at most, or with two figures where it is below 0.01."""
    digits = f"{number:z,.2f}" if abs(number) >= 0.01 or not number else f"{number:.2g}"
    return digits.rstrip("0").rstrip(".") if "." in digits and "e" not in digits else digits


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share (0 to 1) as `15.2%`; a dash for none."""
    return EMPTY_CELL if share is None else f"{share:z,.{digits}%}"


def shorten_names(names: Sequence[str], limit: int) -> str:
    """Join names as `a, b and 3 more`, where there are more of them than `limit`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def shorten_sentences(sentences: Sequence[str], limit: int = 3, separator: str = " ") -> str:
    """Join sentences as `A. B. (+3 more)`, where there are more of them than `limit`."""
    more = f" (+{len(sentences) - limit} more)" if len(sentences) > limit else ""
    return separator.join(sentences[:limit]) + more


def plural(count: int, noun: str, several: str = "") -> str:
    """Write a count with its noun: `1 batch`, `2,000 rows`."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
