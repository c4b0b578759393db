"""How an installation stands: versions, batches, the scoring server, performance, and what is under way.

How each batch stands is read by `batch_status`. What is wrong and what to do is `doctor`'s; what was decided before is
`history`'s.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loan_default.adapters.file_listing import list_files
from loan_default.operations.batch_status import BatchStatus, Deliveries, list_deliveries, read_batches
from loan_default.operations.promotion import open_models
from loan_default.operations.records import distinct, read_record
from loan_default.operations.runs import Run, read_batch_runs, runs_under_way
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.operations.batch_figures import BatchArchive, BatchList


@dataclass(frozen=True)
class VersionStatus:
    """The version that an alias names, and the decision on it; all but `alias` is None where it names none.

    Times are ISO 8601 in UTC; of a decision of this release each of `reasons` is a line.
    """

    alias: str
    version: int | None = None
    created_at: str | None = None
    decision: str | None = None
    decided_at: str | None = None
    decided_by: str | None = None
    reasons: str | None = None


@dataclass(frozen=True)
class ServerStatus:
    """The scoring server; all but `url` is None where it does not answer, and but `trouble` where another does."""

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
    """All that `loan-default status` shows; `damages` says which records cannot be read."""

    versions: tuple[VersionStatus, ...]
    batches: tuple[BatchStatus, ...]
    waiting: tuple[str, ...]
    runs: tuple[Run, ...]
    server: ServerStatus
    performance: PerformanceStatus | None
    damages: tuple[DamagedRecord, ...] = ()

    @property
    def in_progress(self) -> tuple[str, ...]:
        """Return those of the waiting batches of which a run is under way."""
        batches = {run.batch for run in self.runs}
        return tuple(batch for batch in self.waiting if batch in batches)

    @property
    def empty(self) -> bool:
        """Tell whether nothing was trained and nothing was delivered yet."""
        return not (any(version.version for version in self.versions) or self.batches or self.waiting or self.runs)


def read_status(settings: Settings, archive: BatchArchive | None = None) -> Status:
    """Read how the installation stands now.

    Args:
        settings: of the home.
        archive: what was read of batches, where there is one: of a bucket it saves two requests for each.

    Raises:
        TrackingError: the registry cannot be asked.
        BadInput: Dagster's records cannot be read.
    """
    damages: list[DamagedRecord] = []
    with ThreadPoolExecutor(4) as pool:  # a bucket takes its time; the registry and Dagster are asked meanwhile
        performance = pool.submit(_performance, settings, damages)
        figures = pool.submit(archive.read) if archive else None
        deliveries = pool.submit(_deliveries, settings, figures)
        runs = read_batch_runs(settings)
        reading = pool.submit(
            lambda: read_batches(settings, runs, deliveries.result(), figures.result() if figures else None, damages)
        )
        versions, under_way, server = _versions(settings), tuple(runs_under_way(settings)), _server(settings)
        batches = reading.result()
    return Status(
        versions=versions,
        batches=tuple(batch for batch in batches if batch.state != "waiting"),
        waiting=tuple(batch.batch for batch in batches if batch.state == "waiting"),
        runs=under_way,
        server=server,
        performance=performance.result(),
        damages=distinct([*damages, *(figures.result().damages if figures else ())]),
    )


def _deliveries(settings: Settings, figures: Future[BatchList] | None) -> Deliveries:
    """List what was delivered; what was scored and compared is told by what is read of batches, where it is."""
    if figures is None:
        return list_deliveries(settings.layout)
    return Deliveries(list_files(settings.layout.inbox), figures.result().compared)


def _versions(settings: Settings) -> tuple[VersionStatus, ...]:
    from loan_default.adapters.tracking import PREVIOUS, PRODUCTION, STAGING

    aliases = PRODUCTION, PREVIOUS, STAGING
    return tuple(map(_version, aliases, open_models(settings).tracking.versions_of(*aliases)))


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


def _server(settings: Settings) -> ServerStatus:
    from loan_default.adapters.scoring_server import ServerError
    from loan_default.operations.scoring_server import server_of

    server = server_of(settings)
    try:
        health = server.health()
    except ServerError as error:
        return ServerStatus(server.url, trouble=str(error))
    if health is None:
        return ServerStatus(server.url)
    return ServerStatus(server.url, health.status, health.version, health.pid, health.trouble)


def _performance(settings: Settings, damages: list[DamagedRecord]) -> PerformanceStatus | None:
    from loan_default.risk.monitoring.verdicts import with_current_verdict

    report = read_record(settings, "performance_report", damages)
    if report is None:
        return None
    report = with_current_verdict(report)
    return PerformanceStatus(report["model_version"], report["verdict"], report["measured_at"], report["told_until"])
