"""Reads a table of which no contract tells yet: its separator, encoding and packing are guessed, its values are texts.

What its columns may mean is `table_profile`'s and `contract_draft`'s; reading by a contract is `loan_files`'s.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from loan_default.risk.errors import BadInput

_SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_HEAD_LINES = 50
_SAMPLE_BYTES = 1 << 20
_BESIDE_LETTERS = re.compile(r"(?<=[^\W\d_])[^\x00-\x7f]|[^\x00-\x7f](?=[^\W\d_])")
_BESIDE_LATIN = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f]|[^\x00-\x7f](?=[A-Za-z])")
# Letters beyond ASCII of languages, by the code pages in which they are written. Where some bytes are words of several,
# the first counts: Turkish before Icelandic, and Greek, which hardly writes what is the Russian а, before Russian.
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž")
_ALPHABETS = (
    *(
        ("cp1252", letters)
        for letters in ("äöüß", "àâæçéèêëîïôœùûü", "áéíñóúüºª", "ãáàâçéêíóôõúüºª", "àèéìîòóùºª", "åäöæøé")
    ),
    *(("cp1250", letters) for letters in _CENTRAL),
    ("cp1254", "çğıöşüâûİ"),
    ("cp1252", "áðéíóúýþæö"),
    *(("cp1257", letters) for letters in ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")),
    *(("iso8859-2", letters) for letters in _CENTRAL),
    ("cp1253", "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋ"),
    ("cp1251", "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґђјљњћџѓќўѕ"),
)
_NOT_LATIN = ("cp1253", "cp1251")
_MOST_BYTES = 200_000_000  # of text that is looked at


@dataclass(frozen=True)
class UnknownTable:
    """A table of texts, and how its file is written; `complete` is false where only its beginning was read."""

    texts: pl.DataFrame
    separator: str = ","
    encoding: str = "utf-8"
    complete: bool = True


def read_unknown_table(path: Path) -> UnknownTable:
    """Read a table of delimited text, packed by gzip or zip or not, or of Parquet; of a large one the beginning.

    Raises:
        BadInput: the file is absent, empty, damaged, or no table.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not a file; give the path of a CSV, CSV.GZ or Parquet file of loans.")
    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty; give a table with a header line and one line for each loan.")
    with _refuse_damage(path):
        content = _read_bytes(path)
        if content[:4] == b"PAR1":
            return UnknownTable(_as_texts(pl.read_parquet(path, glob=False)))
        return _read_text(path, content[:_MOST_BYTES], complete=len(content) <= _MOST_BYTES)


@contextmanager
def _refuse_damage(path: Path) -> Iterator[None]:
    damage = (pl.exceptions.PolarsError, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, csv.Error)
    try:
        yield
    except damage as error:
        cause = " ".join(str(error).split())[:160].rstrip(".")
        raise BadInput(f"{path} cannot be read as a table ({cause}); export it again as CSV or Parquet.") from error


def _read_bytes(path: Path) -> bytes:
    """Read the beginning of a file, unpacked; of Parquet the mark alone."""
    with path.open("rb") as file:
        mark = file.read(4)
    if mark == b"PAR1":
        return mark
    if mark[:2] == b"\x1f\x8b":
        with gzip.open(path) as packed:
            return packed.read(_MOST_BYTES + 1)
    if mark == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise BadInput(f"{path} holds {len(names)} files; give an archive of one table.")
            with archive.open(names[0]) as member:
                return member.read(_MOST_BYTES + 1)
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)


def _read_text(path: Path, content: bytes, *, complete: bool) -> UnknownTable:
    encoding = _encoding_of(content)
    text = content.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    if not complete:
        text = text[: text.rfind("\n") + 1]
    head = text.split("\n", _HEAD_LINES)[:_HEAD_LINES]
    separator, title_lines = _layout_of([line for line in head if line.strip()])
    if title_lines is None:
        raise BadInput(f"{path} is no table: no sign divides its lines into columns; export it as CSV.")
    table = pl.read_csv(
        io.BytesIO(text.encode()),
        separator=separator,
        infer_schema=False,
        skip_lines=title_lines,
        truncate_ragged_lines=True,
    )
    if table.is_empty():
        raise BadInput(f"{path} has a header and no line below it.")
    return UnknownTable(table, separator, "utf-8" if encoding.startswith("utf-8") else encoding, complete)


def _encoding_of(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return "utf-8" if error.start >= len(content) - 4 else _code_page(content[:_SAMPLE_BYTES])  # a letter cut off
    return "utf-8"


def _code_page(content: bytes) -> str:
    """Guess a code page: the first of a language that writes the most of the letters beyond ASCII in the words.

    No word is written in two alphabets, so a letter beside a Latin one is neither Greek nor Cyrillic.
    """
    texts = {code_page: content.decode(code_page, errors="replace") for code_page in dict(_ALPHABETS)}
    letters = {code_page: Counter(_BESIDE_LETTERS.findall(text)) for code_page, text in texts.items()}
    mixed = {code_page: len(_BESIDE_LATIN.findall(texts[code_page])) for code_page in _NOT_LATIN}

    def strange_letters(candidate: tuple[str, str]) -> int:
        code_page, alphabet = candidate
        strange = sum(n for sign, n in letters[code_page].items() if not {sign, sign.lower()} & {*alphabet})
        return strange + mixed.get(code_page, 0)

    return min(_ALPHABETS, key=strange_letters)[0]


def _layout_of(lines: list[str]) -> tuple[str, int | None]:
    """Return the sign that divides most lines into the most columns, and how many lines of title stand above these."""
    best = (1, ",", 0)
    for separator in _SEPARATORS:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        if not widths:
            continue
        common = max(set(widths), key=widths.count)
        if common > best[0] and widths.count(common) > len(widths) // 2:
            best = common, separator, widths.index(common)
    return (best[1], best[2]) if best[0] > 1 else (",", None)


def _as_texts(table: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of values as texts, and leave out what no field can be read from."""
    columns = [
        name for name, dtype in table.schema.items() if not (dtype.is_nested() or dtype in (pl.Binary, pl.Object))
    ]
    return table.select(
        pl.col(name).dt.strftime("%Y-%m-%d")
        if table.schema[name] in (pl.Date, pl.Datetime)
        else pl.col(name).cast(pl.String)
        for name in columns
    )
