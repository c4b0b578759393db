"""The history of an installation: each decision on a version and each retraining, with who, when and why.

Decisions are kept by `adapters.decision_log`, retrainings are runs of Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loan_default.adapters import decision_log
from loan_default.operations.runs import newest_runs
from loan_default.operations.versions import VersionArchive
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings

_DIGITS = 8  # of a fingerprint, enough to tell it by


@dataclass(frozen=True)
class HistoryEvent:
    """One thing that happened: `at` is ISO 8601 in UTC, `version` is None for a retraining, `run_id` for a decision.

    `test_looks` counts the earlier looks at the test loans that a decision of the policy rests on; `evidence` is what
    its record says of data, contract, policies, code, seed, windows and metrics by which it was made.
    """

    at: str
    event: str
    version: int | None
    by: str
    run_id: str | None
    reasons: tuple[str, ...]
    test_looks: int | None = None
    evidence: Mapping[str, Any] | None = None

    @property
    def basis(self) -> str:
        """Name briefly what a decision rests on: fingerprints, and the AUC on the test window."""
        if not self.evidence:
            return ""
        origin = self.evidence.get("origin", {})
        named = {"data": "data_fingerprint", "contract": "contract_fingerprint", "code": "code_fingerprint"}
        parts = [f"{word} {origin[key][:_DIGITS]}" for word, key in named.items() if key in origin]
        policy = self.evidence.get("decision_policy_fingerprint") or origin.get("policy_fingerprint")
        parts += [f"policy {policy[:_DIGITS]}"] if policy else []
        auc = self.evidence.get("metrics", {}).get("auc")
        return ", ".join([*parts, *([f"AUC {auc['value']:.4f}"] if auc else [])])


def read_history(
    settings: Settings, damages: list[DamagedRecord] | None = None, archive: VersionArchive | None = None
) -> tuple[HistoryEvent, ...]:
    """Read every promotion, hold, rollback and retraining, oldest first.

    What cannot be read is added to `damages`, where that is given; an `archive` has read most decisions already.

    Raises:
        DamagedRecord: a decision cannot be read.
    """
    decisions = [
        HistoryEvent(
            at=record["decided_at"],
            event=record["verdict"],
            version=record["candidate"],
            by=record["decided_by"],
            run_id=None,
            reasons=tuple(record["reasons"]),
            test_looks=(record.get("test_looks") or {}).get("overlapping"),
            evidence=record.get("evidence"),
        )
        for record in (archive.decisions(damages) if archive else decision_log.read(settings.layout, damages))
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
