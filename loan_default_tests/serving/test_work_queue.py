"""The queue: in the order of coming, bounded, and nothing that is given up is in anybody's way."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterator

import pytest

from loan_default.serving.protocol import Refused
from loan_default.serving.work_queue import QueueLimits, WorkQueue


class Work:
    """Work that lasts until it is let go; remembers in which order it began."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.go = threading.Event()

    def __call__(self, number: int) -> int:
        self.began.append(number)
        self.go.wait(10)
        return number


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.go.set()


async def refusal(answer: Awaitable[int]) -> str:
    with pytest.raises(Refused) as refused:
        await answer
    assert (refused.value.status, bool(refused.value.retry_after)) == (503, True)
    return refused.value.sentence


def test_requests_wait_for_a_thread_in_the_order_of_their_coming(work: Work) -> None:
    async def run() -> list[int]:
        queue = WorkQueue(QueueLimits(threads=1))
        answers = [asyncio.create_task(queue.run(work, number)) for number in range(50)]
        await asyncio.sleep(0.05)
        assert (queue.working, queue.waiting) == (1, 49)
        work.go.set()
        return await asyncio.gather(*answers)

    assert asyncio.run(run()) == work.began == [*range(50)]


def test_a_full_queue_sends_away_at_once_and_a_slow_one_in_time(work: Work) -> None:
    async def run() -> None:
        queue = WorkQueue(QueueLimits(threads=1, waiting=2, wait_seconds=0.3))
        first, *others = [asyncio.create_task(queue.run(work, number)) for number in range(3)]
        await asyncio.sleep(0.05)
        assert "2 requests wait already" in await refusal(queue.run(work, 3))
        for other in others:
            assert "waited 0.3 s in vain" in await refusal(other)
        assert queue.waiting == 0
        work.go.set()
        assert await first == 0

    asyncio.run(run())
    assert work.began == [0]


def test_work_that_takes_too_long_keeps_its_thread_and_no_other(work: Work) -> None:
    async def run() -> None:
        queue = WorkQueue(QueueLimits(threads=2, work_seconds=0.2))
        assert "took longer than 0.2 s" in await refusal(queue.run(work, 0))
        assert queue.working == 1
        assert await queue.run(lambda: 7) == 7
        work.go.set()
        deadline = time.monotonic() + 5
        while queue.working and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert queue.working == 0

    asyncio.run(run())


def test_who_has_gone_waits_no_more(work: Work) -> None:
    async def run() -> None:
        queue = WorkQueue(QueueLimits(threads=1))
        first, gone, last = [asyncio.create_task(queue.run(work, number)) for number in range(3)]
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        work.go.set()
        assert [await first, await last] == [0, 2]

    asyncio.run(run())
    assert work.began == [0, 2]
