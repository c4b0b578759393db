"""Says why rows of a loan file are not usable: rules over a row, and the lines of `rejected_loans` that they make.

Which rules a field has belongs in `field_values`, those of outcome files in `outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl

from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.data.loan_files import ROW, LoanTable
from loan_default.risk.data.parsing import as_text

RAW = "raw:"  # prefix of the columns that hold what the file says of a field
REJECTED_SCHEMA = {
    "file": pl.String,
    "row": pl.UInt32,
    "id": pl.String,
    "field": pl.String,
    "value": pl.String,
    "problem": pl.String,
    "reason": pl.String,
}


@dataclass(frozen=True)
class RowRule:
    """One way for a row to be unusable. `broken` is a boolean column; `why` completes "FIELD 'VALUE' …"."""

    field: str
    problem: str
    broken: pl.Expr
    why: str


def any_broken(rules: Sequence[RowRule]) -> pl.Expr:
    """Return a boolean column: true where a row breaks at least one rule."""
    return pl.any_horizontal(rule.broken for rule in rules).fill_null(False)


def rejection_lines(
    frame: pl.LazyFrame, rules: Sequence[RowRule], table: LoanTable, contract: Contract
) -> pl.LazyFrame:
    """Write one line of `REJECTED_SCHEMA` for each row of `frame`, by the first rule that it breaks."""
    dtypes = frame.collect_schema()

    def of_first_broken(part: Callable[[RowRule], pl.Expr]) -> pl.Expr:
        return reduce(
            lambda rest, rule: pl.when(rule.broken.fill_null(False)).then(part(rule)).otherwise(rest),
            reversed(rules),
            pl.lit(None, dtype=pl.String),
        )

    def value(rule: RowRule) -> pl.Expr:
        raw = RAW + (OUTCOME if rule.field == contract.outcome.column else rule.field)
        name = raw if raw in dtypes else rule.field
        return as_text(pl.col(name), dtypes[name])

    lines = frame.select(
        pl.lit(str(table.path.name)).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        pl.col(contract.id_name).alias("id"),
        of_first_broken(lambda rule: pl.lit(rule.field)).alias("field"),
        of_first_broken(value).alias("value"),
        of_first_broken(lambda rule: pl.lit(rule.problem)).alias("problem"),
        of_first_broken(lambda rule: pl.lit(rule.why)).alias("reason"),
    )
    subject = pl.when(pl.col("value").is_null()).then(pl.col("field")).otherwise(pl.format("{} '{}'", "field", "value"))
    return lines.with_columns(pl.format("{} {}", subject, "reason").alias("reason"))


def count_problems(lines: pl.LazyFrame) -> dict[str, int]:
    """Count the lines of each problem, the most frequent first."""
    return dict(lines.group_by("problem").len().sort("len", "problem", descending=[True, False]).collect().iter_rows())


def duplicate_lines(ids: pl.Series, contract: Contract) -> pl.DataFrame:
    """Write one line of `REJECTED_SCHEMA` for each id (of a loan that stands in the data before)."""
    return pl.DataFrame({"id": ids}).select(
        pl.lit(None, dtype=pl.String).alias("file"),
        pl.lit(None, dtype=pl.UInt32).alias("row"),
        "id",
        pl.lit(contract.id_name).alias("field"),
        pl.col("id").alias("value"),
        pl.lit(f"{contract.id_name}: duplicate").alias("problem"),
        pl.format("{} '{}' stands in the data before", pl.lit(contract.id_name), "id").alias("reason"),
    )
