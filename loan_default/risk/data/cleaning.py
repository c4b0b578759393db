"""Cleans loan files by the contract: one streaming pass writes the usable loans and, with reasons, all other rows.

Opening files belongs in `loan_files`, the fields' expressions in `field_values`, reasons in `rejections`, what is
reported in `cleaning_report`; splitting and encoding loans for a model belongs in `splitting` and `model.features`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar, get_args

import polars as pl
import polars.selectors as cs

from loan_default.risk.compute import Engine
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.file_format import MAIN_LAYOUT
from loan_default.risk.data.cleaning_report import CleaningReport, FileScan, UnreadableSnapshots, report_cleaning
from loan_default.risk.data.delimited import ROW, LineCount
from loan_default.risk.data.field_values import no_loan, parse_table
from loan_default.risk.data.loan_files import (
    LoanTable,
    Reader,
    is_prediction_log,
    open_table,
    refuse_damage,
    refuse_no_file,
    stem,
    survey,
)
from loan_default.risk.data.parsing import as_text, read_month, why_no_month
from loan_default.risk.data.rejections import (
    RAW,
    RAW_SNAPSHOT,
    REJECTED_SCHEMA,
    RowRule,
    any_broken,
    duplicate_lines,
    excel_remedy,
    is_sound,
    may_be_no_loan,
    rejection_lines,
)
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.risk.month_texts import MONTH_CODES

_LONG_BYTES = 1 << 26  # in less time than it takes to begin, a shorter file is counted
_QUICK: tuple[Reader, ...] = ("coded", "typed", "text")
_NO_LOAN, _BROKEN = pl.col(":no_loan"), pl.col(":broken")  # of the frame of `_parse_rows`
_USABLE = ~(_NO_LOAN | _BROKEN)


class NamedFile(Protocol):
    """A file, wherever it is."""

    @property
    def name(self) -> str:
        """Return its name without the folder."""
        ...


Source = TypeVar("Source", bound=NamedFile)


def clean_loans(
    files: Sequence[Source],
    contract: Contract,
    *,
    cleaned: Path,
    rejected: Path,
    snapshot: date | None = None,
    today: date | None = None,
    fetch: Callable[[Source], Path] = Path,  # type: ignore[assignment]
    engine: Engine | None = None,
) -> CleaningReport:
    """Clean loan files with outcomes, each in one streaming pass.

    Args:
        files: loan files; together they are one loan book.
        contract: what a loan is.
        cleaned: Parquet to write: id, issue month or cohort, features in natural units, segments, protected fields,
            `outcome` and, where loans mature, `matures`.
        rejected: Parquet to write: `REJECTED_SCHEMA`, a line for each unusable row.
        snapshot: month in which the files were taken; found in them by default.
        today: no loan was issued later, nor paid, nor a file taken; by default that is not asked.
        fetch: a file → where it lies on the machine that asks.
        engine: where it is done; here by default.

    Raises:
        BadInput: a file cannot be used at all, or no row of it can, or its snapshot column is unreadable in more rows
            than the contract allows to reject and no `snapshot` is given. `cleaned` is not written then, and `rejected`
            where rows were read.
    """
    if snapshot and contract.outcomes_are_final:
        raise BadInput(
            f"The snapshot month {snapshot:%Y-%m} was given, and the outcomes of {contract.name} are final, so no loan "
            "has to mature by it; leave it out."
        )
    if snapshot and today and snapshot > today:
        raise BadInput(
            f"The snapshot month {snapshot:%Y-%m} lies in the future, after {today:%Y-%m-%d}; name the month in which "
            "the file was taken."
        )
    if not files:
        raise BadInput("No loan file was given; name a CSV, CSV.GZ or Parquet file of loans.")
    if engine is None or engine.processes == 1 or len(files) == 1:
        paths = [fetch(file) for file in files]
        scan_files = partial(_scan_here, paths, contract, with_outcome=True, today=today)
    else:
        scan_files = partial(_scan_by_engine, files, contract, fetch=fetch, engine=engine, today=today)
    locate = partial(_locate, files, contract, fetch=fetch, with_outcome=True, today=today)
    return _clean(scan_files, locate, contract, cleaned=cleaned, rejected=rejected, snapshot=snapshot)


def clean_application_file(path: Path, contract: Contract, *, cleaned: Path, rejected: Path) -> CleaningReport:
    """Clean a batch of applications, or a file of the prediction log: as `clean_loans`, without outcomes."""
    contract = contract.logged if is_prediction_log(path) else contract
    scan_files = partial(_scan_here, [path], contract, with_outcome=False)
    locate = partial(_locate, [path], contract, fetch=Path, with_outcome=False)
    return _clean(scan_files, locate, contract, cleaned=cleaned, rejected=rejected, snapshot=None)


def _clean(
    scan_files: Callable[[Path, Path], FileScan],
    locate: Callable[[pl.Series], pl.DataFrame],
    contract: Contract,
    *,
    cleaned: Path,
    rejected: Path,
    snapshot: date | None,
) -> CleaningReport:
    with write_atomically(cleaned) as cleaned_part:
        with write_atomically(rejected) as rejected_part:
            scan = scan_files(cleaned_part, rejected_part)
            _move_duplicates(cleaned_part, rejected_part, contract, locate)
            report = report_cleaning(scan, contract, cleaned=cleaned_part, rejected=rejected_part, snapshot=snapshot)
        if snapshot is None:
            _refuse_unreadable_snapshots(scan, contract)
        if not report.kept:
            raise BadInput(_nothing_usable(report))
    return report


def _nothing_usable(report: CleaningReport) -> str:
    names = ", ".join(report.files)
    if not report.rejected:
        lines = f": {report.lines_not_loans:,} lines are blank or fit not_loans" if report.lines_not_loans else ""
        return f"{names}: there is a header but no loan below it{lines}."
    problem, count = next(iter(report.problems.items()))
    return (
        f"{names}: none of the {report.rejected:,} loans is usable; the most frequent reason is {problem} ({count:,}). "
        f"The first: {report.first_rejection}"
    )


def _refuse_unreadable_snapshots(scan: FileScan, contract: Contract) -> None:
    limit = contract.expect.rejected_share_at_most
    for unreadable in scan.unreadable:
        if contract.snapshot and unreadable.share > limit:
            raise BadInput(
                f"{unreadable} ({unreadable.share:.1%}; {limit:.0%} may be unreadable). Write it as "
                f"{contract.snapshot.allowed}, say its format under snapshot in the contract, or name the month in "
                "which the file was taken."
            )


# --- reading files --------------------------------------------------------------------------------------------


def _scan_here(
    paths: Sequence[Path],
    contract: Contract,
    cleaned: Path,
    rejected: Path,
    *,
    with_outcome: bool,
    today: date | None = None,
    names: Sequence[str] | None = None,
) -> FileScan:
    """Write both Parquet files from all loan files in one pass; `names` are what loans without an id are called by."""
    for path in paths:
        refuse_no_file(path)
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise BadInput(f"{path} is given twice; name each loan file once.")
    names, extra = names or _unique_names(paths), [contract.dated_by.column] if contract.dated_by else []

    def open_tables(lines: Sequence[LineCount] | None, reader: Reader) -> list[LoanTable]:
        lines = lines or [LineCount()] * len(paths)
        how = partial(open_table, contract=contract, with_outcome=with_outcome, columns=extra, reader=reader)
        return [
            replace(how(path, lines=count), name=name, read_on=today)
            for path, name, count in zip(paths, names, lines, strict=True)
        ]

    with ThreadPoolExecutor(1) as background, refuse_damage(", ".join(map(str, paths))):
        surveys = background.submit(lambda: [survey(path, contract) for path in paths])
        stream = partial(_stream, contract=contract, cleaned=cleaned, rejected=rejected, with_outcome=with_outcome)
        is_long = sum(path.stat().st_size for path in paths) > _LONG_BYTES
        read = _read_while_counting(open_tables, stream, surveys) if is_long else None
        tables, months = read or _read_all_rows(partial(open_tables, [lines for lines, _ in surveys.result()]), stream)
        layouts = tuple(table.layout.name if table.layout else MAIN_LAYOUT for table in tables)
        unreadable = _unreadable_snapshots(tables, months, contract) if with_outcome else ()
        digests = tuple(content for _, content in surveys.result())
        return FileScan(tuple(map(str, paths)), layouts, digests, months.drop("table"), unreadable)


def _read_all_rows(
    open_tables: Callable[[Reader], list[LoanTable]],
    stream: Callable[[Sequence[LoanTable]], pl.DataFrame],
    readers: Sequence[Reader] = get_args(Reader)[1:],
) -> tuple[list[LoanTable], pl.DataFrame]:
    """Read by the quickest reader that can: typed, if no number is unreadable, and one that finds every row."""
    for reader in readers:
        tables = open_tables(reader)
        try:
            months = stream(tables)
        except (pl.exceptions.ComputeError, OverflowError):
            if reader == readers[-1]:
                raise
            continue
        if _holds_rows(months, [table.rows for table in tables]):
            return tables, months
    raise RuntimeError(f"{', '.join(str(table.path) for table in tables)}: not every row was read.")


def _read_while_counting(
    open_tables: Callable[[Sequence[LineCount] | None, Reader], list[LoanTable]],
    stream: Callable[[Sequence[LoanTable]], pl.DataFrame],
    surveys: Future[list[tuple[LineCount, bytes]]],
) -> tuple[list[LoanTable], pl.DataFrame] | None:
    """Read long files as if they were plain, while their lines are counted; None where it shows that they are not.

    What is wrong with them is said when they are read again.
    """
    try:
        tables, months = _read_all_rows(partial(open_tables, None), stream, _QUICK)
    except (BadInput, pl.exceptions.PolarsError, RuntimeError):
        return None
    lines = [count for count, _ in surveys.result()]
    is_right = all(count.plain and not count.widths for count in lines) and _holds_rows(
        months, [count.lines - 1 if count.lines else None for count in lines]
    )
    return (tables, months) if is_right else None


def _holds_rows(months: pl.DataFrame, expected: Sequence[int | None]) -> bool:
    """Tell whether so many rows of each table were read, where it is known how many it has."""
    rows = dict(months.group_by("table").agg(pl.col("rows").sum()).iter_rows())
    return all(count in (None, rows.get(number, 0)) for number, count in enumerate(expected))


def _scan_by_engine(
    files: Sequence[Source],
    contract: Contract,
    cleaned: Path,
    rejected: Path,
    *,
    fetch: Callable[[Source], Path],
    engine: Engine,
    today: date | None,
) -> FileScan:
    """Clean each file where the engine has room, and write what comes of them one behind the other."""
    scans: list[FileScan] = []
    with TemporaryDirectory(dir=cleaned.parent) as folder:
        scan_file = partial(_scan_remotely, contract, fetch, today)
        results = engine.map(scan_file, zip(files, _unique_names(files), strict=True))
        for number, (scan, *contents) in enumerate(results):
            scans.append(scan)
            for name, content in zip(("cleaned", "rejected"), contents, strict=True):
                Path(folder, f"{number:06}.{name}").write_bytes(content)
        for target, name in ((cleaned, "cleaned"), (rejected, "rejected")):
            pl.scan_parquet(sorted(Path(folder).glob(f"*.{name}")), glob=False).sink_parquet(target)
    return reduce(FileScan.__add__, scans)


def _scan_remotely(
    contract: Contract, fetch: Callable[[Source], Path], today: date | None, named_file: tuple[Source, str]
) -> tuple[FileScan, bytes, bytes]:
    """Clean one file on an engine's machine; return its scan and the content of both Parquet files."""
    file, name = named_file
    with TemporaryDirectory() as folder:
        cleaned, rejected = Path(folder, "cleaned"), Path(folder, "rejected")
        scan = _scan_here([fetch(file)], contract, cleaned, rejected, with_outcome=True, today=today, names=[name])
        return scan, cleaned.read_bytes(), rejected.read_bytes()


