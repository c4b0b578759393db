"""How an installation stands: versions, batches, the scoring server, performance, and what is under way.

What is wrong with it and what to do is `doctor`'s; what was decided before is `history`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loan_default.adapters import inbox, storage
from loan_default.adapters.layout import batch_name, is_verdict
from loan_default.operations.promotion import open_models
from loan_default.operations.records import Record, read_batch_record, read_record
from loan_default.operations.runs import BatchRuns, Run, newest_runs, read_batch_runs
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion

BATCHES_SHOWN = 10
_LOOP_JOBS = ("batch_prediction_job", "monitoring_job", "retraining_job", "full_pipeline_job", "serving_job")


@dataclass(frozen=True)
class VersionStatus:
    """The version that an alias names, and the decision on it; all but `alias` is None where it names none.

    Times are ISO 8601 in UTC.
    """

    alias: str
    version: int | None = None
    created_at: str | None = None
    decision: str | None = None
    decided_at: str | None = None
    decided_by: str | None = None
    reasons: str | None = None


@dataclass(frozen=True)
class BatchStatus:
    """A batch, and what came of it.

    Attributes:
        batch: its name; of a refused file the file's.
        state: `scored`, `failed` (its newest run did) or `refused` (it cannot be a batch).
        applications: rows that were scored; None where none was.
        rejected: rows that could not be used; None where none was read.
        model_version: the version that scored it.
        verdict: of its drift; None where it was not compared.
        reasons: of the verdict, the failure or the refusal.
        run_id: of the run that failed.
    """

    batch: str
    state: Literal["scored", "failed", "refused"]
    applications: int | None
    rejected: int | None
    model_version: int | None
    verdict: str | None
    reasons: tuple[str, ...]
    run_id: str | None = None


@dataclass(frozen=True)
class ServerStatus:
    """The scoring server; all but `url` is None where it does not answer."""

    url: str
    status: str | None = None
    version: int | None = None
    pid: int | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class PerformanceStatus:
    """The verdict of the newest performance report; `outcomes_until` is the last month that outcomes tell of."""

    model_version: int | None
    verdict: str
    measured_at: str
    outcomes_until: str | None


@dataclass(frozen=True)
class Status:
    """All that `loan-default status` shows."""

    versions: tuple[VersionStatus, ...]
    batches: tuple[BatchStatus, ...]
    waiting: tuple[str, ...]
    runs: tuple[Run, ...]
    server: ServerStatus
    performance: PerformanceStatus | None

    @property
    def empty(self) -> bool:
        """Whether nothing was trained and nothing was delivered yet."""
        return not (any(version.version for version in self.versions) or self.batches or self.waiting or self.runs)


def read_status(settings: Settings) -> Status:
    """Read how the installation stands now.

    Raises:
        TrackingError: the registry cannot be asked.
        BadInput: Dagster's records cannot be read.
    """
    files = inbox.list_files(settings.layout.inbox)
    batch_runs = read_batch_runs(settings)
    refusals = _refusals(settings, files, batch_runs)
    failures = {failure.batch: failure for failure in batch_runs.failures}
    waiting = [
        name for file in files if file.name not in refusals and not _is_scored(settings, name := batch_name(file.name))
    ]
    failed = [
        BatchStatus(name, "failed", None, None, None, None, (failure.reason,), failure.run_id)
        for name, failure in failures.items()
    ]
    refused = [BatchStatus(name, "refused", None, None, None, None, (why,)) for name, why in refusals.items()]
    return Status(
        versions=_versions(settings),
        batches=(*_scored_batches(settings, failures), *failed, *refused),
        waiting=tuple(name for name in waiting if name not in failures),
        runs=tuple(run for run in newest_runs(settings, *_LOOP_JOBS) if not run.finished),
        server=_server(settings),
        performance=_performance(settings),
    )


def _versions(settings: Settings) -> tuple[VersionStatus, ...]:
    from loan_default.adapters.tracking import PREVIOUS, PRODUCTION, STAGING

    tracking = open_models(settings).tracking
    return tuple(_version(alias, tracking.version_of(alias)) for alias in (PRODUCTION, PREVIOUS, STAGING))


def _version(alias: str, version: ModelVersion | None) -> VersionStatus:
    if version is None:
        return VersionStatus(alias)
    return VersionStatus(
        alias=alias,
        version=version.version,
        created_at=version.created_at.isoformat(timespec="seconds"),
        decision=version.tags.get("decision"),
        decided_at=version.tags.get("decided_at"),
        decided_by=version.tags.get("decided_by"),
        reasons=version.tags.get("decision_reasons"),
    )


def _refusals(settings: Settings, files: list[inbox.File], runs: BatchRuns) -> dict[str, str]:
    """Return why files of the inbox are no batches, by their names."""
    look = inbox.scan_inbox(files, runs.batches, inbox.ScanState(), most_bytes=0, staging=settings.staging)
    return dict(look.refused)


def _is_scored(settings: Settings, batch: str) -> bool:
    return storage.exists(settings.layout.batch_table("predictions", batch))


def _scored_batches(settings: Settings, failed: Iterable[str]) -> list[BatchStatus]:
    """Read the newest batches that were compared, but for those whose newest run failed."""
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    reports = [file for file in inbox.list_files(settings.layout.drift_reports) if is_verdict(file.name)]
    records = [with_current_verdict(storage.read_json(file.path)) for file in reports[-BATCHES_SHOWN:]]
    return [_scored(settings, record) for record in records if record["batch"] not in failed]


def _scored(settings: Settings, report: Record) -> BatchStatus:
    applications: Mapping[str, int] = read_batch_record(settings, "application_report", report["batch"]) or {}
    return BatchStatus(
        batch=report["batch"],
        state="scored",
        applications=report["rows"],
        rejected=applications.get("rejected"),
        model_version=report["model_version"],
        verdict=report["verdict"],
        reasons=tuple(report["reasons"]),
    )


def _server(settings: Settings) -> ServerStatus:
    from loan_default.adapters.scoring_server import ScoringServer

    health = ScoringServer(settings.serving_url, settings.serving).health()
    if health is None:
        return ServerStatus(settings.serving_url)
    return ServerStatus(settings.serving_url, health.status, health.version, health.pid, health.trouble)


def _performance(settings: Settings) -> PerformanceStatus | None:
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    report = read_record(settings, "performance_report")
    if report is None:
        return None
    report = with_current_verdict(report)
    return PerformanceStatus(report["model_version"], report["verdict"], report["measured_at"], report["told_until"])
