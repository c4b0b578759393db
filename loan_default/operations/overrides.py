"""What people decided otherwise on applications than the version did: recorded with a reason, read again, counted.

Where records lie is `adapters.override_log`'s; which reasons there are is the policy's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters import override_log
from loan_default.operations.book import read_policy
from loan_default.risk.errors import BadInput, DamagedRecord
from loan_default.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

WORDS_AT_MOST = 2_000
DECISIONS = ("approve", "decline")  # of a person; a review is what leads to one


@dataclass(frozen=True)
class Override:
    """A person's decision on an application, and what the version had said of it; `recorded_at` is ISO 8601 in UTC."""

    decision_id: str
    decision: str
    reason: str
    words: str
    by: str
    recorded_at: str
    decided: str
    pd: float
    model_version: int
    id: str | None


def override_reasons(settings: Settings) -> Mapping[str, str]:
    """Return the codes of the policy by which a person may decide otherwise, and what each means."""
    return read_policy(settings).overrides.reasons


def record_override(
    settings: Settings, row: Mapping[str, Any], decision: str, reason: str, words: str, by: str
) -> Override:
    """Record what a person decides on an application.

    Args:
        settings: of the home.
        row: of the prediction log, with what the version decided.
        decision: approve or decline.
        reason: a code of the policy.
        words: why, in the person's own.
        by: the person's name.

    Raises:
        BadInput: it is no other decision, or no reason, or lacks words or a name.
    """
    reasons = override_reasons(settings)
    if decision not in DECISIONS:
        raise BadInput(f"The decision must be {' or '.join(DECISIONS)}; choose one.")
    if decision == row["decision"]:
        raise BadInput(f"The version decided so itself: {decision}; record what is decided otherwise.")
    if reason not in reasons:
        raise BadInput(f"The reason must be one of {', '.join(reasons)}; choose one.")
    if not 0 < len(words) <= WORDS_AT_MOST:
        raise BadInput(f"Say in words why, in {WORDS_AT_MOST:,} letters at most.")
    if not by:
        raise BadInput("Say who decides so; enter your name.")
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    decided = row["decision"], row["pd"], row["model_version"], row["id"]
    override = Override(row["decision_id"], decision, reason, words, by, now, *decided)
    override_log.add(settings.layout, asdict(override))
    return override


def read_overrides(
    settings: Settings,
    decision_ids: Collection[str] | None = None,
    newest: int | None = None,
    damages: list[DamagedRecord] | None = None,
) -> tuple[Override, ...]:
    """Read every override, oldest first; or those of some decisions, or so many of the newest.

    What cannot be read is added to `damages`, where that is given.

    Raises:
        DamagedRecord: one cannot be read.
    """
    records = override_log.read(settings.layout, decision_ids, newest, damages)
    return tuple(Override(**record) for record in records)
