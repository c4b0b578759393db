"""Run one side of a comparison in an interpreter of its own: its time, processor time, memory and answer.

A side is a function that prepares what is not to be timed and returns the call that is. Nothing that one side has
imported, allocated or warmed can then help or hurt the other.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Side = Callable[..., Callable[[], Any]]
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """What one side took. `cpu_seconds` counts all threads; `peak_gb` is of the whole process, 10⁹ bytes."""

    seconds: float
    cpu_seconds: float
    peak_gb: float
    answer: Any = None

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s (processor {self.cpu_seconds:.2f} s)"


def fresh(side: Side, **arguments: Any) -> Run:
    """Run `side(**arguments)` in a fresh interpreter; arguments and answer must be JSON."""
    return fresh_in(ROOT, side, **arguments)


def fresh_in(tree: Path, side: Side, **arguments: Any) -> Run:
    """Run the side that has the same name in another source tree."""
    command = [sys.executable, "-m", __name__, f"{side.__module__}:{side.__name__}", json.dumps(arguments)]
    child = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    if child.returncode:
        raise RuntimeError(f"{side.__module__}.{side.__name__} failed: {child.stderr.strip()[-2000:]}")
    return Run(**json.loads(child.stdout.splitlines()[-1]))


@contextmanager
def source_tree(against: str, folder: Path) -> Iterator[Path]:
    """Yield the folder that is named, or a work tree of the commit that is, as long as it is needed."""
    if Path(against).is_dir():
        yield Path(against).resolve()
        return
    tree, git = folder / "tree", ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), against], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def timed(work: Callable[[], Any]) -> Run:
    """Call `work` and measure it."""
    started, before = time.perf_counter(), _cpu_seconds()
    answer = work()
    return Run(time.perf_counter() - started, _cpu_seconds() - before, peak_gb(), answer)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def peak_gb() -> float:
    """Return the most memory that this process had; Linux's `ru_maxrss` begins with that of whoever started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # macOS: bytes
    (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e9


def alternating(times: int, *sides: Callable[[], Run]) -> list[Run]:
    """Run the sides in turn, `times` each; return medians of the times, the highest peak, the last answer."""
    runs = [[side() for side in sides] for _ in range(times)]
    return [_median(list(of_side)) for of_side in zip(*runs, strict=True)]


def _median(runs: list[Run]) -> Run:
    return Run(
        seconds=statistics.median(run.seconds for run in runs),
        cpu_seconds=statistics.median(run.cpu_seconds for run in runs),
        peak_gb=max(run.peak_gb for run in runs),
        answer=runs[-1].answer,
    )


def main() -> None:
    """Run the side that is named, with what it is given, and print the run as JSON."""
    name, arguments = sys.argv[1:]
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    print(json.dumps(vars(timed(work))))


if __name__ == "__main__":
    main()
