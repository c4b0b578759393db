"""Says why rows of a loan file are not usable: rules over a row, and the lines of `rejected_loans` that they make.

Which rules a field has belongs in `field_values`, those of outcome files in `outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.data.delimited import FAULT, ROW, SHORTER
from loan_default.risk.data.loan_files import LoanTable
from loan_default.risk.data.parsing import as_text
from loan_default.risk.month_texts import MONTHS

RAW = "raw:"  # prefix of the columns that hold what the file says of a field
RAW_SNAPSHOT = f"{RAW}:snapshot"  # what it says of when it was taken
_RULE = ":rule"  # column: the number of the first rule that a row breaks
_MADE_BY_EXCEL = f"^([0-9]{{1,2}})-({'|'.join(MONTHS)})$"
# A nought, marks of byte order and direction, and what has no width, as Python spells them.
UNSEEN = {
    sign: ascii(sign)[1:-1]
    for sign in "\x00\xad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
}
_VALUE_CHARS = 200  # of a value in a sentence
_TIME_BY_EXCEL = r"^[0-9]{2}:[0-9]{2}\.[0-9]$"
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
    """One way for a row to be unusable. `broken` is a boolean column; `why` completes "FIELD 'VALUE' …".

    Where it depends on the value, `why` is a column too, which is computed of rejected rows alone.
    """

    field: str
    problem: str
    broken: pl.Expr
    why: str | pl.Expr


FAULTY = RowRule("row", "row: faulty", pl.col(FAULT).is_not_null(), "is none of the table")  # in a frame with `FAULT`


def is_sound(columns: Collection[str]) -> pl.Expr:
    """Return false for rows of a table of these columns that have a fault."""
    return pl.col(FAULT).is_null() if FAULT in columns else pl.lit(True)


def may_be_no_loan(columns: Collection[str]) -> pl.Expr:
    """Return false for rows with a fault; one that is only shorter than the header may be a line below the loans."""
    is_shorter = pl.col(FAULT).struct.field("problem") == SHORTER if FAULT in columns else pl.lit(False)
    return is_sound(columns) | is_shorter


def any_broken(rules: Sequence[RowRule]) -> pl.Expr:
    """Return a boolean column: true where a row breaks at least one rule."""
    return pl.any_horizontal(rule.broken for rule in rules).fill_null(False)


def rejection_lines(
    frame: pl.LazyFrame, rules: Sequence[RowRule], table: LoanTable, contract: Contract
) -> pl.LazyFrame:
    """Write one line of `REJECTED_SCHEMA` for each row of `frame`, by the first rule that it breaks."""
    dtypes = frame.collect_schema()
    rules = [rule for rule in rules if rule is not FAULTY]

    # Side by side and not one within the other, which Polars plans in a time that grows with the square of the rules.
    first = pl.coalesce(pl.when(rule.broken).then(pl.lit(number, pl.UInt32)) for number, rule in enumerate(rules))

    def of_first_broken(part: Callable[[RowRule], pl.Expr]) -> pl.Expr:
        return pl.coalesce(pl.when(pl.col(_RULE) == number).then(part(rule)) for number, rule in enumerate(rules))

    def value(rule: RowRule) -> pl.Expr:
        raw = RAW + (OUTCOME if rule.field == contract.outcome.column else rule.field)
        name = raw if raw in dtypes else rule.field
        return as_text(pl.col(name), dtypes[name])

    lines = frame.with_columns(first.alias(_RULE)).select(
        pl.lit(table.path.name).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        pl.col(contract.id_name).alias("id"),
        of_first_broken(lambda rule: pl.lit(rule.field)).alias("field"),
        of_first_broken(value).alias("value"),
        of_first_broken(lambda rule: pl.lit(rule.problem)).alias("problem"),
        of_first_broken(lambda rule: pl.lit(rule.why) if isinstance(rule.why, str) else rule.why).alias("reason"),
        *([FAULT] if FAULT in dtypes else []),
    )
    subject = pl.when(pl.col("value").is_null()).then("field").otherwise(pl.format("{} '{}'", "field", _in_a_line()))
    lines = lines.with_columns(pl.format("{} {}{}", subject, "reason", excel_remedy(pl.col("value"))).alias("reason"))
    return _lines_of_faults(lines) if FAULT in dtypes else lines


def _in_a_line() -> pl.Expr:
    """Return the value as a sentence repeats it: without line breaks, what nobody sees spelt out, not at any length."""
    value = pl.col("value").str.replace_many(UNSEEN).str.replace_all(r"[\x00-\x1f]+", " ")
    is_long = value.str.len_chars() > _VALUE_CHARS
    return pl.when(is_long).then(value.str.head(_VALUE_CHARS) + "…").otherwise(value)


def _lines_of_faults(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Say of rows with a fault what the fault says; they have no id, as no value of theirs is sure."""
    fault = pl.col(FAULT)
    return lines.with_columns(
        pl.when(fault.is_null()).then("id").alias("id"),
        *(
            pl.when(fault.is_null()).then(name).otherwise(fault.struct.field(name)).alias(name)
            for name in ("field", "value", "problem", "reason")
        ),
    ).drop(FAULT)


def excel_remedy(value: pl.Expr) -> pl.Expr:
    """Say what to do about what Excel made of a month, as `14-Jan`, or of a time, as `40:48.0`; else nothing."""
    original = value.str.replace(_MADE_BY_EXCEL, "$2-$1")
    remedy = pl.format("; Excel makes this of {}: export the file again, and do not save it with Excel", original)
    of_time = pl.lit("; Excel shows a date with its time so: export the file again, and do not save it with Excel")
    return (
        pl.when(value.str.contains(_MADE_BY_EXCEL))
        .then(remedy)
        .when(value.str.contains(_TIME_BY_EXCEL))
        .then(of_time)
        .otherwise(pl.lit(""))
    )


def first_rejection(lines: pl.LazyFrame, problem: str) -> str:
    """Return the first row with the problem as a sentence: its file, row, field, value and what is allowed."""
    first = lines.filter(pl.col("problem") == problem).head(1).collect().row(0, named=True)
    location = f"{first['file']}, row {first['row']:,}: " if first["row"] is not None else ""
    return f"{location}{first['reason']}."


def count_problems(lines: pl.LazyFrame) -> dict[str, int]:
    """Count the lines of each problem, the most frequent first."""
    return dict(lines.group_by("problem").len().sort("len", "problem", descending=[True, False]).collect().iter_rows())


def duplicate_lines(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Write one line of `REJECTED_SCHEMA` for each row but the first of an id.

    Args:
        rows: every row of ids that stand twice or more: its `file`, `row` and id, in the order of the files.
        contract: says which field is the id.
    """
    name = contract.id_name
    rows = rows.with_columns(pl.format("{}, row {}", "file", "row").alias("first"))
    rows = rows.with_columns(pl.col("first").first().over(name)).filter(~pl.col(name).is_first_distinct())
    return rows.rechunk().select(  # Polars 2.1 panics at texts of which a chunk is empty
        "file",
        pl.col("row").cast(pl.UInt32),
        pl.col(name).alias("id"),
        pl.lit(name).alias("field"),
        pl.col(name).alias("value"),
        pl.lit(f"{name}: duplicate").alias("problem"),
        pl.format("{} '{}' stands before, in {}", pl.lit(name), name, "first").alias("reason"),
    )
