"""What was measured, against what, and whether it reaches its limit; as a table, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from benchmarks.fresh import Run

COLUMNS = ("what", "measured", "against", "ratio", "must reach", "met")


@dataclass(frozen=True)
class Figure:
    """One line of the table. `form` writes value and limit; without a limit the value is only stated."""

    what: str
    measured: str
    against: str
    value: float
    limit: float | None = None
    bound: Literal["most", "least"] = "most"
    form: str = "{:.2f} ×"
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Tell whether the limit is reached; None where there is none."""
        if self.limit is None:
            return None
        return self.value <= self.limit if self.bound == "most" else self.value >= self.limit

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the line as text, in the order of `COLUMNS`."""
        sign = "≤" if self.bound == "most" else "≥"
        must = "" if self.limit is None else f"{sign} {self.form.format(self.limit)}"
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return (self.what, self.measured, self.against, self.form.format(self.value), must, met)


def compared(
    what: str,
    ours: Run,
    theirs: Run,
    against: str,
    value: float,
    limit: float,
    bound: Literal["most", "least"],
    **more: Any,
) -> Figure:
    """Make a figure of two runs, with their times on record."""
    seconds = {
        "ours": ours.seconds,
        "ours_processor": ours.cpu_seconds,
        "theirs": theirs.seconds,
        "theirs_processor": theirs.cpu_seconds,
    }
    return Figure(what, str(ours), f"{against} {theirs}", value, limit, bound, seconds=seconds, **more)


def as_table(figures: Sequence[Figure]) -> Table:
    """Return the figures as a table for the terminal."""
    table = Table(*COLUMNS, title="Benchmarks")
    for figure in figures:
        table.add_row(*figure.cells, style="bold red" if figure.met is False else None)
    return table


def keep(figures: Sequence[Figure], machine: Mapping[str, str], folder: Path, name: str = "latest") -> None:
    """Write `<name>.json` and `<name>.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine, "figures": [{**asdict(figure), "met": figure.met} for figure in figures]}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(figure.cells for figure in figures)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    on = "; ".join(f"{name} {value}" for name, value in machine.items())
    (folder / f"{name}.md").write_text(f"# Benchmarks\n\nMeasured on: {on}.\n\n{table}\n", encoding="utf-8")
