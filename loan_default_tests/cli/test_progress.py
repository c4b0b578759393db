"""Progress: plain lines where there is no terminal; a clock, and a bar where the share is known, where there is one."""

import io
import logging

import pytest
from rich.console import Console

from loan_default.cli.progress import LOGGER, ProgressHandler, progress
from loan_default.defs.logger import PROGRESS

logger = logging.getLogger(LOGGER)


def step(name: str) -> None:
    logger.info("", extra={"step": name, "begins": True})
    logger.info("Trial 1 of 2", extra={"step": name, "share": 0.5})
    logger.warning("[odd] rows", extra={"step": name})


def test_it_listens_to_what_dagster_forwards() -> None:
    assert LOGGER == PROGRESS


def test_without_a_terminal_it_is_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    with progress(console):
        step("tuned_params")
        logger.info("", extra={"step": "tuned_params", "seconds": 1.25})
    step("unseen")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "▸ tuned_params",
        "    Trial 1 of 2",
        "    [odd] rows",
        "  ✓ tuned_params 1.2 s",
    ]


@pytest.mark.parametrize("ends", [True, False])
def test_at_a_terminal_a_clock_runs_and_a_bar_shows_the_share(ends: bool) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with progress(console):
        (handler,) = (handler for handler in logger.handlers if isinstance(handler, ProgressHandler))
        step("tuned_params")
        (task,) = handler.clock.tasks
        assert (task.description, task.completed, task.total) == ("tuned_params", 0.5, 1.0)
        assert task.elapsed is not None
        if ends:
            logger.info("", extra={"step": "tuned_params", "seconds": 1.25})
            assert not handler.clock.tasks
        else:  # it failed, and is begun again
            step("tuned_params")
            assert len(handler.clock.tasks) == 1
    assert not [handler for handler in logger.handlers if isinstance(handler, ProgressHandler)]
    assert isinstance(console.file, io.StringIO)
    assert "0:00:00" in console.file.getvalue()
