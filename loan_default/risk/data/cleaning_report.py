"""Reports what cleaning did with loan files: counts, months and what a person should know.

Measuring it while files are read belongs in `cleaning`; judging it belongs in `validation.quality_gates`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.data.loan_files import fingerprint_of
from loan_default.risk.data.rejections import count_problems, first_rejection
from loan_default.risk.text import plural

_SNAPSHOT_SHARE, _SNAPSHOT_LOANS = 0.001, 2
_PROBLEMS_LIMIT = 4  # in a warning
_FIRST_LOANS = 10_000


@dataclass(frozen=True)
class UnreadableSnapshots:
    """Counts loans of a file from whose snapshot column no month is read; `row` and `value` are the first's.

    `why` says why of that value, and `remedy` what to do about it, where that is known.
    """

    column: str
    file: str
    loans: int
    of_loans: int
    row: int
    value: str
    why: str = "is no month"
    remedy: str = ""

    @property
    def share(self) -> float:
        """Divide them by all loans of the file."""
        return self.loans / self.of_loans

    def __str__(self) -> str:
        return (
            f"{self.file}, row {self.row:,}: {self.column} '{self.value}' {self.why}, the first of {self.loans:,} "
            f"such loans among {self.of_loans:,}{self.remedy}"
        )


@dataclass(frozen=True)
class CleaningReport:
    """Counts of rows, months as the first of the month, shares from 0 to 1, of one cleaning.

    `matured` loans are those whose outcome counts: where outcomes are final all that are `resolved`. `without_id` loans
    are called by file and row; `with_term` loans say when they mature, None where none has to. Of `told_by_files` loans
    outcome files told more than the loan files do; `outcomes_fingerprint` changes with what they told, None where
    there are none.
    """

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
    without_id: int = 0
    with_term: int | None = None
    unreadable_snapshots: tuple[UnreadableSnapshots, ...] = ()
    told_by_files: int = 0
    outcomes_fingerprint: str | None = None
    first_rejection: str = ""  # a sentence: the first row with the most frequent problem

    @property
    def rejected_share(self) -> float:
        """Divide the rejected rows by the rows that are loans."""
        return self.rejected / max(self.kept + self.rejected, 1)

    @property
    def summary(self) -> str:
        """Say how many rows were kept, rejected or no loans, and how many outcomes count."""
        rows = (
            f"{plural(self.rows_read, 'row')} read: {self.kept:,} kept, {self.rejected:,} rejected, "
            f"{self.lines_not_loans:,} no loans"
        )
        counted = f"matured by {self.snapshot:%Y-%m}" if self.snapshot else "with an outcome"
        defaults = "" if self.default_rate is None else f", of which {self.default_rate:.1%} defaulted"
        return f"{rows}; {plural(self.matured, 'loan')} {counted}{defaults}."

    def warnings(self) -> list[str]:
        """Tell what a person should know of the files, a sentence each."""
        sentences = []
        if self.missing_fields:
            them = "it" if len(self.missing_fields) == 1 else "these"
            sentences.append(f"No row has {', '.join(self.missing_fields)}; the models see {them} as missing.")
        if self.rejected:
            frequent = list(self.problems.items())[:_PROBLEMS_LIMIT]
            problems = ", ".join(f"{problem} ({count:,})" for problem, count in frequent)
            rows = plural(self.rejected, "row was", "rows were")
            sentences.append(f"{rows} rejected: {problems}.")
        for unreadable in self.unreadable_snapshots:
            sentences.append(f"{unreadable}; these say nothing of the month in which the file was taken.")
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record: dates as YYYY-MM."""
        record = asdict(self).items()
        return {key: f"{value:%Y-%m}" if isinstance(value, date) else value for key, value in record}


