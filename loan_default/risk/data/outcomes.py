"""Reads how loans ended, as a lender tells it afterwards: files of loan id, status and month.

Each file says what was known in a month; of a loan that several name, the latest month counts. Which outcomes are
old enough to judge a model by belongs in `monitoring.performance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.data.loan_files import ROW, LoanTable, open_columns, refuse_damage
from loan_default.risk.data.parsing import as_text, read_month, source_column, translate_words
from loan_default.risk.data.rejections import REJECTED_SCHEMA
from loan_default.risk.errors import BadInput

MONTH = "month"
_SCHEMA: dict[str, Any] = {OUTCOME: pl.Int8, "status": pl.String, MONTH: pl.Date, **REJECTED_SCHEMA}
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
            `status`, `month`.
        rejected: Parquet to write: `REJECTED_SCHEMA`, a row for each unusable line.
        today: no month can be later.
    """
    lines, unreadable = _read_files(paths, contract, today)
    usable, unusable = lines.filter(pl.col("problem").is_null()), lines.drop_nulls("problem")
    # A loan has one status in a month: later files, and lines below, correct what stood before.
    latest = usable.sort(MONTH, maintain_order=True).unique("id", keep="last", maintain_order=True)
    latest.select(pl.col("id").alias(contract.id_name), OUTCOME, "status", MONTH).write_parquet(outcomes)
    unusable.select(list(REJECTED_SCHEMA)).write_parquet(rejected)
    problems = unusable.group_by("problem").len().sort("len", "problem", descending=[True, False])
    return OutcomesReport(
        files=tuple(str(path) for path in paths),
        rows=lines.height,
        loans=latest.height,
        defaulted=int((latest[OUTCOME] == 1).sum()),
        repaid=int((latest[OUTCOME] == 0).sum()),
        unresolved=latest[OUTCOME].null_count(),
        rejected=unusable.height,
        problems=dict(problems.iter_rows()),
        unreadable=unreadable,
        first_month=usable[MONTH].min(),  # type: ignore[arg-type]
        seen_until=_seen_until(usable),
    )


def _read_files(paths: Sequence[Path], contract: Contract, today: date) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the lines of all files that can be read, and of the others why not."""
    tables, unreadable = [pl.DataFrame(schema=_SCHEMA)], {}
    for path in paths:
        try:
            table = open_columns(path, contract, _columns(contract))
            with refuse_damage(path):
                tables.append(_parse_lines(table, contract, today).collect(engine="streaming"))
        except BadInput as error:
            unreadable[path.name] = str(error)
    return pl.concat(tables), unreadable


def check_outcome_file(path: Path, contract: Contract) -> None:
    """Refuse a file that `read_outcomes` could not read.

    Raises:
        BadInput: the file is absent, empty, no table, or lacks a column.
    """
    open_columns(path, contract, _columns(contract))


def _columns(contract: Contract) -> list[str]:
    return [contract.by_name[contract.id_name].column, contract.outcome.column, MONTH]


def _parse_lines(table: LoanTable, contract: Contract, today: date) -> pl.LazyFrame:
    """Read the lines: what each tells, or what is wrong with it."""
    labels = contract.outcome.label_of
    loan, status, month_text = (as_text(source_column(c, table.dtypes[c]), table.dtypes[c]) for c in _columns(contract))
    month = read_month(source_column(MONTH, table.dtypes[MONTH]), table.dtypes[MONTH])
    name, column, null = contract.id_name, contract.outcome.column, pl.lit(None, dtype=pl.String)
    statuses = f"is no status that the contract lists: {', '.join(labels)}"
    rules = (
        (loan.is_null(), name, "missing", "is missing; every line names a loan", null),
        (status.is_null(), column, "missing", "is missing; every line needs a status", null),
        (~status.is_in(list(labels)), column, "unknown status", statuses, status),
        (month_text.is_null(), MONTH, "missing", "is missing; write it as 2019-03", null),
        (month.is_null(), MONTH, "impossible date", "is no month; write it as 2019-03", month_text),
        (month > today, MONTH, "in the future", f"is after today, {today:%Y-%m-%d}", month_text),
    )
    rejection = dict.fromkeys(("field", "value", "problem", "reason"), null)
    for broken, field, kind, sentence, value in reversed(rules):
        subject = pl.coalesce(pl.format(f"{field} '{{}}'", value), pl.lit(field))
        texts = (pl.lit(field), value, pl.lit(f"{field}: {kind}"), pl.format("{} {}", subject, pl.lit(sentence)))
        rejection = {
            part: pl.when(broken).then(text).otherwise(rejection[part])
            for part, text in zip(rejection, texts, strict=True)
        }
    return table.frame.select(
        translate_words(status, labels, pl.lit(None, dtype=pl.Int8), pl.Int8).alias(OUTCOME),
        status.alias("status"),
        month.alias(MONTH),
        pl.lit(table.path.name).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        loan.alias("id"),
        **rejection,
    )


def _seen_until(usable: pl.DataFrame) -> date | None:
    """Return the latest month that more than one line in a thousand tells of."""
    months = usable[MONTH].sort(descending=True)
    position = min(max(1, int(_MONTH_SHARE * len(months))), len(months) - 1)
    return months[position] if len(months) else None
