"""HTTP as the scoring server speaks of it: a request that was read, and the reply that is to be written.

How bytes become one and the other bytes is `connection`'s; what is replied is `app`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

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
