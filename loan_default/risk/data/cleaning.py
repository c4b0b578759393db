"""From a loan file to loans in natural units: values are read, checked and derived by the contract.

One streaming pass writes the usable loans and, with their reasons, the rows that are not usable. Opening files
is `loan_files`; splitting and encoding loans for a model is `splitting` and `features`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import polars as pl
import polars.selectors as cs

from loan_default.risk.compute import Engine
from loan_default.risk.contract import MATURES, OUTCOME, TERM, Contract, Derivation, Layout, LoanField
from loan_default.risk.data.loan_files import ROW, LoanTable, holds_values, open_table, readable, stem
from loan_default.risk.data.parsing import in_words, month_number, months_after, read_month, taken, text_of, trimmed
from loan_default.risk.derivations import DERIVED_FUNCTIONS
from loan_default.risk.errors import BadInput


class Named(Protocol):
    """A file, wherever it is."""

    @property
    def name(self) -> str:
        """Without its folder."""
        ...


Source = TypeVar("Source", bound=Named)

_RAW = "raw:"
_FAILED = "failed:"
_SNAPSHOT_SHARE, _SNAPSHOT_LOANS = 0.001, 2
REJECTED_SCHEMA = {
    "file": pl.String,
    "row": pl.UInt32,
    "id": pl.String,
    "field": pl.String,
    "value": pl.String,
    "problem": pl.String,
    "reason": pl.String,
}


# --- what came of it ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning did: counts of rows, months as the first of the month, shares from 0 to 1."""

    files: tuple[str, ...]
    fingerprint: str
    layouts: tuple[str, ...]
    rows_read: int
    lines_not_loans: int
    kept: int
    rejected: int
    problems: dict[str, int]
    missing_fields: tuple[str, ...]
    snapshot: date | None
    first_month: date | None
    last_month: date | None
    resolved: int
    matured: int
    default_rate: float | None

    @property
    def rejected_share(self) -> float:
        """Rejected rows as a share of the rows that are loans."""
        return self.rejected / max(self.kept + self.rejected, 1)

    def warnings(self) -> list[str]:
        """What a person should know of the file, a sentence each."""
        said = []
        if self.missing_fields:
            said.append(f"The file lacks {', '.join(self.missing_fields)}; the models see these as missing.")
        if self.rejected:
            top = ", ".join(f"{problem} ({count:,})" for problem, count in list(self.problems.items())[:4])
            said.append(f"{self.rejected:,} rows were rejected: {top}.")
        return said

    def to_dict(self) -> dict[str, Any]:
        """For a JSON record: dates as YYYY-MM."""
        return {k: f"{v:%Y-%m}" if isinstance(v, date) else v for k, v in asdict(self).items()}


