"""Formats what a card says: gaps, names, lists, and what nobody has stated."""

from __future__ import annotations

from collections.abc import Iterable

from loan_default.risk.contract.book import Contract

NOT_STATED = "not stated"
NOT_MEASURED = "Not measured for this version."


def bullets(lines: Iterable[str]) -> str:
    """Write a list, a line each."""
    return "\n".join(f"- {line}" for line in lines)


def points(gap: float) -> str:
    """Format a gap between two shares in percentage points: `-3.4`."""
    return f"{100 * gap:+z.1f}"


def named(names: Iterable[str]) -> str:
    """List names as code."""
    return ", ".join(f"`{name}`" for name in names)


def level_of(contract: Contract, field: str, level: str) -> str:
    """Name a level as the files do, beside what people read for it where the contract has a label: `4 (rented)`."""
    label = contract.by_name[field].labels.get(level) if field in contract.by_name else None
    return f"{level} ({label})" if label and label.lower() != level.lower() else level


def change(value: float, low: float, high: float) -> str:
    """Format a difference with its interval."""
    return f"{value:+z.4f} ({low:+z.4f} to {high:+z.4f})"
