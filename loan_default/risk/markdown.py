"""Writes tables in Markdown, for the model card and for metadata that people read. Their content is the caller's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

EMPTY_CELL = "–"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a GitHub-style table, a line for each row; figures stand to the right, except in the first column.

    Args:
        columns: headings.
        rows: as many values each as there are columns. Whole numbers get thousands separators, other numbers four
            decimals (one from 10 on), None and NaN a dash; of texts, pipes are escaped and line breaks become blanks.

    Raises:
        ValueError: a row has more or fewer values than there are columns.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    for row in cells:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} values ({' | '.join(row)}) in a table of {len(columns)} columns")
    figures = [number > 0 and _is_figures(row[number] for row in cells) for number in range(len(columns))]
    rules = ["---:" if right else "---" for right in figures]
    return "\n".join("| " + " | ".join(line) + " |" for line in ([_cell(name) for name in columns], rules, *cells))


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return EMPTY_CELL
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:z,.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return " ".join(str(value).split()).replace("|", r"\|")


def _is_figures(column: Iterable[str]) -> bool:
    texts = [text for text in column if text != EMPTY_CELL]
    return bool(texts) and all(re.match(r"[+-]?\d", text) for text in texts)
