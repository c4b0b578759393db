"""The history of an installation: each decision on a version and each retraining, with who, when and why.

Decisions are kept by `adapters.decision_log`, retrainings are runs of Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass

from loan_default.adapters import decision_log
from loan_default.operations.runs import newest_runs
from loan_default.settings import Settings


@dataclass(frozen=True)
class HistoryEvent:
    """One thing that happened: `at` is ISO 8601 in UTC, `version` is None for a retraining, `run_id` for a decision.

    `test_looks` counts the earlier looks at the test loans that a decision of the policy rests on.
    """

    at: str
    event: str
    version: int | None
    by: str
    run_id: str | None
    reasons: tuple[str, ...]
    test_looks: int | None = None


def read_history(settings: Settings) -> tuple[HistoryEvent, ...]:
    """Read every promotion, hold, rollback and retraining, oldest first."""
    decisions = [
        HistoryEvent(
            at=record["decided_at"],
            event=record["verdict"],
            version=record["candidate"],
            by=record["decided_by"],
            run_id=None,
            reasons=tuple(record["reasons"]),
            test_looks=(record.get("test_looks") or {}).get("overlapping"),
        )
        for record in decision_log.read(settings.layout)
    ]
    retrainings = [
        HistoryEvent(
            at=run.created_at.isoformat(timespec="seconds"),
            event=f"retraining {run.status}",
            version=None,
            by="drift_sensor" if run.reason else "by hand",
            run_id=run.run_id,
            reasons=(run.reason or "started by hand",),
        )
        for run in newest_runs(settings, "retraining_job")
    ]
    return tuple(sorted([*decisions, *retrainings], key=lambda event: event.at))
