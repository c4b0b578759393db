"""Checks this machine's clock against those that other checks have read, and against what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from loan_default.operations.doctor.check import CheckContext, Diagnosis, duration_of

_SKEW = timedelta(seconds=10)


def check_clock(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that this machine's clock agrees with others', and that nothing was written in the future."""
    now = datetime.now(UTC)
    troubles = [*judge_clocks(context.clocks), *judge_timestamps(context.timestamps, now)]
    yield from troubles
    if not troubles:
        others = f" and agrees with {' and '.join(whose for whose, _, _ in context.clocks)}" if context.clocks else ""
        yield Diagnosis("clock", "ok", f"It is {now:%Y-%m-%d %H:%M:%S} UTC here{others}.")
    here = datetime.now().astimezone().tzname()
    yield Diagnosis(
        "time zone", "ok", f"Schedules count in {context.settings.time_zone}; this machine's zone is {here}."
    )


_SET_CLOCK = "Have this machine and the other keep their clocks by NTP."


def judge_clocks(clocks: Sequence[tuple[str, datetime, datetime]]) -> Iterator[Diagnosis]:
    """Judge that others' clocks show our time."""
    for owner, their_time, our_time in clocks:
        if abs(their_time - our_time) > _SKEW:
            side = "behind" if their_time > our_time else "ahead of"
            message = f"This machine's clock is {duration_of(abs(their_time - our_time))} {side} that of {owner}."
            yield Diagnosis("clock", "wrong", message, _SET_CLOCK)


def judge_timestamps(timestamps: Sequence[tuple[str, datetime]], now: datetime) -> Iterator[Diagnosis]:
    """Judge that what exists was made in the past."""
    for owner, time in timestamps:
        if time - now > _SKEW:
            message = f"{owner} is from {time:%Y-%m-%d %H:%M:%S} UTC, {duration_of(time - now)} from now."
            yield Diagnosis("clock", "wrong", message, _SET_CLOCK)