def _unique_names(files: Sequence[Source]) -> list[str]:
    """Return the files' stems; those of one name, from several folders, get their position behind it."""
    names = [stem(file.name) for file in files]
    return [f"{name}.{number}" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]


def _stream(
    tables: Sequence[LoanTable], contract: Contract, cleaned: Path, rejected: Path, *, with_outcome: bool
) -> pl.DataFrame:
    """Write both Parquet files; return by table and month shown the rows, and how many are no loans or unreadable.

    Raises:
        OverflowError: a number of an unusable row, which a reader took from a text, is larger than a float can be.
    """
    parsed = [_parse_rows(table, contract, with_outcome=with_outcome) for table in tables]
    outputs = [
        _outputs(frame, table, contract, with_outcome=with_outcome)
        for (frame, _), table in zip(parsed, tables, strict=True)
    ]
    usable, unusable, counts = zip(*outputs, strict=True)
    with TemporaryDirectory(dir=rejected.parent) as folder:
        paths = [Path(folder, f"{number:06}") for number in range(len(tables))]
        sinks = [pl.concat(usable).sink_parquet(cleaned, lazy=True)]
        sinks += [rows.sink_parquet(path, lazy=True) for rows, path in zip(unusable, paths, strict=True)]
        counted = pl.collect_all([*sinks, *counts], engine="streaming")[len(sinks) :]
        if any(table.source == "text" and _hold_infinity(path) for path, table in zip(paths, tables, strict=True)):
            raise OverflowError  # read as text, a reason can quote what the file says
        # Asked of these rows alone: in the stream every block of rows would go through all reasons.
        lines = [
            rejection_lines(pl.scan_parquet(path, glob=False), rules, table, contract)
            for path, (_, rules), table in zip(paths, parsed, tables, strict=True)
            if pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        ]
        pl.concat([pl.LazyFrame(schema=REJECTED_SCHEMA), *lines]).sink_parquet(rejected)
    return pl.concat(
        _read_months(count, table, contract).with_columns(pl.lit(number).alias("table"))
        for number, (count, table) in enumerate(zip(counted, tables, strict=True))
    )


