"""A declined applicant with reasons: the scoring server against that of another commit, by `wrk`, in one run.

Both serve trees fitted on the same loans, one after the other in rounds, of which medians count. Beside it stands what
the reasons are made of: exact SHAP by the table against XGBoost's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.bench_score import DEPTH, TREES, fit_package
from benchmarks.bench_serving import Load, median_load, register_versions, require_wrk, served_here, write_bodies
from benchmarks.figures import Figure
from benchmarks.fresh import ROOT, fresh, fresh_in, source_tree
from benchmarks.loans import cleaned_loans

AGAINST = "main"
SIZE = f"{TREES} trees of depth {DEPTH}"


@dataclass(frozen=True)
class Round:
    """One server's round: its load, seconds from start to first answer, the same again, resident 10⁶ bytes."""

    load: Load
    start: float
    again: float
    memory: float


def figures(
    folder: Path, *, against: str = AGAINST, rows: int = 100_000, seconds: int = 4, rounds: int = 5
) -> list[Figure]:
    """Serve by this tree and by another: a folder, or a commit of git."""
    require_wrk()
    loans, package = cleaned_loans(folder, rows), folder / "ours" / "package"
    with source_tree(against, folder) as before:
        trees = {"ours": ROOT, "before": before}
        for name, tree in trees.items():
            fresh_in(tree, fit_package, loans=str(loans), package=str(folder / name / "package"), trees=TREES)
        bodies = write_bodies(loans, package, folder)
        for name, tree in trees.items():
            shutil.copy(folder / "canary.json", folder / name)
            fresh_in(tree, register_versions, package=str(folder / name / "package"), folder=str(folder / name))
        served: dict[str, list[Round]] = {name: [] for name in trees}
        for number in range(rounds):
            for name in sorted(trees, reverse=bool(number % 2)):
                home = f"home-{number}"
                served[name].append(_round(folder / name, home, trees[name], bodies["declined"], seconds))
    explained = fresh(explain, package=str(package), loans=str(loans)).answer
    return [*_figures_of_servers(served["ours"], served["before"], against), *figures_of_contributions(explained)]


def _round(folder: Path, home: str, tree: Path, body: Path, seconds: int) -> Round:
    with served_here(folder, home, body, tree) as side:
        sent = body.with_suffix(".json").read_bytes()
        answer = httpx.post(f"{side.url}/invocations", content=sent, headers={"content-type": "application/json"})
        (prediction,) = answer.json()["predictions"]
        if prediction["decision"] != "decline" or not prediction["reasons"]:
            raise RuntimeError(f"{tree} does not decline the applicant: {prediction}")
        load = side.load(body, connections=1, seconds=seconds)
        start, memory = side.first_answer, side.memory_mb
        if Path(f"/proc/{side.pid}/cwd").readlink() != tree:
            raise RuntimeError(f"the server does not run in {tree}")
    with served_here(folder, home, body, tree) as side:
        return Round(load, start, side.first_answer, memory)


def _figures_of_servers(ours: Sequence[Round], before: Sequence[Round], against: str) -> list[Figure]:
    load, other = (median_load([round_.load for round_ in rounds]) for rounds in (ours, before))
    figures = [
        _against_other("declined row with reasons, 1 connection", load.p50, other.p50, "{:.3f} ms", against, 0.5),
        Figure("  requests", f"{load.rate:,.0f} a second", f"{other.rate:,.0f}", load.rate / other.rate, 3.0, "least"),
        Figure("  requests that failed", f"of {load.requests:,}", "", load.failed, 0, form="{:.0f}"),
    ]
    for what, name, form, limit in (
        ("  resident memory of a worker", "memory", "{:.0f} MB", 1.0),
        ("  start to first answer", "start", "{:.2f} s", 1.05),
        ("  the same, started again", "again", "{:.2f} s", 1.05),
    ):
        value, of_other = (median(getattr(round_, name) for round_ in rounds) for rounds in (ours, before))
        figures.append(_against_other(what, value, of_other, form, against, limit))
    return figures


def _against_other(what: str, value: float, other: float, form: str, against: str, limit: float) -> Figure:
    return Figure(what, form.format(value), f"{against}: {form.format(other)}", value / other, limit)


def figures_of_contributions(seconds: dict[str, float]) -> list[Figure]:
    """Make figures of what `explain` measured."""
    table, xgboost = seconds["row"] * 1e6, seconds["row_of_xgboost"] * 1e6
    batch, batch_of_xgboost = 1 / seconds["batch_row"], 1 / seconds["batch_row_of_xgboost"]
    return [
        Figure(f"contributions of one row, {SIZE}", f"{table:.0f} µs", f"XGBoost {xgboost:.0f} µs", table / xgboost),
        Figure("  of a batch", f"{batch:,.0f} rows/s", f"XGBoost {batch_of_xgboost:,.0f}", batch / batch_of_xgboost),
        Figure("  the table, made", f"{seconds['table_mb']:.1f} MB", "", seconds["made"], 0.3, form="{:.3f} s"),
    ]


def explain(package: str, loans: str, rows: int = 20_000, singly: int = 500) -> Callable[[], Any]:
    """Time the contributions of loans by the table and by XGBoost; the answer is seconds, and the table's 10⁶ bytes."""
    import polars as pl

    from loan_default.risk.model.candidates.xgboost_model import XGBoostModel, trees_of
    from loan_default.risk.model.scorer import Scorer
    from loan_default.risk.model.tree_shap import ShapTable

    scorer = Scorer.load(Path(package))
    model = scorer.model
    assert isinstance(model, XGBoostModel)
    X = scorer.space.matrix(pl.scan_parquet(loans).select(scorer.contract.feature_names).head(rows).collect())

    def seconds_of(work: Callable[..., Any], *arguments: Any) -> float:
        started = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - started

    def work() -> dict[str, float]:
        build_seconds = median(
            seconds_of(lambda: ShapTable.of_trees(trees_of(model.booster), X.shape[1])) for _ in range(5)
        )
        assert model.table is not None
        sides = {"": model.contributions, "_of_xgboost": model.contributions_of_xgboost}
        few = [X[index : index + 1] for index in range(min(singly, len(X)))]
        row = {f"row{name}": median(seconds_of(side, loan) for loan in few) for name, side in sides.items()}
        batch = {
            f"batch_row{name}": min(seconds_of(side, X) for _ in range(3)) / len(X) for name, side in sides.items()
        }
        return {**row, **batch, "made": build_seconds, "table_mb": model.table.contributions_of.nbytes / 1e6}

    return work
