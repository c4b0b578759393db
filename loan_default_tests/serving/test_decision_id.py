"""Ids of decisions: unlike each other, in the order of time, and telling time and row again."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from loan_default.risk.errors import BadInput
from loan_default.serving.decision_id import (
    ROWS,
    DecisionIds,
    decided_at,
    first_of,
    text_from,
    text_of,
    texts_from_bytes,
)

AT = datetime(2026, 11, 3, 9, 59, 30, 123456, tzinfo=UTC)


def nanoseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def test_an_id_is_a_uuid_of_the_time_and_of_the_row() -> None:
    first = DecisionIds(lambda: nanoseconds(AT)).draw()
    written = uuid.UUID(text_of(first, 17))
    assert (written.version, written.variant) == (7, uuid.RFC_4122)
    assert first_of(str(written)) == first_of(str(written).upper()) == (first, 17)
    assert AT - decided_at(first) <= timedelta(microseconds=1)
    assert decided_at(first) <= AT


def test_ids_are_unlike_and_sort_by_time() -> None:
    ids = DecisionIds()
    drawn = [ids.draw() for _ in range(20_000)]
    assert len({first // ROWS for first in drawn}) == len(drawn), "no row of a request is one of another"
    assert all(first % ROWS == 0 for first in drawn)
    moments = [first >> 64 for first in drawn]
    assert moments == sorted(moments)
    later = DecisionIds(lambda: nanoseconds(AT + timedelta(microseconds=1))).draw()
    for _ in range(20):
        assert text_of(DecisionIds(lambda: nanoseconds(AT)).draw(), ROWS - 1) < text_of(later)
    assert DecisionIds(lambda: 0).draw() != DecisionIds(lambda: 0).draw(), "two workers at one time"


@pytest.mark.parametrize("microseconds", [0, 1, 243, 244, 245, 123_456, 999_999])
def test_the_least_id_of_a_moment_parts_what_was_decided_before_it(microseconds: int) -> None:
    moment = AT.replace(microsecond=microseconds)
    least, tick = text_from(moment), timedelta(microseconds=1)
    assert decided_at(first_of(least)[0]) == moment
    assert text_of(DecisionIds(lambda: nanoseconds(moment - tick)).draw(), ROWS - 1) < least
    assert least < text_of(DecisionIds(lambda: nanoseconds(moment) + 999).draw())


def test_ids_kept_as_bytes_are_written_alike() -> None:
    drawn = [DecisionIds().draw() for _ in range(3)]
    assert texts_from_bytes(b"".join(first.to_bytes(16) for first in drawn)) == [text_of(first) for first in drawn]
    assert texts_from_bytes(b"") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "a" * 5_000,
        "loan-7",
        "7d5b9348-d696-4629-b1b9-b43a58f3e0e8",
        "0" * 32,
        "fd5f7166-53be-7d0c-898f-1d3ce7ba6949",
    ],
    ids=["empty", "short", "long", "another id", "UUID of version 4", "no version", "after the year 9999"],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no id of a decision; it is the X-Decision-Id") as raised:
        first_of(text)
    assert len(str(raised.value)) < 200
