"""A writer that makes nobody wait: what a pipe, a file and a full disk get of its lines."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from loan_default.serving.background_writer import BackgroundWriter, TextStream
from loan_default_tests.waiting import within


def test_lines_are_written_in_their_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = BackgroundWriter(file.fileno())
        for number in range(1_000):
            writer.write(b"%d\n" % number)
        writer.close(5)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(1_000)]
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting() -> None:
    end, full = os.pipe()
    writer, line = BackgroundWriter(full, capacity=200_000), b"x" * 999 + b"\n"
    began = time.monotonic()
    for _ in range(1_000):
        writer.write(line)
    writer.close(0.1)
    assert time.monotonic() - began < 5
    assert writer.dropped >= 800
    text = b""
    os.set_blocking(end, False)
    while len(text) + 1_000 * writer.dropped < 1_000_000:
        try:
            text += os.read(end, 65_536)
        except BlockingIOError:
            time.sleep(0.01)
    assert text == line * (1_000 - writer.dropped), "the rest comes whole"


def test_a_full_disk_is_counted_and_tried_again(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = BackgroundWriter(full.fileno())
        writer.write(b"one\ntwo\n")
        assert within(5, lambda: writer.dropped == 2)
        with (tmp_path / "log").open("wb") as file:
            os.dup2(file.fileno(), full.fileno())  # there is space again
            writer.write(b"three\n")
            writer.close(5)
    assert (tmp_path / "log").read_bytes() == b"three\n"
    assert writer.dropped == 2


def test_logging_writes_by_it(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = BackgroundWriter(file.fileno())
        stream: Any = TextStream(writer)
        logger = logging.Logger("by-itself")
        logger.addHandler(logging.StreamHandler(stream))
        logger.warning("a \udc80 line")
        writer.close(5)
    assert (tmp_path / "log").read_bytes() == b"a \\udc80 line\n"
