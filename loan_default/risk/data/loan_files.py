"""Opens a loan file, CSV, CSV.GZ or Parquet, as a lazy frame, and refuses what is no loan file in one sentence.

The form of a file belongs here: what it is, where its header stands, its layout, the columns it lacks, its fingerprint,
and how pandas writes what is missing. What the values mean belongs in `field_values`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from loan_default.risk.contract import Contract, FileLayout
from loan_default.risk.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

ROW = ":row"  # 1-based number of a line of data, added to every table; no file names a column so
_HEAD_BYTES = 1 << 17
_TITLE_LINES = 3
_CSV_SUFFIXES = (".csv", ".csv.gz", ".txt", ".txt.gz")


@dataclass(frozen=True)
class LoanTable:
    """An opened loan file. `frame` holds the file's own columns and `ROW`; nothing is read before it is collected.

    A loan without an id is called by `name` and its row.
    """

    path: Path
    name: str
    frame: pl.LazyFrame
    dtypes: Mapping[str, pl.DataType]
    layout: FileLayout | None


def open_table(
    path: Path, contract: Contract, *, with_outcome: bool, columns: Iterable[str] = (), typed: bool = False
) -> LoanTable:
    """Open one loan file.

    Args:
        path: CSV, CSV.GZ or Parquet, by its suffix.
        contract: says which columns are required and which layouts exist.
        with_outcome: whether the status column is required.
        columns: further columns of the file that the caller reads.
        typed: let the CSV reader turn plain numbers into Float64. For 500,000
            loans cleaning then takes 3.0 s of processor time instead of 4.8 s, but the
            first text that is no number, or no UTF-8, stops the reading with Polars' ComputeError.

    Raises:
        BadInput: the file is absent, empty, no table, damaged, wrongly separated, holds nested columns, or lacks
            required columns.
    """
    frame, dtypes = _scan_with_types(path, contract, typed=typed)
    layout = _layout_of(dtypes, contract)
    _refuse_incomplete(path, _missing_columns(dtypes, contract, layout, with_outcome=with_outcome))
    _refuse_nested(path, dtypes, {field.column for field in contract.fields} | {contract.outcome.column, *columns})
    return LoanTable(path, stem(path.name), frame, dtypes, layout)


def open_columns(path: Path, contract: Contract, needed: Sequence[str]) -> LoanTable:
    """Open a file of which only the columns `needed` are read; errors as `open_table`."""
    frame, dtypes = _scan_with_types(path, contract, typed=False)
    _refuse_incomplete(path, [name for name in needed if name not in dtypes], remedy="add {it}")
    _refuse_nested(path, dtypes, set(needed))
    return LoanTable(path, stem(path.name), frame, dtypes, None)


def _scan_with_types(path: Path, contract: Contract, *, typed: bool) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    if not path.is_file():
        raise BadInput(f"{path} is not a file; give the path of a CSV, CSV.GZ or Parquet file of loans.")
    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty; a loan file has a header line and one line for each loan.")
    with refuse_damage(path, pl.exceptions.InvalidOperationError):
        frame = _scan(path, contract, typed=typed)
        return frame, dict(frame.collect_schema())


def _refuse_nested(path: Path, dtypes: Mapping[str, pl.DataType], needed: set[str]) -> None:
    for name in sorted(needed & set(dtypes)):
        if not holds_values(dtypes[name]):
            raise BadInput(
                f"{path}: column {name} holds {dtypes[name]} values, which no loan field can be read from; "
                "write it as text or numbers."
            )


def holds_values(dtype: pl.DataType) -> bool:
    """Tell whether a loan field can be read from a column of this type."""
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration, pl.Time))


@contextmanager
def refuse_damage(path: Path | str, *further: type[Exception]) -> Iterator[None]:
    """Turn what Polars says of a damaged file, while it is opened or read, into a `BadInput` that names it.

    `further` are more kinds of errors that mean damage here.
    """
    damage = (pl.exceptions.ComputeError, pl.exceptions.NoDataError, OSError, EOFError, zlib.error)
    try:
        yield
    except damage + further as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's or the system's trouble (full, not permitted), not the file's
        cause = " ".join(str(error).split())[:160].rstrip(".")
        raise BadInput(f"{path} is damaged or cut off ({cause}); fetch or export it again.") from error


def _scan(path: Path, contract: Contract, *, typed: bool) -> pl.LazyFrame:
    if path.name.endswith(".parquet"):
        if _first_bytes(path, 4) != b"PAR1":
            raise BadInput(f"{path} is named .parquet but holds no Parquet; rename it or write it again.")
        return pl.scan_parquet(path).with_row_index(ROW, offset=1)
    if not path.name.endswith(_CSV_SUFFIXES):
        raise BadInput(f"{path}: only .csv, .csv.gz and .parquet files can be read; convert it to one of these.")
    title_lines, header = _header_line(path, contract)
    plain = {
        field.column for field in contract.fields if field.kind == "number" and not field.strip and not field.words
    }
    typed = typed and _layout_of(header, contract) is None
    return pl.scan_csv(
        path,
        infer_schema=False,  # every column as text: the contract decides what it is, not the first lines
        schema_overrides={name: pl.Float64() for name in header if typed and name in plain},
        encoding="utf8" if typed else "utf8-lossy",
        skip_lines=title_lines,
        row_index_name=ROW,
        row_index_offset=1,
    )


def stem(name: str) -> str:
    """Return a file's name without what says its kind."""
    name = name.removesuffix(".gz")
    return name[: name.rindex(".")]


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


