"""A connection to the scoring server: requests are read from it, one after the other, and their replies written.

Every limit that holds before a request is a request stands here, and `Connections` keeps those of all together: size
of a head and of a body, time that each may take, connections, memory. What is replied is `app`'s to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import httptools

from loan_default.serving.http import Reply, Request

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

log = logging.getLogger(__name__)

_HELD_BYTES = 65_536  # of later requests, while an earlier one is answered
# Are read in one turn, or what is left of a body: who sends many requests at once does not keep the others waiting.
_PIECE_BYTES = 16_384
_SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 2.0  # in which a client that was refused may finish sending: it reads the reply only then
_DISCARDED_BYTES = 65_536  # of a body that was refused are read, so that the connection can go on
_VERSIONS = ("1.1", "1.0")
_FULL = "The server holds too many bodies at once; try again in a second."
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSED = IDLE, CROWDED, UNREAD = "idle", "crowded", "unread"  # why a connection was given up
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of one connection, and of all of them together."""

    head_bytes: int = 16_384
    head_lines: int = 100
    head_seconds: float = 10.0
    body_bytes: int = 8_000_000
    body_seconds: float = 30.0
    body_rate: int = 1_000  # bytes a second, once a body has taken `head_seconds`
    idle_seconds: float = 75.0
    connections: int = 10_000
    all_bodies_bytes: int = 256_000_000


class RequestHandler(Protocol):
    """Declares what a connection asks of `app`."""

    def admit(self, request: Request) -> Reply | None:
        """Refuse a request whose body has not come yet, or let it come."""

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """Answer an admitted request whose body has come."""

    def refuse(self, request: Request, status: int, sentence: str) -> Reply:
        """Refuse what the connection cannot read; of a request without a head only the client is known."""


class Connections:
    """The connections of one worker: how many there are, which waits longest for its client, what bodies take."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits or ConnectionLimits()
        self.closed: Counter[str] = Counter()  # connections, by why they were
        self.body_bytes = 0
        self._longest_first: OrderedDict[Connection, None] = OrderedDict()  # the longest without a request first
        self._crowded = False
        self._with_replies: list[Connection] = []

    def __len__(self) -> int:
        return len(self._longest_first)

    def add(self, connection: Connection) -> None:
        """Take a connection in; where there are too many, the one that has waited longest for its client goes."""
        if not self._longest_first:
            asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        crowded = len(self._longest_first) >= self.limits.connections
        if crowded and not self._crowded:
            sentence = "All %d connections are taken; for each new one the oldest idle one is closed."
            log.warning(sentence, self.limits.connections)
        self._crowded = crowded
        self._longest_first[connection] = None
        if crowded:
            next(other for other in self._longest_first if other.waits or other is connection).close(CROWDED)

    def move_to_end(self, connection: Connection) -> None:
        """Note that a request has come."""
        self._longest_first.move_to_end(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        del self._longest_first[connection]

    def grow(self, count: int) -> bool:
        """Count bytes of bodies; where they are too many, the body that has been coming longest is given up.

        Return whether there is room now: there is none where all of them have come and wait for their answers.
        """
        self.body_bytes += count
        while self.body_bytes > self.limits.all_bodies_bytes:
            reading = (connection for connection in self._longest_first if connection.reads_body)
            if (longest := next(reading, None)) is None:
                return False
            longest.refuse(503, _FULL)
        return True

    def write_soon(self, connection: Connection) -> None:
        """Have a connection write its replies at the end of this turn; one call of the loop's is enough for all."""
        if not self._with_replies:
            asyncio.get_running_loop().call_soon(self._write)
        self._with_replies.append(connection)

    def _write(self) -> None:
        connections, self._with_replies = self._with_replies, []
        for connection in connections:
            try:
                connection.flush()
            except Exception:  # one that fails costs the others nothing
                log.exception("a connection failed")
                connection.abort()

    def _sweep(self) -> None:
        """Give up connections whose client takes too long; one timer for all costs a request nothing."""
        now = perf_counter()
        for connection in [*self._longest_first]:
            connection.expire(now)
        if self._longest_first:
            asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)


class _Phase(Enum):
    """Says how far the request that is being read has come."""

    IDLE, HEAD, BODY, LAST = range(4)


class _Refused(Exception):
    """Stops the parser where the rest is not read."""


