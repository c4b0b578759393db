"""Reads how loans stand and ended, as a lender tells it afterwards: files of loan id, status and month.

Each file says what was known in a month; of a loan that several name, the latest month counts. Files may also say how
many days a payment is past due, and what is owed. What cleaned loans take from them is `loan_status`'s; which outcomes
are old enough to judge a model by belongs in `monitoring.performance`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.months import CENTURY
from loan_default.risk.data.delimited import FAULT, NOT_PLAIN, ROW
from loan_default.risk.data.field_values import plain_number
from loan_default.risk.data.loan_files import LoanTable, open_columns, refuse_damage
from loan_default.risk.data.parsing import (
    Vocabulary,
    as_exact_text,
    as_text,
    read_month,
    source_column,
    why_no_month,
    why_no_number,
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
DAYS_PAST_DUE, BALANCE = AMOUNTS = ("days_past_due", "balance")  # columns that a file may have
_BUCKET_ENDS = {0: "0 days", 29: "1 to 29 days", 59: "30 to 59 days", 89: "60 to 89 days"}
_LAST_BUCKET = "90 days and more"
BUCKETS = (*_BUCKET_ENDS.values(), _LAST_BUCKET)  # of days past due, the earliest first
_MOST = 1e15  # no balance and no count of days is larger
_MONTH_SHARE = 0.001  # of the lines must tell of a month, or a later one, before it is believed: one may be mistyped


@dataclass(frozen=True)
class Roll:
    """Count the loans that had a status in a month (YYYY-MM), and `next_status` in the month after it.

    Of a loan that runs its days past due say it, where a file tells them.
    """

    month: str
    status: str
    next_status: str
    loans: int


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
    monthly_rolls: tuple[Roll, ...] = ()

    @property
    def rolls(self) -> dict[tuple[str, str], int]:
        """Add up over all months how many loans went from one status to another, or stayed."""
        sums: Counter[tuple[str, str]] = Counter()
        for roll in self.monthly_rolls:
            sums[roll.status, roll.next_status] += roll.loans
        return dict(sorted(sums.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record: dates as YYYY-MM."""
        return {k: f"{v:%Y-%m}" if isinstance(v, date) else v for k, v in asdict(self).items()}


def read_outcomes(
    paths: Sequence[Path], contract: Contract, *, outcomes: Path, rejected: Path, today: date
) -> OutcomesReport:
    """Read every outcome file; one that cannot be read is reported, and the others are read.

    Args:
        paths: CSV, CSV.GZ or Parquet files with the contract's id and status columns and a column `month`, and, where a
            file tells them, `days_past_due` and `balance` (what is owed of the principal).
        contract: says which status means what.
        outcomes: Parquet to write, a row for each loan: its id, `outcome` (1 defaulted, 0 repaid, null neither yet),
            `status`, `month`, and where several months tell of it `first`, the first of them, `ended`, the first that
            tells the outcome, and `before`, the last before that; `days_past_due` and `balance` of its latest month,
            and of a default `exposure`, the last balance above 0 until then: many files write 0 once it is written off.
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
        monthly_rolls=tuple(Roll(*row) for row in _count_rolls(usable, name).iter_rows()),
    )


def _latest(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return how each loan stands by its lines (one a month, oldest first), and since when."""
    month, since = pl.col(MONTH), pl.col("ended")
    tells_it = pl.col(OUTCOME) == pl.col(OUTCOME).last()
    owed = pl.col(BALANCE).filter((month <= month.filter(tells_it).first()) & (pl.col(BALANCE) > 0))
    loans = lines.group_by(name, maintain_order=True).agg(
        pl.col(OUTCOME, "status", MONTH, DAYS_PAST_DUE, BALANCE).last(),
        month.first().alias("first"),
        month.filter(tells_it).first().alias("ended"),
        pl.when(pl.col(OUTCOME).last() == 1).then(owed.last()).alias("exposure"),
    )
    before = lines.join(loans.select(name, "ended"), on=name).filter(month < since).group_by(name)
    return loans.join(before.agg(month.last().alias("before")), on=name, how="left", maintain_order="left")


