"""Reads how loans ended, as a lender tells it afterwards: files of loan id, status and month.

Each file says what was known in a month; of a loan that several name, the latest month counts. Which outcomes are
old enough to judge a model by belongs in `monitoring.performance`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.months import CENTURY
from loan_default.risk.data.delimited import FAULT, NOT_PLAIN, ROW
from loan_default.risk.data.loan_files import LoanTable, open_columns, refuse_damage
from loan_default.risk.data.parsing import (
    Vocabulary,
    as_exact_text,
    as_text,
    read_month,
    source_column,
    why_no_month,
)
from loan_default.risk.data.rejections import (
    FAULTY,
    RAW,
    REJECTED_SCHEMA,
    RowRule,
    any_broken,
    count_problems,
    rejection_lines,
)
from loan_default.risk.errors import BadInput

MONTH = "month"
_MONTH_SHARE = 0.001  # of the lines must tell of a month, or a later one, before it is believed: one may be mistyped


@dataclass(frozen=True)
class OutcomesReport:
    """Counts of the lines and loans in outcome files; `seen_until` is the latest month they tell of (its first day)."""

    files: tuple[str, ...]
    rows: int
    loans: int
    defaulted: int
    repaid: int
    unresolved: int
    rejected: int
    problems: dict[str, int]
    unreadable: dict[str, str]  # name of a file → why
    first_month: date | None
    seen_until: date | None
    rolls: tuple[tuple[str, str, int], ...] = ()  # status of a month, of the next, and how many loans went so

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record: dates as YYYY-MM."""
        return {k: f"{v:%Y-%m}" if isinstance(v, date) else v for k, v in asdict(self).items()}


def read_outcomes(
    paths: Sequence[Path], contract: Contract, *, outcomes: Path, rejected: Path, today: date
) -> OutcomesReport:
    """Read every outcome file; one that cannot be read is reported, and the others are read.

    Args:
        paths: CSV, CSV.GZ or Parquet files with the contract's id and status columns and a column `month`.
        contract: says which status means what.
        outcomes: Parquet to write, a row for each loan: its id, `outcome` (1 defaulted, 0 repaid, null neither yet),
            `status`, `month`, and where several months tell of it `first`, the first of them, `ended`, the first that
            tells the outcome, and `before`, the last before that.
        rejected: Parquet to write: `REJECTED_SCHEMA`, a row for each unusable line.
        today: no month can be later.
    """
    usable, unusable, unreadable = _read_files(paths, contract, today)
    rows = usable.height + unusable.height
    # A loan has one status in a month: later files, and lines below, correct what stood before.
    name = contract.id_name
    usable = usable.unique([name, MONTH], keep="last", maintain_order=True).sort(MONTH, maintain_order=True)
    latest = _latest(usable, name)
    latest.write_parquet(outcomes)
    unusable.write_parquet(rejected)
    return OutcomesReport(
        files=tuple(str(path) for path in paths),
        rows=rows,
        loans=latest.height,
        defaulted=int((latest[OUTCOME] == 1).sum()),
        repaid=int((latest[OUTCOME] == 0).sum()),
        unresolved=latest[OUTCOME].null_count(),
        rejected=unusable.height,
        problems=count_problems(unusable.lazy()),
        unreadable=unreadable,
        first_month=usable[MONTH].min(),  # type: ignore[arg-type]
        seen_until=_seen_until(usable),
        rolls=tuple(_count_rolls(usable, name).rows()),
    )


