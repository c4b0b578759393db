"""CSV bodies to applications, by Python's csv module, row by row: a header of any width costs nothing.

A row that is shorter or longer than the header is refused, as a batch rejects it. Values stay texts, so an id keeps its
zeros; what is a number is the contract's to say. Batches, which are files of any size, are `risk.data.delimited`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from loan_default.serving.protocol import COLUMNS_AT_MOST, BodyLimits, DecodedBody, invalid, repeated, too_large

_LINE_END = re.compile(rb"[\r\n]")


def decode_csv(body: bytes, limits: BodyLimits) -> DecodedBody:
    """Decode a table with a header; an empty value is None.

    Raises:
        Refused: 400 for what is no such table, 413 for more than the limits allow.
    """
    header_end = _LINE_END.search(body)
    if body.count(b",", 0, header_end.start() if header_end else len(body)) >= COLUMNS_AT_MOST:
        raise too_large(f"The header has more than {COLUMNS_AT_MOST:,} columns; send the fields of the contract.")
    limits.check_values(body.count(b","))
    try:
        lines = io.StringIO(body.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise invalid(f"The body is not UTF-8 at byte {error.start:,}; send text/csv in UTF-8.") from None
    rows = _rows(lines, limits)
    header = next(rows, None)
    if header is None:
        raise invalid("The body is empty; send a header with the names of the fields, and a row for each application.")
    return _table(header, list(rows))


def _rows(lines: io.StringIO, limits: BodyLimits) -> Iterator[list[str]]:
    """Yield header and rows, without empty lines.

    Raises:
        Refused: for quotation marks out of place, and for too many rows.
    """
    reader = csv.reader(lines, strict=True)
    number = 0
    try:
        for row in reader:  # a turn each: within `filter`, millions of empty lines would keep others waiting
            if not row:
                continue
            limits.check_rows(max(number, 1))
            number += 1
            yield row
    except csv.Error as error:
        line = f"Row {number - 1}" if number else "The header"
        raise invalid(f"{line} cannot be read as text/csv: {error}.") from None


def _table(header: list[str], rows: list[list[str]]) -> DecodedBody:
    """Make the table of a header and its rows; a comma that ends each of them begins no column."""
    width = len(header)
    if rows and all(len(row) == width + 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    for number, row in enumerate(rows):
        if len(row) != width:
            fields = "field" if len(row) == 1 else "fields"
            raise invalid(f"Row {number}: row has {len(row):,} {fields} where the header has {width:,}.")
    if not header[-1] and not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    if (twice := repeated(header)) is not None:
        raise invalid(f"The header names the column {twice} twice; send each field once.")
    return DecodedBody(tuple(header), [[value or None for value in row] for row in rows])
