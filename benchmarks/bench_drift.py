"""Time a drift verdict against Evidently's preset on the same frames, and compare their PSI.

Run `python -m benchmarks.bench_drift [ROWS]`; Evidently takes minutes at a million rows.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.drift import ReferenceProfile, build_profile, feature_drift, judge_drift, profile_batch, psi
from loan_default.risk.policy import DriftPolicy

POLICY = DriftPolicy(
    feature_psi_limit=0.25,
    score_psi_limit=0.25,
    drifted_share_limit=0.3,
    least_rows=1_000,
    report_sample_rows=10_000,
)


def loan_like_frame(rows: int, columns: int, seed: int, moved: float) -> pl.DataFrame:
    """`columns` columns: a continuous raw score, then amounts, rates, counts, terms and grades in turn."""
    rng = np.random.default_rng(seed)
    draws: list[Callable[[], Any]] = [
        lambda: np.exp(rng.normal(11 + moved, 0.6, rows)).round(),
        lambda: np.where(rng.random(rows) < 0.05, np.nan, rng.normal(18 + moved, 8, rows)),
        lambda: rng.integers(132, 170, rows) * 5.0 + 10 * moved,
        lambda: rng.normal(0, 1 + moved, rows),
        lambda: rng.choice(list("ABCDEFG"), rows),
    ]
    names = [f"column_{number:02}" for number in range(1, columns)]
    return pl.DataFrame(
        {"raw_score": rng.beta(2 + moved, 8, rows)}
        | {name: draws[number % len(draws)]() for number, name in enumerate(names)},
        nan_to_null=True,
    )


def run(rows: int = 1_000_000, columns: int = 20, seed: int = 0) -> dict[str, Any]:
    """Seconds of both, their ratio, and the largest difference of a column's PSI."""
    reference = loan_like_frame(rows, columns, seed, moved=0.0)
    batch = loan_like_frame(rows, columns, seed + 1, moved=0.2)
    categorical = [name for name, kind in batch.schema.items() if kind == pl.String]
    numeric = [name for name in batch.columns if name not in categorical and name != "raw_score"]

    started = time.perf_counter()
    known = build_profile(reference, numeric=numeric, categorical=categorical, score="raw_score")
    reference_seconds = time.perf_counter() - started
    verdict_seconds = statistics.median(time_verdict(batch, known) for _ in range(3))
    evidently_seconds, theirs = run_evidently(reference, batch, [*numeric, "raw_score"], categorical)
    ours = psi(known, profile_batch(batch, known))
    return {
        "rows": rows,
        "columns": columns,
        "reference_seconds": reference_seconds,
        "verdict_seconds": verdict_seconds,
        "evidently_seconds": evidently_seconds,
        "ratio": evidently_seconds / verdict_seconds,
        "ratio_with_reference": evidently_seconds / (reference_seconds + verdict_seconds),
        "largest_psi_difference": max(abs(ours[name] - value) for name, value in theirs.items()),
        "columns_compared": len(theirs),
    }


def time_verdict(batch: pl.DataFrame, known: ReferenceProfile) -> float:
    """Seconds from a batch's frame to its verdict."""
    started = time.perf_counter()
    current = profile_batch(batch, known)
    judge_drift(feature_drift(known, current, POLICY), current.rows, POLICY)
    return time.perf_counter() - started


def run_evidently(
    reference: pl.DataFrame, batch: pl.DataFrame, numeric: list[str], categorical: list[str]
) -> tuple[float, dict[str, float]]:
    """Seconds of the preset alone, import and conversion left out, and its PSI of each column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = [Dataset.from_pandas(side.to_pandas(), data_definition=definition) for side in (batch, reference)]
    report = Report([DataDriftPreset(method="psi", threshold=0.25, drift_share=0.3)])
    started = time.perf_counter()
    snapshot = report.run(*sides)
    seconds = time.perf_counter() - started
    metrics = snapshot.dict()["metrics"]
    return seconds, {m["config"]["column"]: m["value"] for m in metrics if "column" in m["config"]}


def main() -> None:
    """Print one line of a table."""
    logging.captureWarnings(True)
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    found = run(rows=rows)
    print("| frame | reference profile | batch verdict | Evidently | ratio | with reference | PSI differs by |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {found['rows']:,} × {found['columns']} | {found['reference_seconds']:.2f} s "
        f"| {found['verdict_seconds']:.2f} s | {found['evidently_seconds']:.1f} s | {found['ratio']:.0f} × "
        f"| {found['ratio_with_reference']:.0f} × | {found['largest_psi_difference']:.1e} |"
    )


if __name__ == "__main__":
    main()
