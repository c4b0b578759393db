"""Tables in the storage: Parquet files, read as a whole or by parts, here or by another machine.

Of an object in a bucket a part fetches only the row groups that it needs. A file that is no such table is refused here
by a sentence. Writing is `storage`'s; what is in a frame is `risk`'s.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from loan_default.adapters import gcs, storage
from loan_default.adapters.file_listing import list_files
from loan_default.risk.errors import DamagedRecord

if TYPE_CHECKING:
    import polars as pl
    from pyarrow.parquet import ParquetFile

    from loan_default.adapters.layout import StorageLayout

_REMEDIES = {  # by the folder of a batch's table, or the name of another: what writes it again
    **dict.fromkeys(
        ("predictions", "application_batch", "rejected_applications"), "loan-default score-again {batch} --force"
    ),
    "drift_report": "loan-default drift {batch}",
    **dict.fromkeys(("cleaned_loans", "rejected_loans"), "loan-default run --data FILE"),
    "loan_outcomes": "loan-default performance",
}


def scan_table(
    path: UPath, staging: Path, generation: int | None = None, *, columns: Collection[str] = ()
) -> pl.LazyFrame:
    """Scan a Parquet file of the storage, which has to have these columns.

    Raises:
        DamagedRecord: it is empty, cut off or no Parquet, or lacks a column.
        FileNotFoundError: there is none.
    """
    import polars as pl

    local = storage.fetch(path, staging, generation)
    try:
        schema = pl.read_parquet_schema(local)
    except pl.exceptions.ComputeError as error:
        raise _damage(path, f"is damaged or cut off ({str(error).rpartition(': ')[2]})") from error
    if lacking := next((name for name in columns if name not in schema), None):
        raise _damage(path, f"lacks the column {lacking}")
    return pl.scan_parquet(local, glob=False)


def find_damage(error: Exception, layout: StorageLayout, staging: Path) -> DamagedRecord | None:
    """Name the table of a storage whose rows are damaged, where that made Polars fail; None where it did not.

    Polars does not say in which file it was reading, and tables are read where nobody knows any longer where they lay.
    So each is read until the damaged one is met.
    """
    import polars as pl

    if not (isinstance(error, pl.exceptions.ComputeError) and str(error).startswith("parquet: ")):
        return None
    for file in chain.from_iterable(map(list_files, layout.table_folders)):
        if file.name.endswith(".parquet"):
            try:
                scan_table(file.path, staging, file.generation).select(pl.all().null_count()).collect(
                    engine="streaming"
                )
            except DamagedRecord as damage:
                return damage
            except pl.exceptions.ComputeError as cause:
                return _damage(file.path, f"is damaged ({str(cause).rpartition(': ')[2]})")
    return None


def _damage(path: UPath, what: str) -> DamagedRecord:
    command = (_REMEDIES.get(path.parent.name) or _REMEDIES.get(path.stem, "")).format(
        batch=path.stem.removesuffix(".sample")
    )
    remedy = f"run {command}, which writes it again, or " if command else ""
    return DamagedRecord(path.stem, f"The table {path} {what}; {remedy}restore it from a backup.")


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file, or some of its rows.

    `address` is the path of the file, `staging` where an object is copied to if all of it is read, and `generation` the
    state of the object; `length` says how many rows these are, if they are not all.
    """

    address: str
    staging: Path
    generation: int | None = None
    offset: int = 0
    length: int | None = None
    connect: Any = field(default=gcs.connect, repr=False)

    @classmethod
    def of(cls, path: UPath, staging: Path) -> ParquetTable:
        """Open the table that is stored at a path now.

        Raises:
            FileNotFoundError: there is none.
        """
        if not storage.is_remote(path):
            if not storage.exists(path):
                raise FileNotFoundError(f"{path} does not exist; run what makes it first.")
            return cls(str(path), staging)
        listed = gcs.find(path)
        if listed is None:
            raise gcs.not_found(path)
        connect = path.storage_options.get("connect", gcs.connect)
        return cls(str(path), staging, listed.generation, connect=connect)

    @cached_property
    def rows(self) -> int:
        """The number of rows."""
        if self.length is not None:
            return self.length
        with self._open() as file:
            return int(file.metadata.num_rows)

    def part(self, offset: int, rows: int) -> ParquetTable:
        """Return the table of some of the rows."""
        return replace(self, offset=offset, length=rows)

    def scan(self) -> pl.LazyFrame:
        """Scan the rows; of a part in a bucket they are read at once."""
        if self.length is None or not storage.is_remote(self.address):
            frame = scan_table(self._path, self.staging, self.generation)
            return frame if self.length is None else frame.slice(self.offset, self.length)
        return self._row_groups().lazy()

    def _row_groups(self) -> pl.DataFrame:
        """Read the rows of a part, from the groups that hold them."""
        import polars as pl

        with self._open() as file:
            ends = list(accumulate(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)))
            groups = range(bisect_right(ends, self.offset), bisect_left(ends, self.offset + self.rows) + 1)
            rows = pl.from_arrow(file.read_row_groups(list(groups)))
        assert isinstance(rows, pl.DataFrame)
        return rows.slice(self.offset - (ends[groups.start - 1] if groups.start else 0), self.length)

    @property
    def _path(self) -> UPath:
        return storage.to_path(self.address, connect=self.connect)

    @contextmanager
    def _open(self) -> Iterator[ParquetFile]:
        from pyarrow.parquet import ParquetFile

        if storage.is_remote(self.address):
            with gcs.open_object(self._path, self.generation) as file:
                yield ParquetFile(file)
        else:
            yield ParquetFile(self.address)
