"""Opens a loan file, delimited text or Parquet, as a lazy frame, and refuses what is no loan file in one sentence.

The form of a file belongs here: what it is by its first bytes, where its header stands, its layout, the columns it
lacks, its fingerprint, and how pandas writes what is missing. Reading lines belongs in `delimited`, what the values
mean in `field_values`.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.file_format import FileLayout
from loan_default.risk.data.delimited import (
    FAULT,
    NOT_PLAIN,
    ROW,
    Dialect,
    LineCount,
    SupportsReadInto,
    add_faults,
    count_lines_of,
    scan_carefully,
)
from loan_default.risk.data.parsing import text_of
from loan_default.risk.errors import BadInput
from loan_default.risk.month_texts import MONTH_TEXTS

if TYPE_CHECKING:
    import pandas as pd

_FIRST_ROWS = 1_000  # that tell which columns hold listed words alone
_HEAD_BYTES = 1 << 17
_DIGESTED_BYTES = 1 << 18
_FIGURES = 38  # of decimal numbers that Polars computes with
_TITLE_LINES = 3
_UNSEEN = " \t\r\n\f\u00a0\ufeff"
_KIND = re.compile(r"(\.(csv|txt|parquet))?(\.(gz|zip))?$", re.IGNORECASE)
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # of encodings, at the beginning
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LOGGED = {"request_id", "scored_at", "model_version"}  # columns

Packing = Literal["", "gzip", "zip"]
Reader = Literal["coded", "typed", "text", "careful"]
Source = Literal["text", "parquet", "request"]


@dataclass(frozen=True)
class LoanTable:
    """An opened loan file. `frame` holds the file's own columns, `ROW` and, where rows need it, `FAULT`; nothing is
    read before it is collected.

    A loan without an id is called by `name` and its row. `rows` is how many the file has, where that is known.
    `source` says where it comes from: a file of either kind, or a request. Nothing that a file tells as past is after
    the day `read_on`, where that is known.
    """

    path: Path
    name: str
    frame: pl.LazyFrame
    dtypes: Mapping[str, pl.DataType]
    layout: FileLayout | None
    rows: int | None = None
    source: Source = "request"
    read_on: date | None = None


@dataclass(frozen=True)
class _TextTable:
    """Locate the table in a file of delimited text.

    `offset` counts the bytes before the header; None where Polars cannot read the file, whatever stands below.
    """

    path: Path
    packing: Packing
    encoding: str
    dialect: Dialect
    title_lines: int
    header_lines: int
    header: tuple[str, ...]
    offset: int | None


def open_table(
    path: Path,
    contract: Contract,
    *,
    with_outcome: bool,
    columns: Iterable[str] = (),
    reader: Reader = "text",
    lines: LineCount | None = None,
) -> LoanTable:
    """Open one loan file.

    Args:
        path: delimited text, packed by gzip or zip or not, or Parquet; its content decides.
        contract: says how its files are written, which columns are required and which layouts exist.
        with_outcome: whether the status column is required.
        columns: further columns of the file that the caller reads.
        reader: of text. Polars reads as text or, `typed`, plain numbers as Float64: for 500,000 loans
            cleaning then takes 3.0 s of processor time instead of 4.8 s, but the first text that is no number, or no
            UTF-8, stops the reading with Polars' ComputeError. `coded` reads months and levels as codes besides, where
            the first lines say nothing else in these columns, and another text below stops the reading too; it takes a
            look at these lines, which only long files repay. `careful` is used for what Polars may read wrong.
        lines: what `count_lines` says of the file, which is asked by default; a count of no lines takes it for plain.

    Raises:
        BadInput: the file is absent, empty, no table, damaged, wrongly separated, holds nested columns, lacks
            required columns, or holds one that is read twice.
    """
    needed = {field.column for field in (*contract.fields, *contract.outcome.fields)}
    needed |= {contract.outcome.column, *columns}
    frame, dtypes, rows = _scan(path, contract, needed, reader, lines)
    layout = _layout_of(dtypes, contract)
    _refuse_incomplete(path, _missing_columns(dtypes, contract, layout, with_outcome=with_outcome))
    _refuse_nested(path, dtypes, needed)
    return LoanTable(
        path, stem(path.name), frame, dtypes, layout, rows, source="parquet" if _is_parquet(path) else "text"
    )


def check_table(path: Path, contract: Contract, *, with_outcome: bool) -> None:
    """Refuse by its header what `open_table` refuses, and read no line below it."""
    open_table(path, contract, with_outcome=with_outcome, lines=NOT_PLAIN)


def open_columns(
    path: Path,
    contract: Contract,
    needed: Sequence[str],
    *,
    optional: Sequence[str] = (),
    lines: LineCount | None = None,
) -> LoanTable:
    """Open a file of which only the columns `needed` are read, and the `optional` it has; the rest as `open_table`."""
    names = {*needed, *optional}
    frame, dtypes, rows = _scan(path, contract, names, "text", lines, columns=needed)
    _refuse_incomplete(path, [name for name in needed if name not in dtypes], remedy="add {it}")
    _refuse_nested(path, dtypes, names)
    return LoanTable(path, stem(path.name), frame, dtypes, None, rows)


def count_lines(path: Path, contract: Contract) -> LineCount:
    """Count the lines of a file by one pass over its bytes; a file that Polars cannot read is not plain.

    Raises:
        BadInput: as `open_table`, by the header; or the file is damaged.
    """
    refuse_no_file(path)
    if _is_parquet(path):
        return LineCount()
    return _count_lines_of(_find_table(path, contract))


def survey(path: Path, contract: Contract) -> tuple[LineCount, bytes]:
    """Return the `count_lines` and the `digest` of a file, by one pass over its bytes where that is possible.

    Raises:
        BadInput: as `count_lines`.
    """
    refuse_no_file(path)
    table = None if _is_parquet(path) else _find_table(path, contract)
    if table is None or table.packing or table.offset is None:
        return count_lines(path, contract), digest(path)
    with path.open("rb", buffering=0) as file:
        reader = _DigestingReader(file)
        lines = _count_lines_in(reader, table)
        return lines, reader.digest()


def _count_lines_of(table: _TextTable) -> LineCount:
    if table.offset is None:
        return NOT_PLAIN
    with refuse_damage(table.path), _open_bytes(table.path, table.packing) as file:
        return _count_lines_in(file, table)


def _count_lines_in(file: SupportsReadInto, table: _TextTable) -> LineCount:
    title = memoryview(bytearray(table.offset or 0))
    while title and (count := file.readinto(title)):
        title = title[count:]
    return count_lines_of(file, table.dialect, len(table.header))


class _DigestingReader:
    """Reads a file into memory that is there, and digests what is read."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as there are bytes, and return how many these were."""
        count = self._file.readinto(buffer) or 0
        self._hash.update(buffer[:count])
        return count

    def digest(self) -> bytes:
        """Return the SHA-256 of the whole file, of which the rest is read."""
        rest = memoryview(bytearray(_DIGESTED_BYTES))
        while self.readinto(rest):
            pass
        return self._hash.digest()


