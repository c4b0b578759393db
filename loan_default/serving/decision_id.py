"""Ids of decisions: UUIDs of version 7, which sort by time; those of one request differ by the row alone.

What is known of a decision is `prediction_log`'s; it is found again and scored again by `decisions`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.errors import BadInput

Whole = TypeVar("Whole", int, NDArray[Any])

ROWS = 1 << 16  # of one request at most
_VERSION, _VARIANT = 7 << 76, 2 << 62  # RFC 9562, section 5.7
_LETTERS = 36  # of an id as text
_DIGITS = [position for position in range(_LETTERS) if position not in (8, 13, 18, 23)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)  # UUIDs count on, dates do not


class DecisionIds:
    """Draws the ids of one worker: 60 bits of time (a 4,096th of a ms), 46 random bits, 16 for the row."""

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now, self._random = now, Random()

    def draw(self) -> int:
        """Return the id of the first row of a request that is decided now."""
        ticks = (self._now() << 12) // 1_000_000
        moment = (ticks >> 12) << 80 | (ticks & 0xFFF) << 64
        return moment | _VERSION | _VARIANT | self._random.getrandbits(46) << 16


def text_of(first: int, row: int = 0) -> str:
    """Return the id of a row (from 0) of the request whose first row has the id `first`, as a UUID is written."""
    digits = f"{first | row:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def texts_of(decision_id: str, rows: Iterable[int]) -> Iterator[str]:
    """Yield the ids of rows of one request, by that of its first: only the last four digits differ."""
    of_request = decision_id[:-4]
    return (f"{of_request}{row:04x}" for row in rows)


def first_of(decision_id: str) -> tuple[int, int]:
    """Split an id into that of the first row of its request, and the row.

    Raises:
        BadInput: it is no id of a decision.
    """
    try:
        number = uuid.UUID(decision_id)
    except ValueError:
        number = uuid.UUID(int=0)
    if number.version != 7 or number.int >> 80 > _LATEST_MS:
        raise BadInput(
            f"{decision_id[:60]!r} is no id of a decision; it is the X-Decision-Id or decision_id of an answer."
        )
    return number.int & -ROWS, number.int & (ROWS - 1)


def microseconds_of(time_half: Whole) -> Whole:
    """Return when requests were decided, in microseconds since 1970, of the first 8 bytes of their ids as numbers."""
    return (time_half >> 16 << 12 | time_half & 0xFFF) * 1_000 >> 12


def decided_at(first: int) -> datetime:
    """Return when a request was decided, UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=microseconds_of(first >> 64))


def text_from(moment: datetime) -> str:
    """Return the least id of what is decided from a moment on, to the microsecond."""
    ticks = -((_EPOCH - moment) // timedelta(microseconds=1) * 4_096 // 1_000)  # rounded up
    return text_of((ticks >> 12) << 80 | _VERSION | (ticks & 0xFFF) << 64 | _VARIANT)


def texts_from_bytes(ids: bytes) -> list[str]:
    """Write ids of 16 bytes each as `text_of` does."""
    digits = np.frombuffer(ids.hex().encode(), dtype=np.uint8).reshape(-1, 32)
    letters = np.full((len(digits), _LETTERS), ord("-"), dtype=np.uint8)
    letters[:, _DIGITS] = digits
    texts = letters.tobytes().decode()
    return [texts[start : start + _LETTERS] for start in range(0, len(texts), _LETTERS)]


def text_of_rows(firsts: pl.Expr, rows: pl.Expr) -> pl.Expr:
    """Return the ids of rows of requests, by those of their first rows as texts: only the last four digits differ."""
    return firsts.str.head(-4) + pl.lit(_digits_of_rows()).gather(rows)


@cache
def _digits_of_rows() -> pl.Series:
    return pl.Series([f"{row:04x}" for row in range(ROWS)])
