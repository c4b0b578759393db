"""The benchmarks still run: each on a few loans, in this process, without a word on how fast."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    bench_clean,
    bench_drift,
    bench_fit,
    bench_import,
    bench_reasons,
    bench_scale,
    bench_score,
    bench_workers,
    fresh,
)
from benchmarks.figures import COLUMNS, Figure, as_table, keep
from benchmarks.loans import cleaned_loans
from benchmarks.machine import describe_machine
from loan_default.risk.data.synthetic import make_loans, write_csv


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run sides in this process, which has the libraries loaded already."""

    def run(side: fresh.Side, **arguments: Any) -> fresh.Run:
        answer = fresh.timed(side(**json.loads(json.dumps(arguments))))
        return fresh.Run(**json.loads(json.dumps(vars(answer))))

    for module in (bench_clean, bench_drift, bench_fit, bench_score):
        monkeypatch.setattr(module, "fresh", run)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("measure", "limits"),
    [
        (lambda folder: bench_fit.figures(folder, rows=2_000, rounds=2, times=1), [1.5]),
        (lambda folder: bench_score.figures(folder, rows=2_000, trees=3, times=1), [60, None]),
        pytest.param(  # Evidently alone takes 5 seconds
            lambda folder: bench_drift.figures(folder, rows=2_000, times=1), [30, 1e-6], marks=pytest.mark.integration
        ),
    ],
)
def test_figures_are_measured(
    tmp_path: Path, measure: Callable[[Path], list[Figure]], limits: list[float | None]
) -> None:
    figures = measure(tmp_path)
    assert [figure.limit for figure in figures] == limits
    assert all(math.isfinite(figure.value) for figure in figures)


def test_contributions_are_measured(tmp_path: Path) -> None:
    loans, package = str(cleaned_loans(tmp_path, 2_000)), str(tmp_path / "package")
    bench_score.fit_package(loans, package, trees=3)()
    figures = bench_reasons.figures_of_contributions(bench_reasons.explain(package, loans, rows=300, singly=3)())
    assert [figure.limit for figure in figures] == [None, None, 0.3]
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.integration
def test_another_commit_is_there_as_long_as_it_is_measured(tmp_path: Path) -> None:
    with fresh.source_tree(str(fresh.ROOT / "benchmarks"), tmp_path) as folder:
        assert folder == fresh.ROOT / "benchmarks"
    with fresh.source_tree("HEAD", tmp_path) as tree:
        assert (tree / "benchmarks" / "fresh.py").exists()
    assert not tree.exists()


@pytest.mark.long
def test_workers_are_measured(tmp_path: Path) -> None:
    figures = bench_workers.figures(tmp_path, trained_on=4_000, workers=(2,), scored=2_000, many=4_000)
    assert [figure.limit for figure in figures] == [None, 2, 0.6, 0.002, 0.8, 1.2, 0.8, 1.2]
    assert all(math.isfinite(figure.value) for figure in figures)


@pytest.mark.long
def test_steps_are_measured_as_loans_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOAN_DEFAULT_REAL_DATA", raising=False)
    figures = bench_scale.figures(tmp_path, sizes=(6_000, 7_000), trials=1)
    assert [figure.limit for figure in figures if figure.what == "  trained_model"] == [None, bench_scale.NOISE]
    assert all(math.isfinite(figure.value) for figure in figures)


@pytest.mark.usefixtures("here")
def test_cleaning_is_measured_on_a_file_made_or_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOAN_DEFAULT_REAL_DATA", raising=False)
    figures = bench_clean.figures(tmp_path, rows=300, times=1)
    assert [figure.limit for figure in figures] == [2, 5, 1.5]
    assert not list(tmp_path.glob("*.csv"))
    file = tmp_path / "given.csv"
    write_csv(make_loans(200, seed=1), file)
    assert "clean 200 loans" in bench_clean.figures(tmp_path, loans=file, times=1)[0].what
    assert file.exists()


@pytest.mark.integration
@pytest.mark.real_data
@pytest.mark.usefixtures("here")
def test_cleaning_is_measured_on_real_loans(tmp_path: Path, real_data: Path) -> None:
    assert (real_data / "scale_up.py").exists()
    assert "clean 7,500 loans" in bench_clean.figures(tmp_path, rows=7_500, times=1)[0].what


@pytest.mark.integration
def test_imports_are_measured_in_fresh_interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAN_DEFAULT_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (figure,) = bench_import.figures(tmp_path, times=1)
    assert figure.limit == 1.5
    assert figure.value > 0.5


@pytest.mark.integration
def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)benchmarks\.bench_import\.load failed: .*No module named 'nothing'"):
        fresh.fresh(bench_import.load, module="nothing")


def test_medians_of_sides_in_turn() -> None:
    seconds = {"ours": iter([3.0, 1.0, 2.0]), "theirs": iter([30.0, 10.0, 20.0])}
    order: list[str] = []

    def side(name: str) -> Callable[[], fresh.Run]:
        def run() -> fresh.Run:
            order.append(name)
            took = next(seconds[name])
            return fresh.Run(took, 2 * took, took / 10, took)

        return run

    ours, theirs = fresh.alternating(3, side("ours"), side("theirs"))
    assert order == ["ours", "theirs"] * 3
    assert ours == fresh.Run(2.0, 4.0, 0.3, 2.0)
    assert theirs == fresh.Run(20.0, 40.0, 3.0, 20.0)


def test_figures_are_kept_without_names_of_the_machine(tmp_path: Path) -> None:
    figures = [
        Figure("a", "1 s", "2 s", 2.0, 2.0),
        Figure("b", "1 s", "2 s", 1.9, 2.0, "least"),
        Figure("c", "1 s", "2 s", 0.5, form="{:.1f} ms"),
    ]
    machine = describe_machine()
    assert {"processor", "cores", "memory", "python", "polars", "xgboost"} <= set(machine)
    results = tmp_path / "results"
    keep(figures, machine, results)
    record = json.loads((results / "latest.json").read_text())
    assert record["machine"] == machine
    assert [figure["met"] for figure in record["figures"]] == [True, False, None]
    page = (results / "latest.md").read_text()
    assert f"| {' | '.join(COLUMNS)} |" in page
    assert "| b | 1 s | 2 s | 1.90 × | ≥ 2.00 × | NO |" in page
    assert "| c | 1 s | 2 s | 0.5 ms |  |  |" in page
    assert as_table(figures).row_count == 3
