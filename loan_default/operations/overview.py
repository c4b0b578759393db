"""The first look at an installation: how it stands, what failed and why, what sensors wait for, what to do next.

How it stands is read by `status`; that something is wrong, and the remedy, is judged as the doctor does, without its
probes. What happened before is `history`'s.

Tested in `web/pages/test_overview.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.doctor.batches import judge_batches
from loan_default.operations.doctor.check import Diagnosis
from loan_default.operations.doctor.installation import judge_reviewed_files
from loan_default.operations.doctor.instance import judge_daemons, judge_instigators, judge_runs
from loan_default.operations.doctor.server import judge_server
from loan_default.operations.runs import RunFailure, read_failures
from loan_default.operations.status import Status, VersionStatus, read_status
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.defs.instance_status import InstanceStatus
    from loan_default.operations.batch_figures import BatchArchive


@dataclass(frozen=True)
class Overview:
    """Says how an installation stood at `read_at`: its status, Dagster's instance, failures, and what is to be done.

    `daemon` says how Dagster's daemon is doing.
    """

    status: Status
    instance: InstanceStatus
    daemon: Diagnosis
    failures: tuple[RunFailure, ...]
    advice: tuple[Diagnosis, ...]
    read_at: datetime

    @property
    def production(self) -> VersionStatus:
        """Return the version in production, without a number where there is none."""
        return self.status.versions[0]


def read_overview(settings: Settings, archive: BatchArchive | None = None) -> Overview:
    """Read how the installation stands now, from one opening of Dagster's records; of batches as `read_status` does.

    Raises:
        TrackingError: the registry cannot be asked.
        BadInput: Dagster's records cannot be read.
    """
    from loan_default.defs.instance import open_instance
    from loan_default.defs.instance_status import instance_status_of

    now = datetime.now(UTC)
    with open_instance(settings) as instance:
        status, condition = read_status(settings, archive), instance_status_of(instance, settings)
        failures = read_failures(settings)
    daemon = next(judge_daemons(condition, now))
    advice = tuple(_advise(settings, status, condition, failures, now))
    return Overview(status, condition, daemon, tuple(failures), advice, now)


def _advise(
    settings: Settings,
    status: Status,
    condition: InstanceStatus,
    failures: list[RunFailure],
    now: datetime,
) -> Iterator[Diagnosis]:
    """Yield what is wrong and what is to be done, what keeps others from working first."""
    yield from advise_on_versions(status)
    production = status.versions[0].version
    judged = [
        *judge_reviewed_files(settings),
        *(judge_server(settings, production) if production else ()),
        *judge_daemons(condition, now),
        *judge_instigators(condition, sensors=settings.sensors),
        *judge_runs(condition, now),
        *judge_batches([batch for batch in status.batches if batch.state != "scored"], settings.layout),
    ]
    yield from (diagnosis for diagnosis in judged if diagnosis.mark != "ok")
    for failure in failures:
        if failure.run.batch is None:
            remedy = "Mend what it names, then run it again; its page in Dagster tells more."
            yield Diagnosis(failure.run.job, "wrong", f"{failure.run.job} failed: {failure.reason}", remedy)
    yield from advise_on_drift(status)


def advise_on_versions(status: Status) -> Iterator[Diagnosis]:
    """Say what is to be done until a version is in production, and where it proved to be no longer good enough."""
    production, _, staging = status.versions
    if not staging.version:
        remedy = "Run loan-default run --data FILE, or loan-default demo to see the whole on synthetic loans."
        yield Diagnosis("versions", "note", "No version is registered in MLflow.", remedy)
        return
    if not production.version:
        reason = f" It was held: {' '.join((staging.reasons or '').splitlines())}" if staging.decision == "hold" else ""
        remedy = "Run loan-default promote to decide on it by policy, or loan-default promote --force --reason TEXT."
        yield Diagnosis(
            "versions", "wrong", f"No version is in production; version {staging.version} waits.{reason}", remedy
        )
        return
    measured = status.performance
    if measured and measured.verdict == "degraded" and measured.model_version == production.version:
        message = f"Version {production.version} has degraded on loans whose outcomes are known."
        yield Diagnosis("performance", "wrong", message, "Look at Promised and realised, and train on newer loans.")


def advise_on_drift(status: Status) -> Iterator[Diagnosis]:
    """Name the newest batch where it drifted, and how many wait."""
    scored = [batch for batch in status.batches if batch.state == "scored"]
    newest: BatchStatus | None = scored[-1] if scored else None
    if newest and newest.verdict == "drifted":
        is_retraining = any(run.job == "retraining_job" for run in status.runs)
        retraining = (
            "a retraining is under way."
            if is_retraining
            else "the drift sensor asks for a retraining where LOAN_DEFAULT_DATA names newer loans."
        )
        remedy = f"Look at the batch; {retraining}"
        yield Diagnosis("drift", "note", f"The newest batch, {newest.batch}, has drifted.", remedy)
    if waiting := len(status.waiting) - len(status.in_progress):
        names = "batch waits" if waiting == 1 else "batches wait"
        remedy = "The daemon scores them; without it run loan-default score FILE."
        yield Diagnosis("batches", "note", f"{waiting:,} {names} to be scored.", remedy)