def _latest(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return how each loan stands by its lines (one a month, oldest first), and since when."""
    month, since = pl.col(MONTH), pl.col("ended")
    tells_it = pl.col(OUTCOME) == pl.col(OUTCOME).last()
    loans = lines.group_by(name, maintain_order=True).agg(
        pl.col(OUTCOME, "status", MONTH).last(),
        month.first().alias("first"),
        month.filter(tells_it).first().alias("ended"),
    )
    before = lines.join(loans.select(name, "ended"), on=name).filter(month < since).group_by(name)
    return loans.join(before.agg(month.last().alias("before")), on=name, how="left", maintain_order="left")


def _count_rolls(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Count the loans that went from one status to another, or stayed, from a month to the next (roll rates)."""
    following = pl.col("status", MONTH).shift(-1).over(name).name.prefix("next_")
    months = (pl.col(MONTH).dt.offset_by("1mo") == pl.col("next_month")).fill_null(False)
    pairs = lines.with_columns(following).filter(months)
    return pairs.group_by("status", "next_status").len().sort("status", "next_status")


def _read_files(
    paths: Sequence[Path], contract: Contract, today: date
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Return the usable lines of all files that can be read, the unusable ones, and why the other files cannot."""
    schema = {contract.id_name: pl.String, OUTCOME: pl.Int8, "status": pl.String, MONTH: pl.Date}
    usable, unusable, unreadable = [pl.DataFrame(schema=schema)], [pl.DataFrame(schema=REJECTED_SCHEMA)], {}
    for path in paths:
        try:
            table = open_columns(path, contract, _columns(contract))
            with refuse_damage(path):
                lines = pl.collect_all(_divide_lines(table, contract, today), engine="streaming")
        except BadInput as error:
            unreadable[path.name] = str(error)
        else:
            usable.append(lines[0])
            unusable.append(lines[1])
    return pl.concat(usable), pl.concat(unusable), unreadable


def check_outcome_file(path: Path, contract: Contract) -> None:
    """Refuse a file that `read_outcomes` could not read.

    Raises:
        BadInput: the file is absent, empty, no table, or lacks a column.
    """
    open_columns(path, contract, _columns(contract), lines=NOT_PLAIN)


def _columns(contract: Contract) -> list[str]:
    return [contract.by_name[contract.id_name].column, contract.outcome.column, MONTH]


def _divide_lines(table: LoanTable, contract: Contract, today: date) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Return what the usable lines tell, and what is wrong with each of the others."""
    faults = [FAULT] if FAULT in table.dtypes else []
    id_column, status_column, _ = _columns(contract)

    def read(column: str, own: Collection[str] = ()) -> pl.Expr:
        return source_column(column, table.dtypes[column], contract.files.nothing, own)

    status = as_text(read(status_column, contract.outcome.label_of), table.dtypes[status_column])
    frame = table.frame.select(
        ROW,
        *faults,
        as_exact_text(read(id_column), table.dtypes[id_column]).alias(contract.id_name),
        _statuses(contract).translate(status, pl.lit(None, dtype=pl.Int8), pl.Int8).alias(OUTCOME),
        status.alias(RAW + OUTCOME),
        read_month(read(MONTH), table.dtypes[MONTH], *_month_format(contract)).alias(MONTH),
        as_text(read(MONTH), table.dtypes[MONTH]).alias(RAW + MONTH),
    )
    rules = [*([FAULTY] if faults else []), *_line_rules(contract, today)]
    broken = any_broken(rules)
    usable = frame.filter(~broken).select(contract.id_name, OUTCOME, pl.col(RAW + OUTCOME).alias("status"), MONTH)
    return usable, rejection_lines(frame.filter(broken), rules, table, contract)


def _statuses(contract: Contract) -> Vocabulary:
    return Vocabulary.of(contract.outcome.label_of, contract.files.decimal)


def _month_format(contract: Contract) -> tuple[Sequence[str], int]:
    """Return the formats and the century of the book's issue months, in which its outcome files may be written too."""
    issued = contract.by_name[contract.time_name] if contract.has_time else None
    return (issued.format, issued.century) if issued else ((), CENTURY)


def _line_rules(contract: Contract, today: date) -> list[RowRule]:
    name, column = contract.id_name, contract.outcome.column
    loan, status, month, month_text = (pl.col(c) for c in (name, RAW + OUTCOME, MONTH, RAW + MONTH))
    statuses = f"is no status that the contract lists: {', '.join(contract.outcome.label_of)}"
    why_unread = why_no_month(month_text, pl.String(), _month_format(contract)[0], "is no month; write it as 2019-03")
    return [
        RowRule(name, f"{name}: missing", loan.is_null(), "is missing; every line names a loan"),
        RowRule(column, f"{column}: missing", status.is_null(), "is missing; every line needs a status"),
        RowRule(column, f"{column}: unknown status", ~_statuses(contract).lists(status), statuses),
        RowRule(MONTH, f"{MONTH}: missing", month_text.is_null(), "is missing; write it as 2019-03"),
        RowRule(MONTH, f"{MONTH}: impossible date", month.is_null(), why_unread),
        RowRule(MONTH, f"{MONTH}: in the future", month > today, f"is after today, {today:%Y-%m-%d}"),
    ]


def _seen_until(usable: pl.DataFrame) -> date | None:
    """Return the latest month that more than one line in a thousand tells of."""
    months = usable[MONTH].sort(descending=True)
    position = min(max(1, int(_MONTH_SHARE * len(months))), len(months) - 1)
    return months[position] if len(months) else None
