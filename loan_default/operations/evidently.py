"""Evidently's reports on batches: drawn when somebody opens one, kept in a workspace, and shown by Evidently's own UI.

Loading Evidently takes longer than a verdict, so no run does. What a report shows is
`risk.monitoring.evidently_report`'s, how a workspace is laid out `adapters.evidently_workspace`'s.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING
from urllib.request import urlopen

from upath import UPath

from loan_default.adapters import file_listing, storage
from loan_default.adapters.evidently_workspace import EvidentlyWorkspace
from loan_default.adapters.layout import is_verdict
from loan_default.adapters.parquet_table import scan_table
from loan_default.adapters.record_shapes import parse_record
from loan_default.adapters.tracking import TrackingError
from loan_default.operations.promotion import open_models
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

_NEWEST = 100  # batches of which the UI shows a report: it holds all in memory, 1.4 MB each
_FIRST = 10  # of them, drawn before the UI answers, as an open page does not look again; 3 s of a core each
_PAUSE_SECONDS = 10.0
_PATIENCE_SECONDS = 1.0  # once its libraries are loaded, a report that was drawn before is read in half of it
_LOOPBACK = "127.0.0.1"
_LOG = logging.getLogger(__name__)


def read_page(settings: Settings, batch: str) -> str:
    """Return Evidently's report on a batch as an HTML page that fetches nothing.

    Raises:
        BadInput: the batch was not compared yet, or no sample of it is kept, as by earlier releases.
    """
    report = read_report(settings, batch)
    from loan_default.risk.monitoring.evidently_report import report_page

    return report_page(report)


class PageDrawer:
    """Draws Evidently's pages in a thread of its own, so that whoever waits for one can be told so."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._pages: dict[str, Future[str]] = {}
        self._thread = ThreadPoolExecutor(1, "evidently")

    def page(self, batch: str) -> str | None:
        """Return the page on a batch as `read_page` does, or None while it is being drawn.

        Raises:
            BadInput: as `read_page`.
        """
        with self._lock:
            if batch not in self._pages:
                self._pages[batch] = self._thread.submit(read_page, self._settings, batch)
            page = self._pages[batch]
        if not wait([page], _PATIENCE_SECONDS).done:
            return None
        with self._lock:
            self._pages.pop(batch, None)  # whoever opens it again sees what is stored by then
        return page.result()


def read_report(settings: Settings, batch: str) -> Snapshot:
    """Return Evidently's report on a batch; it is drawn unless it was since the batch was compared.

    Raises:
        BadInput: as `read_page`.
    """
    layout, workspace = settings.layout, EvidentlyWorkspace(settings.layout.evidently)
    path = layout.batch_record("drift_report", batch)
    try:
        content = storage.read_bytes(path)
    except FileNotFoundError:
        raise BadInput(f"Batch {batch} was not compared yet; run loan-default drift {batch}.") from None
    fingerprint = hashlib.blake2b(content, digest_size=8).hexdigest()
    if (report := workspace.read(batch, fingerprint)) is not None:
        return report
    record, sample = parse_record(content, path, "drift_report"), layout.drift_sample(batch)
    if "limits" not in record or not storage.exists(sample):
        raise BadInput(f"No sample of batch {batch} is kept for it; run loan-default drift {batch}.")

    from loan_default.risk.monitoring.evidently_report import draw_report
    from loan_default.risk.monitoring.reference_profile import RAW_SCORE

    models = open_models(settings)
    reference = models.reference(models.tracking.get(record["model_version"]))
    rows = scan_table(sample, settings.staging).collect()
    report = draw_report(record, reference, rows)
    workspace.create(settings.model_name, RAW_SCORE)
    workspace.write(batch, fingerprint, report)
    return report


def run_ui(settings: Settings, port: int) -> None:
    """Run Evidently's own UI on loopback; it answers once its panels have the newest batches, others follow.

    It reads the workspace in the storage; of a bucket it reads a copy in the home, as it knows no buckets.
    """
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    from loan_default.risk.monitoring.reference_profile import RAW_SCORE

    remote = storage.is_remote(settings.storage)
    workspace = EvidentlyWorkspace(UPath(settings.evidently) if remote else settings.layout.evidently)
    workspace.create(settings.model_name, RAW_SCORE)
    states: dict[str, str] = {}
    _show_newest(settings, workspace, states, _FIRST)
    projects = f"http://{_LOOPBACK}:{port}/api/projects"
    Thread(target=_follow, args=(settings, workspace, states, projects), daemon=True).start()
    app = create_app(get_config(port=port, workspace=str(workspace.root)))
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # it prints which folder it watches
        uvicorn.run(app, host=_LOOPBACK, port=port, log_level="warning")


def _follow(settings: Settings, workspace: EvidentlyWorkspace, states: dict[str, str], projects: str) -> None:
    """Show each report that comes, once the UI watches the folder: it begins to at the first question for projects."""
    while not _answers(projects):
        time.sleep(_PATIENCE_SECONDS)
    while True:
        _show_newest(settings, workspace, states, _NEWEST)
        time.sleep(_PAUSE_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=_PAUSE_SECONDS):
            return True
    except OSError:
        return False


def _show_newest(settings: Settings, workspace: EvidentlyWorkspace, states: dict[str, str], count: int) -> None:
    """Show the reports on the newest batches of which the comparison is another than in `states`, and note it there."""
    files = [file for file in file_listing.list_files(settings.layout.drift_reports) if is_verdict(file.name)]
    for file in reversed(files[-count:]):
        if states.get(file.name) != file.state:
            try:
                _show(settings, workspace, file.name.removesuffix(".json"))
            except (BadInput, TrackingError, OSError) as error:
                _LOG.warning("%s", error)
            states[file.name] = file.state


def _show(settings: Settings, workspace: EvidentlyWorkspace, batch: str) -> None:
    """Have the UI read a report again: it notices a file that changes, and none that takes another's place."""
    read_report(settings, batch)
    path = workspace.report_path(batch)
    if workspace.root != settings.layout.evidently:
        storage.write_text(path, storage.read_text(EvidentlyWorkspace(settings.layout.evidently).report_path(batch)))
    os.utime(storage.to_local(path))