def _refuse_nested(path: Path, dtypes: Mapping[str, pl.DataType], needed: set[str]) -> None:
    for name in sorted(needed & set(dtypes)):
        if not holds_values(dtypes[name]):
            raise BadInput(
                f"{path}: column {name} holds {dtypes[name]} values, which no loan field can be read from; "
                "write it as text or numbers."
            )


def holds_values(dtype: pl.DataType) -> bool:
    """Tell whether a loan field can be read from a column of this type."""
    if isinstance(dtype, pl.Decimal):
        return dtype.precision <= _FIGURES
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration, pl.Time))


@contextmanager
def refuse_damage(path: Path | str, *further: type[Exception]) -> Iterator[None]:
    """Turn what Polars says of a damaged file, while it is opened or read, into a `BadInput` that names it.

    `further` are more kinds of errors that mean damage here.
    """
    damage = (pl.exceptions.ComputeError, pl.exceptions.NoDataError, OSError, EOFError, zlib.error, zipfile.BadZipFile)
    try:
        yield
    except damage + further as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's or the system's trouble (full, not permitted), not the file's
        cause = " ".join(str(error).split())[:160].rstrip(".")
        raise BadInput(f"{path} is damaged or cut off ({cause}); fetch or export it again.") from error


def _scan(
    path: Path,
    contract: Contract,
    needed: set[str],
    reader: Reader,
    lines: LineCount | None,
    columns: Sequence[str] = (),
) -> tuple[pl.LazyFrame, dict[str, pl.DataType], int | None]:
    """Return a frame of the file, the types of its columns, and how many rows it has, where that is known.

    `columns` are those of a file of other things than loans.
    """
    refuse_no_file(path)
    with refuse_damage(path, pl.exceptions.InvalidOperationError):
        if _is_parquet(path):
            frame = pl.scan_parquet(path, glob=False)
            _refuse_own(path, frame.collect_schema())
            _refuse_similar(path, frame.collect_schema(), needed)
            rows = frame.select(pl.len()).collect().item()
            frame = frame.with_row_index(ROW, offset=1)
            return frame, dict(frame.collect_schema()), rows
        table = _find_table(path, contract, columns)
        _refuse_own(path, table.header)
        _refuse_similar(path, table.header, needed)
        _refuse_repeated(path, table.header, needed)
        lines = _count_lines_of(table) if lines is None else lines
        if reader == "careful" or not lines.plain or table.offset is None:
            frame, rows = scan_carefully(partial(_lines_below_header, table), table.header, table.dialect), None
        else:
            frame = _scan_quickly(table, contract, lines, reader)
            rows = lines.lines - 1 if lines.lines else None
        return frame, dict(frame.collect_schema()), rows


