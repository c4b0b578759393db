"""What a person at a terminal is told of a run, in order, from real runs."""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from loan_default.defs.logger import PROGRESS, progress_logger


@dg.op
def cleaned(context: dg.OpExecutionContext) -> int:
    context.log.info("1,000 rows", extra={"share": 0.5})
    context.log.debug("for developers")
    context.log.warning("10 rows rejected")
    return 1


@dg.job(logger_defs={"progress": progress_logger})
def cleaning_job() -> None:
    cleaned()


@pytest.fixture
def records() -> Iterator[list[Any]]:
    """What the logger passes on; its records have attributes of their own."""
    records: list[Any] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, listener = logging.getLogger(PROGRESS), Listener()
    logger.addHandler(listener)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(listener)
    logger.setLevel(before)


def test_steps_and_their_words_are_passed_on_in_order(records: list[Any]) -> None:
    cleaning_job.execute_in_process(run_config={"loggers": {"progress": {}}})
    begins, message, warned, ends = records
    assert begins.begins
    assert ends.seconds >= 0
    assert (message.share, warned.share) == (0.5, None)
    assert {record.step for record in records} == {"cleaned"}
    assert [record.getMessage() for record in (message, warned)] == ["1,000 rows", "10 rows rejected"]
    assert [record.levelno for record in (message, warned)] == [logging.INFO, logging.WARNING]


def test_a_step_that_fails_never_ends(records: list[Any]) -> None:
    @dg.op
    def broken() -> None:
        raise ValueError("no")

    @dg.job(logger_defs={"progress": progress_logger})
    def failing() -> None:
        broken()

    failing.execute_in_process(run_config={"loggers": {"progress": {}}}, raise_on_error=False)
    assert any(getattr(record, "begins", False) for record in records)
    assert not any(hasattr(record, "seconds") for record in records)
