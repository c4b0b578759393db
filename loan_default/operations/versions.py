"""Versions of the model: what each measured on its test window, what was decided on it, and two of them side by side.

Measuring is `risk.validation`'s, promoting `promotion`'s. What a version left in MLflow never changes but for its
evaluation, which each decision follows: it is read once for each decision.

Tested in `web/pages/test_versions.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from loan_default.adapters.layout import EVALUATION, MODEL_CARD
from loan_default.adapters.record_cache import RecordCache
from loan_default.operations.promotion import open_models
from loan_default.operations.records import Record
from loan_default.risk.errors import BadInput, DamagedRecord
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.validation.champion_challenger import Judgement

_VERSIONS_CACHED = 64


@dataclass(frozen=True)
class VersionSummary:
    """A version and the decisions on it; None where there is none. `created_at` is ISO 8601 in UTC.

    Attributes:
        decision: the record of the newest, by policy or by a person.
        judged: that of the newest for which it was measured on its test window, with the gate's findings.
    """

    version: int
    kind: str
    created_at: str
    aliases: tuple[str, ...]
    run_id: str
    decision: Record | None
    judged: Record | None

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]] | None:
        """Return what was measured then: intervals by name."""
        metrics: Mapping[str, Mapping[str, float]] | None = self.judged and self.judged["evidence"]["metrics"]
        return metrics


@dataclass(frozen=True)
class VersionDetail:
    """A version with its evaluation and its card in Markdown, None for what its training did not leave.

    `run_url` is the page of its run in MLflow.
    """

    summary: VersionSummary
    judgement: Judgement | None
    card: str | None
    run_url: str


class VersionArchive:
    """The versions of an installation; what was read of them stays in memory as long as this object."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decisions: RecordCache[Record] = RecordCache(settings.layout.decisions, dict, kind="history")
        self._detail = lru_cache(_VERSIONS_CACHED)(self._read_detail)

    def decisions(self, damages: list[DamagedRecord] | None = None) -> list[Record]:
        """Return every decision on a version, oldest first; what cannot be read is added to `damages`, if given."""
        return [record.content for _, record in sorted(self._decisions.read(damages).items())]

    def read(self, damages: list[DamagedRecord] | None = None) -> tuple[VersionSummary, ...]:
        """Read every version, newest first; decisions that cannot be read are added to `damages`, where it is given.

        Raises:
            DamagedRecord: a decision cannot be read.
            TrackingError: the registry cannot be asked.
        """
        decisions = self.decisions(damages)
        return tuple(_summary(version, decisions) for version in open_models(self._settings).tracking.versions())

    def detail(self, version: int, damages: list[DamagedRecord] | None = None) -> VersionDetail:
        """Read one version, as `read` does.

        Raises:
            BadInput: there is no such version.
        """
        summary = next((summary for summary in self.read(damages) if summary.version == version), None)
        if summary is None:
            raise BadInput(f"There is no version {version}; the list of versions names those that are registered.")
        decided_at = summary.decision["decided_at"] if summary.decision else ""
        return VersionDetail(summary, *self._detail(summary.run_id, decided_at))

    def _read_detail(self, run_id: str, decided_at: str) -> tuple[Judgement | None, str | None, str]:
        """Read what the run of a version left; anew after each decision."""
        from loan_default.risk.validation.champion_challenger import Judgement

        tracking = open_models(self._settings).tracking
        evaluation, card = (tracking.find_text(run_id, name) for name in (EVALUATION, MODEL_CARD))
        try:
            judgement = Judgement.from_dict(json.loads(evaluation)) if evaluation else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            remedy = "loan-default promote measures the newest version again"
            raise BadInput(f"{EVALUATION} of the MLflow run {run_id} is damaged ({error!r}); {remedy}.") from error
        return judgement, card, tracking.run_url(run_id, self._settings.mlflow_ui)


def _summary(version: ModelVersion, decisions: Sequence[Record]) -> VersionSummary:
    own = [record for record in decisions if record["candidate"] == version.version]
    judged = [record for record in own if (record.get("evidence") or {}).get("metrics")]
    return VersionSummary(
        version=version.version,
        kind=version.tags.get("kind", ""),
        created_at=version.created_at.isoformat(timespec="seconds"),
        aliases=version.aliases,
        run_id=version.run_id,
        decision=own[-1] if own else None,
        judged=judged[-1] if judged else None,
    )