def refuse_no_file(path: Path) -> None:
    """Refuse a folder, a path of nothing, and an empty file.

    Raises:
        BadInput: says which of them it is.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give the path of a CSV, CSV.GZ or Parquet file of loans.")
    if not path.is_file():
        raise BadInput(f"{path} is not a file; give the path of a CSV, CSV.GZ or Parquet file of loans.")
    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty; a loan file has a header line and one line for each loan.")


def is_prediction_log(path: Path) -> bool:
    """Tell whether a file is one of the prediction log, which is in natural units however the book writes its files.

    Raises:
        BadInput: as `open_table`.
    """
    refuse_no_file(path)
    with refuse_damage(path, pl.exceptions.InvalidOperationError):
        return _is_parquet(path) and _LOGGED.issubset(pl.read_parquet_schema(path))


def _is_parquet(path: Path) -> bool:
    is_parquet = _first_bytes(path, 4) == b"PAR1"
    if path.name.lower().endswith(".parquet") and not is_parquet:
        raise BadInput(f"{path} is named .parquet but holds no Parquet; rename it or write it again.")
    return is_parquet


def _scan_quickly(table: _TextTable, contract: Contract, lines: LineCount, reader: Reader) -> pl.LazyFrame:
    # What the reader takes for a number must be one by the contract too.
    is_typed = reader != "text" and contract.files.decimal == "." and "nan" in map(str.lower, contract.files.nothing)
    is_typed = is_typed and _layout_of(table.header, contract) is None

    def scan(types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        return pl.scan_csv(
            table.path,
            infer_schema=False,  # every column as text: the contract decides what it is, not the first lines
            schema_overrides={name: types[name] for name in table.header if name in types},
            encoding="utf8" if is_typed else "utf8-lossy",
            separator=table.dialect.separator,
            quote_char=table.dialect.quote,
            skip_lines=table.title_lines,
            extra_columns="ignore",  # those rows have a fault
            row_index_name=ROW,
            row_index_offset=1,
            glob=False,
        )

    types: dict[str, pl.DataType] = {}
    if is_typed:
        numbers = (field for field in (*contract.fields, *contract.outcome.fields) if field.kind == "number")
        types = {field.column: pl.Float64() for field in numbers if not field.strip and not field.words}
    if is_typed and reader == "coded":
        types |= _codes_of(scan({}).head(_FIRST_ROWS), contract)
    return add_faults(scan(types), lines.widths, len(table.header), table.dialect)


def _codes_of(first_rows: pl.LazyFrame, contract: Contract) -> dict[str, pl.DataType]:
    """Return the types of columns that one field alone reads, and that hold listed words alone in these rows."""
    fields, outcome, snapshot = (*contract.fields, *contract.outcome.fields), contract.outcome, contract.snapshot
    readings: list[tuple[str, Sequence[str]]] = [(field.column, _words_as_written(field)) for field in fields]
    readings.append((outcome.column, [*outcome.label_of]))
    readings += [(snapshot.column, _months_as_written(snapshot.format))] if snapshot else []
    columns = [column for column, _ in readings]
    present = first_rows.collect_schema()
    words_of = {name: words for name, words in readings if words and columns.count(name) == 1 and name in present}
    rows = first_rows.select(pl.col(name).drop_nulls().is_in([*words]).all() for name, words in words_of.items())
    is_coded = rows.collect(engine="streaming").row(0, named=True) if words_of else {}
    return {name: pl.Enum(words_of[name]) for name, coded in is_coded.items() if coded}


def _words_as_written(field: LoanField) -> Sequence[str]:
    """Return all texts that a field may have where each is written as the contract has it; none if it has no list."""
    if field.kind == "month":
        return _months_as_written(field.format)
    return () if field.words else field.levels


def _months_as_written(formats: Sequence[str]) -> Sequence[str]:
    return MONTH_TEXTS if all("%b" in format_ for format_ in formats) else ()  # other formats may read them otherwise


def _refuse_own(path: Path, header: Iterable[str]) -> None:
    for name in {ROW, FAULT}.intersection(header):
        raise BadInput(f"{path}: a column named {name} is added to every table here; rename the one of the file.")


def _refuse_similar(path: Path, header: Iterable[str], needed: set[str]) -> None:
    names = set(header)
    lacking = {name.lower(): name for name in needed - names}
    for name in sorted(names - needed):
        if (bare := name.strip(_UNSEEN)) in needed - names:
            raise BadInput(f"{path}: column {name!r} is {bare} but for signs that nobody sees; rename it.")
        if expected := lacking.get(bare.lower()):
            raise BadInput(f"{path} has the column {name} where {expected} is expected; write it in that letter case.")


def _refuse_repeated(path: Path, header: Sequence[str], needed: set[str]) -> None:
    for name in header:
        if name in needed and header.count(name) > 1:
            raise BadInput(
                f"{path}: column {name} stands {header.count(name)} times in the header; rename or remove one."
            )


@contextmanager
def _lines_below_header(table: _TextTable) -> Iterator[Iterator[str]]:
    with _open_bytes(table.path, table.packing) as file:
        lines = io.TextIOWrapper(file, table.encoding, errors="replace", newline="")
        yield islice(lines, table.title_lines + table.header_lines, None)


@contextmanager
def _open_bytes(path: Path, packing: Packing) -> Iterator[io.BufferedReader]:
    """Open the content of a file; of a zip, its only member."""
    with ExitStack() as opened:
        if packing == "zip":
            archive = opened.enter_context(zipfile.ZipFile(path))
            yield cast(io.BufferedReader, opened.enter_context(archive.open(_only_member(path, archive))))
        elif packing == "gzip":
            yield cast(io.BufferedReader, opened.enter_context(gzip.open(path)))
        else:
            yield opened.enter_context(path.open("rb"))


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if "[Content_Types].xml" in names:
        raise BadInput(f"{path} is an Excel workbook; save its sheet as CSV.")
    if len(names) != 1:
        raise BadInput(f"{path} is an archive of {len(names)} files; unpack it, and give the CSV file of loans in it.")
    if archive.getinfo(names[0]).flag_bits & 1:
        raise BadInput(f"{path} is locked by a password; unpack it, and give the CSV file of loans in it.")
    return names[0]


def stem(name: str) -> str:
    """Return a file's name without what says its kind."""
    return _KIND.sub("", name, count=1)


