"""Tells which words of a contract mean one thing whoever writes them: 1 and 1.0, true and TRUE.

Reading such words from a file belongs in `data.parsing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_WHOLE = re.compile(r"(-?\d+)\.0*")


def spelling(word: str) -> str:
    """Return a word as one writer among many has it: a whole number without a point, a boolean in small letters."""
    match = _WHOLE.fullmatch(word)
    return match[1] if match else word.lower() if word.lower() in ("true", "false") else word


def alike(meanings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield two words each that are one to some writers and mean different things."""
    first: dict[str, str] = {}
    for word, meaning in meanings.items():
        other = first.setdefault(spelling(word), word)
        if meanings[other] != meaning:
            yield other, word
