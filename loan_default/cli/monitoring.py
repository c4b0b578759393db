"""Commands that watch: how the installation stands, its history, drift, performance, metrics for Prometheus."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from loan_default.cli.app import WATCH, command
from loan_default.cli.arguments import AsJson, Port


@command(WATCH, "status", "status --json")
def status(*, json: AsJson = False) -> None:
    """Show what is in production and why, the last batches, what waits, and whether the server answers."""
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, print_json, program
    from loan_default.operations import home
    from loan_default.operations.status import read_status

    state = read_status(home.open_home())
    if json:
        print_json(state)
    else:
        tables.show_status(output(), state, program())


@command(WATCH, "history", "history --json")
def history(*, json: AsJson = False) -> None:
    """Show every promotion, hold, rollback and retraining, with its reasons."""
    from loan_default.cli import tables
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import home
    from loan_default.operations.history import read_history
    from loan_default.risk.errors import DamagedRecord

    damages: list[DamagedRecord] = []
    events = read_history(home.open_home(), damages)
    for damage in damages:
        errors().print(str(damage), markup=False)
    if json:
        print_json(events)
    else:
        tables.show_history(output(), events)


@command(WATCH, "decision 0192f0a1-b2c3-7d4e-8f5a-6b7c8d9e0000", "decision 0192f0a1-b2c3-7d4e-8f5a-6b7c8d9e0000 --json")
def decision(decision_id: Annotated[str, Parameter(name="ID")], /, *, json: AsJson = False) -> int:
    """Show what the scoring server decided on an application, and score it again by the version that decided.

    Ends with 1 where that version says anything else now.

    Args:
        decision_id: The X-Decision-Id or decision_id of an answer.
    """
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, print_json
    from loan_default.operations import home
    from loan_default.operations.decisions import recall_decision
    from loan_default.settings import SERVING_NEEDS

    recalled = recall_decision(home.open_home(SERVING_NEEDS), decision_id)
    if json:
        print_json(recalled)
    else:
        tables.show_recalled(output(), recalled)
    return int(recalled.verdict == "different")


@command(WATCH, "drift 2018-10", "drift 2018-10 --json")
def drift(batch: str, /, *, json: AsJson = False) -> None:
    """Compare a scored batch with the training population again.

    Args:
        batch: A scored batch.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import batches, home

    settings = home.open_home()
    with progress(errors() if json else output()):
        report = batches.compare(settings, batch)
    if json:
        print_json(report)
    else:
        tables.show_drift(output(), [report])
        tables.show_values(output(), "Where it lies", {"Evidently's page": batches.drift_page(settings, batch)})


@command(WATCH, "performance", "performance 2019-03.csv")
def performance(*files: Annotated[Path, Parameter(name="FILE")], json: AsJson = False) -> None:
    """Hold what every version predicted against the outcomes, and show how good each proved to be.

    Args:
        files: Outcome files to add first: CSV, CSV.GZ or Parquet of id, status and month.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import home
    from loan_default.operations.performance import measure

    settings = home.open_home()
    with progress(errors() if json else output()):
        result = measure(settings, files)
    if json:
        print_json(result)
    else:
        tables.show_performance(output(), result.report)
        tables.show_rejected_outcomes(output(), result.rejected)


@command(WATCH, "metrics", "metrics --port 9464")
def metrics(*, host: Annotated[str, Parameter(metavar="ADDRESS")] = "127.0.0.1", port: Port | None = None) -> None:
    """Show runs, daemons, batches and verdicts in Prometheus' text form, or answer its scrapes.

    Args:
        host: Address to listen on.
        port: Port to listen on, at /metrics; without it the text is printed once.
    """
    from loan_default.cli.terminal import errors
    from loan_default.operations import home
    from loan_default.operations.metrics import serve_metrics, write_metrics
    from loan_default.settings import METRICS_NEEDS

    settings = home.open_home(METRICS_NEEDS)
    if port is None:
        sys.stdout.write(write_metrics(settings))
        return
    thread = serve_metrics(settings, host, port)
    errors().print(f"Metrics: http://{host}:{port}/metrics   Ctrl-C stops it.")
    thread.join()


@command(WATCH, "report --out committee.html")
def report(*, out: Annotated[Path, Parameter(metavar="FILE")]) -> None:
    """Write overview, batches, versions, promised and realised into one HTML file, which needs nothing else.

    Args:
        out: File to write.
    """
    from loan_default.cli.terminal import output
    from loan_default.operations import home
    from loan_default.settings import METRICS_NEEDS
    from loan_default.web.report import write_report

    write_report(home.open_home(METRICS_NEEDS), out)
    output().print(f"The report is in {out}.", markup=False)