def fingerprint(paths: Sequence[Path]) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over the content of the files, in this order."""
    return fingerprint_of(digest(path) for path in paths)


def digest(path: Path) -> bytes:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def fingerprint_of(digests: Iterable[bytes]) -> str:
    """Return the `fingerprint` of files of which the digests are at hand."""
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _packing(path: Path) -> Packing:
    """Tell by its first bytes how a file is packed."""
    first = _first_bytes(path, 4)
    return "gzip" if first[:2] == b"\x1f\x8b" else "zip" if first == b"PK\x03\x04" else ""


def _find_table(path: Path, contract: Contract, columns: Sequence[str] = ()) -> _TextTable:
    """Find the header, which names most of the loan columns and `columns`; published files may have a title above."""
    packing = _packing(path)
    with refuse_damage(path), _open_bytes(path, packing) as file:
        head = file.read(_HEAD_BYTES)
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), contract.files.encoding)
    text = head.decode(encoding, errors="replace")
    lines = list(io.StringIO(text, newline=""))  # \n, \r or both end a line, and no other sign
    dialect = Dialect(contract.files.separator, contract.files.quote)
    loan_columns = _loan_columns(contract).union(columns)
    matches = [len(loan_columns.intersection(dialect.split(line))) for line in lines[: _TITLE_LINES + 1]]
    if not matches or max(matches) < 2:
        raise _binary(path, head) if "\0" in text else _not_a_header(path, lines, contract, columns)
    title_lines = matches.index(max(matches))
    below = iter(lines[title_lines:])
    header = next(dialect.reader(below))
    header_lines = len(lines) - title_lines - len(list(below))
    own_lines = lines[: title_lines + header_lines][: len(lines) - 1]  # the last may have no end
    is_plain = all(line.endswith("\n") for line in own_lines) and (dialect.separator + (dialect.quote or "")).isascii()
    offset = None
    if is_plain and packing != "zip" and codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
        offset = sum(map(len, head.splitlines(keepends=True)[:title_lines]))
    return _TextTable(path, packing, encoding, dialect, title_lines, header_lines, tuple(header), offset)


def _binary(path: Path, head: bytes) -> BadInput:
    for name, noughts in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if noughts.count(0) > len(noughts) / 2 and b"\0\0" not in head:
            remedy = f"save it as UTF-8, or write encoding: {name} under files in the contract"
            return BadInput(f"{path} seems to be UTF-16 without a mark that says so; {remedy}.")
    return BadInput(f"{path} is no table: it holds binary data; give a CSV, CSV.GZ or Parquet file of loans.")


def _not_a_header(path: Path, lines: Sequence[str], contract: Contract, columns: Sequence[str]) -> BadInput:
    first, dialect = lines[0].strip() if lines else "", Dialect(contract.files.separator, contract.files.quote)
    loan_columns = _loan_columns(contract).union(columns)
    for separator, word in _SEPARATORS.items():
        if any(
            len(loan_columns.intersection(Dialect(separator).split(line))) > 1 for line in lines[: _TITLE_LINES + 1]
        ):
            expected = _SEPARATORS.get(dialect.separator, f"'{dialect.separator}'")
            return BadInput(
                f"{path} is separated by {word} where the contract expects {expected}; save it with {expected} between "
                f"the columns, or write separator: {json.dumps(separator)} under files in the contract."
            )
    for line in lines[: _TITLE_LINES + 1]:
        written = {name.strip(_UNSEEN).lower(): name for name in dialect.split(line)}
        similar = [column for column in sorted(loan_columns) if written.get(column.lower(), column) != column]
        if len(similar) > 1:
            return BadInput(
                f"{path} names its columns otherwise than the contract, as {written[similar[0].lower()]!r} where it "
                f"expects {similar[0]}; write them in the same letter case and without blanks, or change the contract."
            )
    named = (field.column for field in contract.application_fields if not field.derived)
    remedy = (
        f"the columns {', '.join(columns)}" if columns else f"columns such as {', '.join([*dict.fromkeys(named)][:6])}"
    )
    names = "its columns" if columns else "loan columns"
    return BadInput(
        f"{path} has no header that names {names} (its first line begins {first[:60]!r}); give it one with {remedy}."
    )


def _loan_columns(contract: Contract) -> set[str]:
    layouts = {column for layout in contract.layouts for column in layout.recognised_by}
    return {field.column for field in contract.fields} | {contract.outcome.column} | layouts


def _layout_of(columns: Iterable[str], contract: Contract) -> FileLayout | None:
    names = set(columns)
    return next((layout for layout in contract.layouts if names.issuperset(layout.recognised_by)), None)


def _missing_columns(
    columns: Mapping[str, pl.DataType], contract: Contract, layout: FileLayout | None, *, with_outcome: bool
) -> list[str]:
    """Name the required columns that a file lacks; of a derived field those that it is computed from.

    Applications lack what only loan files have, as protected fields.
    """
    completed = {layout.year.field} if layout and layout.year and layout.year.column in columns else set()
    present = {field.name for field in contract.fields if field.column in {*columns, *completed}}
    fields = contract.fields if with_outcome else contract.application_fields
    missing = [field.column for field in contract.lacking((each for each in fields if each.required), present)]
    outcome = contract.outcome.column
    return [*missing, outcome] if with_outcome and outcome not in columns else missing


def _refuse_incomplete(
    path: Path,
    missing: Sequence[str],
    remedy: str = "add {it}, or say in the contract what the file calls {it}",
) -> None:
    if missing:
        columns, it = ("columns", "them") if len(missing) > 1 else ("column", "it")
        raise BadInput(f"{path} lacks the {columns} {', '.join(missing)}; {remedy.format(it=it)}.")


def from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    """Convert a frame: every missing value becomes null, whole numbers stay whole, others floats, all else text."""
    return pl.DataFrame([_to_series(str(name), frame[name]) for name in frame.columns])


def _to_series(name: str, column: pd.Series) -> pl.Series:
    from pandas import isna
    from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype, is_scalar

    if is_integer_dtype(column):  # an id has more figures than a float
        return pl.Series(name, column.to_numpy(object, na_value=None).tolist(), dtype=pl.Int128)
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return pl.Series(name, column.to_numpy("float64"), nan_to_null=True)
    # In `inputs` and `instances`, MLflow 3.17 turns a null text into the text "None".
    texts = [None if is_scalar(value) and (isna(value) or value == "None") else text_of(value) for value in column]
    return pl.Series(name, texts, dtype=pl.String)
