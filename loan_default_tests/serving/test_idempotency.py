"""Keys in a real file: the first decides, others get its bytes, another body is refused, nothing is kept for ever."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loan_default.serving import idempotency
from loan_default.serving.http import Reply, Request
from loan_default.serving.idempotency import HEADER, REPLAYED, Claim, IdempotencyKeys
from loan_default.serving.protocol import DECISION_ID, Refused

pytestmark = pytest.mark.integration

DECISION = "01a220a4-8b3a-7a16-a00d-4a55a4d40000"
REPLY = Reply(200, b'{"predictions": []}', ((b"content-type", b"application/json"), (DECISION_ID, DECISION.encode())))


def claim(key: str = "k1", body: bytes = b"{}", caller: str = "web", **headers: bytes) -> Claim:
    sent = {HEADER: key.encode(), **{name.replace("_", "-").encode(): value for name, value in headers.items()}}
    return Claim.of(Request("POST", "/invocations", b"", sent, "", body, caller=caller))


class Clock:
    seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


NewKeys = Callable[[], IdempotencyKeys]


class Log(set[str]):
    """Has the ids of decisions, or cannot be read."""

    is_readable = True

    def has(self, decision_id: str) -> bool:
        if not self.is_readable:
            raise PermissionError("it may not be read")
        return decision_id in self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def new_keys(tmp_path: Path, clock: Clock, log: Log) -> Iterator[NewKeys]:
    """Keys of several workers, of one file."""
    stores = []

    def make() -> IdempotencyKeys:
        stores.append(IdempotencyKeys(tmp_path / "home" / "keys.db", log.has, now=clock))
        return stores[-1]

    yield make
    for keys in stores:
        keys.close()


def run(awaitable: Any) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


def refusal(keys: IdempotencyKeys) -> str:
    """Return the sentence by which a file that cannot be used is told of."""
    with pytest.raises(Refused, match=r"keys\.db cannot be used, so no Idempotency-Key is known: ") as refused:
        run(keys.begin(claim()))
    assert refused.value.status == 503
    return refused.value.sentence


def test_the_same_request_has_the_same_reply_over_workers_and_restarts(new_keys: NewKeys) -> None:
    first, second = new_keys(), new_keys()
    assert run(first.begin(claim())) is None
    run(first.finish(claim(), REPLY))
    expected = Reply(200, REPLY.body, (*REPLY.headers, REPLAYED))
    for keys in (first, second, new_keys()):
        assert run(keys.begin(claim())) == expected
    assert run(second.begin(claim(caller="branch"))) is None, "another caller's key is another"
    assert run(second.begin(claim("k2"))) is None


@pytest.mark.parametrize(
    "other", [claim(body=b"{ }"), claim(content_type=b"text/csv"), claim(content_encoding=b"gzip")]
)
def test_another_request_with_the_key_is_refused(new_keys: NewKeys, other: Claim) -> None:
    keys = new_keys()
    for finished in (False, True):
        if finished:
            run(keys.finish(claim(), REPLY))
        else:
            assert run(keys.begin(claim())) is None
        with pytest.raises(Refused, match="was sent with another request") as refused:
            run(keys.begin(other))
        assert refused.value.status == 422


@pytest.mark.parametrize("key", ["", "a" * 256, "a\nb", "ä"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="must be 1 to 255 printable ASCII") as refused:
        claim(key)
    assert refused.value.status == 400


def test_a_request_in_progress_is_waited_for(new_keys: NewKeys) -> None:
    first, second = new_keys(), new_keys()

    async def together() -> Reply | None:
        assert await first.begin(claim()) is None
        again = asyncio.create_task(second.begin(claim()))
        await asyncio.sleep(0.2)
        assert not again.done()
        await first.finish(claim(), REPLY)
        return await again

    reply = asyncio.run(together())
    assert reply is not None
    assert reply.body == REPLY.body


def test_one_that_does_not_end_is_a_conflict(new_keys: NewKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_WAIT_SECONDS", 0.1)
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    with pytest.raises(Refused, match="is in progress") as refused:
        run(keys.begin(claim()))
    assert (refused.value.status, refused.value.retry_after) == (409, 1)


def test_one_that_was_refused_may_be_sent_again(new_keys: NewKeys) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    run(keys.release(claim()))
    assert run(keys.begin(claim(body=b"corrected"))) is None
    run(keys.finish(claim(body=b"corrected"), REPLY))
    run(keys.release(claim()))
    assert run(keys.begin(claim(body=b"corrected"))) is not None, "a decision is not released"


@pytest.mark.parametrize("dies", [True, False], ids=["its worker died", "too long ago"])
def test_one_that_nobody_works_on_is_taken_over(new_keys: NewKeys, tmp_path: Path, clock: Clock, dies: bool) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    if dies:
        with sqlite3.connect(tmp_path / "home" / "keys.db") as connection:
            connection.execute("UPDATE keys SET pid = ?", (2**30,))  # no system has so many
    else:
        clock.seconds += 61
    assert run(keys.begin(claim())) is None


def test_one_whose_decision_may_be_logged_is_looked_for_in_the_log(
    new_keys: NewKeys, tmp_path: Path, clock: Clock, log: Log
) -> None:
    keys, other = new_keys(), new_keys()
    assert run(keys.begin(claim())) is None
    run(keys.prepare(claim(), REPLY))
    clock.seconds += 61
    log.is_readable = False
    for _ in range(2):  # at once, though somebody has looked a moment before
        with pytest.raises(Refused, match=f"already, {DECISION}, cannot be read in the log: it may not") as refused:
            run(other.begin(claim()))
        assert refused.value.status == 503
    log.is_readable = True
    assert run(other.begin(claim())) is None, "nobody was told of a decision that is not logged"
    run(other.prepare(claim(), REPLY))
    clock.seconds += 61
    log.add(DECISION)
    assert run(keys.begin(claim())) == Reply(200, REPLY.body, (*REPLY.headers, REPLAYED))
    log.clear()
    assert run(other.begin(claim())) is not None, "it is known now"


def test_who_was_too_slow_logs_nothing(new_keys: NewKeys, tmp_path: Path) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    with sqlite3.connect(tmp_path / "home" / "keys.db") as connection:
        connection.execute("UPDATE keys SET pid = pid + 1")  # another worker has taken it over
    with pytest.raises(Refused, match="is in progress"):
        run(keys.prepare(claim(), REPLY))
    run(keys.release(claim()))
    with sqlite3.connect(tmp_path / "home" / "keys.db") as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,), "it is the other's"


def test_a_file_that_fails_after_the_decision_costs_nobody_the_answer(
    new_keys: NewKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    run(keys.prepare(claim(), REPLY))
    with sqlite3.connect(tmp_path / "home" / "keys.db") as connection:
        connection.execute("ALTER TABLE keys RENAME TO others")
    run(keys.finish(claim(), REPLY))
    assert "A request that was answered is looked for in the log" in caplog.text


def test_a_caller_that_goes_away_at_the_beginning_leaves_nothing(new_keys: NewKeys) -> None:
    keys = new_keys()

    async def leave() -> None:
        beginning = asyncio.create_task(keys.begin(claim()))
        await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.wait([beginning])
        assert beginning.cancelled()

    run(leave())
    assert run(keys.begin(claim())) is None


def test_after_a_day_it_is_another_decision(new_keys: NewKeys, tmp_path: Path, clock: Clock) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    run(keys.finish(claim(), REPLY))
    clock.seconds += 24 * 3600 - 1
    assert run(keys.begin(claim())) is not None
    clock.seconds += 2
    assert run(keys.begin(claim("k2"))) is None
    run(keys.finish(claim("k2"), REPLY))
    with sqlite3.connect(tmp_path / "home" / "keys.db") as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    assert run(keys.begin(claim())) is None


def test_a_key_of_yesterday_that_is_not_forgotten_yet_is_new(new_keys: NewKeys, clock: Clock) -> None:
    keys = new_keys()
    assert run(keys.begin(claim())) is None
    run(keys.finish(claim(), REPLY))
    clock.seconds += 24 * 3600 + 1
    assert run(keys.begin(claim())) is None


def test_the_oldest_go_where_replies_take_too_much_room(
    new_keys: NewKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_BYTES_AT_MOST", 1_000)
    keys = new_keys()
    for number in range(10):
        clock.seconds += 61
        assert run(keys.begin(claim(f"k{number}"))) is None
        run(keys.finish(claim(f"k{number}"), Reply(200, b"x" * 50)))
    kept = [number for number in range(10) if run(keys.begin(claim(f"k{number}"))) is not None]
    assert kept == [6, 7, 8, 9]


def test_a_file_that_cannot_be_used_is_said_until_it_can(new_keys: NewKeys, tmp_path: Path) -> None:
    keys, home = new_keys(), tmp_path / "home"
    home.touch()
    assert "File exists" in refusal(keys)
    home.unlink()
    home.mkdir()
    (home / "keys.db").write_bytes(b"no database " * 100)
    assert "file is not a database" in refusal(keys)
    (home / "keys.db").unlink()
    assert run(keys.begin(claim())) is None


@pytest.mark.parametrize("file", ["keys.db", "keys.db-wal"])
def test_only_its_owner_reads_it(new_keys: NewKeys, tmp_path: Path, file: str) -> None:
    assert run(new_keys().begin(claim())) is None
    assert (tmp_path / "home" / file).stat().st_mode & 0o077 == 0
