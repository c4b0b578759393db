"""The process that makes files of the prediction log for all workers of a scoring server, so that no answer waits.

How a file is made is `log_files`'s: here is when that is done, and how the process is started, watched and ended. It
may be killed at any time: a segment is deleted only when its rows are stored, and the same rows get the same files. It
ends when nobody holds the other end of its standard input, after it has stored what waits; signals are not for it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import msgspec

from loan_default.adapters.processes import start_module
from loan_default.serving.journal import list_segments
from loan_default.serving.log_status import LogStatus

if TYPE_CHECKING:
    from loan_default.serving.decision_records import Shadow
    from loan_default.serving.log_files import LogFiles

log = logging.getLogger(__name__)

_SERVERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # a group gets them
_MODULE = "loan_default.serving.log_process"
_BEGIN_SECONDS = 2.0  # the first answers go before what others left
_LOOK_SECONDS, _RETRY_SECONDS = 0.5, 10.0
_CLOSE_SECONDS = 20.0  # a storage that hangs must not keep the server from stopping; the journal stays for the next


class LogSettings(msgspec.Struct, frozen=True):
    """What the process needs to know; as JSON it is its argument.

    `challenger` is the file that remembers the version in `staging` (`registry_client.last_version_file`), by which a
    share of the rows is scored unseen; `starts` counts the processes that the server has started so far.
    """

    journal: str
    root: str
    retention_months: int | None = None
    challenger: str = ""
    shadow_share: float = 0.0
    starts: int = 0


class LogProcess:
    """Starts the process a moment after the server, again wherever it ends by itself, and ends it with the server."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings, self._journal = settings, Path(settings.journal)
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-process", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Have what waits stored, as far as the storage takes it in time."""
        self._stop.set()
        self._thread.join(_CLOSE_SECONDS + _BEGIN_SECONDS)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SERVERS)  # in this thread, and in what it starts
        wait = _BEGIN_SECONDS
        while not self._stop.wait(wait):
            if (trouble := self._start() or self._watch()) is not None:
                self._tell(trouble)
            wait = _RETRY_SECONDS
        if self._process is None and list_segments(self._journal) and (trouble := self._start()) is not None:
            self._tell(trouble)
        self._end()

    def _start(self) -> str | None:
        """Start the process; return what hinders, if anything does."""
        self._settings = msgspec.structs.replace(self._settings, starts=self._settings.starts + 1)
        settings = msgspec.json.encode(self._settings).decode()
        try:
            self._process = start_module(_MODULE, settings, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        except OSError as error:
            return f"cannot be started ({error})"
        return None

    def _watch(self) -> str | None:
        """Wait until the server stops; return how the process has ended, if it does before."""
        process = cast(subprocess.Popen[bytes], self._process)
        while not self._stop.wait(_LOOK_SECONDS):
            if (code := process.poll()) is not None:
                self._release()
                return f"has ended by {f'signal {-code}' if code < 0 else f'code {code}'}"
        return None

    def _tell(self, trouble: str) -> None:
        sentence = f"The process that makes files of the log {trouble}; scored rows wait in {self._journal}."
        log.warning("%s", sentence)
        status = LogStatus.read(self._journal)
        msgspec.structs.replace(status, trouble=sentence, pid=None, starts=self._settings.starts).write(self._journal)

    def _end(self) -> None:
        if (process := self._process) is None:
            return
        with suppress(OSError):  # it has ended
            cast(IO[bytes], process.stdin).close()
        try:
            process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._release()

    def _release(self) -> None:
        assert self._process is not None
        with suppress(OSError), self._process:  # closes the pipe, and waits
            pass
        self._process = None


# --- in the process


def make_files(files: LogFiles, journal: Path, stop: threading.Event, starts: int = 1) -> None:
    """Make files of segments as soon as they are closed, until it is told to stop; then of those that are."""

    def current() -> LogStatus:
        return msgspec.structs.replace(files.status, pid=os.getpid(), starts=starts)

    pruned_on, written = date.min, current()
    written.write(journal)  # what was said of the process before is over, also where the storage hangs now
    while True:
        is_last = stop.is_set()
        files.store_closed()
        if (status := current()) != written:
            status.write(journal)
            written = status
        if is_last:
            return
        if pruned_on < (today := datetime.now(UTC).date()):
            pruned_on = today
            files.prune(today)
        stop.wait(_LOOK_SECONDS if status.trouble is None else _RETRY_SECONDS)


def _shadow(settings: LogSettings) -> Shadow | None:
    """Return what scores rows unseen; no model is imported where nothing does."""
    if not settings.shadow_share:
        return None
    from loan_default.serving.routing import RememberedVersion, ShadowScoring

    return ShadowScoring(RememberedVersion(Path(settings.challenger)), settings.shadow_share)


def _follow_server(stop: threading.Event) -> None:
    """Wait until nobody holds the other end of standard input; a storage that hangs then has its time, and no more."""
    sys.stdin.buffer.read()
    stop.set()
    threading.Event().wait(_CLOSE_SECONDS)
    os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Make files as long as the server lives."""
    from loan_default.serving.background_writer import log_in_background
    from loan_default.serving.log_files import LogFiles

    log_in_background()
    settings, stop = msgspec.json.decode(arguments[0], type=LogSettings), threading.Event()
    threading.Thread(target=_follow_server, args=(stop,), name="lifeline", daemon=True).start()
    journal = Path(settings.journal)
    files = LogFiles(journal, settings.root, shadow=_shadow(settings), retention_months=settings.retention_months)
    make_files(files, journal, stop, settings.starts)


if __name__ == "__main__":
    main(sys.argv[1:])
