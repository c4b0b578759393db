"""Train: clean, tune, fit and decide, each as a job, and the records that these leave.

A request is checked before a run exists. What the steps do is `steps`'s and `risk`'s; promoting by hand is
`promotion`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from loan_default.adapters.file_listing import require_files
from loan_default.adapters.storage import is_remote
from loan_default.operations.book import read_contract, read_search_space
from loan_default.operations.records import Record, read_record
from loan_default.operations.runs import run_job
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


@dataclass(frozen=True)
class TrainingRequest:
    """A request for a training; None leaves a value to the configuration of its step.

    Attributes:
        snapshot: month in which the loan file was taken.
        calibrate_from: first issue month of the calibrate window.
        test_from: first issue month of the test window.
        trials: how many tuning trials the study is to hold.
    """

    snapshot: date | None = None
    calibrate_from: date | None = None
    test_from: date | None = None
    trials: int | None = None

    @property
    def config(self) -> dict[str, dict[str, Any]]:
        """The values by op, as `run_job` takes them."""
        values: dict[str, dict[str, Any]] = {
            "clean_raw_loans": {"snapshot_month": _month(self.snapshot)},
            "loan_splits": {"calibrate_from": _month(self.calibrate_from), "test_from": _month(self.test_from)},
            "tuned_params": {"trials": self.trials},
        }
        chosen = {op: {name: value for name, value in pairs.items() if value} for op, pairs in values.items()}
        return {op: pairs for op, pairs in chosen.items() if pairs}


@dataclass(frozen=True)
class TrainingRecords:
    """The records of the steps of a training; None for a step that never ran.

    Attributes:
        cleaning: rows kept and rejected, months, what the file lacks.
        splits: the windows.
        tuning: the parameters, and how they were found.
        training: the version that was registered, and its kind.
        evaluation: the candidates on the test window.
        decision: the verdict on the version, with its reasons.
    """

    cleaning: Record | None
    splits: Record | None
    tuning: Record | None
    training: Record | None
    evaluation: Record | None
    decision: Record | None


def read_training(settings: Settings) -> TrainingRecords:
    """Read the records of the newest training."""
    return TrainingRecords(
        cleaning=read_record(settings, "cleaning_report"),
        splits=read_record(settings, "loan_splits"),
        tuning=read_record(settings, "tuned_params"),
        training=read_record(settings, "trained_model"),
        evaluation=read_record(settings, "model_evaluation"),
        decision=read_record(settings, "promoted_model"),
    )


def clean(settings: Settings, request: TrainingRequest) -> TrainingRecords:
    """Clean the loan file and cut it into windows; errors as `run_pipeline`."""
    return _run("cleaning_job", settings, request)


def tune(settings: Settings, request: TrainingRequest) -> TrainingRecords:
    """Clean, split and search for parameters; errors as `run_pipeline`."""
    return _run("tuning_job", settings, request)


def train(settings: Settings, request: TrainingRequest) -> TrainingRecords:
    """Make a new version from the loan file, in staging; errors as `run_pipeline`."""
    return _run("training_job", settings, request)


def run_pipeline(settings: Settings, request: TrainingRequest) -> TrainingRecords:
    """Make a new version from the loan file and decide on it.

    Raises:
        BadInput: the request, the loan files or the reviewed files cannot be used; nothing was run.
        JobFailed: a step failed.
    """
    return _run("full_pipeline_job", settings, request)


def _run(job: str, settings: Settings, request: TrainingRequest) -> TrainingRecords:
    require_usable(settings, request)
    run_job(settings, job, config=request.config)
    return read_training(settings)


def require_usable(settings: Settings, request: TrainingRequest) -> None:
    """Check what a job does not before it runs: months, the search space, and the headers of the loan files.

    Raises:
        BadInput: names what cannot be used and what to do.
    """
    from loan_default.risk.data.loan_files import check_table
    from loan_default.risk.data.splitting import SplitPlan

    SplitPlan(calibrate_from=request.calibrate_from, test_from=request.test_from)
    for name, month in (("calibrate_from", request.calibrate_from), ("test_from", request.test_from)):
        if request.snapshot and month and month > request.snapshot:
            raise BadInput(
                f"{name} ({month:%Y-%m}) lies after the snapshot month ({request.snapshot:%Y-%m}), in which the file "
                "was taken; give an earlier month."
            )
    read_search_space(settings)
    contract = read_contract(settings)
    for file in require_files(settings.data):
        if not is_remote(file.path):  # an object is opened by the run, which keeps the copy
            check_table(Path(str(file.path)), contract, with_outcome=True)


def _month(month: date | None) -> str:
    return f"{month:%Y-%m}" if month else ""
