"""Metadata of a result, as Dagster's UI displays it: tables, bullets, pictures and column schemas, from plain values.

What is put into a table is said beside its asset; checks are in `checks`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import LAST_PAYMENT, MONTHS_PAID
from loan_default.risk.contract.field import LoanField
from loan_default.risk.markdown import markdown_table

if TYPE_CHECKING:
    from loan_default.risk.data.cleaning_report import CleaningReport

Metadata = Mapping[str, Any]
OWNERS = ["team:credit-risk"]
# What is shown of a rejected row and of a prediction, and nothing else of an applicant: columns and their types.
REJECTION = {"row": "int", "field": "string", "reason": "string"}
LOANS, APPLICATIONS, MODEL = ({"domain": domain} for domain in ("loans", "applications", "model"))
_REJECTED = {
    "file": ("string", "File that holds the row; empty for a repeated id."),
    "row": ("int", "Number of the row, from 1 below the header."),
    "id": ("string", "The lender's number, or file and row."),
    "field": ("string", "Field that cannot be used."),
    "value": ("string", "What the file says there."),
    "problem": ("string", "Field and kind of problem, for counting."),
    "reason": ("string", "What is wrong and what is allowed, as a sentence."),
}


def table_schema(columns: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """Describe columns that are given as name → (type, description)."""
    return dg.TableSchema([dg.TableColumn(name, kind, text) for name, (kind, text) in columns.items()])


REJECTED = table_schema(_REJECTED)


def column_schema(contract: Contract, more: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """Describe the contract's fields, and further columns given as name → (type, description)."""
    fields = [_column(field) for field in contract.stored]
    return dg.TableSchema([*fields, *table_schema(more).columns])


def schema_of(names: Iterable[str], contract: Contract, ours: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """Describe the columns of these names: ours as they are given, others by the contract."""
    return dg.TableSchema(
        [dg.TableColumn(name, *ours[name]) if name in ours else _column(contract.by_name[name]) for name in names]
    )


def _column(field: LoanField) -> dg.TableColumn:
    kind = {"number": "float", "month": "date"}.get(field.kind, "string")
    description = field.description + (f" In {field.unit}." if field.unit else "")
    tags = {"role": field.role, "kind": field.kind}
    constraints = dg.TableColumnConstraints(nullable=field.nullable, other=[field.allowed])
    return dg.TableColumn(field.name, kind, description, constraints, tags)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """Format a table."""
    return dg.MetadataValue.md(markdown_table(columns, rows))


def percent(share: float) -> str:
    """Write a share as people read it."""
    return f"{share:z.1%}"


def rows(columns: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Show records as a table, numbers to four decimals; `columns` are their fields, each with its type."""
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    return dg.MetadataValue.table(
        [dg.TableRecord({name: rounded(row[name]) for name in columns}) for row in records], schema
    )


def rounded(value: Any) -> Any:
    """Round a number to four decimals; what is none stays as it is."""
    return round(value, 4) + 0.0 if isinstance(value, float) else value  # -0.0 becomes 0.0


def cleaned_lineage(contract: Contract, source: dg.AssetKey) -> dg.TableColumnLineage:
    """Say which columns of the loan file each cleaned column comes from, also by way of others."""
    columns = {}
    for field in contract.stored:
        names = [name for name in contract.sources.get(field.name, ()) if name not in contract.sources]
        columns[field.name] = [contract.by_name[name] for name in names] or [field]
    deps = {name: [dg.TableColumnDep(source, f.column or f.name) for f in fields] for name, fields in columns.items()}
    paid = {field.name: field.column for field in contract.outcome.fields}
    paid[MONTHS_PAID] = paid.get(LAST_PAYMENT, "")
    label_columns = {name: paid.get(name) or contract.outcome.column for name in contract.labels}
    labels = {name: [dg.TableColumnDep(source, column)] for name, column in label_columns.items()}
    return dg.TableColumnLineage({**deps, **labels})


def predicted_lineage(contract: Contract, applications: dg.AssetKey) -> dg.TableColumnLineage:
    """Say which columns of the applications each column of the predictions comes from."""
    from loan_default.risk.model.scorer import SCORED, VALUED
    from loan_default.risk.model.timing import TIMED

    scored = [dg.TableColumnDep(applications, name) for name in contract.feature_names]
    unchanged = [contract.id_name, *([contract.time_name] if contract.has_time else [])]
    predicted = dict.fromkeys((*SCORED, *VALUED, *TIMED), scored)
    return dg.TableColumnLineage(predicted | {name: [dg.TableColumnDep(applications, name)] for name in unchanged})


def bullets(sentences: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Put sentences one below the other."""
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in sentences) or "none")


def picture(png: bytes, name: str) -> dg.MarkdownMetadataValue:
    """Put a PNG image inside the event, so that the UI needs no other server to show it."""
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")


def rejected_rows(report: CleaningReport, first_rows: Iterable[Mapping[str, Any]]) -> Metadata:
    """Describe the rows of a file that cannot be used: how many, why, and the first of them."""
    return {
        "dagster/row_count": report.rejected,
        "rejected_rows": report.rejected,
        "problems": problems(report.problems),
        "first_rows": rows(REJECTION, first_rows),
    }


def problems(counts: Mapping[str, int], unit: str = "rows") -> dg.MarkdownMetadataValue:
    """Tabulate how many rows were rejected for each problem."""
    return table(["problem", unit], list(counts.items()))
