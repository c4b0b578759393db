"""Formats what a card says: gaps, names, lists, and what nobody has stated."""

from __future__ import annotations

from collections.abc import Iterable

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


def change(value: float, low: float, high: float) -> str:
    """Format a difference with its interval."""
    return f"{value:+z.4f} ({low:+z.4f} to {high:+z.4f})"
