"""The JSON Schema of an application, made from the contract: what each field is, its unit, and what it may be.

What is allowed is `risk.data.applications`' to say, and tests hold the two together. The document that the schema
stands in is `openapi`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.model.online_features import EXACT, LONGEST_ID
from loan_default.risk.month_texts import MONTHS

Schema = dict[str, Any]

# The years of `month_texts`, 1920 to 2079.
_MONTH = rf"^((19[2-9][0-9]|20[0-7][0-9])-(0[1-9]|1[0-2])|({'|'.join(MONTHS)})-(19[2-9][0-9]|20[0-7][0-9]))$"
_OUTSIDE = {
    "reject": "another value is refused",
    "clip": "a value beyond counts as the nearer end",
    "null": "another value counts as missing",
}


def application_schema(contract: Contract, example: Mapping[str, Any]) -> Schema:
    """Describe an application, an object of the contract's fields; `example` has a value for many of them."""
    fields = contract.application_fields
    return {
        "title": "Application",
        "type": "object",
        "description": f"An application by the contract of {contract.title or contract.name}, in natural units. "
        "A number may come as text too, and a month as any date of it.",
        "properties": {field.name: _field_schema(field, contract, example) for field in fields},
        "required": [*_required(contract)],
        "additionalProperties": False,
    }


def _required(contract: Contract) -> Iterator[str]:
    """Yield the fields that have to be sent: required ones, their sources, and what may not be missing."""
    needed = [field for field in contract.features if field.required or not field.nullable]
    yield from (
        field.name for field in contract.lacking(needed, ()) if field.name not in contract.left_out_by_applicants
    )


def _field_schema(field: LoanField, contract: Contract, example: Mapping[str, Any]) -> Schema:
    may_lack = field.nullable or field.name in contract.left_out_by_applicants or bool(field.derived)
    schema: Schema = {"description": _description(field), **_values(field, may_lack=may_lack)}
    if field.unit:
        schema["x-unit"] = field.unit
    if (value := example.get(field.name)) is not None:
        schema["examples"] = [value]
    return schema


def _values(field: LoanField, *, may_lack: bool) -> Schema:
    """Return the keywords that say what a value may be."""
    null = ["null"] if may_lack else []
    words = [word for word, meaning in field.words.items() if meaning is not None or may_lack]
    if field.kind == "number":
        limits = dict(zip(("minimum", "maximum"), field.range, strict=True)) if field.range else {}
        number: Schema = {"type": ["number", *null], **(limits if field.outside == "reject" else {})}
        return {"anyOf": [number, {"enum": words}]} if words else number
    if field.levels and field.outside == "reject":
        return {"enum": [*field.levels, *words, *([None] if may_lack else [])]}
    if field.kind == "month":
        return {"type": ["string", *null], "pattern": _MONTH}
    types = {"type": ["string", "number", "boolean", *null]}  # which are read as they would be written
    exact = {"maxLength": LONGEST_ID, "exclusiveMinimum": -EXACT, "exclusiveMaximum": EXACT}
    return {**types, **(exact if field.role == "id" else {})}


def _description(field: LoanField) -> str:
    """Say what a field is, what it may be, and what becomes of another value or of none."""
    parts = [field.description.rstrip(".")]
    if field.range or field.levels:
        parts.append(f"{field.allowed}; {_OUTSIDE[field.outside]}")
    if field.derived:
        parts.append(f"Computed where it is left out: {field.derived}")
    if field.opinion:
        parts.append("The lender's own opinion of the applicant")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."
