"""Evidently's workspace: a project, its panels, and the report on each batch, in the files that Evidently's UI reads.

What a report shows is `risk.monitoring.evidently_report`'s, when one is drawn `operations.evidently`'s. Files are
written whole or not at all by `storage`, so that nobody reads half of one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from upath import UPath

from loan_default.adapters.storage import exists, read_json, write_text

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

PROJECT = UUID("5a6f3c1e-5d0b-5c58-9b0e-3f1f0a5c2b77")  # the same in each workspace: a storage holds one book
_RECORD = "record"  # metadata of a report: the fingerprint of the record that it was drawn from


@dataclass(frozen=True)
class EvidentlyWorkspace:
    """The workspace in a folder or a bucket."""

    root: UPath

    @property
    def project(self) -> UPath:
        """The folder of the project."""
        return self.root / str(PROJECT)

    def report_path(self, batch: str) -> UPath:
        """Return the path of the report on a batch; there is one at a time."""
        return self.project / "snapshots" / f"{uuid5(PROJECT, batch)}.json"

    def read(self, batch: str, fingerprint: str) -> Snapshot | None:
        """Return the report on a batch; None where none was drawn from the record with this fingerprint."""
        from evidently.core.report import Snapshot

        stored = read_json(self.report_path(batch))
        return Snapshot.load_dict(stored) if stored and stored["metadata"].get(_RECORD) == fingerprint else None

    def write(self, batch: str, fingerprint: str, report: Snapshot) -> None:
        """Store the report on a batch in place of the one before."""
        stored = json.loads(report.dumps())
        stored["metadata"][_RECORD] = fingerprint
        write_text(self.report_path(batch), json.dumps(stored))

    def create(self, name: str, score: str) -> None:
        """Make the project and its panels, unless they are there: what people change in Evidently's UI stays.

        Args:
            name: of the project, for people.
            score: name of the column that is the raw score.
        """
        from evidently.sdk.models import ProjectModel

        description = "The report on each batch, beside the loans that the version which scored it was developed on."
        project = ProjectModel(id=PROJECT, name=name, description=description)
        for file, content in (("metadata.json", project), ("dashboard.json", _panels(score))):
            if not exists(self.project / file):
                write_text(self.project / file, content.json())


def _panels(score: str) -> Any:
    """Return a tab on batches and one on features, each with lines over time."""
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric
    from evidently.sdk.panels import line_plot_panel

    def panel(title: str, description: str, legend: str, metric: str, **labels: str) -> Any:
        return line_plot_panel(title, [PanelMetric(legend=legend, metric=metric, metric_labels=labels)], description)

    def tab(title: str, panels: Sequence[Any]) -> Any:
        return DashboardTabModel(title=title, panels=[panel.id for panel in panels])

    batches = [
        panel("Features that drifted", "Share of all features.", "share", "DriftedColumnsCount", value_type="share"),
        panel("Score", "PSI of the raw score, less what chance makes of few rows.", "PSI", "ValueDrift", column=score),
    ]
    description = "The widest PSI of each, less what chance makes of few rows."
    features = [panel("Features", description, "{{column}}", "ValueDrift")]
    return DashboardModel(tabs=[tab("Batches", batches), tab("Features", features)], panels=[*batches, *features])