@dataclass(frozen=True)
class FileScan:
    """Facts of files that show while they are read.

    `months`: how many rows (`rows`), and how many that are no loans (`not_loans`), show each month.
    `unreadable`: of each file that has any, the loans whose month cannot be read.
    """

    files: tuple[str, ...]
    layouts: tuple[str, ...]
    digests: tuple[bytes, ...]
    months: pl.DataFrame
    unreadable: tuple[UnreadableSnapshots, ...] = ()

    def __add__(self, other: FileScan) -> FileScan:
        return FileScan(
            self.files + other.files,
            self.layouts + other.layouts,
            self.digests + other.digests,
            pl.concat([self.months, other.months]),
            self.unreadable + other.unreadable,
        )

    @property
    def snapshot(self) -> date | None:
        """Return the `newest_month` that rows show."""
        return newest_month(self.months)


def newest_month(months: pl.DataFrame) -> date | None:
    """Return the newest `month` that enough `rows` show, so that no slip decides it; without enough, the newest.

    Months may be null, or stand in several lines, which count together.
    """
    counts = months.drop_nulls("month").group_by("month").agg(pl.col("rows").sum())
    least = max(_SNAPSHOT_LOANS, _SNAPSHOT_SHARE * int(counts["rows"].sum()))
    frequent = counts.filter(pl.col("rows") >= least)
    newest: date | None = (counts if frequent.is_empty() else frequent)["month"].max()  # type: ignore[assignment]
    return newest


def report_cleaning(
    scan: FileScan, contract: Contract, *, cleaned: Path, rejected: Path, snapshot: date | None
) -> CleaningReport:
    """Measure both Parquet files that cleaning wrote; `snapshot` is found in the scan by default."""
    loans = pl.scan_parquet(cleaned, glob=False)
    with_outcome = OUTCOME in loans.collect_schema()
    month = pl.col(contract.time_name) if contract.has_time else pl.lit(None, dtype=pl.Date)
    null = pl.lit(None)
    resolved = pl.col(OUTCOME).is_not_null() if with_outcome else pl.lit(False)
    snapshot, matures = snapshot or scan.snapshot, with_outcome and not contract.outcomes_are_final
    matured = resolved & (pl.col(MATURES) <= pl.lit(snapshot, dtype=pl.Date)) if matures else resolved
    measures = loans.select(
        pl.len().alias("kept"),
        month.min().alias("first_month"),
        month.max().alias("last_month"),
        resolved.sum().alias("resolved"),
        matured.sum().alias("matured"),
        (pl.col(OUTCOME).filter(matured).mean() if with_outcome else null).alias("default_rate"),
        (pl.col(MATURES).count() if matures else null).alias("with_term"),
    ).collect()
    rejections = pl.scan_parquet(rejected, glob=False)
    problems = count_problems(rejections)
    rows, no_loans = int(scan.months["rows"].sum()), int(scan.months["not_loans"].sum())
    usable, unusable = measures["kept"].item(), sum(problems.values())
    if rows != usable + unusable + no_loans:
        raise RuntimeError(
            f"Of {rows:,} rows {usable:,} were kept, {unusable:,} rejected, and {no_loans:,} are no loans."
        )
    return CleaningReport(
        files=scan.files,
        fingerprint=fingerprint_of(scan.digests),
        layouts=scan.layouts,
        rows_read=rows,
        lines_not_loans=no_loans,
        rejected=unusable,
        problems=problems,
        missing_fields=_missing_fields(contract, loans),
        snapshot=snapshot if matures else None,
        without_id=int(scan.months["without_id"].sum()),
        unreadable_snapshots=scan.unreadable,
        first_rejection=first_rejection(rejections, next(iter(problems))) if problems else "",
        **measures.row(0, named=True),
    )


def _missing_fields(contract: Contract, loans: pl.LazyFrame) -> tuple[str, ...]:
    """Name the optional features that no file has, or that no loan has a value of."""
    names: tuple[str, ...] = contract.feature_names
    for part in (loans.head(_FIRST_LOANS), loans):  # few features, if any, have to be looked for in all loans
        empty = part.select(pl.col(names).null_count() == pl.len()).collect()
        names = tuple(name for name in names if empty[name].item())
    return names
