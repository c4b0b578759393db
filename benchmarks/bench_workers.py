"""Dask's workers against one process: training, memory of each, and scoring as tables grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bench_score import fit_package
from benchmarks.figures import Figure
from benchmarks.fresh import Run, fresh, peak_gb

TRAINED_ON, SCORED, MANY = 2_000_000, 1_000_000, 10_000_000
ROUNDS, TREES = 100, 25  # a tenth of what a training takes, of all three candidates
SLOWER, SMALLER = 2.0, 0.6  # than local, at most; of its memory, at most
SAME_RATE, SAME_MEMORY = 0.8, 1.2
NEAR = 0.002  # of AUC


def figures(
    folder: Path,
    *,
    trained_on: int = TRAINED_ON,
    workers: Sequence[int] = (1, 2),
    scored: int = SCORED,
    many: int = MANY,
) -> list[Figure]:
    """Train on synthetic loans here and by workers of one thread; score a table and one ten times as long."""
    loans = str(matured_loans(folder, trained_on * 5 // 4))
    local = fresh(train, loans=loans, workers=0)
    here_gb = max(local.answer["peaks_gb"])
    by_workers = {number: fresh(train, loans=loans, workers=number) for number in workers}
    figures = [Figure(f"train on {trained_on:,} loans, here", str(local), "", here_gb, form="{:.2f} GB")]
    for number, run in by_workers.items():
        figures += _against(local, run, number, limited=number == max(workers))
    return [*figures, *_scoring(folder, loans, scored, many)]


def _against(local: Run, run: Run, number: int, *, limited: bool) -> list[Figure]:
    what, slower = f"the same, {number} workers of one thread", run.seconds / local.seconds
    here_gb, largest = (max(measured.answer["peaks_gb"]) for measured in (local, run))
    apart = max(abs(run.answer["aucs"][kind] - auc) for kind, auc in local.answer["aucs"].items())
    return [
        Figure(what, str(run), f"here {local}", slower, SLOWER if limited else None),
        Figure(
            "  memory of the largest worker",
            f"{largest:.2f} GB",
            f"here {here_gb:.2f} GB",
            largest / here_gb,
            SMALLER if limited else None,
        ),
        Figure("  AUC on the test window, the candidate furthest apart", "", "here", apart, NEAR, form="{:.4f}"),
    ]


def _scoring(folder: Path, loans: str, scored: int, many: int) -> list[Figure]:
    package, long = folder / "package", folder / "many.parquet"
    fresh(fit_package, loans=loans, package=str(package), trees=300)
    repeated(Path(loans), long, many)
    figures: list[Figure] = []
    for workers, where in ((0, "here"), (2, "by 2 workers")):
        arguments = {"loans": str(long), "package": str(package), "workers": workers}
        few, all_ = (fresh(score, **arguments, rows=rows) for rows in (scored, many))
        rates = scored / few.seconds, many / all_.seconds
        speeds = [f"{rate / 1e6:.2f} M rows/s" for rate in rates]
        figures += [
            Figure(f"score {many:,} loans to Parquet, {where}", speeds[1], f"{scored:,}: {speeds[0]}",
                   rates[1] / rates[0], SAME_RATE, bound="least"),
            Figure("  memory", f"{all_.peak_gb:.2f} GB", f"{scored:,}: {few.peak_gb:.2f} GB",
                   all_.peak_gb / few.peak_gb, SAME_MEMORY),
        ]  # fmt: skip
    return figures


def matured_loans(folder: Path, rows: int) -> Path:
    """Make synthetic loans that all have ended, and clean them."""
    import polars as pl

    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.data.cleaning import clean_loans
    from loan_default.risk.data.synthetic import make_loans, write_csv

    raw, each = [], 500_000
    for number, begin in enumerate(range(0, rows, each)):
        size = min(each, rows - begin)
        loans = make_loans(size, seed=number, first_month=date(2010, 1, 1), last_month=date(2013, 12, 1))
        raw.append(folder / f"raw_{number}.csv")
        write_csv(loans.with_columns(pl.format("{}-{}", pl.lit(number), "id").alias("id")), raw[-1])
    cleaned = folder / "matured.parquet"
    clean_loans(raw, load_contract(), cleaned=cleaned, rejected=folder / "rejected.parquet")
    for path in raw:
        path.unlink()
    return cleaned


def repeated(loans: Path, target: Path, rows: int) -> None:
    """Write the loans again and again until there are so many rows."""
    import polars as pl

    frame = pl.scan_parquet(loans)
    times = -(-rows // frame.select(pl.len()).collect().item())
    pl.concat([frame] * times).head(rows).sink_parquet(target)


def _engine(workers: int) -> Any:
    from loan_default.adapters.dask_engine import DaskEngine
    from loan_default.risk.compute import LocalEngine

    if not workers:
        return LocalEngine()
    engine = DaskEngine(workers=workers)
    engine.client.run(_ready)
    return engine


def _ready() -> None:
    """Import what a worker imports at its first task, before the clock starts, as on the other side."""
    import xgboost.dask

    import loan_default.risk.model.training  # noqa: F401

    assert xgboost.dask


def train(loans: str, workers: int) -> Callable[[], Any]:
    """Train every candidate; the answer is AUCs on the test window, and the peak memory of each worker."""
    import polars as pl
    import xgboost  # noqa: F401
    from upath import UPath

    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.data.splitting import SplitPlan, split_loans
    from loan_default.risk.metrics import auc_of
    from loan_default.risk.model.development import development_on, on_windows
    from loan_default.risk.model.search_space import load_search_space
    from loan_default.risk.model.training import train_candidates
    from loan_default.risk.policy import load_policy
    from loan_default.risk.validation.champion_challenger import score_test, scores_of

    contract, policy, search = load_contract(), load_policy(), load_search_space()
    table, engine = ParquetTable.of(UPath(loans), Path(loans).parent), _engine(workers)
    splits = split_loans(table.scan(), contract, SplitPlan(), snapshot=date(2019, 3, 1), data_fingerprint="benchmark")
    start = {**search.tunable("xgboost").start, "learning_rate": 0.1}
    search = search.replace("xgboost", start=start, rounds_at_most=ROUNDS).replace("random_forest", trees=TREES)

    def work() -> dict[str, Any]:
        development = development_on(engine, table, contract, splits)
        candidates = train_candidates(development, search, policy.decision, seed=7)
        peaks = list(engine.client.run(peak_gb).values()) if workers else [peak_gb()]
        scorers = {candidate.kind: candidate.scorer for candidate in candidates}
        measured = partial(score_test, scorers, None, policy.promotion)
        test = pl.concat(on_windows(engine, table, contract, splits, ["test"], measured))
        outcomes = test["outcome"].to_numpy().astype(float)
        raw = {kind: scores_of(test, kind)["raw_score"].to_numpy() for kind in scorers}
        return {"peaks_gb": peaks, "aucs": {kind: auc_of(outcomes, raw[kind]) for kind in scorers}}

    return work


def score(loans: str, package: str, workers: int, rows: int) -> Callable[[], Any]:
    """Score the first `rows` of a table, without reasons, which take their time for each declined loan."""
    import xgboost  # noqa: F401
    from upath import UPath

    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.model.batch_scoring import write_predictions
    from loan_default.risk.model.scorer import Scorer

    table = ParquetTable.of(UPath(loans), Path(loans).parent).part(0, rows)
    scorer, engine = Scorer.load(Path(package)), _engine(workers)
    target = Path(loans).with_name("predictions.parquet")

    def work() -> list[Any]:
        return list(write_predictions(scorer, table, parquet=target, engine=engine, with_reasons=False))

    return work
