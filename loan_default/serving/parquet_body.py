"""Parquet bodies to applications, by a process of their own that is ended where a file overruns its time or memory.

It is started at the first such body and answers one after the other; `parquet_process` is what runs in it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, cast

import msgspec

from loan_default.adapters.processes import start_module
from loan_default.serving.parquet_process import LENGTH, ParquetAnswer, ParquetRequest
from loan_default.serving.protocol import COLUMNS_AT_MOST, BodyLimits, DecodedBody, Refused, invalid, too_large

_MODULE = "loan_default.serving.parquet_process"
_MEMORY_BYTES = 1_000_000_000  # beyond what the process has when it begins
_ANSWERS = msgspec.msgpack.Decoder(ParquetAnswer)  # for all threads, as two must not begin to read its types
_SECONDS_AT_MOST = 10.0  # for one file; ten thousand applications take 0.1 s


class ParquetReader:
    """Reads bodies one after the other, by a process that is started when it is needed."""

    def __init__(self, *, seconds: float = _SECONDS_AT_MOST, memory_bytes: int = _MEMORY_BYTES) -> None:
        """Give a file so many seconds, and so many bytes of memory."""
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, body: bytes, limits: BodyLimits, *, until: float) -> DecodedBody:
        """Decode a file, until then (`time.monotonic`) at the latest.

        Raises:
            Refused: 400 for what is no such file, 413 for one that is or becomes too large, 503 where others still wait
                for theirs.
        """
        if not self._one_at_a_time.acquire(timeout=max(0.0, min(until - time.monotonic(), threading.TIMEOUT_MAX))):
            sentence = "Other Parquet files are still being read; try again in a second, or send JSON or CSV."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 1)
        try:
            answer = self._ask(ParquetRequest(body, limits.rows, COLUMNS_AT_MOST), until)
        finally:
            self._one_at_a_time.release()
        if answer.problem:
            raise (too_large if answer.is_large else invalid)(answer.problem)
        return DecodedBody(answer.names, answer.rows)

    def close(self) -> None:
        """End the process."""
        with self._one_at_a_time:
            self._end()

    def _ask(self, request: ParquetRequest, until: float) -> ParquetAnswer:
        process = self._started()
        timer = threading.Timer(max(0.0, min(until - time.monotonic(), self._seconds)), process.kill)
        timer.start()
        try:
            return _exchange(request, cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout))
        except (OSError, EOFError):
            self._end()
            sentence = "The file takes more time or memory than one request may; send fewer rows, or JSON or CSV."
            raise too_large(sentence) from None
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        """Return the process, started where there is none."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = start_module(
                _MODULE,
                str(self._memory_bytes),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a library's last words where its memory ends
                start_new_session=True,  # Ctrl-C ends the server, which ends it
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(OSError), self._process:  # closes the pipes, in which something may be left, and waits
                pass
            self._process = None


def _exchange(request: ParquetRequest, sink: IO[bytes], source: IO[bytes]) -> ParquetAnswer:
    """Send a request and return its answer.

    Raises:
        EOFError, OSError: the process ended.
    """
    message = msgspec.msgpack.encode(request)
    sink.write(LENGTH.pack(len(message)) + message)
    sink.flush()
    (size,) = LENGTH.unpack(_read(source, LENGTH.size))
    return _ANSWERS.decode(_read(source, size))


def _read(source: IO[bytes], size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise EOFError
    return content