def _hold_infinity(rows: Path) -> bool:
    """Tell whether the file says infinity of a field of one of these rows."""
    numbers = pl.scan_parquet(rows, glob=False).select((cs.starts_with(RAW) & cs.float()).is_infinite().any())
    return any(numbers.collect().row(0) if numbers.collect_schema() else ())


def _outputs(
    frame: pl.LazyFrame, table: LoanTable, contract: Contract, *, with_outcome: bool
) -> tuple[pl.LazyFrame, ...]:
    """Return usable loans, the unusable as parsed, and counts of rows by what they say of when the file was taken."""
    names = [field.name for field in contract.stored if with_outcome or field in contract.application_fields]
    names += contract.labels if with_outcome else []
    # All three start at the same frame: from a filtered one, Polars would read the file a second time.
    return (
        frame.filter(_USABLE).select(names),
        frame.filter(~_NO_LOAN & _BROKEN),
        _count_rows(frame, table, contract),
    )


def _parse_rows(table: LoanTable, contract: Contract, *, with_outcome: bool) -> tuple[pl.LazyFrame, list[RowRule]]:
    """Parse the table, and mark the rows that are no loans and those that break a rule."""
    frame, rules = parse_table(table, contract, with_outcome=with_outcome)
    is_no_loan = no_loan(contract) & may_be_no_loan(table.dtypes)
    return frame.with_columns(is_no_loan.alias(":no_loan"), any_broken(rules).alias(":broken")), rules


