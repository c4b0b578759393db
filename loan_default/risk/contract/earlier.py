"""Says what earlier releases wrote into contracts as this one reads it.

Loading such a contract belongs in `loading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Say what earlier releases wrote as this one reads it."""
    return {**data, "fields": [_with_sides(_with_expression(field)) for field in data["fields"]]}


def _with_expression(field: dict[str, Any]) -> dict[str, Any]:
    """Compute a field as the function did that it names, whatever the units of its arguments (before format 3)."""
    if not isinstance(field.get("derived"), dict):
        return field
    return {**field, "derived": earlier_expression(field["derived"], in_units=False), "derived_as_numbers": True}


def earlier_expression(derived: Mapping[str, Any], *, in_units: bool) -> str:
    """Write one of the three functions that there were as an expression, of units or of mere numbers."""
    arguments = [*derived.get("of", ()), *("…",) * 4]
    first, second, third, fourth, *_ = arguments
    of_units = {
        "months_between": f"months_between({first}, {second})",
        "percent_of": f"{first} / {second} (or yearly({second}), where that is what comes in a year or a month)",
        "payment_to_income": f"payment({first}, {second}, {third}) / {fourth}",
    }
    of_numbers = {
        **of_units,
        "percent_of": f"100 * {first} / {second}",
        "payment_to_income": f"payment(1200 * {first}, {second} / 1200, {third}) / {fourth}",
    }
    return (of_units if in_units else of_numbers).get(derived.get("function", ""), "an expression over fields")


def _with_sides(field: dict[str, Any]) -> dict[str, Any]:
    """Give the sentence of format 1 the side that the field's direction says, or the level, or drop it for neither."""
    if "reason" not in field:
        return field
    sentence = field.pop("reason")
    side = "level" if field["kind"] == "nominal" else {"rising": "high", "falling": "low"}.get(field["risk"])
    return {**field, "reasons": {side: sentence}} if side and sentence else field
