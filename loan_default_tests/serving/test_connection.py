"""A connection by its bytes: answers keep the order of requests, and each limit holds."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from loan_default.serving.connection import Connection, ConnectionLimits, Door
from loan_default.serving.http import Reply, Request

pytestmark = pytest.mark.integration


class Desk:
    """Answers at once what begins with "quick", and the rest a little later; remembers what it refused."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.door = Door(limits)
        self.refused: list[tuple[str, int, str]] = []
        self.read: list[Request] = []

    def admit(self, request: Request) -> Reply | None:
        return Reply(404, b"not here") if request.path == "/nowhere" else None

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        self.read.append(request)
        if request.body.startswith(b"quick"):
            return Reply(200, b"at once: " + request.body)
        return self.later(request.body)

    async def later(self, body: bytes) -> Reply:
        await asyncio.sleep(0.02)
        return Reply(200, b"later: " + body)

    def refuse(self, request: Request, status: int, sentence: str) -> Reply:
        self.refused.append((request.path, status, sentence))
        return Reply(status, sentence.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope["state"].update(app=self, door=self.door)
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
    connection, transport = Connection(config, state, {"app": desk, "door": desk.door}), Transport()
    connection.connection_made(transport)
    return connection, transport


def test_what_was_answered_is_written_before_the_server_stops() -> None:
    async def stopped() -> Transport:
        connection, transport = connected()
        connection.data_received(post(b"quick"))
        connection.shutdown()
        return transport

    transport = asyncio.run(stopped())
    assert transport.written[0].endswith(b"at once: quick")
    assert transport.closed


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
