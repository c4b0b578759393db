"""Requests that are sent again with the same `Idempotency-Key`: one decision, and the same bytes, for a day.

The keys of all workers stand in one SQLite file of the server's home. A reply stands there before its decision is
logged, and may be sent again once that is known: where a worker died in between, the log says. What is answered is
`app`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from loan_default.adapters.processes import is_alive
from loan_default.serving.http import RawHeaders, Reply, Request
from loan_default.serving.protocol import DECISION_ID, Refused, invalid
from loan_default.serving.purpose import ON_BEHALF_OF, PURPOSE

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Progress = Literal["first", "in progress", "prepared", "answered"]

HEADER = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")
_DAY = 24 * 3600.0
_LEASE_SECONDS = 60.0  # in which a request that is in progress has ended, if its worker lives
_NOBODY = 0  # no process has this id
_WAIT_SECONDS, _LOOK_SECONDS = 10.0, 0.05
_PRUNE_SECONDS = 60.0
_BYTES_AT_MOST = 256_000_000  # of replies; beyond, the oldest keys go first
LONGEST_KEY = 255
IN_PROGRESS = "A request with this Idempotency-Key is in progress; send it again in a second."
ANOTHER_REQUEST = "This Idempotency-Key was sent with another request; each request needs a key of its own."
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    key BLOB PRIMARY KEY, body BLOB NOT NULL, begun_at REAL NOT NULL, pid INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0, status INTEGER, headers BLOB, reply BLOB);  -- no status: not known to be logged
CREATE INDEX IF NOT EXISTS by_age ON keys (begun_at);
"""
_UNSYNCED = "PRAGMA synchronous = NORMAL"  # what a machine that goes down forgets of it, the log says