def _count_rows(frame: pl.LazyFrame, table: LoanTable, contract: Contract) -> pl.LazyFrame:
    """Count rows by the text in the snapshot column, and by their month of issue where there is none.

    Texts are few and rows are many: `_read_months` reads each text once.
    """
    text, issued, snapshot = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.Date), contract.dated_by
    has_text = pl.lit(False)
    if table.layout and table.layout.snapshot_month:
        issued = pl.lit(table.layout.snapshot_month)
    elif not contract.outcomes_are_final:
        if snapshot and snapshot.column in table.dtypes:
            text = pl.when(is_sound(table.dtypes)).then(RAW_SNAPSHOT)
            dtype, text_column = table.dtypes[snapshot.column], pl.col(RAW_SNAPSHOT)
            has_text = (text_column if dtype == MONTH_CODES else as_text(text_column, dtype)).is_not_null()
        issued = pl.when(~has_text & is_sound(table.dtypes)).then(contract.time_name)
    id_field, is_loan = contract.by_name[contract.id_name], ~_NO_LOAN
    without_id = pl.col(RAW + id_field.name).is_null() if id_field.column in table.dtypes else pl.lit(True)
    return frame.group_by(text.alias("text"), issued.alias("issued")).agg(
        pl.len().alias("rows"),
        (~is_loan).sum().alias("not_loans"),
        (without_id & is_loan).sum().alias("without_id"),
        pl.col(ROW).filter(is_loan).min().alias("first"),
    )


