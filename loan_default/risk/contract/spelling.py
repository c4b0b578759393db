"""Tells which words of a contract mean one thing whoever writes them: 1 and 1.0, true and TRUE.

Reading such words from a file belongs in `data.parsing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

WHOLE = re.compile(r"(-?\d+)(?:\.0*)?")


def is_boolean(word: str) -> bool:
    """Tell whether a word is true or false, in any letter case."""
    return word.lower() in ("true", "false")


def spelling(word: str, *, numbers: bool = True, booleans: bool = True) -> str:
    """Return a word as one writer among many has it: a whole number without a point, a boolean in small letters.

    Args:
        word: as the contract lists it.
        numbers: whether whole numbers are spelled so.
        booleans: whether booleans are.
    """
    if numbers and (match := WHOLE.fullmatch(word)):
        return match[1]
    return word.lower() if booleans and is_boolean(word) else word


def alike(meanings: Mapping[str, Any], *, numbers: bool = True, booleans: bool = True) -> Iterator[tuple[str, str]]:
    """Yield two words each that are one to some writers, as `spelling` has them, and mean different things."""
    first: dict[str, str] = {}
    for word, meaning in meanings.items():
        other = first.setdefault(spelling(word, numbers=numbers, booleans=booleans), word)
        if meanings[other] != meaning:
            yield other, word
