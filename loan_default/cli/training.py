"""Commands that train a version and decide on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from loan_default.cli.app import TRAIN, command
from loan_default.cli.arguments import AsJson, Month, Reason, between

if TYPE_CHECKING:
    from loan_default.operations.training import TrainingRecords, TrainingRequest
    from loan_default.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoanOptions:
    """Options of every command that reads a loan file: which, as of when, and where its windows begin."""

    data: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="CSV, CSV.GZ or Parquet file of loans, a glob, or gs://…; default: LOAN_DEFAULT_DATA."
        ),
    ] = None
    snapshot: Annotated[
        Month | None, Parameter(help="Month in which the file was taken; default: the one that the file itself shows.")
    ] = None
    calibrate_from: Annotated[
        Month | None,
        Parameter(help="First issue month that calibrates, of every term; default: its newest fifth before the test."),
    ] = None
    test_from: Annotated[
        Month | None, Parameter(help="First issue month that tests, of every term; default: the newest fifth of each.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LoanOptions):
    """Options of the commands that search for parameters too."""

    trials: Annotated[
        int | None, between(1), Parameter(help="Tuning trials that the study is to hold; default: 12.")
    ] = None


_LOANS, _TRAINING = LoanOptions(), TrainingOptions()


@command(TRAIN, "run --data loans.csv --trials 20", 'run --data "gs://bucket/loans/*.csv.gz" --snapshot 2018-12')
def run(options: TrainingOptions = _TRAINING) -> None:
    """Train a new version from a loan file and decide on it.

    Cleans, splits, tunes, fits and measures the candidates, decides by conf/policy.yaml, and writes the model card.
    """
    import time

    from loan_default.cli import tables
    from loan_default.cli.terminal import output, program
    from loan_default.operations.records import locations
    from loan_default.operations.training import run_pipeline

    console, began = output(), time.monotonic()
    settings, records = _carry_out(run_pipeline, options)
    tables.show_training(console, records)
    tables.show_values(console, "Where it lies", locations(settings))
    console.print(f"Done in {time.monotonic() - began:.0f} s. {_next_step(records.decision, program())}")


def _next_step(decision: Mapping[str, Any] | None, program: str) -> str:
    """Say what to do after a training; nothing can be scored where the first version was held."""
    if decision is None or decision["verdict"] == "promote" or decision["champion"] is not None:
        return f"Next: {program} score FILE, or {program} dev."
    version = decision["candidate"]
    return (
        f"Nothing is in production yet, as version {version} was held. Next: mend what is said above, in the loans, "
        f"the contract or the policy, and run again, or {program} promote --version {version} --force --reason WHY."
    )


@command(TRAIN, "clean --data loans.csv --test-from 2015-01")
def clean(options: LoanOptions = _LOANS) -> None:
    """Clean a loan file and cut it into windows."""
    from loan_default.cli import tables
    from loan_default.cli.terminal import output
    from loan_default.operations import training

    _, records = _carry_out(training.clean, options)
    tables.show_data(output(), records)


@command(TRAIN, "tune --data loans.csv --trials 40")
def tune(options: TrainingOptions = _TRAINING) -> None:
    """Clean, split and search for parameters.

    The study goes on where it stopped, as long as data, fields and search space are the same.
    """
    from loan_default.cli.terminal import output
    from loan_default.operations import training

    _, records = _carry_out(training.tune, options)
    output().print_json(data=records.tuning)


@command(TRAIN, "train --data loans.csv")
def train(options: TrainingOptions = _TRAINING) -> None:
    """Train a new version from a loan file, and leave it in staging."""
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, program
    from loan_default.operations import training

    console = output()
    _, records = _carry_out(training.train, options)
    tables.show_data(console, records)
    tables.show_staged(console, records, program())


def _carry_out(
    operation: Callable[[Settings, TrainingRequest], TrainingRecords], options: LoanOptions
) -> tuple[Settings, TrainingRecords]:
    """Open the home and run the operation with its progress shown."""
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import output
    from loan_default.operations import home
    from loan_default.operations.training import TrainingRequest

    values = asdict(options)
    settings = home.open_home(data=values.pop("data"))
    with progress(output()):
        return settings, operation(settings, TrainingRequest(**values))


@command(TRAIN, "backtest --every 6 --from 2010-01", "backtest --json")
def backtest(
    *,
    first: Annotated[Month | None, Parameter(name="--from")] = None,
    every: Annotated[int, between(1, 120)] = 6,
    json: AsJson = False,
) -> None:
    """Develop models as of past months, on what was known then, and judge them by the loans of the year after.

    For each month every candidate is fitted four times, without a search, and the hazards once.

    Args:
        first: First month; default: two years after the first loan.
        every: Months from one to the next.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import home
    from loan_default.operations.backtest import back_test

    settings = home.open_home()
    with progress(errors() if json else output()):
        record = back_test(settings, first, every)
    if json:
        print_json(record)
    else:
        tables.show_backtest(output(), record)


@command(TRAIN, "provision", "provision --json")
def provision(*, json: AsJson = False) -> None:
    """Compute what the open loans of the book are expected to lose, by stage and scenario.

    The row of each loan is stored as provision.parquet; the policy says when a risk has risen, and the scenarios.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import home
    from loan_default.operations.provision import provide

    settings = home.open_home()
    with progress(errors() if json else output()):
        record = provide(settings)
    if json:
        print_json(record)
    else:
        tables.show_provision(output(), record)


@command(TRAIN, "promote", 'promote --version 3 --force --reason "The board asked for it."')
def promote(
    *,
    version: Annotated[int | None, between(1)] = None,
    force: bool = False,
    reason: Annotated[str, Parameter(metavar="TEXT")] = "",
) -> None:
    """Decide on the newest version by policy, or promote one whatever the policy says.

    Args:
        version: Version that is meant; default: the newest.
        force: Promote whatever the policy says; needs --reason.
        reason: Kept with the version and in the history.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import output
    from loan_default.operations import home, promotion

    console, settings = output(), home.open_home()
    if force:
        tables.show_decision_by_hand(console, promotion.promote_by_hand(settings, version, reason))
        return
    with progress(console):
        records = promotion.promote(settings, version)
    tables.show_training(console, records)


@command(TRAIN, 'rollback --reason "Version 4 declines too many."')
def rollback(*, reason: Reason) -> None:
    """Put the version back into production that was there before."""
    from loan_default.cli import tables
    from loan_default.cli.terminal import output
    from loan_default.operations import home, promotion

    settings = home.open_home()
    tables.show_decision_by_hand(output(), promotion.roll_back(settings, reason))