def _count_rolls(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Count the loans that went from one status to another, or stayed, from a month to the next, as `Roll` has it."""
    days, late = pl.col(DAYS_PAST_DUE), pl.lit(_LAST_BUCKET)
    for end, label in reversed(_BUCKET_ENDS.items()):
        late = pl.when(days <= end).then(pl.lit(label)).otherwise(late)
    is_told = pl.col(OUTCOME).is_null() & days.is_not_null()
    lines = lines.with_columns(pl.when(is_told).then(late).otherwise("status").alias("status"))
    following = pl.col("status", MONTH).shift(-1).over(name).name.prefix("next_")
    months = (pl.col(MONTH).dt.offset_by("1mo") == pl.col("next_month")).fill_null(False)
    pairs = lines.with_columns(following).filter(months)
    columns = (pl.col(MONTH).dt.strftime("%Y-%m"), "status", "next_status")
    return pairs.group_by(*columns).len().sort(MONTH, "status", "next_status")


def _read_files(
    paths: Sequence[Path], contract: Contract, today: date
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Return the usable lines of all files that can be read, the unusable ones, and why the other files cannot."""
    schema = {contract.id_name: pl.String, OUTCOME: pl.Int8, "status": pl.String, MONTH: pl.Date}
    schema |= dict.fromkeys(AMOUNTS, pl.Float64)
    usable, unusable, unreadable = [pl.DataFrame(schema=schema)], [pl.DataFrame(schema=REJECTED_SCHEMA)], {}
    for path in paths:
        try:
            table = open_columns(path, contract, _columns(contract), optional=AMOUNTS)
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
        *(column for name in AMOUNTS for column in _amount(name, table, contract)),
    )
    rules = [*([FAULTY] if faults else []), *_line_rules(contract, today), *map(_amount_rule, AMOUNTS)]
    broken = any_broken(rules)
    usable = frame.filter(~broken).select(
        contract.id_name, OUTCOME, pl.col(RAW + OUTCOME).alias("status"), MONTH, *AMOUNTS
    )
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
    why_unread = why_no_month(
        month_text, pl.String(), _month_format(contract)[0], pl.lit("is no month; write it as 2019-03")
    )
    return [
        RowRule(name, f"{name}: missing", loan.is_null(), "is missing; every line names a loan"),
        RowRule(column, f"{column}: missing", status.is_null(), "is missing; every line needs a status"),
        RowRule(column, f"{column}: unknown status", ~_statuses(contract).lists(status), statuses),
        RowRule(MONTH, f"{MONTH}: missing", month_text.is_null(), "is missing; write it as 2019-03"),
        RowRule(MONTH, f"{MONTH}: impossible date", month.is_null(), why_unread),
        RowRule(MONTH, f"{MONTH}: in the future", month > today, f"is after today, {today:%Y-%m-%d}"),
    ]


def _amount(name: str, table: LoanTable, contract: Contract) -> Iterator[pl.Expr]:
    """Yield a number that a file may tell of a loan, and the text that says it; null in a file without it."""
    dtype = table.dtypes.get(name, pl.String())
    is_there, nothing = name in table.dtypes, pl.lit(None, dtype=pl.String)
    raw = source_column(name, dtype, contract.files.nothing) if is_there else nothing
    yield plain_number(raw, dtype, contract.files).alias(name)
    yield as_text(raw, dtype).alias(RAW + name)


def _amount_rule(name: str) -> RowRule:
    """Reject a line whose number cannot be read or is impossible; it may be missing."""
    text, number = pl.col(RAW + name), pl.col(name)
    unusable = text.is_not_null() & ~number.is_between(0, _MOST).fill_null(False)
    unread = why_no_number(text, "a number of 0 and more, or empty")
    below = pl.lit("is no number of 0 and more; correct it, or leave it empty")
    why = pl.when(number.is_null()).then(unread).otherwise(below)
    return RowRule(name, f"{name}: impossible number", unusable, why)


def _seen_until(usable: pl.DataFrame) -> date | None:
    """Return the latest month that more than one line in a thousand tells of."""
    months = usable[MONTH].sort(descending=True)
    position = min(max(1, int(_MONTH_SHARE * len(months))), len(months) - 1)
    return months[position] if len(months) else None
