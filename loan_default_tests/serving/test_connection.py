"""A connection by its bytes: answers keep the order of requests, and each limit holds."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from loan_default.adapters.tracing import SpanId
from loan_default.serving.connection import Connection, ConnectionLimits, Connections
from loan_default.serving.http import Reply, Request
from loan_default_tests.waiting import within

pytestmark = pytest.mark.integration


class Desk:
    """Answers at once what begins with "quick", and the rest a little later; remembers what it refused."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.connections = Connections(limits)
        self.refused: list[tuple[str, int, str]] = []
        self.read: list[Request] = []
        self.given_up = 0

    def admit(self, request: Request) -> Reply | None:
        request.id, request.trace = "r-1", SpanId("a" * 32, "b" * 16, "01")
        return Reply(404, b"not here") if request.path == "/nowhere" else None

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        self.read.append(request)
        if request.method == "HEAD":
            return Reply(200, b"by head")
        if request.body.startswith(b"quick"):
            return Reply(200, b"at once: " + request.body)
        return self.later(request.body)

    async def later(self, body: bytes) -> Reply:
        try:
            await asyncio.sleep(5 if body == b"never" else 0.7 if body.startswith(b"wait") else 0.02)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return Reply(200, b"later: " + body)

    def refuse(self, request: Request, status: int, sentence: str) -> Reply:
        self.refused.append((request.path, status, sentence))
        return Reply(status, sentence.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope["state"].update(app=self, connections=self.connections)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def serving(desk: Desk) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(desk, port=0, http=Connection, lifespan="on", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def server(desk: Desk) -> Iterator[uvicorn.Server]:
    with serving(desk) as server:
        yield server


class Client:
    """One connection."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket, self._reader = connected, connected.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(0.03)

    def answer(self) -> tuple[int, bytes]:
        status = int(self.line().split()[1])
        headers = dict(line.lower().split(b": ") for line in iter(self.line, b""))
        return status, self._reader.read(int(headers[b"content-length"]))

    def line(self) -> bytes:
        return self._reader.readline().removesuffix(b"\r\n")

    def closed(self) -> bool:
        return self._reader.read(1) == b""


@contextmanager
def client_of(server: uvicorn.Server) -> Iterator[Client]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address[:2], timeout=5) as connected:
        yield Client(connected)


def post(body: bytes, *headers: bytes, path: bytes = b"/invocations", version: bytes = b"1.1") -> bytes:
    head = [b"POST %b HTTP/%b" % (path, version), b"Host: here", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CHUNKED = (
    b"POST /invocations HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nquick\r\n2\r\n!!\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ([post(b"quick")], [b"at once: quick"]),
        ([post(b"quick 1"), post(b"quick 2")], [b"at once: quick 1", b"at once: quick 2"]),
        ([post(b"slow")], [b"later: slow"]),
        ([post(b"")], [b"later: "]),
        ([CHUNKED], [b"at once: quick!!"]),
        ([post(b"quick")[:-5], b"quick"], [b"at once: quick"]),
        ([post(b"quick")[:-2], b"ck"], [b"at once: quick"]),
        ([post(b"quick")[:20], post(b"quick")[20:]], [b"at once: quick"]),
        ([post(b"quick 1") + post(b"quick 2")], [b"at once: quick 1", b"at once: quick 2"]),
        ([post(b"quick 1") + post(b"slow")], [b"at once: quick 1", b"later: slow"]),
        ([post(b"slow") + post(b"quick")], [b"later: slow", b"at once: quick"]),
        ([post(b"a") + post(b"quick") + post(b"b")], [b"later: a", b"at once: quick", b"later: b"]),
        ([post(b"slow"), post(b"quick")], [b"later: slow", b"at once: quick"]),
        ([post(b"quick 1") + post(b"quick 2")[:-3], b"k 2"], [b"at once: quick 1", b"at once: quick 2"]),
    ],
)  # fmt: skip
def test_answers_come_in_the_order_of_the_requests(
    server: uvicorn.Server, pieces: list[bytes], answers: list[bytes]
) -> None:
    with client_of(server) as client:
        client.send(*pieces)
        assert [client.answer() for _ in answers] == [(200, answer) for answer in answers]
        client.send(post(b"quick"))
        assert client.answer() == (200, b"at once: quick"), "the connection goes on"


def test_a_client_that_wants_to_be_asked_first_is_asked(server: uvicorn.Server) -> None:
    with client_of(server) as client:
        client.send(post(b"quick", b"Expect: 100-continue")[:-5])
        assert (client.line(), client.line()) == (b"HTTP/1.1 100 Continue", b"")
        client.send(b"quick")
        assert client.answer() == (200, b"at once: quick")


@pytest.mark.parametrize("request_", [post(b"quick", b"Connection: close"), post(b"quick", version=b"1.0")])
def test_a_connection_that_is_not_to_be_kept_is_closed(server: uvicorn.Server, request_: bytes) -> None:
    with client_of(server) as client:
        client.send(request_)
        assert client.answer() == (200, b"at once: quick")
        assert client.closed()


def test_what_is_no_request_is_refused_after_the_answers_before_it(server: uvicorn.Server) -> None:
    with client_of(server) as client:
        client.send(post(b"quick") + b"no HTTP at all\r\n\r\n")
        assert client.answer() == (200, b"at once: quick")
        assert client.answer()[0] == 400
        assert client.closed()


def test_a_client_that_reads_late_gets_every_answer(server: uvicorn.Server) -> None:
    sent, answered = 400, 0
    body = b"quick" + b"." * 50_000
    with client_of(server) as client:
        client.socket.settimeout(30)
        pushing = threading.Thread(target=client.socket.sendall, args=(post(body) * sent,))
        pushing.start()
        time.sleep(0.3)
        while answered < sent:
            status, answer = client.answer()
            assert (status, answer[-50_000:]) == (200, body[-50_000:])
            answered += 1
        pushing.join()


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA".split(b"\r\n")


@pytest.mark.parametrize(
    "pieces",
    [
        [post(b"quick", *UPGRADE)],
        [post(b"quick", *UPGRADE)[:-5], b"quick"],
        [post(b"quick", *UPGRADE)[:-2], b"ck"],
        [post(b"quick", *UPGRADE)[:40], post(b"quick", *UPGRADE)[40:]],
        [post(b"quick", b"Connection: Upgrade", b"Upgrade: websocket")],
        [post(b"quick", b"Upgrade: TLS/1.0")],
        [
            CHUNKED.replace(b"Host: here", b"Host: here\r\nConnection: upgrade\r\nUpgrade: h2c").replace(
                b"2\r\n!!\r\n", b""
            )
        ],
    ],
)
def test_an_offer_to_upgrade_is_ignored_and_the_request_answered(server: uvicorn.Server, pieces: list[bytes]) -> None:
    with client_of(server) as client:
        client.send(*pieces)
        assert client.answer() == (200, b"at once: quick")
        client.send(post(b"quick 2", *UPGRADE) + post(b"quick 3"))
        assert [client.answer() for _ in range(2)] == [(200, b"at once: quick 2"), (200, b"at once: quick 3")]


@pytest.mark.parametrize("upgrade", [b"", b"\r\nConnection: upgrade\r\nUpgrade: h2c"])
def test_a_request_of_http_1_0_needs_no_host(server: uvicorn.Server, upgrade: bytes) -> None:
    with client_of(server) as client:
        client.send(post(b"quick", version=b"1.0").replace(b"\r\nHost: here", upgrade))
        assert client.answer() == (200, b"at once: quick")
    with client_of(server) as client:
        client.send(post(b"quick").replace(b"Host: here", b"Host:"))
        assert client.answer() == (200, b"at once: quick")


def test_what_stands_in_a_trailer_is_no_header_of_any_request(server: uvicorn.Server, desk: Desk) -> None:
    trailer = b"0\r\nAuthorization: Bearer one\r\nX-Request-Id: trailer\r\n\r\n"
    with client_of(server) as client:
        client.send(CHUNKED.replace(b"0\r\n\r\n", trailer) + post(b"quick 2"))
        assert [client.answer() for _ in range(2)] == [(200, b"at once: quick!!"), (200, b"at once: quick 2")]
    assert not [request for request in desk.read[-2:] if {b"authorization", b"x-request-id"} & {*request.headers}]


def test_a_body_that_broke_off_is_never_handed_on(server: uvicorn.Server, desk: Desk) -> None:
    read = len(desk.read)
    for part in (post(b"quick")[:-1], CHUNKED[:-5], CHUNKED[:-1]):
        with client_of(server) as client:
            client.send(part)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.closed()
    assert len(desk.read) == read


def test_head_is_answered_without_a_body(server: uvicorn.Server) -> None:
    with client_of(server) as client:
        client.send(b"HEAD /quick HTTP/1.1\r\nHost: here\r\n\r\n" + post(b"quick"))
        assert client.line() == b"HTTP/1.1 200 OK"
        lines = [b"content-length: 7", b"x-request-id: r-1", b"traceresponse: 00-%b-%b-01" % (b"a" * 32, b"b" * 16)]
        assert {*lines} <= {*iter(client.line, b"")}
        assert client.answer() == (200, b"at once: quick")


def test_a_client_that_has_gone_is_answered_no_more(server: uvicorn.Server, desk: Desk) -> None:
    with client_of(server) as client:
        client.send(post(b"never"))
        client.socket.shutdown(socket.SHUT_RDWR)
        assert within(3, lambda: desk.given_up == 1)


@pytest.mark.parametrize("length", [b"5", b"60000"])
def test_what_is_not_admitted_is_refused_before_its_body(server: uvicorn.Server, length: bytes) -> None:
    with client_of(server) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\n\r\n" % length)
        assert client.answer() == (404, b"not here")
        client.send(b"x" * int(length), post(b"quick"))
        assert client.answer() == (200, b"at once: quick"), "the connection goes on"


def test_a_large_body_that_is_not_admitted_ends_the_connection(server: uvicorn.Server) -> None:
    with client_of(server) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 70000\r\n\r\n", b"x" * 10_000)
        assert client.answer() == (404, b"not here")
        assert client.closed()
        client.send(b"x" * 10_000)  # no reset while it sends on


LIMITS = ConnectionLimits(  # a test of a time sets that time: a busy machine may let a client wait for seconds
    head_bytes=500,
    head_lines=5,
    head_seconds=60,
    body_bytes=2_000,
    body_seconds=60,
    body_rate=100,
    idle_seconds=60,
    connections=6,
    all_bodies_bytes=3_000,
)
HEAD = b"POST /invocations HTTP/1.1\r\nHost: here\r\n"


@contextmanager
def limited(limits: ConnectionLimits = LIMITS) -> Iterator[tuple[uvicorn.Server, Desk]]:
    desk = Desk(limits)
    with serving(desk) as server:
        yield server, desk
    assert (len(desk.connections), desk.connections.body_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([HEAD + b"A: " + b"x" * 500], 431),
        ([HEAD + b"A: ", *[b"x" * 100] * 5], 431),
        ([HEAD + b"A: " + b"x" * 490 + b"\r\n\r\n"], 431),
        ([HEAD + b"A: b\r\n" * 6], 431),
        ([b"POST /" + b"x" * 500], 431),
        ([HEAD + b"Content-Length: 2001\r\n\r\n"], 413),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"200\r\n" + b"x" * 512 + b"\r\n"] * 5], 413),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1;" + b"x" * 510 + b"\r\nx\r\n"] * 5], 413),
        ([HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"], 400),
        ([HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"], 400),
        ([HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], 400),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400),
        ([b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n"], 405),
        ([b"GET /invocations\r\n\r\n"], 400),
        ([b"GET /invocations HTTP/0.9\r\nHost: here\r\n\r\n"], 400),
        ([b"GET /invocations HTTP/1.1\r\n\r\n"], 400),
        ([b"GET /invocations HTTP/1.1\r\nHost: here\r\nhost: here\r\n\r\n"], 400),
        ([b"POST /invocations HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx"], 400),
        ([b"\x16\x03\x01\x02\x00 a TLS hello"], 400),
    ],
)
def test_what_is_too_large_or_no_http_is_refused_and_the_connection_ended(pieces: list[bytes], status: int) -> None:
    with limited() as (server, desk), client_of(server) as client:
        client.send(*pieces)
        assert client.answer()[0] == status
        assert client.closed()
    assert [refused[1] for refused in desk.refused] == [status]


@pytest.mark.parametrize(
    ("sent", "limits", "seconds"),
    [
        (b"POST /invocations HTTP/1.1\r\nHost: he", replace(LIMITS, head_seconds=0.6), 0.6),
        (HEAD + b"Content-Length: 50\r\n\r\n", replace(LIMITS, head_seconds=0.6), 0.6),
        (HEAD + b"Content-Length: 1900\r\n\r\n" + b"x" * 400, replace(LIMITS, body_seconds=3), 3),
    ],
)
def test_what_does_not_come_in_time_is_refused(sent: bytes, limits: ConnectionLimits, seconds: float) -> None:
    with limited(limits) as (server, desk), client_of(server) as client:
        began = time.monotonic()
        client.send(sent)
        assert client.answer()[0] == 408
        assert seconds <= time.monotonic() - began < seconds + 4
        assert client.closed()
    assert [refused[1] for refused in desk.refused] == [408]


def test_a_body_that_was_refused_and_does_not_come_is_not_refused_twice() -> None:
    with limited(replace(LIMITS, body_seconds=1)) as (server, desk), client_of(server) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 50\r\n\r\n")
        assert client.answer() == (404, b"not here")
        assert client.closed()
    assert desk.refused == []


def test_a_connection_that_idles_is_closed_and_one_that_works_is_not() -> None:
    limits = replace(LIMITS, idle_seconds=1.5)
    with limited(limits) as (server, desk), client_of(server) as idle, client_of(server) as busy:
        for _ in range(10):
            busy.send(post(b"quick"))
            assert busy.answer()[0] == 200
            time.sleep(0.25)
        assert idle.closed()
        assert desk.connections.closed == {"idle": 1}


def test_where_all_connections_are_taken_the_oldest_idle_one_goes() -> None:
    with limited() as (server, desk), ExitStack() as stack:
        first, second, *_ = [stack.enter_context(client_of(server)) for _ in range(6)]
        assert within(5, lambda: len(desk.connections) == 6)
        first.send(post(b"quick"))
        assert first.answer()[0] == 200
        seventh = stack.enter_context(client_of(server))
        seventh.send(post(b"quick"))
        assert seventh.answer()[0] == 200
        assert second.closed()
        first.send(post(b"quick"))
        assert first.answer()[0] == 200
        assert desk.connections.closed == {"crowded": 1}


def test_bodies_that_take_all_memory_make_room_the_slowest_first() -> None:
    with limited() as (server, _), ExitStack() as stack:
        slow, *_ = clients = [stack.enter_context(client_of(server)) for _ in range(3)]
        for client in clients:
            client.send(HEAD + b"Content-Length: 1200\r\n\r\n" + b"quick" + b"x" * 1_100)
        assert slow.answer()[0] == 503
        for client in clients[1:]:
            client.send(b"x" * 95)
            assert client.answer()[0] == 200


def test_bodies_that_wait_for_their_answers_leave_no_room_for_more() -> None:
    limits = replace(LIMITS, body_bytes=40_000, all_bodies_bytes=50_000)
    with limited(limits) as (server, desk), client_of(server) as first, client_of(server) as second:
        first.send(post(b"wait" + b"x" * 30_000))
        assert within(5, lambda: desk.connections.body_bytes == 30_004)
        second.send(post(b"quick" + b"x" * 30_000))
        assert second.answer()[0] == 503
        assert first.answer()[0] == 200
        assert desk.connections.body_bytes == 0


def test_a_client_that_never_reads_is_given_up() -> None:
    with limited(replace(LIMITS, idle_seconds=1.5)) as (server, desk), client_of(server) as client:
        client.socket.settimeout(60)  # the server alone ends it
        body = b"quick" + b"x" * 1_900
        with suppress(OSError):
            for _ in range(20_000):
                client.socket.sendall(post(body))
        assert within(10, lambda: desk.connections.closed == {"unread": 1}), (desk.connections.closed, len(desk.read))


class Transport(asyncio.Transport):
    """A connection's other end that can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def resume_reading(self) -> None: ...


def connected() -> tuple[Connection, Transport]:
    config, desk = uvicorn.Config("", http=Connection), Desk()
    state = uvicorn.Server(config).server_state
    connection, transport = Connection(config, state, {"app": desk, "connections": desk.connections}), Transport()
    connection.connection_made(transport)
    return connection, transport


class Writer:
    """Writes, as a connection does, or fails; remembers what became of it."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble, self.events = trouble, list[str]()

    def flush(self) -> None:
        self.events.append("written")
        if self.trouble is not None:
            raise self.trouble

    def abort(self) -> None:
        self.events.append("aborted")


def test_a_connection_that_cannot_be_written_to_costs_the_others_nothing() -> None:
    writers: list[Any] = [Writer(), Writer(RuntimeError("no more writes")), Writer()]

    async def turn() -> None:
        connections = Connections()
        for _ in range(2):
            for writer in writers:
                connections.write_soon(writer)
            await asyncio.sleep(0)

    asyncio.run(turn())
    assert [writer.events for writer in writers] == [["written"] * 2, ["written", "aborted"] * 2, ["written"] * 2]


def test_what_was_answered_is_written_before_the_server_stops() -> None:
    async def stopped() -> Transport:
        connection, transport = connected()
        connection.data_received(post(b"quick"))
        connection.shutdown()
        return transport

    transport = asyncio.run(stopped())
    assert transport.written[0].endswith(b"at once: quick")
    assert transport.closed


def test_what_came_behind_the_last_request_is_not_answered_when_the_server_stops() -> None:
    async def stopped() -> tuple[Transport, int]:
        connection, transport = connected()
        connection.data_received(post(b"slow"))
        connection.data_received(post(b"quick"))
        connection.shutdown()
        await asyncio.sleep(0.1)
        desk: Any = connection._app
        return transport, len(desk.read)

    transport, read = asyncio.run(stopped())
    assert b"".join(transport.written).endswith(b"later: slow")
    assert (transport.closed, read) == (True, 1)


def test_nothing_is_answered_while_the_client_does_not_read() -> None:
    async def paused() -> Transport:
        connection, transport = connected()
        connection.pause_writing()
        connection.data_received(post(b"quick"))
        await asyncio.sleep(0.05)
        assert transport.written == []
        connection.resume_writing()
        await asyncio.sleep(0.05)
        return transport

    assert asyncio.run(paused()).written[-1].endswith(b"at once: quick")
