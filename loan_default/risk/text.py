"""Long lists in few words, for people: the first of them are named and the others counted."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`, where there are more names than `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def some(sentences: Sequence[str], most: int, between: str = " ") -> str:
    """`A. B. (+3 more)`, where there are more sentences than `most`."""
    more = f" (+{len(sentences) - most} more)" if len(sentences) > most else ""
    return between.join(sentences[:most]) + more
