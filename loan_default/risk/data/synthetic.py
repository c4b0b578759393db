"""Makes seeded synthetic loans in LendingClub's published layout: what the demo, tests and benchmarks run on.

None of the published file's rows is repeated. Making and writing loans belongs here; the distributions belong in
`synthetic_tables`, drawing from them in `synthetic_applications` and `synthetic_outcomes`, reading files in `cleaning`.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.data.synthetic_applications import Period, draw_applications
from loan_default.risk.data.synthetic_draws import Columns, months_since_1900
from loan_default.risk.data.synthetic_outcomes import draw_endings
from loan_default.risk.data.synthetic_tables import (
    CURRENT,
    FIRST_MONTH,
    FOOTER,
    LAST_MONTH,
    LEVELS,
    PUBLISHED_COLUMNS,
    SNAPSHOT,
    URL,
)
from loan_default.risk.files import write_atomically


def make_loans(
    rows: int,
    *,
    seed: int,
    first_month: date = FIRST_MONTH,
    last_month: date = LAST_MONTH,
    snapshot: date = SNAPSHOT,
    shift: float = 0.0,
) -> pl.DataFrame:
    """Make `rows` loans issued between two months (both included), as their file would be at `snapshot`.

    The population is the same in every issue month; volume grows by half from the first month to the last.
    Loans whose term has ended by the snapshot are resolved, younger ones may be current or late. `shift` is how
    far the borrowers have moved: 0 is stable, 1 plainly drifted. The same arguments give the same frame; seeds
    that differ modulo 98 share no id (up to 2.5 million rows each).

    Raises:
        ValueError: `rows` is not positive, or the months are out of order.
    """
    return _loans(rows, seed, 0, (first_month, last_month, snapshot), shift)


def make_applications(rows: int, *, seed: int, month: date, shift: float = 0.0) -> pl.DataFrame:
    """Make a batch of one month's new applications: all are current, nothing that comes later is filled.

    How they ended is told by `make_loans` with the same rows, seed and shift, `month` as first and last month
    and a later snapshot: the same applications with their outcomes.
    """
    columns = draw_applications(np.random.default_rng((seed, 0)), rows, seed, 0, (month, month, month), shift)
    return _published(columns | {"loan_status": np.full(rows, float(CURRENT))})


def write_csv(frame: pl.DataFrame, path: Path, *, footer: bool = False) -> None:
    """Write loans as the published file looks, gzipped where `path` ends in `.gz`; replace it in one step.

    `footer` adds the lines of totals that follow the loans in the published file and are no loans.
    """
    _write_frames([frame], path, footer=footer)


def write_loans(
    path: Path, rows: int, *, seed: int, chunk_rows: int = 100_000, footer: bool = False, shift: float = 0.0
) -> None:
    """Make and write `rows` loans, `chunk_rows` of them at a time in memory; each chunk spans all months."""
    period = FIRST_MONTH, LAST_MONTH, SNAPSHOT
    starts = range(0, max(rows, 1), chunk_rows)
    frames = (_loans(min(chunk_rows, rows - start), seed, start, period, shift) for start in starts)
    _write_frames(frames, path, footer=footer)


def _loans(rows: int, seed: int, start: int, period: Period, shift: float) -> pl.DataFrame:
    """Make the loans that begin at row `start` of the book of `seed`."""
    rng = np.random.default_rng((seed, start))
    columns = draw_applications(rng, rows, seed, start, period, shift)
    return _published(draw_endings(rng, columns, months_since_1900(period[2])))


def _published(columns: Columns) -> pl.DataFrame:
    """Turn level numbers and months into the file's texts; a column that was not drawn is empty."""
    rows, ids = len(columns["id"]), pl.Series(columns["id"]).cast(pl.Int64)
    series = {"id": ids, "url": pl.select(pl.format(URL, ids)).to_series()}
    for name in PUBLISHED_COLUMNS:
        if name not in columns and name not in series:
            dtype = pl.String if name in LEVELS or name in ("member_id", "desc") else pl.Float64
            series[name] = pl.repeat(None, rows, dtype=dtype, eager=True)
        elif name in LEVELS:
            series[name] = _texts(LEVELS[name], columns[name])
        elif name not in series:
            series[name] = pl.Series(columns[name]).fill_nan(None)
    return pl.DataFrame(series).select(PUBLISHED_COLUMNS)


def _texts(levels: Sequence[str], numbers: Floats) -> pl.Series:
    positions = np.where(np.isnan(numbers), len(levels), numbers).astype(np.uint32)
    return pl.Series([*levels, None], dtype=pl.String).gather(positions)


def _write_frames(frames: Iterable[pl.DataFrame], path: Path, *, footer: bool) -> None:
    """Write frames one below the other under one header."""
    with write_atomically(path) as part, part.open("wb") as raw:
        # No name and no time in the archive: the same loans give the same bytes.
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
        with cast(IO[bytes], packed) as file:
            _write_lines(frames, file, footer=footer)


def _write_lines(frames: Iterable[pl.DataFrame], file: IO[bytes], *, footer: bool) -> None:
    funded = 0.0
    for number, frame in enumerate(frames):
        frame.write_csv(file, include_header=number == 0)
        funded += float(frame["funded_amnt"].sum())
    if footer:
        empty = "," * (len(PUBLISHED_COLUMNS) - 1)
        file.writelines(f"{line.format(int(funded))}{empty}\n".encode() for line in FOOTER)
