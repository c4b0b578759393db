"""The whole pipeline, from a raw file to a version that is decided on, as loans grow: time by step, and memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.fresh import Run, fresh
from benchmarks.loans import PUBLISHED_ROWS, raw_loans

SIZES = (10_000, 100_000, 1_000_000, PUBLISHED_ROWS, 10_000_000)
MEMORY_GB = 6.0  # at the published file's size
NOISE = 1.1  # of a step's time from run to run


def figures(folder: Path, *, sizes: Sequence[int] = SIZES, trials: int = 20) -> list[Figure]:
    """Run `full_pipeline_job` on each size in a home of its own; steps against n log n from the size before."""
    figures: list[Figure] = []
    before: tuple[int, Run] | None = None
    for rows in sorted(sizes):
        raw = raw_loans(folder, rows)
        run = fresh(pipeline, raw=str(raw), home=str(folder / f"home_{rows}"), trials=trials)
        raw.unlink()
        limit = MEMORY_GB if rows == PUBLISHED_ROWS else None
        figures.append(Figure(f"{rows:,} loans, {trials} trials", str(run), "", run.peak_gb, limit, form="{:.2f} GB"))
        for step, seconds in run.answer.items():
            grown = _grown(before, rows, step, seconds) if before else None
            figures.append(grown or Figure(f"  {step}", f"{seconds:.1f} s", "", seconds, form="{:.1f} s"))
        before = rows, run
    return figures


def _grown(before: tuple[int, Run], rows: int, step: str, seconds: float) -> Figure | None:
    """Return a step's growth as a share of n log n's; None where the size before had no such step."""
    fewer, run = before
    shorter = run.answer.get(step)
    if not shorter:
        return None
    allowed = rows * math.log(rows) / (fewer * math.log(fewer))
    return Figure(
        f"  {step}",
        f"{seconds:.1f} s",
        f"{shorter:.1f} s × n log n",
        seconds / shorter / allowed,
        NOISE,
        form="{:.2f} ×",
    )


def pipeline(raw: str, home: str, trials: int) -> Callable[[], Any]:
    """Run the job as the command does; the answer is seconds by step."""
    from dataclasses import replace

    from loan_default.homes import prepare_process
    from loan_default.operations.runs import run_job
    from loan_default.settings import load_settings

    os.environ["LOAN_DEFAULT_HOME"] = home
    os.environ["DAGSTER_HOME"] = str(Path(home, "dagster"))
    settings = replace(load_settings(), data=raw)
    prepare_process(settings)

    def work() -> dict[str, float]:
        return dict(run_job(settings, "full_pipeline_job", config={"tuned_params": {"trials": trials}}).step_seconds)

    return work
