"""HTTP as the scoring server speaks of it: a request that was read, and the reply that is to be written.

How bytes become one and the other bytes is `connection`'s; what is replied is `app`'s.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from loan_default.adapters.tracing import SpanId

Headers = Mapping[bytes, bytes]  # names in small letters; lines of one name are joined by commas
RawHeaders = tuple[tuple[bytes, bytes], ...]

JSON_HEADER = (b"content-type", b"application/json")


class Request(msgspec.Struct):
    """One request. `app.admit` sees it before its body has come, and names it and its caller.

    `client` is the address it came from, `received_at` when the last of it came (seconds of `time.perf_counter`).
    `route` is what answers it, None where nothing does. `person` is whom its caller asks for, and one that `is_what_if`
    decides on nobody: see `purpose`.
    `trace` names the trace it belongs to, if any, and `span` its own one where traces are sent: see `request_spans`.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    client: str
    body: bytes = b""
    received_at: float = 0.0
    id: str = ""
    caller: str = ""
    person: str = ""
    is_what_if: bool = False
    route: Route | None = None
    trace: SpanId | None = None
    span: Span | None = None

    @property
    def trace_id(self) -> str:
        """Return the id of its trace; empty where it belongs to none."""
        return self.trace.trace_id if self.trace else ""


class Reply(msgspec.Struct, frozen=True):
    """An answer; its length and whether the connection ends are `connection`'s to say."""

    status: int
    body: bytes
    headers: RawHeaders = (JSON_HEADER,)


class Route(NamedTuple):
    """Names what answers requests to a path, in which names stand in braces.

    `tokens`: those that open it, by none of which anybody may ask; `decides`: its replies decide on applications.
    """

    method: str
    path: str
    answer: Callable[[Request], Reply | Awaitable[Reply]]
    tokens: Mapping[str, str] = {}
    decides: bool = False


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(128)
def is_loopback_url(url: bytes) -> bool:
    """Tell whether a URL, or one without a scheme, names this machine as only this machine does."""
    try:
        host = urlsplit(url.decode("latin-1")).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
