"""A drift verdict on a batch, against Evidently's preset on the same frames; and whether their PSI agree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.fresh import alternating, fresh

COLUMNS = 20
SCORE = "raw_score"


def figures(folder: Path, *, rows: int = 1_000_000, times: int = 3) -> list[Figure]:
    """Judge synthetic frames; Evidently runs once, as it takes minutes at a million rows. `folder` is not used."""
    (ours,) = alternating(times, partial(fresh, judge, rows=rows))
    theirs = fresh(run_evidently, rows=rows)
    apart = max(abs(ours.answer[name] - value) for name, value in theirs.answer.items())
    what = f"drift verdict on {rows:,} rows × {COLUMNS} columns"
    faster = theirs.seconds / ours.seconds
    return [
        compared(what, ours, theirs, "Evidently's preset", faster, 30.0, "least", form="{:.0f} ×"),
        Figure(
            "PSI as Evidently's",
            f"{len(theirs.answer)} columns",
            "largest difference of a column",
            apart,
            1e-6,
            form="{:.0e}",
        ),
    ]


def judge(rows: int) -> Callable[[], Any]:
    """Judge a batch's frame against a reference that is profiled already; the answer is PSI by column."""
    from loan_default.risk.monitoring.drift import build_profile, feature_drift, judge_drift, profile_batch
    from loan_default.risk.policy import load_policy

    reference, batch, numeric, categorical = _sides(rows)
    profile = build_profile(reference, numeric=numeric, categorical=categorical, score=SCORE)
    policy = load_policy().drift

    def work() -> dict[str, float]:
        current = profile_batch(batch, profile)
        table = feature_drift(profile, current, policy)
        judge_drift(table, current.rows, policy)
        return dict(table.select("feature", "psi_raw").iter_rows())

    return work


def run_evidently(rows: int) -> Callable[[], Any]:
    """Run the preset, import and conversion left out; the answer is PSI by column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    reference, batch, numeric, categorical = _sides(rows)
    definition = DataDefinition(numerical_columns=[*numeric, SCORE], categorical_columns=categorical)
    sides = [Dataset.from_pandas(side.to_pandas(), data_definition=definition) for side in (batch, reference)]
    report = Report([DataDriftPreset(method="psi", threshold=0.25, drift_share=0.3)])

    def work() -> dict[str, float]:
        metrics = report.run(*sides).dict()["metrics"]
        return {m["config"]["column"]: float(m["value"]) for m in metrics if "column" in m["config"]}

    return work


def _sides(rows: int) -> tuple[Any, Any, list[str], list[str]]:
    """Make reference and batch; return them with their numeric and categorical columns besides the score."""
    import polars as pl

    reference, batch = _loan_like(rows, seed=0, moved=0.0), _loan_like(rows, seed=1, moved=0.2)
    categorical = [name for name, kind in batch.schema.items() if kind == pl.String]
    numeric = [name for name in batch.columns if name not in categorical and name != SCORE]
    return reference, batch, numeric, categorical


def _loan_like(rows: int, *, seed: int, moved: float) -> Any:
    """Draw a continuous raw score, then amounts, ratios, bureau scores, normal numbers and grades in turn."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    draws: list[Callable[[], Any]] = [
        lambda: np.exp(rng.normal(11 + moved, 0.6, rows)).round(),
        lambda: np.where(rng.random(rows) < 0.05, np.nan, rng.normal(18 + moved, 8, rows)),
        lambda: rng.integers(132, 170, rows) * 5.0 + 10 * moved,
        lambda: rng.normal(0, 1 + moved, rows),
        lambda: rng.choice(list("ABCDEFG"), rows),
    ]
    columns = {f"column_{number:02}": draws[number % len(draws)]() for number in range(COLUMNS - 1)}
    return pl.DataFrame({SCORE: rng.beta(2 + moved, 8, rows)} | columns, nan_to_null=True)
