"""The queue of requests that need a thread: bounded, in the order of their coming, with a deadline.

A connection has one request in it at most, so that the order is fair between connections. What is done in the thread
is `scoring`'s to say.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from loan_default.serving.protocol import Refused

Result = TypeVar("Result")

_RETRY_SECONDS = 1


@dataclass(frozen=True)
class QueueLimits:
    """Bounds how many requests are worked on at once, how many wait, and for how long (seconds)."""

    threads: int = max(4, os.cpu_count() or 1)
    waiting: int = 1_000
    wait_seconds: float = 20.0
    work_seconds: float = 30.0


class WorkQueue:
    """Threads, and the requests that wait for one; `waiting` and `working` say how many there are."""

    def __init__(self, limits: QueueLimits) -> None:
        self.waiting = self.working = 0
        self.limits = limits
        self._executor = ThreadPoolExecutor(limits.threads, "scoring")
        self._free = asyncio.Semaphore(limits.threads)  # gives its places in the order in which they are waited for

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Have work done in a thread; one that is given up keeps its thread until it ends, and no other waits for it.

        Raises:
            Refused: 503 if too many wait already, if no thread was free in time, or if the work took too long.
        """
        await self._wait()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, work, *arguments)
        self.working += 1
        future.add_done_callback(self._release)
        try:
            async with asyncio.timeout(self.limits.work_seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            sentence = f"The answer took longer than {self.limits.work_seconds:g} s; send fewer applications at once."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5) from None

    async def _wait(self) -> None:
        if self.waiting >= self.limits.waiting:
            sentence = f"{self.waiting:,} requests wait already; try again in a second."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, _RETRY_SECONDS)
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            sentence = f"The request waited {self.limits.wait_seconds:g} s in vain; try again in a second."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, _RETRY_SECONDS) from None
        finally:
            self.waiting -= 1

    def _release(self, future: asyncio.Future[Any]) -> None:
        self.working -= 1
        self._free.release()
        if not future.cancelled():
            future.exception()  # which nobody may wait for any more

    def close(self) -> None:
        """Begin no more work."""
        self._executor.shutdown(wait=False, cancel_futures=True)
