"""Commands that score applications: a batch, many batches again, a file by the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter, validators

from loan_default.cli.app import SCORE, command
from loan_default.cli.arguments import AsJson

AcceptMissing = Annotated[tuple[str, ...], Parameter(metavar="FIELD", consume_multiple=False, negative=())]
_CHOICE = Group("Which batches", "One of these.", validator=validators.LimitedChoice(1))


@command(SCORE, "score 2018-10.csv", "score 2018-10.csv --json")
def score(
    file: Path, /, *, without_drift: bool = False, accept_missing: AcceptMissing = (), json: AsJson = False
) -> None:
    """Put a batch of applications into the inbox, score it, and compare it with the training population.

    Args:
        file: CSV, CSV.GZ or Parquet file of applications; its name is the batch's.
        without_drift: Score only.
        accept_missing: Score though no application has this field, which loans had that the model was developed on;
            may be given several times.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import errors, output, print_json
    from loan_default.operations import batches, home

    settings = home.open_home()
    with progress(errors() if json else output()):
        scored = batches.score(settings, file, compare=not without_drift, accept_missing=accept_missing)
    if json:
        print_json(scored)
    else:
        tables.show_batch(output(), scored)


@command(SCORE, "score-again 2018-10 2018-12", "score-again --from 2018-10 --to 2018-12", "score-again --all --force")
def score_again(
    *batches: Annotated[str, Parameter(name="BATCH", group=_CHOICE)],
    first: Annotated[str, Parameter(name="--from", group=_CHOICE, metavar="BATCH")] = "",
    every: Annotated[bool, Parameter(name="--all", group=_CHOICE)] = False,
    last: Annotated[str, Parameter(name="--to", metavar="BATCH")] = "",
    force: bool = False,
    accept_missing: AcceptMissing = (),
) -> None:
    """Score batches of the inbox again, one run each.

    What production's version scored already from the same file is left out, so the command goes on where it was
    interrupted.

    Args:
        batches: Batches of the inbox.
        first: This batch and all after it by name.
        every: All of the inbox.
        last: With --from: none after this one.
        force: Also what production's version scored already.
        accept_missing: Score though no application of a batch has this field, which loans had that the model was
            developed on; may be given several times.
    """
    from loan_default.cli import tables
    from loan_default.cli.progress import progress
    from loan_default.cli.terminal import output
    from loan_default.defs.run_tags import AGAIN_TAG
    from loan_default.operations import batches as operations
    from loan_default.operations import home

    console, settings = output(), home.open_home()
    plan = operations.plan_rescoring(settings, operations.Selection(batches, first, last), force=force)
    tables.show_plan(console, plan)
    with progress(console):
        result = operations.score_again(
            settings,
            plan,
            lambda batch, number: tables.show_batch_number(console, batch, number, len(plan.batches)),
            accept_missing=accept_missing,
        )
    tables.show_rescoring(console, result, AGAIN_TAG)
    result.require_success()


@command(SCORE, "score-rest 2018-10.csv", "score-rest 2018-10.csv --url http://scoring:5001 --out answers.csv")
def score_rest(
    file: Path,
    /,
    *,
    url: Annotated[str, Parameter(metavar="URL")] = "",
    out: Annotated[Path | None, Parameter(metavar="FILE")] = None,
) -> None:
    """Send a file of applications through the scoring server and write its answers.

    Args:
        file: CSV, CSV.GZ or Parquet file of applications.
        url: Address of the server; default: LOAN_DEFAULT_SERVING_URL.
        out: CSV to write; default: NAME-scored.csv beside FILE.
    """
    from loan_default.cli import tables
    from loan_default.cli.terminal import output
    from loan_default.operations import home, scoring_server

    settings = home.open_home(needs=())
    answers = out or scoring_server.answers_file(file)
    report = scoring_server.score_by_rest(settings, file, answers, url=url)
    tables.show_answers(output(), report, str(answers))