def fingerprint(paths: Sequence[Path]) -> str:
    """SHA-256 over the content of the files, in the order given; 16 hexadecimal digits of it."""
    return _fingerprint(_digest(path) for path in paths)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _fingerprint(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


# --- reading one value ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Check:
    """One way for a row to be unusable. `failed` is a boolean column; `why` completes "FIELD 'VALUE' …"."""

    field: str
    problem: str
    failed: pl.Expr
    why: str


def _raw(field: LoanField) -> pl.Expr:
    return pl.col(_RAW + field.name)


def _number(field: LoanField, dtype: pl.DataType) -> pl.Expr:
    """Natural value as Float64; null where there is none or none can be read."""
    if dtype.is_numeric():
        return _raw(field).cast(pl.Float64).fill_nan(None)
    text = text_of(_raw(field), dtype)
    value = trimmed(text, field.strip) if field.strip else text
    return in_words(text, field.words, value.cast(pl.Float64, strict=False).fill_nan(None), pl.Float64)


def _level(field: LoanField, dtype: pl.DataType) -> pl.Expr:
    text = text_of(_raw(field), dtype)
    return in_words(text, field.words, text, pl.String).cast(pl.Enum(field.levels), strict=False)


def _value(field: LoanField, dtype: pl.DataType) -> pl.Expr:
    if field.kind == "number":
        return _number(field, dtype)
    if field.kind in ("ordered", "nominal"):
        return _level(field, dtype)
    return read_month(_raw(field), dtype) if field.kind == "month" else text_of(_raw(field), dtype)


def _unreadable(field: LoanField, dtype: pl.DataType) -> pl.Expr:
    """True where the file says something and nothing could be read from it."""
    nothing = [text for text, meaning in field.words.items() if meaning is None]
    said = text_of(_raw(field), dtype).is_not_null()
    if nothing:
        said = said & ~text_of(_raw(field), dtype).is_in(nothing)
    return pl.col(field.name).is_null() & said


def _unreadable_check(field: LoanField, dtype: pl.DataType) -> _Check:
    problem, why = {
        "number": ("unreadable number", f"is no number; it must be {field.allowed}"),
        "month": ("impossible date", f"is no month; it must be {field.allowed}"),
    }.get(field.kind, ("unknown level", f"is not {field.allowed}"))
    return _Check(field.name, f"{field.name}: {problem}", _unreadable(field, dtype), why)


# --- derived fields -------------------------------------------------------------------------------------------


def _argument(field: LoanField) -> pl.Expr:
    """Return what a derived function takes of the field: its number, or the number of its month."""
    column = pl.col(field.name)
    return month_number(column).cast(pl.Float64) if field.kind == "month" else column


def _derive(field: LoanField, derivation: Derivation, contract: Contract) -> pl.Expr:
    """Return the field as the file gives it, else computed from the fields it derives from."""
    arguments = [_argument(contract.by_name[name]) for name in derivation.of]
    computed = DERIVED_FUNCTIONS[derivation.function].compute(*arguments)
    return pl.coalesce(pl.col(field.name), computed.fill_nan(None)).alias(field.name)


# --- one table ------------------------------------------------------------------------------------------------


def _from_layout(table: LoanTable) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """The table in natural units, whatever its layout."""
    frame, dtypes, layout = table.frame, dict(table.dtypes), table.layout
    if layout is None:
        return frame, dtypes
    for column, texts in layout.texts.items():
        if column in dtypes:
            text = text_of(taken(column, dtypes[column]), dtypes[column]).str.strip_suffix(".0")
            frame, dtypes[column] = (
                frame.with_columns(in_words(text, texts, text, pl.String).alias(column)),
                pl.String(),
            )
    for column in (name for name in layout.log1p if name in dtypes):
        number = pl.col(column).cast(pl.Float64, strict=False)
        natural = (number.exp() - 1).round(2).cast(pl.String)
        frame = frame.with_columns(pl.coalesce(natural, pl.col(column).cast(pl.String)).alias(column))
        dtypes[column] = pl.String()
    return _complete_year(frame, dtypes, layout)


def _complete_year(
    frame: pl.LazyFrame, dtypes: dict[str, pl.DataType], layout: Layout
) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    if layout.year is None:
        return frame, dtypes
    dtype = dtypes[layout.year.column]
    year = text_of(taken(layout.year.column, dtype), dtype).str.strip_suffix(".0")
    frame = frame.with_columns(pl.format("{}-{}", year, pl.lit(f"{layout.year.month:02d}")).alias(layout.year.field))
    return frame, {**dtypes, layout.year.field: pl.String()}


def _parsed(table: LoanTable, contract: Contract, *, with_outcome: bool) -> tuple[pl.LazyFrame, list[_Check]]:
    """Raw and natural columns side by side, and the checks that a usable row passes."""
    frame, dtypes = _from_layout(table)
    given = [field for field in contract.fields if field.column in dtypes]
    columns = {_RAW + field.name: field.column for field in given}
    columns |= {_RAW + OUTCOME: contract.outcome.column} if with_outcome else {}
    columns |= {contract.snapshot.column: contract.snapshot.column} if contract.snapshot.column in dtypes else {}
    raw = [taken(column, dtypes[column]).alias(name) for name, column in columns.items()]
    kind_of = {field.name: dtypes[field.column] for field in given}
    values = [_value(field, kind_of[field.name]).alias(field.name) for field in given]
    values += [_empty(field) for field in contract.fields if field.column not in dtypes]
    frame = frame.select(ROW, *raw).with_columns(values)
    frame = frame.with_columns(_derive(field, field.derived, contract) for field in contract.fields if field.derived)
    frame = frame.with_columns(_identity(table, contract))
    checks = [_unreadable_check(field, kind_of[field.name]) for field in given if not _always_read(field, dtypes)]
    checks += [check for field in contract.fields for check in _checks(field)]
    if with_outcome:
        frame, checks = _with_outcome(frame, checks, contract, dtypes[contract.outcome.column])
    return frame.with_columns(_within(field) for field in contract.fields if field.outside != "reject"), checks


def _always_read(field: LoanField, dtypes: Mapping[str, pl.DataType]) -> bool:
    """Whether no value of the file can be one that is rejected because it cannot be read."""
    if field.kind == "number":
        return dtypes[field.column].is_numeric()
    return field.outside == "null" and bool(field.levels)


def _empty(field: LoanField) -> pl.Expr:
    kinds: dict[str, Any] = {"number": pl.Float64, "month": pl.Date, "text": pl.String}
    return pl.lit(None, dtype=kinds.get(field.kind) or pl.Enum(field.levels)).alias(field.name)


def _identity(table: LoanTable, contract: Contract) -> pl.Expr:
    """The loan's own id, or the name of its file and row where the file gives none."""
    made = pl.format("{}-{}", pl.lit(table.name), ROW)
    return pl.coalesce(contract.id_name, made).alias(contract.id_name)


def _checks(field: LoanField) -> Iterator[_Check]:
    value = pl.col(field.name)
    if not field.nullable:
        yield _Check(field.name, f"{field.name}: missing", value.is_null(), f"is missing; it must be {field.allowed}")
    if field.range is not None and field.outside == "reject":
        low, high = field.range
        yield _Check(
            field.name, f"{field.name}: out of range", ~value.is_between(low, high), f"is outside of {field.allowed}"
        )


def _within(field: LoanField) -> pl.Expr:
    if field.range is None:
        return pl.col(field.name)
    if field.outside == "clip":
        return pl.col(field.name).clip(*field.range)
    return pl.when(pl.col(field.name).is_between(*field.range)).then(pl.col(field.name)).alias(field.name)


def _with_outcome(
    frame: pl.LazyFrame, checks: list[_Check], contract: Contract, dtype: pl.DataType
) -> tuple[pl.LazyFrame, list[_Check]]:
    labels = contract.outcome.label_of
    status = text_of(pl.col(_RAW + OUTCOME), dtype)
    label = in_words(status, labels, pl.lit(None, dtype=pl.Int8), pl.Int8)
    column = contract.outcome.column
    missing = _Check(column, f"{column}: missing", status.is_null(), "is missing; every loan needs a status")
    unknown = _Check(
        column, f"{column}: unknown status", ~status.is_in(list(labels)), "is no status that the contract lists"
    )
    matures = months_after(pl.col(contract.time_name), pl.col(TERM))
    return frame.with_columns(label.alias(OUTCOME), matures.alias(MATURES)), [*checks, missing, unknown]


def _not_a_loan(contract: Contract) -> pl.Expr:
    """True for the published file's summary lines, and for lines that have neither an id nor any required value."""
    needed = [_RAW + field.name for field in contract.fields if field.required or field.role == "id"]
    blank = pl.all_horizontal(cs.by_name(needed, require_all=False).is_null())
    if not contract.not_loans:
        return blank
    return blank | pl.col(contract.id_name).str.contains("|".join(contract.not_loans)).fill_null(False)


def _any_failed(checks: Sequence[_Check]) -> pl.Expr:
    return pl.any_horizontal(check.failed for check in checks).fill_null(False)


def _rejections(frame: pl.LazyFrame, checks: Sequence[_Check], table: LoanTable, contract: Contract) -> pl.LazyFrame:
    """One line for each unusable row, with the first check that it failed."""
    dtypes = frame.collect_schema()

    def first(part: Callable[[_Check], pl.Expr]) -> pl.Expr:
        """`part` of the first check that failed, as one column."""
        return reduce(
            lambda rest, check: pl.when(check.failed.fill_null(False)).then(part(check)).otherwise(rest),
            reversed(checks),
            pl.lit(None, dtype=pl.String),
        )

    def value(check: _Check) -> pl.Expr:
        raw = _RAW + (OUTCOME if check.field == contract.outcome.column else check.field)
        name = raw if raw in dtypes else check.field
        return text_of(pl.col(name), dtypes[name])

    found = frame.select(
        pl.lit(str(table.path.name)).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        pl.col(contract.id_name).alias("id"),
        first(lambda check: pl.lit(check.field)).alias("field"),
        first(value).alias("value"),
        first(lambda check: pl.lit(check.problem)).alias("problem"),
        first(lambda check: pl.lit(check.why)).alias("reason"),
    )
    shown = pl.when(pl.col("value").is_null()).then(pl.col("field")).otherwise(pl.format("{} '{}'", "field", "value"))
    return found.with_columns(pl.format("{} {}", shown, "reason").alias("reason"))


# --- whole files ----------------------------------------------------------------------------------------------


def clean_loans(
    files: Sequence[Source],
    contract: Contract,
    *,
    cleaned: Path,
    rejected: Path,
    snapshot: date | None = None,
    fetch: Callable[[Source], Path] = Path,  # type: ignore[assignment]
    engine: Engine | None = None,
) -> CleaningReport:
    """Clean loan files with outcomes, each in one streaming pass.

    Args:
        files: loan files; together they are one loan book.
        contract: what a loan is.
        cleaned: Parquet to write: id, issue month, features in natural units, segments, `outcome` and `matures`.
        rejected: Parquet to write: `REJECTED_SCHEMA`, a line for each unusable row.
        snapshot: month in which the files were taken; found in them by default.
        fetch: a file → where it lies on the machine that asks.
        engine: where it is done; here by default.

    Raises:
        BadInput: a file cannot be used at all, or no row of it can. Nothing is written then.
    """
    if not files:
        raise BadInput("No loan file was given; name a CSV, CSV.GZ or Parquet file of loans.")
    if engine is None or engine.processes == 1 or len(files) == 1:
        paths = [fetch(file) for file in files]
        stream = partial(_stream_here, paths, contract, with_outcome=True)
    else:
        stream = partial(_stream_apart, files, contract, fetch=fetch, engine=engine)
    return _clean(stream, contract, cleaned=cleaned, rejected=rejected, snapshot=snapshot)


def clean_application_file(path: Path, contract: Contract, *, cleaned: Path, rejected: Path) -> CleaningReport:
    """Clean a batch of applications: as `clean_loans`, without outcomes."""
    stream = partial(_stream_here, [path], contract, with_outcome=False)
    return _clean(stream, contract, cleaned=cleaned, rejected=rejected, snapshot=None)


def _clean(
    stream: Callable[[Path, Path], Streamed],
    contract: Contract,
    *,
    cleaned: Path,
    rejected: Path,
    snapshot: date | None,
) -> CleaningReport:
    with _all_or_nothing(cleaned, rejected) as (kept_part, rejected_part):
        found = stream(kept_part, rejected_part)
        _move_duplicates(kept_part, rejected_part, contract)
        report = _report(found, contract, kept_part, rejected_part, snapshot)
        if not report.kept:
            raise BadInput(_nothing_usable(report))
    return report


@dataclass(frozen=True)
class Streamed:
    """What was seen of files while they were read; `months`: rows, and lines that are no loans, by month shown."""

    files: tuple[str, ...]
    layouts: tuple[str, ...]
    digests: tuple[bytes, ...]
    months: pl.DataFrame

    def __add__(self, other: Streamed) -> Streamed:
        return Streamed(
            self.files + other.files,
            self.layouts + other.layouts,
            self.digests + other.digests,
            pl.concat([self.months, other.months]),
        )


def _stream_here(
    paths: Sequence[Path],
    contract: Contract,
    kept: Path,
    rejected: Path,
    *,
    with_outcome: bool,
    names: Sequence[str] | None = None,
) -> Streamed:
    """All files in one pass; `names` are what loans without an id are called by."""
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise BadInput(f"{path} is given twice; name each loan file once.")

    def opened(*, typed: bool) -> list[LoanTable]:
        extra = [contract.snapshot.column]
        return [
            replace(open_table(path, contract, with_outcome=with_outcome, columns=extra, typed=typed), name=name)
            for path, name in zip(paths, names or _told_apart(paths), strict=True)
        ]

    tables = opened(typed=True)
    with ThreadPoolExecutor(1) as beside:
        digests = beside.submit(lambda: tuple(map(_digest, paths)))
        with readable(", ".join(map(str, paths))):
            try:
                months = _stream(tables, contract, kept, rejected, with_outcome=with_outcome)
            except pl.exceptions.ComputeError:  # some number is none: read text, and find its row
                months = _stream(opened(typed=False), contract, kept, rejected, with_outcome=with_outcome)
        layouts = tuple(table.layout.name if table.layout else "published" for table in tables)
        return Streamed(tuple(map(str, paths)), layouts, digests.result(), months)


def _stream_apart(
    files: Sequence[Source],
    contract: Contract,
    kept: Path,
    rejected: Path,
    *,
    fetch: Callable[[Source], Path],
    engine: Engine,
) -> Streamed:
    """Each file by whatever the engine gives it to; what comes of them is written one behind the other."""
    found: list[Streamed] = []
    with TemporaryDirectory(dir=kept.parent) as folder:
        one = partial(_file_apart, contract, fetch)
        for at, (streamed, *written) in enumerate(engine.map(one, zip(files, _told_apart(files), strict=True))):
            found.append(streamed)
            for name, content in zip(("kept", "rejected"), written, strict=True):
                Path(folder, f"{at:06}.{name}").write_bytes(content)
        for target, name in ((kept, "kept"), (rejected, "rejected")):
            pl.scan_parquet(sorted(Path(folder).glob(f"*.{name}"))).sink_parquet(target)
    return reduce(Streamed.__add__, found)


def _file_apart(
    contract: Contract, fetch: Callable[[Source], Path], file: tuple[Source, str]
) -> tuple[Streamed, bytes, bytes]:
    """One file: what was seen of it, and both Parquet files' content."""
    with TemporaryDirectory() as folder:
        kept, rejected = Path(folder, "kept"), Path(folder, "rejected")
        found = _stream_here([fetch(file[0])], contract, kept, rejected, with_outcome=True, names=[file[1]])
        return found, kept.read_bytes(), rejected.read_bytes()


def _told_apart(files: Sequence[Source]) -> list[str]:
    """The files' names; those of one name, from several folders, get their position behind it."""
    names = [stem(file.name) for file in files]
    return [f"{name}.{at}" if names.count(name) > 1 else name for at, name in enumerate(names, 1)]


@contextmanager
def _all_or_nothing(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Paths to write to beside the targets; they take the targets' places only if all went well."""
    parts = tuple(target.with_name(target.name + ".part") for target in targets)
    try:
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _stream(
    tables: Sequence[LoanTable], contract: Contract, kept: Path, rejected: Path, *, with_outcome: bool
) -> pl.DataFrame:
    """Write both Parquet files; return by month shown the rows, and how many of them are no loans."""
    usable, unusable, counts = zip(
        *(_outputs(table, contract, with_outcome=with_outcome) for table in tables), strict=True
    )
    *_, months = pl.collect_all(
        [
            pl.concat(usable).sink_parquet(kept, lazy=True),
            pl.concat(unusable).sink_parquet(rejected, lazy=True),
            pl.concat(counts),
        ],
        engine="streaming",
    )
    return months


def _outputs(table: LoanTable, contract: Contract, *, with_outcome: bool) -> tuple[pl.LazyFrame, ...]:
    """Usable loans, reasons of the unusable, and by month shown the rows and how many of them are no loans."""
    names = [field.name for field in contract.fields if field.role != "support"]
    names += [OUTCOME, MATURES] if with_outcome else []
    frame, checks = _parsed(table, contract, with_outcome=with_outcome)
    frame = frame.with_columns(_not_a_loan(contract).alias("not_a_loan"), _any_failed(checks).alias("failed"))
    # All three start at the same frame: from a filtered one, Polars would read the file a second time.
    not_a_loan, failed = pl.col("not_a_loan"), pl.col("failed")
    return (
        frame.filter(~(not_a_loan | failed)).select(names),
        _rejections(frame.filter(~not_a_loan & failed), checks, table, contract),
        frame.group_by(_month_shown(table, contract).alias("month")).agg(
            pl.len().alias("rows"), not_a_loan.sum().alias("not_loans")
        ),
    )


def _month_shown(table: LoanTable, contract: Contract) -> pl.Expr:
    """The month in the snapshot column; the issue month of a loan without one."""
    column = contract.snapshot.column
    if table.layout and table.layout.snapshot_month:
        return pl.lit(table.layout.snapshot_month)
    if column in table.dtypes:
        return pl.coalesce(read_month(pl.col(column), table.dtypes[column]), contract.time_name)
    return pl.col(contract.time_name)


def _snapshot_seen(months: pl.DataFrame) -> date | None:
    months = months.drop_nulls("month").group_by("month").agg(pl.col("rows").sum())
    least = max(_SNAPSHOT_LOANS, _SNAPSHOT_SHARE * int(months["rows"].sum()))
    enough = months.filter(pl.col("rows") >= least)
    newest: date | None = (months if enough.is_empty() else enough)["month"].max()  # type: ignore[assignment]
    return newest


def _move_duplicates(kept: Path, rejected: Path, contract: Contract) -> None:
    """Of loans with one id the first stays; the others are rejected. Rewrites the files only where there are any."""
    ids = pl.scan_parquet(kept).select(contract.id_name).collect().get_column(contract.id_name)
    if ids.hash().n_unique() == len(ids):  # four times as fast as the texts; below, these decide
        return
    again = ~ids.is_first_distinct()
    moved = pl.DataFrame({"id": ids.filter(again)}).select(
        pl.lit(None, dtype=pl.String).alias("file"),
        pl.lit(None, dtype=pl.UInt32).alias("row"),
        "id",
        pl.lit(contract.id_name).alias("field"),
        pl.col("id").alias("value"),
        pl.lit(f"{contract.id_name}: duplicate").alias("problem"),
        pl.format("{} '{}' stands in the data before", pl.lit(contract.id_name), "id").alias("reason"),
    )
    stays = kept.with_name(kept.name + ".first")
    try:
        pl.scan_parquet(kept).with_columns(again.not_().alias("first")).filter("first").drop("first").sink_parquet(
            stays
        )
        stays.replace(kept)
    finally:
        stays.unlink(missing_ok=True)
    pl.concat([pl.read_parquet(rejected), moved]).write_parquet(rejected)


def _report(seen: Streamed, contract: Contract, kept: Path, rejected: Path, snapshot: date | None) -> CleaningReport:
    loans = pl.scan_parquet(kept)
    with_outcome = OUTCOME in loans.collect_schema()
    month, nothing = pl.col(contract.time_name), pl.lit(None)
    resolved = pl.col(OUTCOME).is_not_null() if with_outcome else pl.lit(False)
    snapshot = snapshot or _snapshot_seen(seen.months)
    matured = resolved & (pl.col(MATURES) <= pl.lit(snapshot, dtype=pl.Date)) if with_outcome else pl.lit(False)
    found = loans.select(
        pl.len().alias("kept"),
        month.min().alias("first_month"),
        month.max().alias("last_month"),
        resolved.sum().alias("resolved"),
        matured.sum().alias("matured"),
        (pl.col(OUTCOME).filter(matured).mean() if with_outcome else nothing).alias("default_rate"),
    ).collect()
    problems = pl.scan_parquet(rejected).group_by("problem").len().sort("len", "problem", descending=[True, False])
    counts = dict(problems.collect().iter_rows())
    return CleaningReport(
        files=seen.files,
        fingerprint=_fingerprint(seen.digests),
        layouts=seen.layouts,
        rows_read=int(seen.months["rows"].sum()),
        lines_not_loans=int(seen.months["not_loans"].sum()),
        rejected=sum(counts.values()),
        problems=counts,
        missing_fields=_missing_fields(contract, loans),
        snapshot=snapshot if with_outcome else None,
        **found.row(0, named=True),
    )


def _missing_fields(contract: Contract, loans: pl.LazyFrame) -> tuple[str, ...]:
    """Optional features that no file has, or that no loan has a value of."""
    empty = loans.select(pl.col(contract.feature_names).null_count() == pl.len()).collect()
    return tuple(name for name in contract.feature_names if empty[name].item())


def _nothing_usable(report: CleaningReport) -> str:
    names = ", ".join(report.files)
    if not report.rejected:
        return f"{names}: there is a header but no loan below it."
    top = next(iter(report.problems))
    return f"{names}: none of the {report.rejected:,} loans is usable; the most frequent reason is {top}."


# --- single applications --------------------------------------------------------------------------------------


def clean_applications(records: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Features of applications that a system sends, in the contract's order.

    Args:
        records: a row for each application, columns named as the contract's fields; optional ones may be absent.
        contract: what a loan is.

    Raises:
        BadInput: no row, a column that is no field, a required one that is absent, or a value that is not
            allowed; names row (from 0), field, value and what is allowed.
    """
    if records.is_empty():
        raise BadInput("There is no application in the request; send at least one row.")
    known = {field.name for field in contract.fields}
    for name in records.columns:
        if name not in known:
            raise BadInput(f"{name} is no field of a loan application; the fields are {', '.join(sorted(known))}.")
    for field in contract.features:
        if field.required and field.name not in records.columns:
            raise BadInput(f"Row 0: {field.name} is missing; it must be {field.allowed}.")
    for name, dtype in records.schema.items():
        if not holds_values(dtype):
            row = records[name].is_not_null().arg_max() or 0
            value = str(records[name].to_list()[row])[:60]
            raise BadInput(f"Row {row}: {name} {value!r} is {dtype}; it must be {contract.by_name[name].allowed}.")
    columns = {field.name: field.column for field in contract.fields if field.name in records.columns}
    frame = records.rename(columns).with_row_index(ROW).lazy()
    table = LoanTable(Path("request"), "request", frame, dict(frame.collect_schema()), None)
    parsed, checks = _parsed(table, contract, with_outcome=False)
    checks = [check for check in checks if check.field != contract.time_name or "missing" not in check.problem]
    read = parsed.select(*contract.feature_names, _any_failed(checks).alias(_FAILED)).collect()
    if read[_FAILED].any():
        bad = _rejections(parsed.filter(_any_failed(checks)), checks, table, contract).head(1).collect()
        raise BadInput(f"Row {bad['row'].item()}: {bad['reason'].item()}.")
    return read.drop(_FAILED)
