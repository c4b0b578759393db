"""Commands about the contract of a loan book: `contract init` and `contract check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from loan_default.cli.app import SETUP, app, command
from loan_default.cli.arguments import AsJson

contract = app.command(
    App(
        name="contract",
        help="Draft the contract of a loan book from its file, or hold it against one.",
        group=SETUP,
        sort_key=0,
    )
)


@command(
    SETUP, "contract init loans.csv", "contract init loans.csv --out books/homes.yaml --name homes", parent=contract
)
def init(file: Path, /, *, out: Path | None = None, name: str = "", overwrite: bool = False) -> None:
    """Draft a contract from any table: what is guessed, and what a person must decide, is marked in it.

    Args:
        file: CSV, CSV.GZ or Parquet file of loans with their outcomes.
        out: YAML to write; default: the file's name in this folder.
        name: Name of the book, which models and folders follow; default: the file's.
        overwrite: Replace the YAML if it is there.
    """
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, program
    from loan_default.operations import contracts

    tables.show_draft(output(), contracts.draft(file, out, name=name, overwrite=overwrite), file, program())


@command(SETUP, "contract check homes.yaml", "contract check homes.yaml loans.csv --json", parent=contract)
def check(
    path: Annotated[Path, Parameter(name="CONTRACT")], file: Path | None = None, /, *, json: AsJson = False
) -> int:
    """Hold a contract against a file, field by field, without a run; end with 1 where the file would be refused.

    Args:
        path: YAML of the contract.
        file: CSV, CSV.GZ or Parquet file of loans with their outcomes; default: the contract alone is checked.
    """
    from loan_default.cli import tables
    from loan_default.cli.terminal import output, print_json
    from loan_default.operations import contracts

    checked = contracts.check(path, file)
    if json:
        print_json(
            {
                "contract": checked.contract.name,
                "policy": checked.policy,
                "search_space": checked.search_space,
                "guesses": checked.guesses,
                "decisions": checked.decisions,
                "check": checked.check,
            }
        )
    else:
        tables.show_contract_check(output(), checked)
    return 1 if checked.check and checked.check.refusal else 0
