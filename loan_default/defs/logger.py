"""A Dagster logger for people at a terminal: which step runs, what it says, how long it took.

It only forwards to Python's logger `loan_default.progress`; how that is shown is `console`'s.
"""

from __future__ import annotations

import logging

import dagster as dg

PROGRESS = "loan_default.progress"
_SKIPPED = "Dependencies for step"  # Dagster's word on each step behind a failed one; the failure is told once


class _Forward(logging.Handler):
    """Passes on step starts, step ends and what assets log themselves; Dagster's other events are for the UI."""

    def __init__(self) -> None:
        super().__init__()
        self._target = logging.getLogger(PROGRESS)

    def emit(self, record: logging.LogRecord) -> None:
        told = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = told.get("dagster_event")
        step = told.get("step_key") or ""
        if event is None:
            said = told.get("orig_message", record.getMessage())
            if step and record.levelno >= logging.INFO and not said.startswith(_SKIPPED):
                self._target.log(record.levelno, said, extra={"step": step, "share": getattr(record, "share", None)})
        elif event.event_type_value == dg.DagsterEventType.STEP_START.value:
            self._target.info("", extra={"step": step, "begins": True})
        elif event.event_type_value == dg.DagsterEventType.STEP_SUCCESS.value:
            seconds = event.step_success_data.duration_ms / 1000
            self._target.info("", extra={"step": step, "seconds": seconds})


@dg.logger(description="Progress for people at a terminal.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """Forward to `loan_default.progress`."""
    logger = logging.Logger("loan_default.dagster", level=logging.DEBUG)  # at which Dagster reports steps
    logger.addHandler(_Forward())
    return logger
