"""Shortens long lists for people: the first entries are named and the others counted.

Sentences themselves belong beside what they tell of; tables belong in `markdown`.
"""

from collections.abc import Sequence


def shorten_names(names: Sequence[str], limit: int) -> str:
    """Join names as `a, b and 3 more`, where there are more of them than `limit`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def shorten_sentences(sentences: Sequence[str], limit: int, separator: str = " ") -> str:
    """Join sentences as `A. B. (+3 more)`, where there are more of them than `limit`."""
    more = f" (+{len(sentences) - limit} more)" if len(sentences) > limit else ""
    return separator.join(sentences[:limit]) + more