class Connection(asyncio.Protocol):
    """One client's connection, as uvicorn's server makes it; `app_state` has `app` and `connections`.

    Requests are answered in their order: while one is answered, or its client does not read, later ones wait.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = _loop or asyncio.get_running_loop()
        self._others: set[Any] = server_state.connections  # uvicorn shuts them down
        self._tasks = server_state.tasks  # and waits for these
        self._app: RequestHandler = app_state["app"]
        self._connections: Connections = app_state["connections"]
        self._limits = self._connections.limits
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # until the connection is made
        self._parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self._client = ""
        # Of the request that is being read:
        self._phase, self._since = _Phase.IDLE, perf_counter()  # 0.0: since the piece that is being read
        self._target, self._headers, self._lines = b"", dict[bytes, bytes](), 0
        self._head_bytes = self._body_wire_bytes = 0
        self._piece_bytes = 0  # of the piece that is read, which may be this request's
        self._request: Request | None = None
        self._body, self._body_length = bytearray(), 0
        self._skips = False  # the body of a request that was refused
        # Of those that are answered:
        self._task: asyncio.Task[None] | None = None
        self._pending: deque[tuple[Request, Reply | None]] = deque()
        self._held = bytearray()  # bytes that are read once these are answered
        self._unwritten: list[bytes] = []
        self._ends = False  # with the reply to the last request that was read
        self._lingers = False  # the client may still be sending then
        self._blocked_since: float | None = None  # the client does not read
        self._counted = 0  # bytes of the body that `connections` knows of

    # --- the client's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to read."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) else ""
        self._others.add(self)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what nobody waits for any more."""
        self._others.discard(self)
        self._connections.remove(self)
        self._release()
        self._phase = _Phase.LAST
        self._pending.clear()
        self._held.clear()
        if self._task is not None:
            self._task.cancel()
        self._parser = None  # type: ignore[assignment] # a ring of references

    def eof_received(self) -> None:
        """Write what was answered; a client that has gone waits for nothing, and half a request is none."""
        self.flush()

    def pause_writing(self) -> None:
        """Answer nothing more until the client reads."""
        self._blocked_since = perf_counter()

    def resume_writing(self) -> None:
        """Answer again, as the client reads."""
        self._blocked_since = None
        self._proceed()

    def data_received(self, data: bytes) -> None:
        """Read a piece, and answer what it completes."""
        is_one_turn = len(data) <= _PIECE_BYTES or len(data) <= self._turn_bytes  # most requests are a piece
        if is_one_turn and not self._held and self._is_free:
            self._feed(data)
        elif self._phase is not _Phase.LAST:
            self._held += data
            if len(self._held) > _HELD_BYTES:
                self._transport.pause_reading()
            self._read_held()

    # --- reading

    def _read_held(self) -> None:
        """Read a piece of what is held, and the next one when others have had their turn."""
        if not (self._is_free and self._held):
            return
        size = self._turn_bytes
        piece = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        if self._held:
            self._loop.call_soon(self._read_held)
        if len(self._held) <= _HELD_BYTES:
            self._transport.resume_reading()
        self._feed(piece)

    @property
    def _turn_bytes(self) -> int:
        """Return how many bytes may be read in this turn."""
        return max(_PIECE_BYTES, self._body_length - len(self._body)) if self._phase is _Phase.BODY else _PIECE_BYTES

    def _feed(self, data: bytes) -> None:
        if self._phase is _Phase.LAST:
            return
        self._piece_bytes = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._read_without_upgrade(data[offer.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Refused):
                log.exception("a connection failed")
                self._transport.abort()
        except httptools.HttpParserError as error:
            if not self._ends:  # else it stands behind the last request
                self.refuse(400, f"This is not HTTP/1.1: {str(error).rstrip('.')}.")
        else:
            if self._phase is _Phase.HEAD or self._phase is _Phase.BODY:
                self._await_rest()

    def _await_rest(self) -> None:
        """Hold what has come of a request to the limits."""
        if not self._since:
            self._since = perf_counter()
        if self._phase is _Phase.HEAD:
            self._head_bytes += self._piece_bytes
            if self._head_bytes > self._limits.head_bytes:
                self._refuse_head()
        elif self._phase is _Phase.BODY:
            self._body_wire_bytes += self._piece_bytes
            if self._body_wire_bytes > self._limits.body_bytes + self._limits.head_bytes:
                self.refuse(413, self._too_large)
            else:
                self._count_body()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._phase, self._since = _Phase.HEAD, 0.0
        self._target, self._headers, self._lines, self._head_bytes = b"", {}, 0, 0

    def on_url(self, url: bytes) -> None:
        """Keep the target, which may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what stands in a trailer is none."""
        if self._phase is not _Phase.HEAD:
            return
        self._lines += 1
        if self._lines > self._limits.head_lines:
            self._refuse_head()
            raise _Refused
        name, headers = name.lower(), self._headers
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value

    def on_headers_complete(self) -> None:
        """Have a request admitted, or refused before its body comes."""
        if self._head_bytes + self._piece_bytes > self._limits.head_bytes and self._head_size > self._limits.head_bytes:
            self._refuse_head()
            raise _Refused
        method = self._parser.get_method().decode()
        if method == "CONNECT":
            self.refuse(405, "This is no proxy; CONNECT is not spoken.")
            raise _Refused
        if (version := self._parser.get_http_version()) not in _VERSIONS:
            self.refuse(400, f"HTTP/{version} is not spoken; send HTTP/1.1.")
            raise _Refused
        if version == "1.1" and b" " in self._headers.get(b"host", b" "):  # none, or the lines of several
            self.refuse(400, "An HTTP/1.1 request has one line Host (RFC 9112, section 3.2); send it.")
            raise _Refused
        if (coding := self._headers.get(b"transfer-encoding", b"chunked")).lower() != b"chunked":
            sent = coding.decode("latin-1")[:60]
            self.refuse(400, f"Transfer-Encoding is {sent!r}; send chunked, and gzip by Content-Encoding.")
            raise _Refused
        if self._parser.should_upgrade():
            return
        path, query = _parse_target(self._target)
        request = self._request = Request(method, path, query, self._headers, self._client)
        self._phase, self._since, self._body, self._body_wire_bytes = _Phase.BODY, 0.0, bytearray(), 0
        length = self._body_length = int(self._headers.get(b"content-length", b"0"))
        if length > self._limits.body_bytes:
            self.refuse(413, self._too_large)
            raise _Refused
        reply = self._app.admit(request)
        if reply is not None:
            self._skips = True
            if length > _DISCARDED_BYTES or not self._headers.keys().isdisjoint((b"transfer-encoding", b"expect")):
                self._end(lingers=True)
            self._respond(request, reply)
            if self._ends:
                raise _Refused
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and self._is_free:
            self._unwritten.append(_CONTINUE)
            self.flush()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body."""
        if not self._skips:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer a request of which all has come."""
        if self._phase is not _Phase.BODY:  # an upgrade is offered: it is read again without
            return
        request, self._phase, self._piece_bytes = self._request, _Phase.IDLE, 0
        assert request is not None
        self._since = request.received_at = perf_counter()
        self._connections.move_to_end(self)
        if self._ends or not self._is_kept(request):
            self._end()
        if self._skips:
            self._skips = False
            self._proceed()
            return
        request.body = bytes(self._body)
        self._respond(request, None)

    def _is_kept(self, request: Request) -> bool:
        """Tell whether another request may follow; HTTP/1.0 would have to be told so."""
        stays = self._parser.should_keep_alive()
        return stays and (b"connection" not in request.headers or self._parser.get_http_version() != "1.0")

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read a request again without its offer to speak another protocol: the offer may be ignored."""
        version = self._parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._target, version)]
        head += [b"%b: %b" % line for line in self._headers.items() if line[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*head, b"\r\n"]) + rest)

    @property
    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    @property
    def _too_large(self) -> str:
        return f"The body is larger than {self._limits.body_bytes:,} bytes; send fewer applications at once."

    def _refuse_head(self) -> None:
        limits = self._limits
        self.refuse(431, f"A head may have {limits.head_bytes:,} bytes and {limits.head_lines} lines.")

    def _count_body(self) -> bool:
        growth = len(self._body) - self._counted
        self._counted += growth
        return self._connections.grow(growth)

    def _release(self) -> None:
        self._connections.body_bytes -= self._counted
        self._counted = 0

    # --- answering

    @property
    def _is_free(self) -> bool:
        """Tell whether the next reply can be written now."""
        return self.waits and self._blocked_since is None

    def _respond(self, request: Request, reply: Reply | None) -> None:
        """Answer a request, with the reply if there is one already, when those before it are answered."""
        if self._is_free:
            self._start(request, reply)
            self._settle()
        else:
            self._pending.append((request, reply))

    def _start(self, request: Request, reply: Reply | None) -> None:
        if reply is None and len(request.body) > _PIECE_BYTES and not self._count_body():
            reply = self._app.refuse(request, 503, _FULL)
        answer = reply if reply is not None else self._app.answer(request)
        if isinstance(answer, Reply):
            self._queue(request, answer)
            return
        self._task = task = self._loop.create_task(self._finish(request, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, request: Request, answer: Awaitable[Reply]) -> None:
        reply = await answer
        self._task = None
        self._since = perf_counter()
        self._queue(request, reply)
        self._proceed()

    def _queue(self, request: Request, reply: Reply) -> None:
        """Have a reply written at the end of this turn: a write wakes a client, which takes time from the others."""
        if not self._unwritten:
            self._connections.write_soon(self)
        self._unwritten.append(_encode(request, reply, ends=self._ends and not self._pending))
        if self._counted:
            self._release()

    def flush(self) -> None:
        """Write the replies that wait."""
        replies, self._unwritten = self._unwritten, []
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join(replies))

    def _proceed(self) -> None:
        """Answer the requests that wait, and read on."""
        while self._pending and self._task is None and self._blocked_since is None:
            self._start(*self._pending.popleft())
        self._settle()
        self._read_held()

    def _settle(self) -> None:
        """Close where all is answered and no more will come."""
        if not (self._ends and self.waits):
            return
        self.flush()
        self._phase, self._since = _Phase.LAST, perf_counter()
        if self._lingers and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self, *, lingers: bool = False) -> None:
        """Read no further request."""
        self._ends, self._lingers = True, lingers
        self._phase = _Phase.LAST

    # --- the server's side

    @property
    def waits(self) -> bool:
        """Tell whether it is the client's turn."""
        return self._task is None and not self._pending

    @property
    def reads_body(self) -> bool:
        """Tell whether part of a body has come."""
        return self._phase is _Phase.BODY and self._counted > 0

    def refuse(self, status: int, sentence: str) -> None:
        """Refuse what is being read, unless that was done, and read no more."""
        if self._skips:
            self._end(lingers=True)
            self._settle()
            return
        request = self._request if self._phase is _Phase.BODY else None
        request = request or Request("", "", b"", {}, self._client)
        reply = self._app.refuse(request, status, sentence)
        self._body = bytearray()
        self._release()
        self._end(lingers=True)
        self._respond(request, reply)

    def abort(self) -> None:
        """Close now, whatever waits to be written."""
        self._transport.abort()

    def close(self, reason: str) -> None:
        """Close now, and count why."""
        self._connections.closed[reason] += 1
        self.flush()
        if self._blocked_since is None:
            self._transport.close()
        else:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """Give up a client that takes too long."""
        limits, seconds = self._limits, now - self._since
        if self._blocked_since is not None:
            if now - self._blocked_since > limits.idle_seconds:
                self.close(UNREAD)
        elif not self.waits:
            return
        elif self._phase is _Phase.IDLE and seconds > limits.idle_seconds:
            self.close(IDLE)
        elif self._phase is _Phase.LAST and seconds > (_LINGER_SECONDS if self._lingers else limits.idle_seconds):
            self._transport.abort()
        elif self._phase is _Phase.HEAD and seconds > limits.head_seconds:
            self.refuse(408, f"The head of the request did not come within {limits.head_seconds:g} s.")
        elif self._phase is _Phase.BODY and (
            seconds > limits.body_seconds
            or (seconds > limits.head_seconds and self._body_wire_bytes < seconds * limits.body_rate)
        ):
            self.refuse(408, f"The body did not come within {limits.body_seconds:g} s, or too slowly.")

    def shutdown(self) -> None:
        """Close as soon as all is answered that has begun to come; uvicorn calls it."""
        if self._phase is _Phase.BODY or not self.waits:
            self._ends = True
        else:
            self.flush()
            self._transport.close()


@lru_cache(128)
def _parse_target(target: bytes) -> tuple[str, bytes]:
    """Return path and query of a request's target; of one that is none, what cannot be a path."""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return target.decode("latin-1"), b""
    return unquote((url.path or b"/").decode("latin-1")), url.query or b""


def _encode(request: Request, reply: Reply, *, ends: bool) -> bytes:
    """Encode a reply as it goes over the wire, with the names of its request and trace."""
    lines = [_STATUS_LINES[reply.status], *[b"%b: %b\r\n" % header for header in reply.headers]]
    lines.append(b"x-request-id: %b\r\n" % request.id.encode())
    if request.trace is not None:
        lines.append(b"traceresponse: %b\r\n" % request.trace.header)
    lines.append(b"content-length: %d\r\n" % len(reply.body))
    lines.append(b"connection: close\r\n\r\n" if ends else b"\r\n")
    if request.method != "HEAD":
        lines.append(reply.body)
    return b"".join(lines)