def _header_line(path: Path, contract: Contract) -> tuple[int, list[str]]:
    """Find the number (from 0) and names of the header line; the published quarterly files have a title above it."""
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"\0" in head:
        raise BadInput(f"{path} is no table: it holds binary data; give a CSV, CSV.GZ or Parquet file of loans.")
    lines = head.decode("utf-8", errors="replace").removeprefix("\ufeff").splitlines()[: _TITLE_LINES + 1]
    loan_columns = _loan_columns(contract)
    headers = [next(csv.reader([line]), []) for line in lines]
    matches = [len(loan_columns & set(header)) for header in headers]
    if not matches or max(matches) < 2:
        raise _not_a_header(path, lines, loan_columns)
    best = matches.index(max(matches))
    return best, headers[best]


def _not_a_header(path: Path, lines: Sequence[str], loan_columns: set[str]) -> BadInput:
    first = lines[0] if lines else ""
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(loan_columns & set(next(csv.reader([first], delimiter=separator), []))) > 1:
            return BadInput(f"{path} is separated by {word}; save it with commas between the columns.")
    return BadInput(
        f"{path} has no header that names loan columns (its first line begins {first[:60]!r}); "
        f"give it one with columns such as {', '.join(sorted(loan_columns)[:6])}."
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
    """Name the required columns that a file lacks; of a derived field those that it is computed from."""
    present = {field.name for field in contract.fields if field.column in columns}
    if layout and layout.year and layout.year.column in columns:
        present.add(layout.year.field)
    required = (field for field in contract.fields if field.required)
    missing = [field.column for field in contract.lacking(required, present)]
    outcome = contract.outcome.column
    return [*missing, outcome] if with_outcome and outcome not in columns else missing


def _refuse_incomplete(
    path: Path, missing: Sequence[str], remedy: str = "add {it}, or say in the contract what the file calls {it}"
) -> None:
    if missing:
        columns, it = ("columns", "them") if len(missing) > 1 else ("column", "it")
        raise BadInput(f"{path} lacks the {columns} {', '.join(missing)}; {remedy.format(it=it)}.")


def from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    """Convert a frame: every missing value becomes null, numbers floats, all else text."""
    return pl.DataFrame([_to_series(str(name), frame[name]) for name in frame.columns])


def _to_series(name: str, column: pd.Series) -> pl.Series:
    from pandas import isna
    from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_scalar

    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return pl.Series(name, column.to_numpy("float64"), nan_to_null=True)
    # In `inputs` and `instances`, MLflow 3.17 turns a null text into the text "None".
    texts = [None if is_scalar(value) and (isna(value) or value == "None") else str(value) for value in column]
    return pl.Series(name, texts, dtype=pl.String)
