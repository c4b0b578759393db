"""Holds a contract against a file, field by field: what is there, what could be read, and what would be rejected.

Nothing is kept: the file is cleaned into a folder that is thrown away. What cleaning does is `cleaning`'s; what a
contract may say at all is `risk.contract`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.cleaning_report import CleaningReport
from loan_default.risk.data.field_values import parse_table
from loan_default.risk.data.loan_files import LoanTable, open_table, refuse_damage
from loan_default.risk.data.rejections import RAW
from loan_default.risk.errors import BadInput
from loan_default.risk.text import shorten_number

_SHOWN = 5  # values of a column that could not be read


@dataclass(frozen=True)
class FieldCheck:
    """Describe what a file has of a field.

    Attributes:
        field: its name.
        column: of the file; None where the file lacks it.
        filled: share of rows in which the file says something, or a value results where it is derived.
        read: share of those rows whose value could be read; None where there is none.
        values: what was read: least, median and most, months, or how many levels.
        unread: the most frequent texts that could not be read, with how often.
        unseen: levels that no row has.
    """

    field: str
    column: str | None
    filled: float
    read: float | None
    values: str
    unread: tuple[tuple[str, int], ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContractCheck:
    """A contract held against a file.

    Attributes:
        fields: in the contract's order.
        statuses: of each text of the status column: what it means (`defaulted`, `repaid`, `unresolved`, `not listed`),
            and how many rows have it.
        unused: columns of the file that are not read.
        report: of cleaning; None where the file would be refused.
        refusal: the sentence by which it would be refused, or that of the limits that it exceeds.
    """

    fields: tuple[FieldCheck, ...]
    statuses: tuple[tuple[str, str, int], ...]
    unused: tuple[str, ...]
    report: CleaningReport | None
    refusal: str | None


def check_contract(contract: Contract, file: Path, *, today: date | None = None) -> ContractCheck:
    """Hold a contract against a loan file; nothing that it tells as past is after `today`.

    Raises:
        BadInput: the file cannot be opened by the contract: it is no table, or lacks required columns.
    """
    table = open_table(file, contract, with_outcome=True, reader="careful")
    parsed, _ = parse_table(table, contract, with_outcome=True)
    with refuse_damage(file):
        rows = parsed.collect()
    fields = tuple(_check_field(field, table, rows) for field in contract.fields)
    report, refusal = _clean(contract, file, today)
    read = {field.column for field in (*contract.fields, *contract.outcome.fields)} | {contract.outcome.column}
    read |= {contract.snapshot.column} if contract.snapshot else set()
    unused = tuple(name for name in table.dtypes if name not in read and not name.startswith(":"))
    return ContractCheck(fields, tuple(_statuses(contract, rows)), unused, report, refusal)


def _clean(contract: Contract, file: Path, today: date | None) -> tuple[CleaningReport | None, str | None]:
    with TemporaryDirectory() as folder:
        try:
            report = clean_loans(
                [file],
                contract,
                cleaned=Path(folder, "cleaned.parquet"),
                rejected=Path(folder, "rejected.parquet"),
                today=today,
            )
        except BadInput as error:
            return None, str(error)
    return report, next(_excesses(report, contract), None)


def _excesses(report: CleaningReport, contract: Contract) -> Iterator[str]:
    """Say which limits of the contract the file exceeds."""
    expect = contract.expect
    if report.rejected_share > expect.rejected_share_at_most:
        yield (
            f"{report.rejected_share:.1%} of the rows would be rejected, more than rejected_share_at_most "
            f"({expect.rejected_share_at_most:.1%}) allows. The first: {report.first_rejection}"
        )
    least, most = expect.default_rate_between
    if report.default_rate is not None and not least <= report.default_rate <= most:
        yield (
            f"{report.default_rate:.1%} of the matured loans defaulted, outside of default_rate_between "
            f"({least:.1%} to {most:.1%}): see which statuses mean default."
        )
    if not report.matured:
        yield "No loan has an outcome that counts: see outcomes, term, grace_months and the snapshot."


def _check_field(field: LoanField, table: LoanTable, rows: pl.DataFrame) -> FieldCheck:
    value, raw = rows[field.name], RAW + field.name
    total = max(len(value), 1)
    if raw not in rows.columns:
        present = len(value) - value.null_count()
        return FieldCheck(field.name, None, present / total, None, _describe(field, value))
    there = rows[raw].is_not_null()
    unread = rows.filter(there & value.is_null())[raw].cast(pl.String)
    counts = unread.value_counts(sort=True).head(_SHOWN)
    filled = int(there.sum())
    return FieldCheck(
        field.name,
        field.column,
        filled / total,
        1 - len(unread) / filled if filled else None,
        _describe(field, value),
        tuple(counts.rows()),
        tuple(level for level in field.levels if level not in set(value.drop_nulls().unique())),
    )


def _describe(field: LoanField, value: pl.Series) -> str:
    """Say in a few words what was read of a field."""
    present = value.drop_nulls()
    if present.is_empty():
        return "nothing"
    if field.kind == "number":
        least, median, most = (float(value) for value in (present.min(), present.median(), present.max()))  # type: ignore[arg-type]
        unit = "" if field.unit in (None, "count") else f" {field.unit}"
        return f"{shorten_number(least)} to {shorten_number(most)}, median {shorten_number(median)}{unit}"
    if field.kind == "month":
        first, last = present.min(), present.max()
        assert isinstance(first, date)
        assert isinstance(last, date)
        return f"{first:%Y-%m} to {last:%Y-%m}"
    if field.levels:
        return f"{present.n_unique()} of {len(field.levels)} levels"
    return f"{present.n_unique():,} different texts"


def _statuses(contract: Contract, rows: pl.DataFrame) -> Iterator[tuple[str, str, int]]:
    """Yield each text of the status column, the most frequent first."""
    meanings = {1: "defaulted", 0: "repaid"}
    texts = rows[RAW + OUTCOME].cast(pl.String)
    counts = pl.DataFrame({"text": texts, OUTCOME: rows[OUTCOME]}).group_by("text", OUTCOME).len()
    for text, outcome, count in counts.sort("len", "text", descending=[True, False]).rows():
        if text is None:
            yield "", "missing", count
            continue
        listed = "unresolved" if text in contract.outcome.unresolved else "not listed"
        yield text, meanings.get(outcome, listed), count
