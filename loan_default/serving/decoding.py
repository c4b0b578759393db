"""A request's body to applications as its headers say: unpacked, and decoded in its form, within limits.

What each form is decoded by is a module of its own: `json_body`, `csv_body`, `parquet_body`.
"""

from __future__ import annotations

import math
import zlib

from loan_default.serving.csv_body import decode_csv
from loan_default.serving.json_body import decode_json
from loan_default.serving.parquet_body import ParquetReader
from loan_default.serving.protocol import CSV, JSON, PARQUET, BodyLimits, DecodedBody, Refused, invalid, too_large

_PLAIN = ("", "identity")
_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_parquet = ParquetReader()  # one process of it for each worker


def unpack(body: bytes, encoding: str, *, at_most: int) -> bytes:
    """Unpack a body by its `Content-Encoding`, to at most so many bytes.

    Raises:
        Refused: 415 for an encoding that is not spoken, 400 for a body that is not of it, 413 for a larger one.
    """
    encoding = encoding.strip().lower()
    if encoding in _PLAIN:
        return body
    if encoding not in _GZIP:
        raise Refused(415, "BAD_REQUEST", f"Content-Encoding is {encoding!r}; it may be gzip, or be left out.")
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = unpacker.decompress(body, at_most + 1)
    except zlib.error:
        raise invalid("The body is not gzip, as its Content-Encoding says.") from None
    if len(content) > at_most:
        raise too_large(f"The body unpacks to more than {at_most:,} bytes; send fewer applications at once.")
    if not unpacker.eof or unpacker.unused_data:
        raise invalid("The body's gzip ends too early, or something follows it; send one whole stream.")
    return content


def form_of(content_type: str) -> str:
    """Return which of the forms a `Content-Type` names.

    Raises:
        Refused: 415 for one that is not spoken.
    """
    kind, _, parameters = content_type.partition(";")
    kind, charset = kind.strip().lower(), parameters.strip().lower()
    if kind not in (JSON, CSV, PARQUET):
        sentence = f"Content-Type is {content_type!r}" if content_type else "Content-Type is missing"
        raise Refused(415, "BAD_REQUEST", f"{sentence}; it must be {JSON}, {CSV} or {PARQUET}.")
    if charset.replace(" ", "").strip('"') not in ("", "charset=utf-8", 'charset="utf-8'):
        raise Refused(415, "BAD_REQUEST", f"Content-Type is {content_type!r}; only charset=utf-8 is understood.")
    return kind


def decode(body: bytes, form: str, *, at_most: int, until: float = math.inf) -> DecodedBody:
    """Decode a request to score, of at most so many applications, until then (`time.monotonic`) at the latest.

    Raises:
        Refused: 400 for a body that is not what its form says or that holds no application, 413 for more than may be.
    """
    limits = BodyLimits(at_most)
    if form == PARQUET:
        decoded = _parquet.decode(body, limits, until=until)
    else:
        decoded = decode_csv(body, limits) if form == CSV else decode_json(body, limits)
    limits.check_rows(len(decoded.rows))
    return decoded
