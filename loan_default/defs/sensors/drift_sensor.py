"""The sensor of drift: it requests a retraining where a batch drifted or the version in production has degraded.

Whether a retraining is due now is `risk.monitoring.retraining`'s to decide. What was requested is read from Dagster's
runs; the cursor holds what is known of the drift reports and only saves work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Literal

import dagster as dg

from loan_default.adapters.file_listing import File, list_files, match_files, signature
from loan_default.adapters.inbox import split_tokens
from loan_default.adapters.layout import is_verdict
from loan_default.adapters.storage import read_json
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs.book import BookNames
from loan_default.defs.resources import ClockResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.defs.run_tags import DATA_TAG, REASON_TAG, RUN_KEY_TAG, VERSION_TAG
from loan_default.defs.sensors.ticks import MAX_NAMES, MAX_REQUESTS, MAX_RUNS, UNDER_WAY, Result, explain_skips
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.monitoring.retraining import (
    DegradedVersion,
    DriftedBatch,
    Retraining,
    RetrainingDecision,
    decide_retraining,
)
from loan_default.risk.monitoring.verdicts import with_current_verdict

Drifted = dict[str, tuple[str, str, int]]  # by a report's file name: its state, the batch, the version


@explain_skips
def evaluate(
    context: dg.SensorEvaluationContext,
    storage: StorageResource,
    model_registry: ModelRegistryResource,
    loan_book: LoanBookResource,
    clock: ClockResource,
) -> Result:
    """Retrain where a batch drifted, or the version in production has degraded, and the policy allows it.

    Once another version is in production, what drifted is scored again.
    """
    damages: list[DamagedRecord] = []  # a report that cannot be read keeps no other from being judged
    memory = _read_reports(_Memory.from_json(context.cursor), list_files(storage.layout.drift_reports), damages)
    drifted, degraded, cursor = memory.states_by_batch, _degraded_version(storage, damages), memory.to_json()
    for damage in damages:
        context.log.warning(str(damage))
    if not drifted and degraded is None:
        return dg.SensorResult(skip_reason=_skip_reason(["No batch has drifted."], damages), cursor=cursor)
    version = model_registry.tracking.version_of(PRODUCTION)
    production = version.version if version else None
    rescorings = _rescorings(context.instance, storage.names, drifted, production)
    loan_files = match_files(loan_book.data)
    data = signature(loan_files) if loan_files else ""
    past = [*retrainings(context.instance, storage.names)]
    policy = loan_book.policy.retraining
    decision = decide_retraining([*drifted], production, data, past, policy, clock.now(), degraded)
    if decision.verdict == "wait":
        reason = None if rescorings else _skip_reason(decision.reasons, damages)
        return dg.SensorResult(run_requests=rescorings, skip_reason=reason, cursor=cursor)
    attempts = sum((retraining.version, retraining.data) == (production, data) for retraining in past)
    retraining = _retraining(decision, production, data, attempts)
    return dg.SensorResult(run_requests=[*rescorings, retraining], cursor=cursor)


def _skip_reason(reasons: Iterable[str], damages: Sequence[DamagedRecord]) -> str:
    return " ".join([*reasons, *map(str, damages[:MAX_NAMES])])


def _retraining(decision: RetrainingDecision, production: int | None, data: str, attempts: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"version-{production}-data-{data}-{attempts}",
        job_name="retraining_job",
        tags={VERSION_TAG: str(production), DATA_TAG: data, REASON_TAG: " ".join(decision.reasons)},
    )


def _rescorings(
    instance: dg.DagsterInstance, names: BookNames, drifted: Mapping[DriftedBatch, str], production: int | None
) -> list[dg.RunRequest]:
    """Request, a few in a tick, the scoring of what drifted against another version, unless it was requested since."""
    candidates = {
        f"{batch.batch}-version-{production}-{state}": batch
        for batch, state in drifted.items()
        if production is not None and batch.version != production
    }
    runs = names.runs(instance, tags={RUN_KEY_TAG: [*candidates]}) if candidates else []
    requested = {run.dagster_run.tags[RUN_KEY_TAG] for run in runs}
    requests = [
        dg.RunRequest(
            run_key=key,
            job_name="batch_prediction_job",
            partition_key=batch.batch,
            tags={REASON_TAG: f"drifted against version {batch.version}; version {production} is in production now"},
        )
        for key, batch in candidates.items()
        if key not in requested
    ]
    return requests[:MAX_REQUESTS]


# --- the drift reports ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Memory:
    """The drift reports as they were last read: tokens of those that did not drift, and those that did."""

    stable_tokens: frozenset[str]
    drifted: Drifted

    @property
    def states_by_batch(self) -> dict[DriftedBatch, str]:
        """The state of the report on each batch that drifted."""
        return {DriftedBatch(batch, version): state for state, batch, version in self.drifted.values()}

    def to_json(self) -> str:
        """Write the cursor, which Dagster stores with each tick: a report that needs no look takes 8 letters."""
        return json.dumps(["".join(sorted(self.stable_tokens)), self.drifted])

    @classmethod
    def from_json(cls, cursor: str | None) -> _Memory:
        """Read a cursor; one that is not of this shape is forgotten, and all reports are read once more."""
        try:
            tokens, drifted = json.loads(cursor or '["", {}]')
            reports = {name: (state, batch, version) for name, (state, batch, version) in drifted.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls(frozenset(), {})
        if not isinstance(tokens, str) or any(tuple(map(type, row)) != (str, str, int) for row in reports.values()):
            return cls(frozenset(), {})
        return cls(frozenset(split_tokens(tokens)), reports)


def _read_reports(memory: _Memory, files: list[File], damages: list[DamagedRecord]) -> _Memory:
    """Read the reports that are new, forget those that are gone, and add to `damages` what cannot be read."""
    tokens: set[str] = set()
    drifted: Drifted = {}
    for file in files:
        if not is_verdict(file.name):
            continue
        before = memory.drifted.get(file.name)
        if file.token in memory.stable_tokens:
            tokens.add(file.token)
        elif before and before[0] == file.state:
            drifted[file.name] = before
        elif (record := read_json(file.path, "drift_report", damages)) is None:
            continue  # it was removed meanwhile, or is looked at again
        elif record["verdict"] == "drifted":
            drifted[file.name] = (file.state, record["batch"], record["model_version"])
        else:
            tokens.add(file.token)
    return _Memory(frozenset(tokens), drifted)


def _degraded_version(storage: StorageResource, damages: list[DamagedRecord]) -> DegradedVersion | None:
    """Read the version that the last performance report calls degraded, if it does."""
    record = read_json(storage.layout.record("performance_report"), "performance_report", damages)
    if record is None or with_current_verdict(record)["verdict"] != "degraded":
        return None
    return DegradedVersion(record["model_version"], tuple(record["reasons"]))


# --- past retrainings -------------------------------------------------------------------------------------------


def retrainings(instance: dg.DagsterInstance, names: BookNames) -> Iterator[Retraining]:
    """Yield the newest retrainings that Dagster knows."""
    for record in names.runs(instance, MAX_RUNS, job_name="retraining_job"):
        tags = record.dagster_run.tags
        version = tags.get(VERSION_TAG)
        yield Retraining(
            record.dagster_run.run_id[:8],
            record.create_timestamp.astimezone(UTC),
            _status(record.dagster_run.status),
            int(version) if version else None,
            tags.get(DATA_TAG),
        )


def _status(status: dg.DagsterRunStatus) -> Literal["under way", "succeeded", "failed"]:
    if status in UNDER_WAY:
        return "under way"
    return "succeeded" if status is dg.DagsterRunStatus.SUCCESS else "failed"
