"""Commands that set an installation up: its home, the doctor, synthetic loans, the demonstration, completion."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from loan_default.cli.app import SETUP, app, command
from loan_default.cli.arguments import AsJson, Month, between
from loan_default.risk.text import plural

Seed = Annotated[int, between(0)]


@command(SETUP)
def init() -> None:
    """Make the home folders, and a .env that tells every tool where they are."""
    from loan_default.cli.terminal import output
    from loan_default.operations import home

    settings = home.open_home(needs=())
    home.write_env_file(settings)
    output().print(f"Ready: {settings.home}")


@command(SETUP, "doctor", "doctor --json --send-test-alert")
def doctor(*, json: AsJson = False, send_test_alert: bool = False) -> int:
    """Say what is wrong with this installation and what to do about it; end with 1 where something is.

    Args:
        send_test_alert: Send one line to Slack and by mail.
    """
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, print_json
    from loan_default.homes import load_env_file
    from loan_default.operations.doctor import examine

    load_env_file()  # the home stays as it is: the doctor says what is wrong with it
    console, diagnoses = output(), []
    for diagnosis in examine(send_test_alert=send_test_alert):
        diagnoses.append(diagnosis)
        if not json:
            tables.show_diagnosis(console, diagnosis)
    wrong = sum(diagnosis.mark == "wrong" for diagnosis in diagnoses)
    if json:
        print_json({"wrong": wrong, "diagnoses": diagnoses})
    else:
        console.print(f"{wrong} wrong." if wrong else "Nothing is wrong.")
    return 1 if wrong else 0


@command(SETUP, "sample-data", "sample-data --batch --month 2018-11 --rows 500 --out 2018-11.csv")
def sample_data(
    *,
    rows: Annotated[int, between(1)] = 60_000,
    seed: Seed = 7,
    out: Path = Path("var/sample/loans.csv"),
    batch: bool = False,
    month: Month = date(2018, 10, 1),
    shift: float = 0.0,
) -> None:
    """Write synthetic loans in the published layout, or of LOAN_DEFAULT_CONTRACT, or a batch of applications.

    Args:
        rows: Rows to write.
        seed: The same seed writes the same file.
        out: File to write, .csv or .csv.gz.
        batch: Write applications of one month instead of loans with outcomes.
        month: Month of a batch.
        shift: 0 draws the usual population, 1 plainly another.
    """
    from loan_default.cli.terminal import output
    from loan_default.operations import home, samples

    settings = home.open_home(needs=())
    samples.write_sample(samples.SampleRequest(out, rows, seed, shift, month if batch else None), settings)
    output().print(f"{plural(rows, 'row')} written to {out}.")


@command(SETUP, "demo")
def demo(*, seed: Seed = 7) -> None:
    """Run the platform on synthetic loans: train, decide, score a usual and a shifted batch.

    Args:
        seed: Seed of the synthetic loans.
    """
    import time

    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import output, program, shorten_path
    from loan_default.operations import batches, demo, home, training
    from loan_default.operations.records import locations

    console, began = output(), time.monotonic()
    settings = home.open_home()
    console.print(f"[bold]{demo.ROWS:,} synthetic loans[/bold] → {settings.home / 'demo'}")
    files = demo.write_files(settings, seed)
    scored = []
    with progress(console):
        records = training.run_pipeline(files.settings, demo.REQUEST)
        for number, file in enumerate(files.batches, 1):
            tables.show_batch_number(console, file.stem, number, len(files.batches))
            scored.append(batches.score(files.settings, file))
    console.rule("Result")
    tables.show_training(console, records)
    tables.show_scored_batches(console, scored)
    tables.show_drift(console, [batch.drift for batch in scored if batch.drift])
    tables.show_values(console, "Where it lies", {"synthetic loans": str(files.loans.parent), **locations(settings)})
    console.print(f"Done in {time.monotonic() - began:.0f} s. Next:")
    tables.show_next(console, demo.next_steps(shorten_path(files.loans), program()))


@command(SETUP, "completion --install", "completion bash > ~/.local/share/bash-completion/completions/loan-default")
def completion(shell: Literal["bash", "zsh", "fish"] | None = None, /, *, install: bool = False) -> None:
    """Print the script by which a shell completes commands and options.

    Args:
        shell: Shell; default: the one that runs this.
        install: Write the script where the shell looks for it.
    """
    import sys

    from loan_default.cli.terminal import output

    if install:
        path = app.install_completion(shell=shell, add_to_startup=False)
        output().print(f"Written to {path}; a new shell completes loan-default.")
    else:
        sys.stdout.write(app.generate_completion(shell=shell) + "\n")
