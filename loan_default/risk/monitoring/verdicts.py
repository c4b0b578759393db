"""Names what monitoring says of a batch and of a version, and reads what earlier releases recorded.

Which verdict follows from which figures belongs in `drift` and `performance`; what a verdict sets off belongs to the
callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

DriftWord = Literal["stable", "drifted", "not enough rows"]
PerformanceWord = Literal["healthy", "degraded", "not enough outcomes"]

_EARLIER = {"calm": "stable", "sound": "healthy", "fallen": "degraded"}


def with_current_verdict(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored report with its verdict in today's words; earlier releases wrote calm, sound and fallen."""
    return {**record, "verdict": _EARLIER.get(record["verdict"], record["verdict"])}
