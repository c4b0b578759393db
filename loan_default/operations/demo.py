"""The demonstration: the platform from synthetic loans to a drifted batch, step by step.

The steps are plain calls of other operations; printing between them is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from loan_default.operations.samples import SampleRequest, write_sample
from loan_default.operations.training import TrainingRequest
from loan_default.settings import Settings

ROWS, BATCH_ROWS = 60_000, 2_000
MONTH = date(2018, 10, 1)
REQUEST = TrainingRequest(trials=6)
SHIFTS = {"2018-10": 0.0, "2018-10-shifted": 1.0}  # by batch


@dataclass(frozen=True)
class DemoFiles:
    """The synthetic loans and the batch files, and the settings that train on them."""

    loans: Path
    batches: tuple[Path, ...]
    settings: Settings


def write_files(settings: Settings, seed: int) -> DemoFiles:
    """Write the loans and the batches into the home."""
    folder = settings.home / "demo"
    loans = folder / "loans.csv"
    write_sample(SampleRequest(loans, ROWS, seed), settings)
    batches = []
    for number, (batch, shift) in enumerate(SHIFTS.items(), 1):
        batches.append(folder / f"{batch}.csv")
        write_sample(SampleRequest(batches[-1], BATCH_ROWS, seed + number, shift, MONTH), settings)
    return DemoFiles(loans, tuple(batches), replace(settings, data=str(loans)))


def next_steps(loans: str, program: str) -> dict[str, str]:
    """Return the commands that lead on from here, each with what it does.

    Args:
        loans: the path of the synthetic loans, as it is typed.
        program: the command, as it is typed.
    """
    return {
        f"LOAN_DEFAULT_DATA={loans} {program} dev": "Dagster, MLflow and the pages on http://127.0.0.1:5002, where an "
        "applicant is scored; the sensors retrain, as a batch has drifted",
        f"{program} run --data FILE": "your own loans",
        f"{program} score FILE": "a batch of applications",
    }
