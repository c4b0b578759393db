"""A Dagster logger for people at a terminal: which step runs, what it logs, how long it took.

It only forwards to Python's logger `loan_default.progress`; how that is displayed is `cli.progress`'s.
"""

from __future__ import annotations

import logging

import dagster as dg

PROGRESS = "loan_default.progress"
_SKIPPED = "Dependencies for step"  # Dagster's message for each step after a failed one; the failure is logged once


class _Forward(logging.Handler):
    """Pass on step starts, step ends and what assets log themselves; Dagster's other events are for the UI."""

    def __init__(self) -> None:
        super().__init__()
        self._target = logging.getLogger(PROGRESS)

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        step = meta.get("step_key") or ""
        if event is None:
            message = meta.get("orig_message", record.getMessage())
            if step and record.levelno >= logging.INFO and not message.startswith(_SKIPPED):
                share = getattr(record, "share", None)
                self._target.log(record.levelno, message, extra={"step": step, "share": share})
        elif event.event_type_value == dg.DagsterEventType.STEP_START.value:
            self._target.info("", extra={"step": step, "begins": True})
        elif event.event_type_value == dg.DagsterEventType.STEP_SUCCESS.value:
            seconds = event.step_success_data.duration_ms / 1000
            self._target.info("", extra={"step": step, "seconds": seconds})


@dg.logger(None, description="Progress for people at a terminal.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """Forward to `loan_default.progress`."""
    logger = logging.Logger("loan_default.dagster", level=logging.DEBUG)  # at which Dagster reports steps
    logger.addHandler(_Forward())
    return logger