class Claim(NamedTuple):
    """Holds what a request is known by: its caller and key, and what it asks."""

    key: bytes
    body: bytes

    @classmethod
    def of(cls, request: Request) -> Claim:
        """Read the claim of a request that has a key.

        Raises:
            Refused: the key is none.
        """
        key = request.headers[HEADER]
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.decode().isprintable():
            raise invalid(f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII letters.")
        names = (b"content-type", b"content-encoding", ON_BEHALF_OF, PURPOSE)
        form = [request.headers.get(name, b"") for name in names]
        return cls(
            _digest(request.caller.encode(), key), _digest(request.path.encode(), request.query, *form, request.body)
        )


def _decode_headers(headers: bytes) -> RawHeaders:
    return msgspec.msgpack.decode(headers, type=RawHeaders)


def _replayed(reply: Reply) -> Reply:
    return Reply(reply.status, reply.body, (*reply.headers, REPLAYED))


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


class IdempotencyKeys:
    """The keys of the last day; its file is opened at the first, and used by one thread."""

    def __init__(self, file: Path, is_logged: Callable[[str], bool], *, now: Callable[[], float] = time.time) -> None:
        """Use a file; `is_logged` tells of a decision's id whether the log has it, or raises an OSError."""
        self._file, self._is_logged, self._now, self._pruned_at = file, is_logged, now, 0.0
        self._thread = ThreadPoolExecutor(1, "idempotency")
        self._connection: sqlite3.Connection | None = None

    async def begin(self, claim: Claim) -> Reply | None:
        """Return the reply that the same request had; None where it is the first, which `finish` or `release` ends.

        Raises:
            Refused: 422 for another request with this key, 409 for one that is in progress and does not end, 503 where
                neither the file nor the log can tell.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            beginning = asyncio.ensure_future(self._run(self._begin, claim))
            try:
                progress, reply = await asyncio.shield(beginning)
            except asyncio.CancelledError:  # the caller is gone, and may send it again at once
                progress, _ = await beginning
                if progress == "first":
                    await self.release(claim)
                elif progress == "prepared":
                    await self._run(self._leave, claim)
                raise
            if progress == "prepared" and reply is not None:
                return await self._recover(claim, reply)
            if progress != "in progress":
                return reply
            if time.monotonic() >= deadline:
                raise Refused(409, "RESOURCE_CONFLICT", IN_PROGRESS, 1)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _recover(self, claim: Claim, reply: Reply) -> Reply | None:
        """Return the reply of whoever did not get to the end, where its decision is logged; else nobody was told."""
        decision_id = dict(reply.headers)[DECISION_ID].decode()
        try:
            is_logged = await asyncio.to_thread(self._is_logged, decision_id)
        except BaseException as error:
            await self._run(self._leave, claim)
            if not isinstance(error, OSError):
                raise
            # the server of a bucket may only add to the log
            sentence = f"Whether this request has a decision already, {decision_id}, cannot be read in the log: {error}"
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5) from error
        if not is_logged:
            return None
        await self.finish(claim, reply)
        return _replayed(reply)

    async def prepare(self, claim: Claim, reply: Reply) -> None:
        """Write down the reply, durably, before its decision is logged."""
        await self._run(self._prepare, claim, reply)

    async def finish(self, claim: Claim, reply: Reply) -> None:
        """Keep the reply for those who send the same again; where that fails, a decision is found in the log."""
        try:
            await self._run(self._finish, claim, reply)
        except Refused as refused:
            log.warning(
                "%s A request that was answered is looked for in the log when it comes again.", refused.sentence
            )

    async def release(self, claim: Claim) -> None:
        """Let the same request be tried again: it has had no decision."""
        await self._run(self._release, claim)

    def close(self) -> None:
        """Close the file."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except (sqlite3.Error, OSError) as error:
            sentence = f"{self._file} cannot be used, so no Idempotency-Key is known: {error}."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5) from error

    def _connect(self) -> sqlite3.Connection:
        """Return the connection to the file with its table; the next request tries again where that cannot be."""
        if self._connection is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=10.0, isolation_level=None)
            self._file.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_UNSYNCED)
            connection.executescript(_TABLE)
            self._connection = connection
        return self._connection

    def _begin(self, claim: Claim) -> tuple[Progress, Reply | None]:
        """Tell how far the request has come, and its reply, if there is one."""
        connection, now = self._connect(), self._now()
        connection.execute("BEGIN IMMEDIATE")
        try:
            return self._begin_alone(connection, claim, now)
        finally:
            connection.commit()

    def _begin_alone(self, connection: sqlite3.Connection, claim: Claim, now: float) -> tuple[Progress, Reply | None]:
        columns = "body, begun_at, pid, status, headers, reply"
        row = connection.execute(f"SELECT {columns} FROM keys WHERE key = ?", (claim.key,)).fetchone()
        if row is not None and row[1] > now - _DAY:
            body, begun_at, pid, status, headers, content = row
            if body != claim.body:
                raise Refused(422, "INVALID_PARAMETER_VALUE", ANOTHER_REQUEST)
            if status is not None:
                return "answered", _replayed(Reply(status, content, _decode_headers(headers)))
            if begun_at > now - _LEASE_SECONDS and pid != _NOBODY and is_alive(pid):
                return "in progress", None
            if content is not None:  # whoever had it logged did not get to the end
                connection.execute("UPDATE keys SET begun_at = ?, pid = ? WHERE key = ?", (now, os.getpid(), claim.key))
                return "prepared", Reply(200, content, _decode_headers(headers))
        values = (claim.key, claim.body, now, os.getpid())
        connection.execute("INSERT OR REPLACE INTO keys (key, body, begun_at, pid) VALUES (?, ?, ?, ?)", values)
        return "first", None

    def _prepare(self, claim: Claim, reply: Reply) -> None:
        connection = self._connect()
        connection.execute("PRAGMA synchronous = FULL")
        try:
            is_ours = self._write(claim, reply, None)
        finally:
            connection.execute(_UNSYNCED)
        if not is_ours:
            raise Refused(409, "RESOURCE_CONFLICT", IN_PROGRESS, 1)

    def _write(self, claim: Claim, reply: Reply, status: int | None) -> int:
        """Write the reply of a request that nobody else has taken over; return 0 where somebody has."""
        headers = msgspec.msgpack.encode(reply.headers)
        values = (status, headers, reply.body, len(reply.body), claim.key, os.getpid())
        sentence = "UPDATE keys SET status = ?, headers = ?, reply = ?, size = ? WHERE key = ? AND pid = ?"
        return self._connect().execute(sentence, values).rowcount

    def _finish(self, claim: Claim, reply: Reply) -> None:
        self._write(claim, reply, reply.status)
        if self._now() >= self._pruned_at + _PRUNE_SECONDS:
            self._pruned_at = self._now()
            self._prune()

    def _prune(self) -> None:
        """Forget keys that are a day old, and the oldest ones where their replies take too much room."""
        connection = self._connect()
        connection.execute("DELETE FROM keys WHERE begun_at <= ?", (self._now() - _DAY,))
        newer = "SELECT begun_at, sum(size + 200) OVER (ORDER BY begun_at DESC) AS newer FROM keys"
        sentence = f"SELECT max(begun_at) FROM ({newer}) WHERE newer > ?"
        (limit,) = connection.execute(sentence, (_BYTES_AT_MOST,)).fetchone()
        if limit is not None:
            connection.execute("DELETE FROM keys WHERE begun_at <= ? AND status IS NOT NULL", (limit,))

    def _leave(self, claim: Claim) -> None:
        sentence = "UPDATE keys SET pid = ? WHERE key = ? AND pid = ?"
        self._connect().execute(sentence, (_NOBODY, claim.key, os.getpid()))

    def _release(self, claim: Claim) -> None:
        sentence = "DELETE FROM keys WHERE key = ? AND pid = ? AND status IS NULL"
        self._connect().execute(sentence, (claim.key, os.getpid()))

    def _close(self) -> None:
        if self._connection is not None:
            with closing(self._connection):
                self._connection = None