def _read_months(counts: pl.DataFrame, table: LoanTable, contract: Contract) -> pl.DataFrame:
    """Read the month that rows show from the counts of `_count_rows`; a loan is unreadable whose text is no month."""
    snapshot, dtype = contract.dated_by, counts.schema["text"]
    formats = (snapshot.format, snapshot.century) if snapshot else ()
    month, text = _until(read_month(pl.col("text"), dtype, *formats), table.read_on), as_text(pl.col("text"), dtype)
    unreadable = pl.when(month.is_null() & text.is_not_null()).then(pl.col("rows") - pl.col("not_loans")).otherwise(0)
    return counts.select(
        pl.coalesce(month, _until(pl.col("issued"), table.read_on)).alias("month"),
        *("rows", "not_loans", "without_id", "first"),
        text.alias("text"),
        unreadable.alias("unreadable"),
    )


def _until(month: pl.Expr, today: date | None) -> pl.Expr:
    """Return a month; null where it lies in the future."""
    return month if today is None else pl.when(month <= today).then(month)


def _unreadable_snapshots(
    tables: Sequence[LoanTable], months: pl.DataFrame, contract: Contract
) -> tuple[UnreadableSnapshots, ...]:
    """Count the unreadable months of each table, and name the first."""
    column, results = contract.snapshot.column if contract.snapshot else None, []
    if column is None:  # an unreadable last payment rejects the loan
        return ()
    for (number,), counts in months.group_by("table", maintain_order=True):
        unreadable = counts.filter(pl.col("unreadable") > 0).sort("first")
        if unreadable.is_empty():
            continue
        loans = int(counts.select(pl.col("rows").sum() - pl.col("not_loans").sum()).item())
        text, formats = pl.col("text"), contract.snapshot.format if contract.snapshot else ()
        table = tables[int(str(number))]
        why = why_no_month(text, pl.String(), formats, pl.lit("is no month"), table.read_on).alias("why")
        first = unreadable.select("first", "text", why, excel_remedy(text).alias("remedy")).row(0)
        results.append(UnreadableSnapshots(column, table.path.name, int(unreadable["unreadable"].sum()), loans, *first))
    return tuple(results)


def _move_duplicates(
    cleaned: Path, rejected: Path, contract: Contract, locate: Callable[[pl.Series], pl.DataFrame]
) -> None:
    """Reject all but the first loan of each id; the files are rewritten only where there is such a loan."""
    ids = pl.scan_parquet(cleaned, glob=False).select(contract.id_name).collect().get_column(contract.id_name)
    if ids.hash().n_unique() == len(ids):  # faster than the texts; below, these decide
        return
    first = ids.is_first_distinct()
    with write_atomically(cleaned) as part:
        loans = pl.scan_parquet(cleaned, glob=False).with_columns(first.alias(":first"))
        loans.filter(":first").drop(":first").sink_parquet(part)
    lines = duplicate_lines(locate(ids.filter(~first).unique()), contract)
    pl.concat([pl.read_parquet(rejected, glob=False), lines]).write_parquet(rejected)


def _locate(
    files: Sequence[Source],
    contract: Contract,
    ids: pl.Series,
    *,
    fetch: Callable[[Source], Path],
    with_outcome: bool,
    today: date | None = None,
) -> pl.DataFrame:
    """Read files again for the usable rows of these ids: the `file`, the `row` in it and the id of each, in order."""
    frames = []
    for file, name in zip(files, _unique_names(files), strict=True):
        table = replace(open_table(fetch(file), contract, with_outcome=with_outcome), name=name, read_on=today)
        frame, _ = _parse_rows(table, contract, with_outcome=with_outcome)
        rows = frame.filter(_USABLE & pl.col(contract.id_name).is_in(ids.implode()))
        frames.append(rows.select(pl.lit(table.path.name).alias("file"), pl.col(ROW).alias("row"), contract.id_name))
    return pl.concat(frames).collect(engine="streaming")
