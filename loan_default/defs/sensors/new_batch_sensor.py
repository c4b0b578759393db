"""The sensor of new batches: it registers batch files that have come in whole, and requests their scoring.

Which files are whole is `adapters.inbox`'s to say; a cursor may be lost and only saves work.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from loan_default.adapters import prediction_history
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.inbox import InboxScan, ReadyBatch, ScanState, scan_inbox
from loan_default.adapters.storage import exists
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs.resources import ModelRegistryResource, StorageResource
from loan_default.defs.sensors.ticks import MAX_NAMES, MAX_REQUESTS, Result, explain_skips
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.text import shorten_names

_MAX_BYTES = 1_000_000_000  # of batch files that are read in one tick


@explain_skips
def evaluate(
    context: dg.SensorEvaluationContext, storage: StorageResource, model_registry: ModelRegistryResource
) -> Result:
    """Register and score what has come in whole, a few batches in a tick; the same content is scored once."""
    state = ScanState.from_json(context.cursor)
    batches = storage.names.batches
    registered = context.instance.get_dynamic_partitions(str(batches.name))
    files = list_files(storage.layout.inbox)
    scan = scan_inbox(files, registered, state, most_bytes=_MAX_BYTES, staging=storage.staging)
    for reason in set(scan.refused.values()) - set(state.refused.values()):
        context.log.warning(reason)
    scored = {ready.batch for ready in scan.ready if _is_scored(storage, ready)}
    new = [
        ready
        for ready in scan.ready
        if ready.batch not in scored and state.requested.get(ready.batch) != ready.fingerprint
    ]
    requested = new[:MAX_REQUESTS] if new and model_registry.tracking.version_of(PRODUCTION) else []
    fingerprints = {**state.requested, **{ready.batch: ready.fingerprint for ready in requested}}
    unregistered = [*scored.difference(registered), *(ready.batch for ready in requested)]
    return dg.SensorResult(
        run_requests=[_run_request(ready) for ready in requested],
        skip_reason=None if requested else _skip_reason(scan, new),
        dynamic_partitions_requests=[batches.build_add_request(unregistered)] if unregistered else [],
        cursor=scan.next_state(fingerprints, done=scored).to_json(),
    )


def _run_request(ready: ReadyBatch) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"{ready.batch}-{ready.fingerprint}-{ready.state}", partition_key=ready.batch)


def _is_scored(storage: StorageResource, ready: ReadyBatch) -> bool:
    """Tell whether this very content was scored before, even where Dagster's runs were lost."""
    predictions = storage.layout.batch_table("predictions", ready.batch)
    if not exists(predictions):
        return False
    try:
        return prediction_history.origin_of(predictions, storage.staging)[1] == ready.fingerprint
    except DamagedRecord:  # scoring writes it again
        return False


def _skip_reason(scan: InboxScan, new: Sequence[ReadyBatch]) -> str:
    if new:
        names = shorten_names([ready.batch for ready in new], MAX_NAMES)
        return f"{names} will be scored once a version is in production."
    sentences = [f"{shorten_names(scan.changing, MAX_NAMES)} may still be written."] if scan.changing else []
    sentences += list(scan.refused.values())[:MAX_NAMES]
    return " ".join(sentences) or "No new batch is in the inbox."
