"""HTTP as the scoring server speaks of it: a request that was read, and the reply that is to be written.

How bytes become one and the other bytes is `connection`'s; what is replied is `app`'s.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

Headers = Mapping[bytes, bytes]  # names in small letters; lines of one name are joined by commas
RawHeaders = tuple[tuple[bytes, bytes], ...]

JSON_HEADER = (b"content-type", b"application/json")


class Request(msgspec.Struct):
    """One request. `app.admit` sees it before its body has come, and names it and its caller.

    `client` is the address it came from, `received_at` when the last of it came (seconds of `time.perf_counter`).
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


class Reply(msgspec.Struct, frozen=True):
    """An answer; its length and whether the connection ends are `connection`'s to say."""

    status: int
    body: bytes
    headers: RawHeaders = (JSON_HEADER,)


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
