"""Progress of a job while it runs: a line for each step; at a terminal a clock too, and a bar where the share is known.

The records come from the logger `loan_default.progress`, to which `defs.logger` forwards what Dagster reports.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

LOGGER = "loan_default.progress"


class ProgressHandler(logging.Handler):
    """Shows steps as they begin and end, and what they report."""

    def __init__(self, console: Console, clock: Progress) -> None:
        super().__init__()
        self._console, self.clock = console, clock
        self._tasks: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record: `step` begins (`begins`), ends (`seconds`), or reports a message and maybe a `share`."""
        step: str = getattr(record, "step", "")
        seconds: float | None = getattr(record, "seconds", None)
        if getattr(record, "begins", False):
            self._console.print(f"[bold]▸ {step}[/bold]")
            self._end(step)  # a step that fails does not end, and may be begun again
            self._tasks[step] = self.clock.add_task(step, total=None)
        elif seconds is not None:
            self._end(step)
            self._console.print(f"  [green]✓[/green] {step} [dim]{seconds:.1f} s[/dim]")
        else:
            self._advance(step, getattr(record, "share", None))
            colour = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._console.print(Text(f"    {record.getMessage()}", style=colour))

    def _advance(self, step: str, share: float | None) -> None:
        if share is not None and step in self._tasks:
            self.clock.update(self._tasks[step], total=1.0, completed=share)

    def _end(self, step: str) -> None:
        if step in self._tasks:
            self.clock.remove_task(self._tasks.pop(step))


@contextmanager
def progress(console: Console) -> Iterator[None]:
    """Show what jobs report while they run within this block."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as clock:
        handler = ProgressHandler(console, clock)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
