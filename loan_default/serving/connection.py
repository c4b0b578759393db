"""A connection to the scoring server: uvicorn's, with a shorter way for the request that a loan system sends.

A request to score that comes in one piece and that the application can answer at once is answered while it is read:
no ASGI messages, no task, one write. Every other request goes uvicorn's way. What is answered is `app`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from loan_default.serving.app import Headers, RawHeaders, Reply


class Connection(HttpToolsProtocol):
    """One client's connection. `config.app` has `answer_inline` beside what ASGI asks of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        app: Any = self.config.app  # which uvicorn knows as ASGI only
        self._answer_inline: Callable[[Headers, bytes, str], tuple[Reply, RawHeaders] | None] = app.answer_inline
        self._body_pieces: list[bytes] | None = None  # the body of a request that may be answered at once
        self._unwritten: list[bytes] = []

    def on_headers_complete(self) -> None:
        """Hold back a request to score, until it is known whether all of it has come."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._is_plain():
            self._body_pieces = []
        else:
            super().on_headers_complete()

    def _is_plain(self) -> bool:
        """Tell whether nothing is to follow the answer, and whether the client reads the answers."""
        return (
            self.url == b"/invocations"
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
        )

    def on_body(self, body: bytes) -> None:
        """Keep the body of a request that is held back."""
        if self._body_pieces is None:
            super().on_body(body)
        else:
            self._body_pieces.append(body)

    def on_message_complete(self) -> None:
        """Answer the request that was held back."""
        if self._body_pieces is None:
            super().on_message_complete()
            return
        client = self.client[0] if self.client else ""
        answer = self._answer_inline(dict(self.headers), b"".join(self._body_pieces), client)
        if answer is None:
            self._release()
            super().on_message_complete()
        else:
            self._body_pieces = None
            if not self._unwritten:  # a write wakes a client, which takes time from whoever is answered in this turn
                self.loop.call_soon(self._write)
            self._unwritten.append(_encode_answer(*answer))
            self.on_response_complete()

    def _write(self) -> None:
        answers, self._unwritten = self._unwritten, []
        if answers and not self.transport.is_closing():
            self.transport.write(b"".join(answers))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after the answers to what came before it."""
        self._write()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """Close as soon as all is answered."""
        self._write()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Let uvicorn wait for the rest of a request that came in part."""
        super().data_received(data)
        if self._body_pieces is not None and not self.transport.is_closing():
            self._release()

    def _release(self) -> None:
        """Go uvicorn's way with what was held back."""
        pieces, self._body_pieces = self._body_pieces or [], None
        super().on_headers_complete()
        for body in pieces:
            super().on_body(body)


def _encode_answer(reply: Reply, headers: RawHeaders) -> bytes:
    """Encode an answer as it goes over the wire."""
    head = [b"%b: %b\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[reply.status], *head, b"\r\n", reply.body))
