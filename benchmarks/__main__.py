"""Run the benchmarks that are named, or all; print their figures and keep those of a whole run in `results/`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks import (
    bench_clean,
    bench_drift,
    bench_fit,
    bench_import,
    bench_pages,
    bench_reasons,
    bench_scale,
    bench_score,
    bench_serving,
    bench_workers,
)
from benchmarks.figures import Figure, as_table, keep
from benchmarks.machine import describe_machine
from loan_default.homes import prepare_process
from loan_default.settings import Settings

BENCHMARKS: dict[str, Callable[[Path], list[Figure]]] = {
    "clean": bench_clean.figures,
    "fit": bench_fit.figures,
    "score": bench_score.figures,
    "drift": bench_drift.figures,
    "import": bench_import.figures,
    "pages": bench_pages.figures,
}
# By their names only: serving needs a load generator that is no Python package, the others much time and disk.
BY_NAME: dict[str, Callable[[Path], list[Figure]]] = {
    "serving": bench_serving.figures,
    "reasons": bench_reasons.figures,
    "workers": bench_workers.figures,
    "scale": bench_scale.figures,
}
NAMED = {**BENCHMARKS, **BY_NAME}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the benchmarks in a folder that is removed again, in the environment of the platform's processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMED)}; {', '.join(BENCHMARKS)} by default"
    )
    parser.add_argument("--loans", type=Path, help="raw loan file to clean; made for the run by default")
    parser.add_argument(
        "--against",
        help=f"folder or commit that `serving` (the last tag by default) and `reasons` ({bench_reasons.AGAINST}) are "
        "measured against",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMED)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose among {', '.join(NAMED)}")
    console = Console()
    with TemporaryDirectory() as folder:
        os.environ["LOAN_DEFAULT_HOME"] = folder
        prepare_process(Settings(Path(folder)))
        figures: list[Figure] = []
        for name in arguments.names or BENCHMARKS:
            with console.status(f"Measuring: {name}"):
                if name == "clean":
                    measured = bench_clean.figures(Path(folder), loans=arguments.loans)
                elif name == "reasons":
                    measured = bench_reasons.figures(Path(folder), against=arguments.against or bench_reasons.AGAINST)
                elif name == "serving":
                    measured = bench_serving.figures(Path(folder), against=arguments.against)
                else:
                    measured = NAMED[name](Path(folder))
            figures += measured
            if name in BY_NAME:
                keep(measured, describe_machine(), RESULTS, name)
    console.print(as_table(figures))
    if not arguments.names:
        keep(figures, describe_machine(), RESULTS)


if __name__ == "__main__":
    main()
