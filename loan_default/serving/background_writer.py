"""A writer that makes nobody wait: lines for a pipe, a terminal or a file are written by a thread, or dropped.

A pipe that nobody reads blocks whoever writes to it, a full disk fails. What the lines say is `app`'s (access log) and
Python's logging's.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from typing import Any

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PIECE_BYTES = 65_536
_PAUSE_SECONDS = 0.05  # where the descriptor does not block
_GATHER_SECONDS = 0.05  # lines are written together: each turn of the thread takes time from the answers


class BackgroundWriter:
    """A thread that writes to a descriptor; `dropped` counts the lines that could not be."""

    def __init__(self, descriptor: int, *, capacity: int = 4_000_000) -> None:
        """Begin to write; at most `capacity` bytes wait."""
        self.dropped = 0
        self._descriptor, self._capacity = descriptor, capacity
        self._waiting: list[bytes] = []
        self._size = 0
        self._torn = False  # a line was written in part
        self._due, self._stops = threading.Event(), False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"writer-{descriptor}", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Have whole lines written soon; those that do not fit are dropped."""
        with self._lock:  # held by nobody for long
            if self._size + len(lines) > self._capacity:
                self.dropped += lines.count(b"\n")
                return
            self._size += len(lines)
            self._waiting.append(lines)
        self._due.set()

    def close(self, seconds: float) -> None:
        """Write what waits, as far as that is possible in so many seconds."""
        self._stops = True
        self._due.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._due.wait()
            if not self._stops:
                time.sleep(_GATHER_SECONDS)
            self._due.clear()
            with self._lock:
                lines, self._waiting = b"".join(self._waiting), []
            if lines:
                self._write(lines)
                with self._lock:
                    self._size -= len(lines)
            elif self._stops:
                return
            if self._stops:
                self._due.set()

    def _write(self, lines: bytes) -> None:
        rest = memoryview(b"\n" + lines if self._torn else lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest[:_PIECE_BYTES]) :]
            except BlockingIOError:
                time.sleep(_PAUSE_SECONDS)
            except OSError:  # a full disk, a reader that has gone
                self._torn = self._torn or 0 < len(rest) < len(lines)
                self.dropped += bytes(rest).count(b"\n")
                return
        self._torn = False


class TextStream:
    """Such a writer as a stream of Python's logging, which would make everybody wait for a log that blocks."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer

    def write(self, text: str) -> None:
        """Have lines written soon."""
        self._writer.write(text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Do nothing: nobody waits for the writer."""


def log_in_background() -> None:
    """Have nobody wait for a standard error that blocks."""
    writer = BackgroundWriter(sys.stderr.fileno())
    atexit.register(writer.close, 1.0)
    stream: Any = TextStream(writer)
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT, stream=stream, force=True)
